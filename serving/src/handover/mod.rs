//! From the pool that computes prompts to the one that computes answers: caches that wait for memory and cross the fabric.
//!
//! A prompt that is done stays in its memory. Once a train of the other pool has a place for it, with room for prompt and answer, its cache
//! crosses ([`Ports`]); then its room in the first pool is free, and it rides from the next departure on. The prompt's last token is computed
//! there once more, as servers do whose caches come from elsewhere (vLLM's KV connectors), and the first token of the answer comes of it.
//! So, in whole picoseconds of each request,
//!
//! `TTFT = queue + prefill + wait for memory + handover + beginning`.

mod ports;
mod routes;
#[cfg(test)]
mod tests;

pub use ports::{Lane, Ports};
pub use routes::Routes;

use crate::books::Outcome;
use crate::metrics::Distribution;
use crate::request::{Request, RequestId};
use crate::trains::{Ended, Seat, Station};
use std::collections::BTreeMap;
use topology::{LinkSpec, Picos};

/// What times to the first token are made of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// From arrival to a place in the pool of prompts.
    pub queue: Distribution,
    /// From there until the prompt is done.
    pub prefill: Distribution,
    /// From there to a place, with memory, in the pool of answers.
    pub wait: Distribution,
    /// From there until the cache has come.
    pub handover: Distribution,
    /// From there to the first token.
    pub begin: Distribution,
}

/// What came of two pools, beside the outcome of the one that computes answers.
#[derive(Clone, Debug)]
pub struct Ahead {
    /// Of the pool of prompts: its steps, their time, its memory. Requests are counted in the other one.
    pub outcome: Outcome,
    /// Where times to the first token went.
    pub parts: Parts,
    /// Caches that crossed, and their bytes.
    pub crossed: (u64, u64),
    /// Most caches on their way at once.
    pub under_way_max: usize,
    /// Most prompts that waited for memory at once.
    pub waiting_max: usize,
    /// How long the busiest port sent, and received.
    pub busiest: [Picos; 2],
}

/// A request between the two pools.
#[derive(Clone, Copy, Debug)]
struct Between {
    tokens: u64,
    /// When the state began in which it is.
    since: Picos,
}

/// The way between two pools, and who is on it.
#[derive(Clone, Debug)]
pub struct Handover {
    routes: Routes,
    ports: Ports,
    between: BTreeMap<RequestId, Between>,
    parts: Parts,
    crossed: (u64, u64),
    under_way_max: usize,
    waiting_max: usize,
}

impl Handover {
    /// From `replicas` of the first pool to those of the second over `link`, the slower of what either has between racks.
    #[must_use]
    pub fn new(routes: Routes, replicas: [usize; 2], link: LinkSpec) -> Self {
        let [senders, receivers] = [0, 1].map(|side| routes.ranks()[side] * replicas[side]);
        Self {
            ports: Ports::new(link, senders, receivers),
            routes,
            between: BTreeMap::new(),
            parts: Parts::default(),
            crossed: (0, 0),
            under_way_max: 0,
            waiting_max: 0,
        }
    }

    /// A prompt is done at `now`; its request waits for memory.
    pub(crate) fn done(&mut self, now: Picos, prompt: Ended, answers: &mut Station) {
        let Ended { request, admitted, .. } = prompt;
        self.parts.queue.record(admitted - request.arrived, 1);
        self.parts.prefill.record(now - admitted, 1);
        let Request { id, input_tokens, .. } = request;
        self.between.insert(id, Between { tokens: input_tokens.into(), since: now });
        answers.offer(request).expect("it was looked at when it came, and the queue takes whoever comes");
        self.waiting_max = self.waiting_max.max(answers.waiting());
    }

    /// Sends the caches of those that have got a seat.
    pub(crate) fn begin(&mut self, now: Picos, prompts: &Station, answers: &mut Station) {
        for (id, to) in answers.newly_seated() {
            let from = prompts.held(id).expect("a cache lies where its prompt was computed");
            self.cross(now, id, [from, to]);
        }
    }

    fn cross(&mut self, now: Picos, id: RequestId, seats: [Seat; 2]) {
        let between = self.between.get_mut(&id).expect("whoever crosses has waited");
        self.parts.wait.record(now - between.since, 1);
        between.since = now;
        let lanes = self.routes.lanes(seats, between.tokens);
        self.crossed.0 += 1;
        self.crossed.1 += lanes.iter().map(|lane| lane.bytes).sum::<u64>();
        self.ports.send(now, id, &lanes);
        self.under_way_max = self.under_way_max.max(self.ports.under_way());
    }

    /// When something happens next on the way.
    pub(crate) fn next_at(&self) -> Option<Picos> {
        self.ports.next_at()
    }

    /// Goes on to `now`: caches that have come leave one memory and are known in the other.
    pub(crate) fn advance(&mut self, now: Picos, prompts: &mut Station, answers: &mut Station) {
        for id in self.ports.advance(now) {
            let between = self.between.remove(&id).expect("whoever has come was on the way");
            self.parts.handover.record(now - between.since, 1);
            prompts.taken(id);
            answers.came(id, now);
        }
    }

    /// An answer is complete.
    pub(crate) fn answered(&mut self, answer: &Ended) {
        self.parts.begin.record(answer.first_token - answer.fetched, 1);
    }

    /// What came of it, with the `outcome` of the pool of prompts.
    pub(crate) fn close(self, outcome: Outcome) -> Ahead {
        let Self { parts, crossed, under_way_max, waiting_max, .. } = self;
        let busiest = self.ports.busiest();
        Ahead { outcome, parts, crossed, under_way_max, waiting_max, busiest }
    }
}

//! The station: puts sequences on trains, says when a train leaves, what it carries, and who has arrived when it is back.
//!
//! A train is a batch: its sequences ride together, one step a ride, until their answers are complete. With m micro-batches there are
//! m trains. A state machine without clock: commands [`Station::offer`], [`Station::depart`], [`Station::arrive`]; the time of the
//! next departure is asked of it ([`Station::next_departure`]).

mod policy;
mod queue;
mod riders;
#[cfg(test)]
mod tests;

pub use policy::{Leave, PolicyError, TrainPolicy};
pub use queue::{Order, Queue};
pub use riders::{Ended, Rider, Riders, Token};

use crate::cost::{HalfShape, StepShape};
use crate::ledger::Ledger;
use crate::request::Request;
use moe::stack::{Halves, StepBatch};
use moe::work::{Drafts, RankLoad, Reaches};
use riders::{Train, sequence_of};
use thiserror::Error;
use topology::Picos;

/// Why a request gets on no train, ever.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Prompt and answer don't fit in an empty rank.
    #[error("{tokens} tokens of prompt and answer don't fit in the {capacity} that a rank has room for")]
    TooLong {
        /// Tokens of its prompt and answer together.
        tokens: u64,
        /// Tokens that a rank's memory holds.
        capacity: u64,
    },
    /// Prompts go whole and this one exceeds a step.
    #[error(
        "a prompt of {tokens} tokens exceeds max_num_batched_tokens = {budget}; turn chunked_prefill on or raise it"
    )]
    TooLongForAStep {
        /// Tokens of the prompt.
        tokens: u32,
        /// Of a step, by rank.
        budget: u32,
    },
    /// The queue is full.
    #[error("{waiting} requests wait already, as many as queue_max allows")]
    QueueFull {
        /// Requests that wait already, the limit.
        waiting: usize,
    },
}

/// A train that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Index of the train, below the number of micro-batches.
    pub train: usize,
    /// Tokens and contexts of each rank's sequences in this step.
    pub shape: StepShape,
    /// Sequences that have new tokens in this step.
    pub riders: u32,
}

/// What looks whether a prompt's beginning is cached: tokens that need not be computed, and when they are there.
pub trait PrefixCache {
    /// Tokens of `request`'s prompt that are cached and worth fetching, fewer than the prompt has, and how long fetching them takes.
    fn lookup(&mut self, now: Picos, request: &Request) -> (u32, Picos);

    /// A sequence has ended: its prompt may be kept.
    fn store(&mut self, now: Picos, request: &Request);
}

/// No cache of prompts.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCache;

impl PrefixCache for NoCache {
    fn lookup(&mut self, _: Picos, _: &Request) -> (u32, Picos) {
        (0, Picos::ZERO)
    }

    fn store(&mut self, _: Picos, _: &Request) {}
}

/// The scheduler: a queue of requests, places on ranks, trains that leave when the policy says.
#[derive(Clone, Debug)]
pub struct Station {
    policy: TrainPolicy,
    /// How the model's layers look back.
    reaches: Reaches,
    /// Tokens drafted a step, and by which seed they hold.
    drafts: (Drafts, u64),
    ledger: Ledger,
    queue: Queue,
    trains: Vec<Train>,
    /// Steps so far.
    steps: u32,
    /// When the latest train left.
    left_at: Option<Picos>,
    /// Whether departures say what each sequence takes along, and then who ended since the last one, `[ranks of a stage]`.
    ended: Option<Vec<Vec<u32>>>,
    /// Whether departures say what each half takes along, and then who is in which.
    halves: Option<Halves>,
}

fn half_shape(batch: &StepBatch, reaches: &Reaches) -> HalfShape {
    HalfShape {
        ranks: batch.columns.iter().map(|column| column.load(reaches)).collect(),
        answers: batch.columns.iter().map(|column| column.answered().count() as u64).collect(),
    }
}

impl Station {
    /// A station of `micro_batches` trains for `ranks` ranks a stage (groups of ranks that work on the same sequences) of a model whose layers look
    /// back in `reaches`.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn new(
        policy: TrainPolicy,
        ledger: Ledger,
        (ranks, reaches): (u32, Reaches),
        micro_batches: u32,
    ) -> Result<Self, PolicyError> {
        policy.validate()?;
        let queue = Queue::new(policy.order, policy.queue_max as usize);
        let trains = (0..micro_batches).map(|_| Train::new(ranks as usize)).collect();
        Ok(Self {
            policy,
            reaches,
            drafts: (Drafts::default(), 0),
            ledger,
            queue,
            trains,
            steps: 0,
            left_at: None,
            ended: None,
            halves: None,
        })
    }

    /// Sequences ride with drafts of further tokens, which hold as `seed` draws. Not for steps in which sequences are really computed.
    #[must_use]
    pub fn with_drafts(self, drafts: Drafts, seed: u64) -> Self {
        Self { drafts: (drafts, seed), ..self }
    }

    /// Departures say what each sequence takes along: for steps in which sequences are really computed. Sequences are called by the
    /// numbers of their requests.
    #[must_use]
    pub fn with_batches(self) -> Self {
        let ranks = self.trains.first().map_or(0, |train| train.ranks.len());
        Self { ended: Some(vec![Vec::new(); ranks]), ..self }
    }

    /// As [`Self::with_batches`], and departures say what each of two half batches takes along.
    #[must_use]
    pub fn with_halves(self) -> Self {
        Self { halves: Some(Halves::default()), ..self.with_batches() }
    }

    /// A request comes; it waits for a place.
    ///
    /// # Errors
    /// [`Refusal`]; the request is gone then.
    pub fn offer(&mut self, request: Request) -> Result<(), Refusal> {
        let (tokens, capacity) = (kv_tokens(&request), self.ledger.capacity_tokens());
        if self.ledger.rounded(tokens) > capacity {
            return Err(Refusal::TooLong { tokens, capacity });
        }
        let budget = self.policy.max_num_batched_tokens;
        if !self.policy.chunked_prefill && request.input_tokens > budget {
            return Err(Refusal::TooLongForAStep { tokens: request.input_tokens, budget });
        }
        self.queue.push(request).map_err(|_| Refusal::QueueFull { waiting: self.queue.len() })
    }

    /// When the next train leaves, if nothing else happens before: not before `now`, nor before the first stage is `free`. `None` if
    /// no train at the station has anything to do.
    #[must_use]
    pub fn next_departure(&self, now: Picos, free: Picos) -> Option<Picos> {
        let (train, ready) = self.next_train(now)?;
        let ready = ready.max(free);
        Some(match self.policy.period() {
            Some(period) if !self.leaves_early(train) => {
                let on_time = Picos(ready.0.div_ceil(period.0).saturating_mul(period.0));
                // One train a period.
                match self.left_at {
                    Some(left) if left >= on_time => left.saturating_add(period),
                    _ => on_time,
                }
            }
            _ => ready,
        })
    }

    /// Of the trains at the station, the one that has something to do first, and when; of several the one that has waited longest.
    fn next_train(&self, now: Picos) -> Option<(usize, Picos)> {
        let at_station = self.trains.iter().enumerate().filter(|(_, train)| !train.riding);
        let ready = at_station.filter_map(|(index, train)| {
            let ready = if self.home_of_next(train).is_some() { Some(now) } else { train.ready_at(now) };
            Some((ready?, train.back_at, index))
        });
        ready.min().map(|(ready, _, index)| (index, ready))
    }

    fn leaves_early(&self, train: usize) -> bool {
        let places = u64::from(self.policy.max_num_seqs) * self.trains[train].ranks.len() as u64;
        let waiting = self.queue.len() as u64;
        self.policy.leave == Leave::WhenFull && self.trains[train].aboard() as u64 + waiting >= places
    }

    /// Admits who waits and sends the train that [`Self::next_departure`] named. `None` if all its sequences wait for their caches.
    pub fn depart(&mut self, now: Picos, cache: &mut dyn PrefixCache) -> Option<Departure> {
        let (index, _) = self.next_train(now)?;
        self.admit_waiting(index, now, cache);
        let train = &mut self.trains[index];
        let ranks = train.ranks.len();
        let mut shape = StepShape {
            ranks: vec![RankLoad::default(); ranks],
            answers: vec![0; ranks],
            step: self.steps,
            halves: None,
            batch: self.ended.as_ref().map(|_| StepBatch::default()),
        };
        let riders = train.board(&self.policy, now, (&self.reaches, self.drafts.0), &mut shape);
        if riders == 0 {
            return None;
        }
        train.riding = true;
        if let (Some(batch), Some(ended)) = (&mut shape.batch, &mut self.ended) {
            for (column, ended) in batch.columns.iter_mut().zip(ended) {
                column.ended = std::mem::take(ended);
            }
            if let Some(halves) = &mut self.halves {
                shape.halves =
                    Some(halves.split(batch).halves.each_ref().map(|half| half_shape(half, &self.reaches)));
            }
        }
        self.left_at = Some(now);
        self.steps += 1;
        Some(Departure { train: index, shape, riders })
    }

    /// The rank of a train on which the next in the queue finds a place and room: the one with most room. A train takes no more than its
    /// share of all sequences, so that the first to leave doesn't take everybody and the others stay empty.
    fn home_of_next(&self, train: &Train) -> Option<usize> {
        let tokens = kv_tokens(self.queue.peek()?);
        let share = (self.aboard() + self.queue.len()).div_ceil(self.trains.len());
        if train.aboard() >= share {
            return None;
        }
        let most = self.policy.max_num_seqs as usize;
        let open = (0..train.ranks.len())
            .filter(|&rank| train.ranks[rank].len() < most && self.ledger.fits(rank, tokens));
        open.min_by_key(|&rank| (self.ledger.taken(rank), train.ranks[rank].len(), rank))
    }

    /// Gives places of a train to those that wait, in their order, as long as the next one finds room: nobody is passed over.
    fn admit_waiting(&mut self, index: usize, now: Picos, cache: &mut dyn PrefixCache) {
        while let Some(rank) = self.home_of_next(&self.trains[index]) {
            let Some(request) = self.queue.pop() else { return };
            let tokens = kv_tokens(&request);
            self.ledger.take(rank, tokens);
            let (cached, fetch) = cache.lookup(now, &request);
            debug_assert!(cached < request.input_tokens, "a prompt's last token is always computed");
            self.trains[index].ranks[rank].admit(request, now, cached, now.saturating_add(fetch));
        }
    }

    /// A train is back at `now`: every rider has its new token, or a further part of its prompt. Tells `on_token` of every token and
    /// returns who has ended; their room is free.
    ///
    /// # Panics
    /// If the train was not under way.
    pub fn arrive(
        &mut self,
        train: usize,
        now: Picos,
        cache: &mut dyn PrefixCache,
        on_token: &mut dyn FnMut(Token),
    ) -> Vec<Ended> {
        let train = &mut self.trains[train];
        assert!(train.riding, "a train that is back was under way");
        (train.riding, train.back_at) = (false, now);
        let mut ended = Vec::new();
        for (rank, riders) in train.ranks.iter_mut().enumerate() {
            let before = ended.len();
            riders.arrive(now, self.drafts, on_token, &mut ended);
            for rider in &ended[before..] {
                self.ledger.give_back(rank, kv_tokens(&rider.request));
                if let Some(ended) = &mut self.ended {
                    ended[rank].push(sequence_of(&rider.request));
                }
                cache.store(now, &rider.request);
            }
        }
        ended
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Sequences that ride.
    #[must_use]
    pub fn aboard(&self) -> usize {
        self.trains.iter().map(Train::aboard).sum()
    }

    /// What lies in each rank's memory.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

/// Tokens whose caches a request needs room for: the answer's last token is never looked at.
fn kv_tokens(request: &Request) -> u64 {
    u64::from(request.input_tokens) + u64::from(request.output_tokens) - 1
}

//! The station: puts sequences on trains, says when a train leaves, what it carries, and who has arrived when it is back.
//!
//! A train is a batch: its sequences ride together, one step a ride, until their answers are complete. With m micro-batches there are
//! m trains. Replicas, like deployments with memory and trains of their own, share the queue: who waits gets on the first train that
//! leaves with a place and room, at one moment on that of the replica with the fewest tokens in hand. A state machine without clock:
//! commands [`Station::offer`], [`Station::depart`], [`Station::arrive`]; the next departure is asked of it ([`Station::next_departure`]).

mod policy;
mod pools;
mod queue;
mod refusal;
mod replica;
mod riders;
#[cfg(test)]
mod tests;

pub use policy::{Leave, PolicyError, TrainPolicy};
pub use pools::Seat;
pub use queue::{Order, Queue};
pub use refusal::Refusal;
pub use riders::{Ended, Rider, Riders, Token};

use crate::cost::{HalfShape, StepShape};
use crate::ledger::{Ledger, StageReport};
use crate::request::Request;
use moe::stack::{Halves, StepBatch};
use moe::work::{Drafts, RankLoad, Reaches};
use pools::Serves;
use replica::Replica;
use riders::sequence_of;
use topology::Picos;

/// A train that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Index of the train, below the number of micro-batches of all replicas: those of the first replica come first.
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
    queue: Queue,
    replicas: Vec<Replica>,
    serves: Serves,
    /// Sequences that ride.
    aboard: usize,
    /// Steps so far.
    steps: u32,
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
        let replicas = vec![Replica::new(ledger, ranks as usize, micro_batches)];
        let drafts = (Drafts::default(), 0);
        Ok(Self { policy, reaches, drafts, queue, replicas, serves: Serves::Whole, aboard: 0, steps: 0 })
    }

    /// So many like deployments behind the queue, each with the memory and the trains of one.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn with_replicas(mut self, replicas: u32) -> Self {
        assert!(replicas > 0, "a station has a replica");
        self.replicas = vec![self.replicas.swap_remove(0); replicas as usize];
        self
    }

    /// Sequences ride with drafts of further tokens, which hold as `seed` draws. Not for steps in which sequences are really computed.
    #[must_use]
    pub fn with_drafts(self, drafts: Drafts, seed: u64) -> Self {
        Self { drafts: (drafts, seed), ..self }
    }

    /// Departures say what each sequence takes along: for steps in which sequences are really computed. Sequences are called by the
    /// numbers of their requests.
    #[must_use]
    pub fn with_batches(mut self) -> Self {
        for replica in &mut self.replicas {
            replica.ended = Some(vec![Vec::new(); replica.ranks()]);
        }
        self
    }

    /// As [`Self::with_batches`], and departures say what each of two half batches takes along.
    #[must_use]
    pub fn with_halves(self) -> Self {
        let mut station = self.with_batches();
        for replica in &mut station.replicas {
            replica.halves = Some(Halves::default());
        }
        station
    }

    /// Whether `request` could ever be served here.
    ///
    /// # Errors
    /// [`Refusal`] if not.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        let (tokens, ledger) = (self.serves.kv_tokens(request), &self.replicas[0].ledger);
        let capacity = ledger.capacity_tokens();
        if ledger.rounded(tokens) > capacity {
            return Err(Refusal::TooLong { held: self.serves.held(), tokens, capacity });
        }
        let budget = self.policy.max_num_batched_tokens;
        let whole = !self.policy.chunked_prefill && self.serves.prompts();
        if whole && request.input_tokens > budget {
            return Err(Refusal::TooLongForAStep { tokens: request.input_tokens, budget });
        }
        Ok(())
    }

    /// A request comes; it waits for a place.
    ///
    /// # Errors
    /// [`Refusal`]; the request is gone then.
    pub fn offer(&mut self, request: Request) -> Result<(), Refusal> {
        self.check(&request)?;
        self.queue.push(request).map_err(|_| Refusal::QueueFull { waiting: self.queue.len() })
    }

    /// When the next train leaves, and of which replica, if nothing else happens before: not before `now`, nor before the first stage of
    /// the replica is `free`, `[replicas]`. `None` if no train at the station has anything to do.
    #[must_use]
    pub fn next_departure(&self, now: Picos, free: &[Picos]) -> Option<(Picos, usize)> {
        let each = self.replicas.iter().zip(free).enumerate().filter_map(|(index, (replica, &free))| {
            Some((self.departure_of(replica, now, free)?, replica.tokens, index))
        });
        each.min().map(|(at, _, replica)| (at, replica))
    }

    fn departure_of(&self, replica: &Replica, now: Picos, free: Picos) -> Option<Picos> {
        let (train, ready) = self.next_train(replica, now)?;
        let ready = ready.max(free);
        Some(match self.policy.period() {
            Some(period) if !self.leaves_early(replica, train) => {
                let on_time = Picos(ready.0.div_ceil(period.0).saturating_mul(period.0));
                // One train a period.
                match replica.left_at {
                    Some(left) if left >= on_time => left.saturating_add(period),
                    _ => on_time,
                }
            }
            _ => ready,
        })
    }

    /// Of the trains of `replica` at the station, the one that has something to do first, and when; of several the one that has waited
    /// longest.
    fn next_train(&self, replica: &Replica, now: Picos) -> Option<(usize, Picos)> {
        let at_station = replica.trains.iter().enumerate().filter(|(_, train)| !train.riding);
        let ready = at_station.filter_map(|(index, train)| {
            let ready =
                if self.home_of_next(replica, index).is_some() { Some(now) } else { train.ready_at(now) };
            Some((ready?, train.back_at, index))
        });
        ready.min().map(|(ready, _, index)| (index, ready))
    }

    fn leaves_early(&self, replica: &Replica, train: usize) -> bool {
        let places = u64::from(self.policy.max_num_seqs) * replica.ranks() as u64;
        let waiting = self.queue.len() as u64;
        self.policy.leave == Leave::WhenFull && replica.trains[train].aboard() as u64 + waiting >= places
    }

    /// Admits who waits and sends the train of `replica` that [`Self::next_departure`] named. `None` if all its sequences wait for their
    /// caches.
    pub fn depart(&mut self, now: Picos, replica: usize, cache: &mut dyn PrefixCache) -> Option<Departure> {
        let (index, _) = self.next_train(&self.replicas[replica], now)?;
        self.admit_waiting((replica, index), now, cache);
        let before = replica * self.replicas[replica].trains.len();
        let Replica { trains, ended, halves, left_at, .. } = &mut self.replicas[replica];
        let train = &mut trains[index];
        let ranks = train.ranks.len();
        let mut shape = StepShape {
            ranks: vec![RankLoad::default(); ranks],
            answers: vec![0; ranks],
            step: self.steps,
            halves: None,
            batch: ended.as_ref().map(|_| StepBatch::default()),
        };
        let riders = train.board(&self.policy, now, (&self.reaches, self.drafts.0), &mut shape);
        if riders == 0 {
            return None;
        }
        train.riding = true;
        if let (Some(batch), Some(ended)) = (&mut shape.batch, ended) {
            for (column, ended) in batch.columns.iter_mut().zip(ended) {
                column.ended = std::mem::take(ended);
            }
            if let Some(halves) = halves {
                shape.halves =
                    Some(halves.split(batch).halves.each_ref().map(|half| half_shape(half, &self.reaches)));
            }
        }
        *left_at = Some(now);
        self.steps += 1;
        Some(Departure { train: before + index, shape, riders })
    }

    /// The rank of a train on which the next in the queue finds a place and room: the one with most room. A train takes no more than its
    /// share of all sequences, so that the first to leave doesn't take everybody and the others stay empty.
    fn home_of_next(&self, replica: &Replica, train: usize) -> Option<usize> {
        let tokens = self.serves.kv_tokens(self.queue.peek()?);
        let train = &replica.trains[train];
        let trains = self.replicas.len() * replica.trains.len();
        let share = (self.aboard + self.queue.len()).div_ceil(trains);
        if train.aboard() >= share {
            return None;
        }
        let most = self.policy.max_num_seqs as usize;
        let open = (0..train.ranks.len())
            .filter(|&rank| train.ranks[rank].len() < most && replica.ledger.fits(rank, tokens));
        open.min_by_key(|&rank| (replica.ledger.taken(rank), train.ranks[rank].len(), rank))
    }

    /// Gives places of a train to those that wait, in their order, as long as the next one finds room: nobody is passed over.
    fn admit_waiting(&mut self, (replica, train): (usize, usize), now: Picos, cache: &mut dyn PrefixCache) {
        while let Some(rank) = self.home_of_next(&self.replicas[replica], train) {
            let Some(request) = self.queue.pop() else { return };
            let tokens = self.serves.kv_tokens(&request);
            let (cached, fetched) = match self.serves.awaits(&request, Seat { replica, train, rank, tokens })
            {
                Some(awaited) => awaited,
                None => {
                    let (cached, fetch) = cache.lookup(now, &request);
                    (cached, now.saturating_add(fetch))
                }
            };
            debug_assert!(cached < request.input_tokens, "a prompt's last token is always computed");
            let home = &mut self.replicas[replica];
            home.take(rank, tokens);
            home.trains[train].ranks[rank].admit(request, now, cached, fetched);
            self.aboard += 1;
        }
    }

    /// A train is back at `now`: every rider has its new token, or a further part of its prompt. Tells `on_token` of every token and
    /// returns who has ended; their room is free, unless their caches are to be handed over.
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
        let each = self.replicas[0].trains.len();
        let (replica, train) = (train / each, train % each);
        let home = &mut self.replicas[replica];
        let back = &mut home.trains[train];
        assert!(back.riding, "a train that is back was under way");
        (back.riding, back.back_at) = (false, now);
        let (mut ended, mut seats) = (Vec::new(), Vec::new());
        let prompts_alone = self.serves.prompts_alone();
        for (rank, riders) in back.ranks.iter_mut().enumerate() {
            riders.arrive(now, (self.drafts, prompts_alone), on_token, &mut ended);
            seats.resize(ended.len(), rank);
        }
        for (rider, rank) in ended.iter().zip(seats) {
            let tokens = self.serves.kv_tokens(&rider.request);
            if let Some(ended) = &mut home.ended {
                ended[rank].push(sequence_of(&rider.request));
            }
            if !self.serves.holds(&rider.request, Seat { replica, train, rank, tokens }) {
                home.give_back(rank, tokens);
            }
            cache.store(now, &rider.request);
        }
        self.aboard -= ended.len();
        ended
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Sequences that ride.
    #[must_use]
    pub const fn aboard(&self) -> usize {
        self.aboard
    }

    /// Like deployments.
    #[must_use]
    pub const fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// Trains of all of them.
    #[must_use]
    pub fn trains(&self) -> usize {
        self.replicas.iter().map(|replica| replica.trains.len()).sum()
    }

    /// Bytes taken on the fullest rank, all stages.
    #[must_use]
    pub fn fullest(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.ledger.fullest()).max().unwrap_or(0)
    }

    /// What the fullest rank of each stage held at the fullest moment, the most of all replicas.
    #[must_use]
    pub fn memory(&self) -> Vec<StageReport> {
        let mut all = self.replicas.iter().map(|replica| replica.ledger.report());
        let mut most = all.next().unwrap_or_default();
        for report in all {
            for (most, stage) in most.iter_mut().zip(report) {
                most.kv_bytes_max = most.kv_bytes_max.max(stage.kv_bytes_max);
            }
        }
        most
    }
}

/// Tokens whose caches a request needs room for: the answer's last token is never looked at.
fn kv_tokens(request: &Request) -> u64 {
    u64::from(request.input_tokens) + u64::from(request.output_tokens) - 1
}

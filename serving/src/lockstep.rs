//! Serving where all stages go in step: each tick a train, or none, enters the first stage, and every other goes one on.
//!
//! So a pipeline of real ranks runs, whose steps are asked for one after the other and timed as they end. What is idle shows by itself:
//! a tick lasts as long as its slowest stage, whether the others have a train or not. While nothing is under way the clock goes on to
//! the next request at once.

use crate::arrivals::Arrivals;
use crate::books::{Books, Outcome};
use crate::cost::{StageTime, StepShape, StepTimes};
use crate::drive::DriveError;
use crate::metrics::Meter;
use crate::trains::{Departure, PrefixCache, Station};
use moe::stack::StepBatch;
use std::collections::VecDeque;
use topology::Picos;

/// What a tick takes, by kind of phase. Phases of two half batches may overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickTime {
    /// From its start to its end.
    pub total: Picos,
    /// Attention, dense and shared blocks, head.
    pub local: Picos,
    /// Routed experts.
    pub experts: Picos,
    /// Dispatch and combine.
    pub all_to_all: Picos,
    /// How much longer it takes for the hop from stage to stage.
    pub hop: Picos,
}

/// A run whose ticks are computed by someone else.
pub struct Lockstep<'a> {
    books: Books<'a>,
    columns: u32,
    /// Trains in the stages, the one that entered first in front; `None` where a tick had none.
    stages: VecDeque<Option<Departure>>,
    num_stages: usize,
    now: Picos,
    busy: Vec<Picos>,
}

impl std::fmt::Debug for Lockstep<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lockstep")
            .field("now", &self.now)
            .field("stages", &self.stages)
            .finish_non_exhaustive()
    }
}

impl<'a> Lockstep<'a> {
    /// A run on `stages` stages of `columns` ranks.
    #[must_use]
    pub fn new(
        station: Station,
        meter: Meter,
        cache: &'a mut (dyn PrefixCache + Send),
        progress: &'a mut (dyn FnMut(u64) + Send),
        columns: u32,
        stages: usize,
    ) -> Self {
        let books = Books::new(station.with_batches(), meter, cache, progress);
        let busy = vec![Picos::ZERO; stages];
        Self { books, columns, stages: VecDeque::new(), num_stages: stages, now: Picos::ZERO, busy }
    }

    /// The batch that enters the first stage in the next tick, an empty one where others are still under way; `None` at the end.
    ///
    /// # Errors
    /// [`DriveError::Arrivals`].
    pub fn next(&mut self, arrivals: &mut dyn Arrivals) -> Result<Option<StepBatch>, DriveError> {
        loop {
            let arrival = arrivals.next_at()?;
            if arrival.is_some_and(|at| at <= self.now) {
                self.books.offer(self.now, arrivals)?;
                continue;
            }
            let departure = self.books.station.next_departure(self.now, self.now);
            if departure.is_some_and(|at| at <= self.now) {
                // `None`: those that were seated wait for their caches.
                let Some(departure) = self.books.depart(self.now) else { continue };
                let batch = departure.shape.batch.clone().unwrap_or_default();
                self.stages.push_back(Some(departure));
                return Ok(Some(batch));
            }
            if self.stages.iter().any(Option::is_some) {
                self.stages.push_back(None);
                return Ok(Some(StepBatch::empty(self.columns)));
            }
            match [arrival, departure].into_iter().flatten().min() {
                Some(at) => self.now = at,
                None => return Ok(None),
            }
        }
    }

    /// The tick took `time`: whoever has been through all stages is back.
    ///
    /// # Errors
    /// [`DriveError::Steps`].
    ///
    /// # Panics
    /// If no tick was asked for.
    pub fn done(&mut self, time: TickTime, arrivals: &mut dyn Arrivals) -> Result<(), DriveError> {
        self.now += time.total;
        let entered = self.stages.back().expect("a tick was asked for");
        let (empty, shape) = (StepShape::default(), entered.as_ref().map(|departure| &departure.shape));
        let stage = StageTime {
            total: time.total.saturating_sub(time.hop),
            local: time.local,
            experts: time.experts,
            all_to_all: time.all_to_all,
        };
        let working = |place: usize| self.stages.iter().rev().nth(place).is_some_and(Option::is_some);
        for (place, busy) in self.busy.iter_mut().enumerate() {
            if working(place) {
                *busy += stage.total;
            }
        }
        let times = StepTimes { stages: vec![stage], hops: vec![time.hop] };
        let riders = entered.as_ref().map_or(0, |departure| departure.riders);
        self.books.count(shape.unwrap_or(&empty), riders, &times)?;
        if self.stages.len() == self.num_stages
            && let Some(Some(departure)) = self.stages.pop_front()
        {
            self.books.arrive(departure.train, self.now, arrivals);
        }
        Ok(())
    }

    /// The time of the run.
    #[must_use]
    pub const fn now(&self) -> Picos {
        self.now
    }

    /// What came of it.
    #[must_use]
    pub fn close(self) -> Outcome {
        self.books.close(self.busy)
    }
}

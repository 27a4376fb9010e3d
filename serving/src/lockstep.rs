//! Serving where all stages go in step: each tick a train, or none, enters the first stage, and every other goes one on.
//!
//! So a pipeline of real ranks runs, and on request a computed one: steps are asked for one after the other and timed as they end. What is idle shows by itself:
//! a tick lasts as long as its slowest stage, whether the others have a train or not. While nothing is under way the clock goes on to
//! the next request at once.

use crate::arrivals::Arrivals;
use crate::books::{Books, Outcome};
use crate::cost::{StageTime, StepCost, StepShape, StepTimes};
use crate::error::DriveError;
use crate::metrics::Meter;
use crate::trace::{Ride, Work};
use crate::trains::{Departure, PrefixCache, Station};
use moe::stack::StepBatch;
use std::collections::VecDeque;
use topology::Picos;

/// What a tick takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TickTime {
    /// From its start to its end.
    pub total: Picos,
    /// What each stage did, `[stages]`.
    pub stages: Vec<StageTime>,
    /// How much longer than the slowest of them it takes for the hop from stage to stage.
    pub hop: Picos,
}

impl TickTime {
    /// A tick as long as its slowest stage, and as the slowest hop after it: `trains` are the times of those under way, that which entered
    /// first in front, `None` where a stage has none.
    fn of(trains: &VecDeque<Option<StepTimes>>) -> Self {
        let mut time = Self::default();
        for (place, times) in trains.iter().rev().enumerate() {
            let stage = times.as_ref().map_or_else(StageTime::default, |times| times.stages[place]);
            time.total = time.total.max(stage.total);
            time.hop = time.hop.max(times.as_ref().map_or(Picos::ZERO, |times| times.hops[place]));
            time.stages.push(stage);
        }
        time.total += time.hop;
        time
    }
}

/// A run whose ticks are computed by someone else.
pub struct Lockstep<'a> {
    books: Books<'a>,
    columns: u32,
    /// Trains in the stages, the one that entered first in front; `None` where a tick had none.
    stages: VecDeque<Option<Departure>>,
    /// When each of them entered.
    entered: VecDeque<Picos>,
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
    /// A run on `stages` stages of `columns` ranks. Batches say who is in them if the station was asked for that.
    #[must_use]
    pub fn new(
        station: Station,
        meter: Meter,
        cache: &'a mut (dyn PrefixCache + Send),
        progress: &'a mut (dyn FnMut(u64) + Send),
        columns: u32,
        stages: usize,
    ) -> Self {
        let books = Books::new(station, meter, cache, progress);
        let busy = vec![Picos::ZERO; stages];
        let (entered, now) = (VecDeque::new(), Picos::ZERO);
        Self { books, columns, stages: VecDeque::new(), entered, num_stages: stages, now, busy }
    }

    /// Has what a timeline is made of be kept, of at most about `most` events; none without.
    #[must_use]
    pub fn with_trace(mut self, most: Option<usize>) -> Self {
        self.books.keep_trace(most);
        self
    }

    /// The batch that enters the first stage in the next tick, an empty one where others are still under way; `None` at the end.
    ///
    /// # Errors
    /// [`DriveError::Arrivals`].
    pub fn next(&mut self, arrivals: &mut dyn Arrivals) -> Result<Option<StepBatch>, DriveError> {
        loop {
            let arrival = arrivals.next_at()?;
            if arrival.is_some_and(|at| at <= self.now) {
                self.books.offer(self.now, arrivals, None)?;
                continue;
            }
            let departure = self.books.station.next_departure(self.now, &[self.now]).map(|(at, _)| at);
            if departure.is_some_and(|at| at <= self.now) {
                // `None`: those aboard wait for their caches.
                let Some(departure) = self.books.depart(self.now, 0) else { continue };
                let batch = departure.shape.batch.clone().unwrap_or_default();
                self.stages.push_back(Some(departure));
                self.entered.push_back(self.now);
                return Ok(Some(batch));
            }
            if self.stages.iter().any(Option::is_some) {
                self.stages.push_back(None);
                self.entered.push_back(self.now);
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
        self.note(&time);
        self.now += time.total;
        let entered = self.stages.back().expect("a tick was asked for");
        let (empty, shape) = (StepShape::default(), entered.as_ref().map(|departure| &departure.shape));
        let working = |place: usize| self.stages.iter().rev().nth(place).is_some_and(Option::is_some);
        let mut worked = Vec::with_capacity(self.busy.len());
        for ((place, busy), stage) in self.busy.iter_mut().enumerate().zip(time.stages) {
            if working(place) {
                *busy += stage.total;
                worked.push(stage);
            }
        }
        let times = StepTimes { stages: worked, hops: vec![time.hop] };
        let riders = entered.as_ref().map_or(0, |departure| departure.riders);
        self.books.count(shape.unwrap_or(&empty), riders, &times)?;
        if self.stages.len() == self.num_stages {
            let left = self.entered.pop_front().unwrap_or_default();
            if let Some(Some(Departure { train, shape, riders })) = self.stages.pop_front() {
                for answer in self.books.arrive(train, self.now) {
                    arrivals.ended(answer.request.id, self.now);
                }
                if let Some(trace) = self.books.trace() {
                    let (back, tokens) = (self.now, shape.new_tokens());
                    trace.ride(shape.step.into(), Ride { train, left, back, riders, tokens });
                }
            }
        }
        Ok(())
    }

    /// Notes for a timeline what stages do in the tick that begins.
    fn note(&mut self, time: &TickTime) {
        let Some(trace) = self.books.trace() else { return };
        for (stage, (departure, worked)) in self.stages.iter().rev().zip(&time.stages).enumerate() {
            let Some(Departure { train, shape, .. }) = departure else { continue };
            let (start, end) = (self.now, self.now.saturating_add(worked.total));
            trace.work(shape.step.into(), Work { stage, train: *train, start, end });
        }
    }

    /// Serves every request of `arrivals`, in ticks that take what `cost` says.
    ///
    /// # Errors
    /// [`DriveError`].
    pub fn serve(
        mut self,
        cost: &mut dyn StepCost,
        arrivals: &mut dyn Arrivals,
    ) -> Result<Outcome, DriveError> {
        let mut times = VecDeque::new();
        while self.next(arrivals)?.is_some() {
            let entered = self.stages.back().and_then(Option::as_ref);
            times.push_back(entered.map(|departure| cost.step(&departure.shape)).transpose()?);
            self.done(TickTime::of(&times), arrivals)?;
            if times.len() == self.num_stages {
                times.pop_front();
            }
        }
        Ok(self.close())
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

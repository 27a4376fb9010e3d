//! The yard's virtual clock: arrivals, departures and trains that are back, in the order of time.
//!
//! At one instant trains that are back come first, then arrivals, then departures: a request that comes at the moment of a departure
//! rides along.

use crate::arrivals::{ArrivalError, Arrivals};
use crate::cost::{CostError, StepCost, StepShape, StepTimes};
use crate::ledger::StageReport;
use crate::metrics::Meter;
use crate::track::Track;
use crate::trains::{Departure, PrefixCache, Refusal, Station};
use thiserror::Error;
use topology::Picos;

/// Most steps of a run.
pub const STEPS_MAX: u64 = 200_000_000;

/// A run that can't go on.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum DriveError {
    /// The source of requests.
    #[error(transparent)]
    Arrivals(#[from] ArrivalError),
    /// The source of times.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// Too long a run.
    #[error("more than {STEPS_MAX} steps; give fewer requests or shorter answers")]
    Steps,
}

/// Where all ranks' time went, summed over steps and stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Stages at work.
    pub total: Picos,
    /// Attention, dense and shared blocks, head.
    pub local: Picos,
    /// Routed experts.
    pub experts: Picos,
    /// Dispatch and combine.
    pub all_to_all: Picos,
    /// Hops between stages.
    pub hops: Picos,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What requests experienced.
    pub meter: Meter,
    /// From the first arrival to the last token.
    pub duration: Picos,
    /// When that came.
    pub ended: Picos,
    /// Requests that came.
    pub arrived: u64,
    /// Requests refused, by reason: too long for a rank, too long for a step, line full.
    pub refused: [u64; 3],
    /// The first refusal, for people.
    pub first_refusal: Option<String>,
    /// Steps of all trains.
    pub steps: u64,
    /// New tokens of all steps: of answers, of prompts.
    pub tokens: [u64; 2],
    /// Sequences that had new tokens, summed over steps.
    pub riders: u64,
    /// Most sequences with a seat at once.
    pub seated_max: usize,
    /// Most requests that waited at once.
    pub waiting_max: usize,
    /// Time that each stage worked, `[stages]`.
    pub busy: Vec<Picos>,
    /// What stages spent their time on.
    pub spent: Spent,
    /// Memory of each stage's fullest rank at its fullest moment, `[stages]`.
    pub memory: Vec<StageReport>,
}

/// What a run needs beside its requests.
pub struct Drive<'a> {
    /// Seats and trains.
    pub station: Station,
    /// What steps take.
    pub cost: &'a mut dyn StepCost,
    /// What is kept of prompts.
    pub cache: &'a mut dyn PrefixCache,
    /// Counts.
    pub meter: Meter,
    /// Stages of the pipeline.
    pub stages: usize,
    /// Called with the requests that ended, now and then: progress.
    pub progress: &'a mut dyn FnMut(u64),
}

impl std::fmt::Debug for Drive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drive")
            .field("station", &self.station)
            .field("stages", &self.stages)
            .finish_non_exhaustive()
    }
}

impl Drive<'_> {
    /// Serves every request of `arrivals`.
    ///
    /// # Errors
    /// [`DriveError`].
    pub fn run(self, arrivals: &mut dyn Arrivals) -> Result<Outcome, DriveError> {
        let track = Track::new(self.stages);
        let memory = self.station.ledger().report();
        let outcome = Outcome {
            meter: self.meter,
            duration: Picos::ZERO,
            ended: Picos::ZERO,
            arrived: 0,
            refused: [0; 3],
            first_refusal: None,
            steps: 0,
            tokens: [0; 2],
            riders: 0,
            seated_max: 0,
            waiting_max: 0,
            busy: Vec::new(),
            spent: Spent::default(),
            memory,
        };
        let mut run = Run {
            station: self.station,
            cost: self.cost,
            cache: self.cache,
            progress: self.progress,
            track,
            riding: Vec::new(),
            began: None,
            outcome,
        };
        run.all(arrivals)?;
        Ok(run.finish())
    }
}

/// A run under way.
struct Run<'a> {
    station: Station,
    cost: &'a mut dyn StepCost,
    cache: &'a mut dyn PrefixCache,
    progress: &'a mut dyn FnMut(u64),
    track: Track,
    /// When each train under way is back, and which it is.
    riding: Vec<(Picos, usize)>,
    began: Option<Picos>,
    outcome: Outcome,
}

impl Run<'_> {
    fn all(&mut self, arrivals: &mut dyn Arrivals) -> Result<(), DriveError> {
        let mut now = Picos::ZERO;
        loop {
            let back = self.riding.iter().min().map(|&(at, _)| at);
            let arrival = arrivals.next_at()?;
            let departure = self.station.next_departure(now, self.track.free());
            let next = [back, arrival, departure].into_iter().flatten().min();
            let Some(next) = next else { return Ok(()) };
            now = now.max(next);
            if back.is_some_and(|at| at <= now) {
                self.arrive(now, arrivals);
            } else if arrival.is_some_and(|at| at <= now) {
                self.offer(now, arrivals)?;
            } else {
                self.depart(now)?;
            }
        }
    }

    fn arrive(&mut self, now: Picos, arrivals: &mut dyn Arrivals) {
        let Some(first) = (0..self.riding.len()).min_by_key(|&index| self.riding[index]) else { return };
        let (_, train) = self.riding.swap_remove(first);
        let meter = &mut self.outcome.meter;
        let ended = self.station.arrive(train, now, self.cache, &mut |token| meter.token(token));
        for seat in &ended {
            meter.ended(seat);
            arrivals.ended(now);
        }
        if !ended.is_empty() {
            (self.progress)(meter.completed);
        }
        self.outcome.duration = now - self.began.unwrap_or(now);
        self.outcome.ended = now;
    }

    fn offer(&mut self, now: Picos, arrivals: &mut dyn Arrivals) -> Result<(), DriveError> {
        let Some(request) = arrivals.take_next()? else { return Ok(()) };
        self.began.get_or_insert(now);
        self.outcome.arrived += 1;
        let id = request.id;
        if let Err(refusal) = self.station.offer(request) {
            let reason = match refusal {
                Refusal::TooLong { .. } => 0,
                Refusal::TooLongForAStep { .. } => 1,
                Refusal::QueueFull { .. } => 2,
            };
            self.outcome.refused[reason] += 1;
            self.outcome.first_refusal.get_or_insert_with(|| format!("{id}: {refusal}"));
            arrivals.ended(now);
        }
        self.outcome.waiting_max = self.outcome.waiting_max.max(self.station.waiting());
        Ok(())
    }

    fn depart(&mut self, now: Picos) -> Result<(), DriveError> {
        let Some(Departure { train, shape, riders }) = self.station.depart(now, self.cache) else {
            return Ok(());
        };
        let times = self.cost.step(&shape)?;
        let back = self.track.ride(now, &times);
        self.riding.push((back, train));
        self.count(&shape, riders, &times);
        if self.outcome.steps > STEPS_MAX {
            return Err(DriveError::Steps);
        }
        Ok(())
    }

    fn count(&mut self, shape: &StepShape, riders: u32, times: &StepTimes) {
        let outcome = &mut self.outcome;
        outcome.steps += 1;
        outcome.riders += u64::from(riders);
        outcome.seated_max = outcome.seated_max.max(self.station.seated());
        for load in &shape.ranks {
            outcome.tokens[0] += load.decode.tokens;
            outcome.tokens[1] += load.prefill.tokens;
        }
        let spent = &mut outcome.spent;
        for stage in &times.stages {
            spent.total += stage.total;
            spent.local += stage.local;
            spent.experts += stage.experts;
            spent.all_to_all += stage.all_to_all;
        }
        spent.hops += times.hops.iter().copied().sum();
    }

    fn finish(mut self) -> Outcome {
        self.outcome.busy = self.track.busy().to_vec();
        self.outcome.memory = self.station.ledger().report();
        self.outcome
    }
}

//! The yard's virtual clock: arrivals, departures and trains that are back, in the order of time.
//!
//! At one instant trains that are back come first, then arrivals, then departures: a request that comes at the moment of a departure
//! rides along.

use crate::arrivals::Arrivals;
use crate::books::{Books, Outcome};
use crate::cost::{StepCost, StepShape, StepTimes};
use crate::error::DriveError;
use crate::metrics::Meter;
use crate::trace::{Ride, Work};
use crate::track::Track;
use crate::trains::{Departure, PrefixCache, Station};
use topology::Picos;

/// What a run needs beside its requests.
pub struct Drive<'a> {
    /// Who waits, who rides, which train leaves when.
    pub station: Station,
    /// How long a step takes, stage by stage.
    pub cost: &'a mut dyn StepCost,
    /// What is kept of prompts.
    pub cache: &'a mut (dyn PrefixCache + Send),
    /// Where latencies are counted.
    pub meter: Meter,
    /// Stages of the pipeline.
    pub stages: usize,
    /// Called with the requests that ended, now and then: progress.
    pub progress: &'a mut (dyn FnMut(u64) + Send),
    /// Of how much at most a timeline is to be made; `None` for none.
    pub trace: Option<usize>,
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
        let Self { station, cost, cache, meter, stages, progress, trace } = self;
        let mut books = Books::new(station, meter, cache, progress);
        books.keep_trace(trace);
        let mut run = Run { books, cost, track: Track::new(stages), riding: Vec::new() };
        run.all(arrivals)?;
        let spans = run.track.spans().to_vec();
        Ok(Outcome { spans, ..run.books.close(run.track.busy().to_vec()) })
    }
}

/// A run under way.
struct Run<'a> {
    books: Books<'a>,
    cost: &'a mut dyn StepCost,
    track: Track,
    /// When each train under way is back, and which it is.
    riding: Vec<(Picos, usize)>,
}

impl Run<'_> {
    /// Notes a ride for a timeline.
    fn note(
        &mut self,
        train: usize,
        (left, back): (Picos, Picos),
        (shape, riders): (&StepShape, u32),
        times: &StepTimes,
    ) {
        let Some(trace) = self.books.trace() else { return };
        let step = shape.step.into();
        trace.ride(step, Ride { train, left, back, riders, tokens: shape.new_tokens() });
        for (stage, (time, &end)) in times.stages.iter().zip(self.track.until()).enumerate() {
            trace.work(step, Work { stage, train, start: end.saturating_sub(time.total), end });
        }
    }

    fn all(&mut self, arrivals: &mut dyn Arrivals) -> Result<(), DriveError> {
        let mut now = Picos::ZERO;
        loop {
            let back = self.riding.iter().min().map(|&(at, _)| at);
            let arrival = arrivals.next_at()?;
            let departure = self.books.station.next_departure(now, self.track.free());
            let next = [back, arrival, departure].into_iter().flatten().min();
            let Some(next) = next else { return Ok(()) };
            now = now.max(next);
            if back.is_some_and(|at| at <= now) {
                if let Some(first) = (0..self.riding.len()).min_by_key(|&index| self.riding[index]) {
                    let (_, train) = self.riding.swap_remove(first);
                    self.books.arrive(train, now, arrivals);
                }
            } else if arrival.is_some_and(|at| at <= now) {
                self.books.offer(now, arrivals)?;
            } else if let Some(Departure { train, shape, riders }) = self.books.depart(now) {
                let times = self.cost.step(&shape)?;
                let back = self.track.ride(now, &times);
                self.note(train, (now, back), (&shape, riders), &times);
                self.riding.push((back, train));
                self.books.count(&shape, riders, &times)?;
            }
        }
    }
}

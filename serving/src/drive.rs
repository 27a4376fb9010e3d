//! The yard's virtual clock: arrivals, departures, trains that are back and caches that come, in the order of time.
//!
//! At one instant trains that are back come first, then caches from pool to pool, then arrivals, then departures: a request that comes at the
//! moment of a departure rides along.

use crate::arrivals::Arrivals;
use crate::books::{Books, Outcome};
use crate::cost::{StepCost, StepShape, StepTimes};
use crate::error::DriveError;
use crate::handover::{Ahead, Handover};
use crate::metrics::{Meter, Slo};
use crate::trace::{Ride, Work};
use crate::track::Track;
use crate::trains::{Departure, Ended, NoCache, PrefixCache, Station};
use topology::Picos;

/// Like deployments behind one queue.
pub struct Pool<'a> {
    /// Who waits, who rides, which train leaves when.
    pub station: Station,
    /// How long a step takes, stage by stage.
    pub cost: &'a mut dyn StepCost,
    /// Stages of the pipeline of each.
    pub stages: usize,
}

impl std::fmt::Debug for Pool<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("station", &self.station)
            .field("stages", &self.stages)
            .finish_non_exhaustive()
    }
}

/// What a run needs beside its requests.
pub struct Drive<'a> {
    /// Who answers.
    pub pool: Pool<'a>,
    /// Who computes prompts, and the way of their caches, where the pool does not do so itself. The stations are of
    /// [prompts](Station::of_prompts) and of [answers](Station::of_answers) then.
    pub ahead: Option<(Pool<'a>, Handover)>,
    /// What is kept of prompts.
    pub cache: &'a mut (dyn PrefixCache + Send),
    /// Where latencies are counted.
    pub meter: Meter,
    /// Called with the requests that ended, now and then: progress.
    pub progress: &'a mut (dyn FnMut(u64) + Send),
    /// Of how much at most a timeline is to be made; `None` for none.
    pub trace: Option<usize>,
}

impl std::fmt::Debug for Drive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drive").field("pool", &self.pool).field("ahead", &self.ahead).finish_non_exhaustive()
    }
}

impl Drive<'_> {
    /// Serves every request of `arrivals`: what came of it, and beside it of the pool that computes prompts, where there is one.
    ///
    /// # Errors
    /// [`DriveError`].
    pub fn run(self, arrivals: &mut dyn Arrivals) -> Result<(Outcome, Option<Ahead>), DriveError> {
        let Self { pool, ahead, cache, meter, progress, trace } = self;
        let (mut nothing, mut unheard) = (NoCache, |_| ());
        let (mut pools, mut handover) = (Vec::new(), None);
        let mut books = Books::new(pool.station, meter, cache, progress);
        books.keep_trace(trace);
        pools.push(Side::new(books, pool.cost, pool.stages));
        if let Some((pool, way)) = ahead {
            let books = Books::new(pool.station, Meter::new(Slo::default()), &mut nothing, &mut unheard);
            pools.push(Side::new(books, pool.cost, pool.stages));
            handover = Some(way);
        }
        let mut run = Run { pools, handover };
        run.all(arrivals)?;
        Ok(run.close())
    }
}

/// A pool at work.
struct Side<'a> {
    books: Books<'a>,
    cost: &'a mut dyn StepCost,
    /// The stages of each replica, and when the first of them is free.
    tracks: Vec<Track>,
    free: Vec<Picos>,
    /// When each train under way is back, and which it is.
    riding: Vec<(Picos, usize)>,
}

impl<'a> Side<'a> {
    fn new(books: Books<'a>, cost: &'a mut dyn StepCost, stages: usize) -> Self {
        let replicas = books.station.replicas();
        let tracks = vec![Track::new(stages); replicas];
        Self { books, cost, tracks, free: vec![Picos::ZERO; replicas], riding: Vec::new() }
    }

    fn next_back(&self) -> Option<Picos> {
        self.riding.iter().min().map(|&(at, _)| at)
    }

    /// The train that is back is emptied of those who have ended.
    fn arrive(&mut self, now: Picos) -> Vec<Ended> {
        let first = (0..self.riding.len()).min_by_key(|&index| self.riding[index]);
        first.map_or_else(Vec::new, |first| {
            let (_, train) = self.riding.swap_remove(first);
            self.books.arrive(train, now)
        })
    }

    /// A train of `replica` leaves; its ride for a timeline.
    fn depart(
        &mut self,
        now: Picos,
        replica: usize,
    ) -> Result<Option<(Departure, Ride, StepTimes)>, DriveError> {
        let Some(departure) = self.books.depart(now, replica) else { return Ok(None) };
        let Departure { train, ref shape, riders } = departure;
        let times = self.cost.step(shape)?;
        let track = &mut self.tracks[replica];
        let back = track.ride(now, &times);
        self.free[replica] = track.free();
        self.riding.push((back, train));
        self.books.count(shape, riders, &times)?;
        let ride = Ride { train, left: now, back, riders, tokens: shape.new_tokens() };
        Ok(Some((departure, ride, times)))
    }

    /// What came of it.
    fn close(self) -> Outcome {
        let busy = self.tracks.iter().flat_map(Track::busy).copied().collect();
        let spans = self.tracks[0].spans().to_vec();
        Outcome { spans, ..self.books.close(busy) }
    }
}

/// A run under way: the pool that answers, and the one ahead of it if there is one.
struct Run<'a> {
    pools: Vec<Side<'a>>,
    handover: Option<Handover>,
}

impl Run<'_> {
    fn all(&mut self, arrivals: &mut dyn Arrivals) -> Result<(), DriveError> {
        let mut now = Picos::ZERO;
        loop {
            let sides = || self.pools.iter().enumerate();
            let back = sides().filter_map(|(side, pool)| Some((pool.next_back()?, side))).min();
            let come = self.handover.as_ref().and_then(Handover::next_at);
            let arrival = arrivals.next_at()?;
            let departure = sides().filter_map(|(side, pool)| {
                let (at, replica) = pool.books.station.next_departure(now, &pool.free)?;
                Some((at, side, replica))
            });
            let departure = departure.min();
            let times = [back.map(|(at, _)| at), come, arrival, departure.map(|(at, ..)| at)];
            let Some(next) = times.into_iter().flatten().min() else { return Ok(()) };
            now = now.max(next);
            if let Some((_, side)) = back.filter(|&(at, _)| at <= now) {
                self.arrive(side, now, arrivals);
            } else if come.is_some_and(|at| at <= now) {
                self.come(now);
            } else if arrival.is_some_and(|at| at <= now) {
                let (answers, ahead) = self.pools.split_at_mut(1);
                let ahead = ahead.first_mut().map(|ahead| &mut ahead.books);
                answers[0].books.offer(now, arrivals, ahead)?;
            } else if let Some((_, side, replica)) = departure {
                self.depart((side, replica), now)?;
            }
        }
    }

    /// A train of `side` is back.
    fn arrive(&mut self, side: usize, now: Picos, arrivals: &mut dyn Arrivals) {
        let ended = self.pools[side].arrive(now);
        for rider in ended {
            match &mut self.handover {
                Some(handover) if side == 1 => handover.done(now, rider, &mut self.pools[0].books.station),
                handover => {
                    arrivals.ended(rider.request.id, now);
                    handover.iter_mut().for_each(|handover| handover.answered(&rider));
                }
            }
        }
    }

    /// Something happens on the way between the pools.
    fn come(&mut self, now: Picos) {
        if let (Some(handover), [answers, prompts]) = (&mut self.handover, &mut self.pools[..]) {
            handover.advance(now, &mut prompts.books.station, &mut answers.books.station);
        }
    }

    /// A train leaves, if anyone on it has anything to do.
    fn depart(&mut self, (side, replica): (usize, usize), now: Picos) -> Result<(), DriveError> {
        let left = self.pools[side].depart(now, replica)?;
        if let (0, Some(handover), [answers, prompts]) = (side, &mut self.handover, &mut self.pools[..]) {
            handover.begin(now, &prompts.books.station, &mut answers.books.station);
        }
        if let Some((departure, ride, times)) = left {
            self.note((side, replica), &departure.shape, ride, &times);
        }
        Ok(())
    }

    /// Notes a ride for a timeline. Trains and stages are numbered on from replica to replica, and from the pool of answers to that of prompts.
    fn note(&mut self, (side, replica): (usize, usize), shape: &StepShape, ride: Ride, times: &StepTimes) {
        let before =
            |pool: &Side<'_>| (pool.books.station.trains(), pool.tracks.len() * pool.tracks[0].busy().len());
        let (trains, stages) = if side == 0 { (0, 0) } else { before(&self.pools[0]) };
        let until = self.pools[side].tracks[replica].until().to_vec();
        let stages = stages + replica * until.len();
        let Some(trace) = self.pools[0].books.trace() else { return };
        let (step, train) = (shape.step.into(), trains + ride.train);
        trace.ride(step, Ride { train, ..ride });
        for (stage, (time, &end)) in times.stages.iter().zip(&until).enumerate() {
            let start = end.saturating_sub(time.total);
            trace.work(step, Work { stage: stages + stage, train, start, end });
        }
    }

    fn close(self) -> (Outcome, Option<Ahead>) {
        let mut outcomes = self.pools.into_iter().map(Side::close);
        let mut outcome = outcomes.next().expect("a run has a pool");
        let ahead = outcomes.next().zip(self.handover).map(|(ahead, handover)| handover.close(ahead));
        if let Some(ahead) = &ahead {
            outcome.meter.wait = ahead.parts.queue.clone();
            // What crosses was computed, in the other pool.
            outcome.meter.cached_tokens = 0;
            outcome.waiting_max = ahead.outcome.waiting_max;
        }
        (outcome, ahead)
    }
}

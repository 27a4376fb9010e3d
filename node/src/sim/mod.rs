//! The in-memory shell: all ranks of a run in one process, on a virtual clock. Equal inputs give equal bytes and times.

mod columns;
mod cores;
mod crossing;
mod drive;
mod error;
mod exchange;
mod layer;
mod uplinks;
mod wakes;

pub use cores::{cores, on_threads};
pub use error::SimError;
pub use exchange::{Exchanged, exchange};

use crate::control::PhaseReport;
use crate::job::JobRunner;
use crate::program::Stop;
use crate::rank::Event;
use crate::seat::Seat;
use crate::setup::{PreparedRun, Setup};
use crate::wire::{Frame, Phase};
use drive::{Driven, drive, lookahead};
use moe::plan::DispatchScheme;
use moe::stack::{Column, KvCache};
use std::collections::VecDeque;
use std::sync::Arc;
use topology::{Picos, RankId};
use uplinks::Uplinks;

/// All seats of a run. What they are to do when is decided elsewhere: it is told to prepare a step, then to go through its stops.
pub struct SimCluster {
    setup: Arc<Setup>,
    /// By stage.
    runs: Vec<Arc<PreparedRun>>,
    runners: Vec<Arc<JobRunner>>,
    /// By half of a batch: halves share nothing but what they are of. None as long as no step needs seats.
    benches: Vec<Bench>,
    /// A step that is prepared and may need none.
    untold: Option<u32>,
    /// What the ranks of such a step pass its other stops with.
    told: VecDeque<(Stop, Vec<Passed>)>,
}

/// Seats that go through stops together, by rank.
struct Bench {
    setup: Arc<Setup>,
    seats: Vec<Seated>,
}

/// How many chunks a seat sends or takes in at a time, where nothing depends on it: bounds the frames in flight.
const BATCH_CHUNKS: u64 = 16;

impl std::fmt::Debug for SimCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimCluster").field("setup", &self.setup).finish_non_exhaustive()
    }
}

impl SimCluster {
    /// Seats every rank of `setup`, caches empty.
    ///
    /// # Errors
    /// When the setup or its routing is impossible.
    pub fn new(setup: Arc<Setup>) -> Result<Self, SimError> {
        setup.validate()?;
        let program = &setup.program;
        let (mut runs, mut runners) = (Vec::new(), Vec::new());
        for stage in 0..program.num_stages() {
            runs.push(Arc::new(PreparedRun::new(Arc::clone(&setup), stage)?));
            runners.push(Arc::new(JobRunner::new(Arc::clone(&setup), stage)?));
        }
        let (benches, untold, told) = (Vec::new(), None, VecDeque::new());
        Ok(Self { setup, runs, runners, benches, untold, told })
    }

    /// The seats, taken when they are needed first.
    fn benches(&mut self) -> &mut [Bench] {
        if self.benches.is_empty() {
            let Self { setup, runs, runners, .. } = self;
            let seated = |rank| {
                let stage = setup.program.stage_of(rank) as usize;
                Seated::new(rank, &runs[stage], &runners[stage])
            };
            let bench = |_| {
                let seats = setup.cluster.ranks().map(seated).collect();
                Bench { setup: Arc::clone(setup), seats }
            };
            self.benches = (0..setup.program.halves()).map(bench).collect();
        }
        &mut self.benches
    }

    /// What the run is defined by.
    #[must_use]
    pub fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }

    /// The gates and weights in use by the first stage.
    #[must_use]
    pub fn runner(&self) -> &JobRunner {
        &self.runners[0]
    }

    /// The cache of a rank of a whole model between two steps, for tests that spoil it; `None` if there is no such rank.
    pub fn cache_mut(&mut self, rank: RankId) -> Option<&mut KvCache> {
        self.benches()[0].seats.get_mut(rank.0 as usize)?.seat.cache_mut()
    }

    /// Command: a rank takes up a step, `columns` by half as in [`crate::control::ToNode::Prepare`].
    ///
    /// # Errors
    /// [`SimError`] when a rule is broken.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn prepare(&mut self, rank: RankId, step: u32, columns: Vec<Column>) -> Result<(), SimError> {
        if layer::may_tell(&self.setup) {
            assert!(rank.0 < self.setup.cluster.num_ranks(), "{rank} is not in the cluster");
            self.untold = Some(step);
            self.told.clear();
            return Ok(());
        }
        self.prepare_seats(rank, step, columns)
    }

    fn prepare_seats(&mut self, rank: RankId, step: u32, columns: Vec<Column>) -> Result<(), SimError> {
        let mut columns = columns.into_iter();
        for (half, bench) in (0..).zip(self.benches()) {
            let seated = &mut bench.seats[rank.0 as usize];
            seated.outputs = None;
            seated.seat.prepare(step, half, columns.next().unwrap_or_default())?;
            seated.serve(Picos::ZERO, &mut Vec::new())?;
        }
        Ok(())
    }

    /// Opens a stop on every seat of its half at time zero, and runs until it has closed on all of them: what each rank reports, and in
    /// the stop in which it finishes what came out, `[tokens][hidden]`, empty rows without payload.
    ///
    /// # Errors
    /// [`SimError`] when a rule is broken or nothing moves any more; the run can't go on then.
    ///
    /// # Panics
    /// If there is no such half.
    pub fn go(&mut self, stop: Stop) -> Result<Vec<Passed>, SimError> {
        if let Some(step) = self.untold.take() {
            match layer::tell(&self.runs[0], &self.runners[0], step) {
                Some(stops) => self.told = stops,
                None => {
                    let mut ranks = self.setup.cluster.ranks();
                    ranks.try_for_each(|rank| self.prepare_seats(rank, step, Vec::new()))?;
                }
            }
        }
        if let Some((_, passed)) = self.told.pop_front_if(|(next, _)| *next == stop) {
            return Ok(passed);
        }
        let bench = &mut self.benches()[usize::from(stop.half)];
        let reports = bench.go(stop)?;
        let passed = |(report, seated): (_, &mut Seated)| (report, seated.outputs.take());
        Ok(reports.into_iter().zip(&mut bench.seats).map(passed).collect())
    }
}

/// A rank's report of a stop, and what came out if it finished in it.
pub type Passed = (PhaseReport, Option<Vec<Vec<f32>>>);

impl Bench {
    /// Opens a stop on every seat and runs until it has closed on all of them.
    fn go(&mut self, stop: Stop) -> Result<Vec<PhaseReport>, SimError> {
        let phase = stop.phase;
        for seated in &mut self.seats {
            seated.closed = None;
            seated.seat.begin(stop)?;
        }
        if let Some(patience) = self.patience(phase) {
            self.seats.iter_mut().for_each(|seated| seated.seat.batch(patience));
        }
        self.drive(phase)?;
        let report = |Seated { seat, closed, .. }: &mut Seated| closed.map(|at| seat.report(phase, at, at));
        let reports: Option<Vec<PhaseReport>> = self.seats.iter_mut().map(report).collect();
        reports.ok_or_else(|| self.stuck(phase))
    }

    /// Why a phase doesn't close: somebody has ended, or a frame was lost.
    fn stuck(&self, phase: Phase) -> SimError {
        let open = || self.seats.iter().filter(|seated| seated.closed.is_none()).map(|seated| &seated.seat);
        // Whose part was over before its end has come through the phase.
        let over = |seated: &&Seated| seated.closed.is_some() && !seated.seat.is_cut_short();
        let under_way = self.seats.iter().filter(|seated| !over(seated)).map(|seated| &seated.seat);
        let ended: Vec<&Seat> = under_way.filter(|seat| seat.ends().is_some()).collect();
        if let Some((_, killed)) = ended.first().and_then(|seat| seat.ends()) {
            let ranks = ended.iter().map(|seat| seat.id()).collect();
            return SimError::Ended { ranks, phase, killed };
        }
        let waits = |seat: &&Seat| !seat.waits_for().is_empty();
        let still: Vec<RankId> = open().filter(waits).map(Seat::id).collect();
        let pairs = open().flat_map(|seat| seat.waits_for().into_iter().map(move |from| (seat.id(), from)));
        // One who waits itself is not to blame.
        let first = pairs.clone().find(|(_, from)| !still.contains(from)).or_else(|| pairs.clone().next());
        match first {
            Some((rank, from)) => SimError::Stuck { rank, phase, from: Some(from) },
            None => SimError::Stuck { rank: open().next().map_or(RankId(0), Seat::id), phase, from: None },
        }
    }

    /// How late seats may be served in the phase that has begun without any time coming out differently.
    ///
    /// Where nobody forwards and no flow needs credit, what a rank takes in has no effect on others before the phase's end.
    /// Seats then work in batches, each with its memory at hand.
    fn patience(&self, phase: Phase) -> Option<Picos> {
        let alone = self.setup.scheme != DispatchScheme::Hierarchical;
        let free = alone && !self.seats.iter().any(|seated| seated.seat.needs_credit());
        let fabric = self.setup.phase_links(phase).fabric;
        let links = [fabric.scale_up, fabric.scale_out];
        let used = &links[..self.setup.cluster.num_racks().min(2) as usize];
        let chunks = BATCH_CHUNKS * self.setup.chunk_bytes();
        free.then(|| used.iter().map(|link| link.rate.transfer(chunks)).max().unwrap_or(Picos::ZERO))
    }

    /// Runs until nothing moves.
    fn drive(&mut self, phase: Phase) -> Result<(), SimError> {
        let (cluster, fabric) = (&self.setup.cluster, self.setup.phase_links(phase).fabric);
        drive(&mut self.seats, lookahead(cluster, &fabric), Uplinks::new(cluster, &fabric))
    }
}

/// A seat with what its phase and step have yielded.
struct Seated {
    seat: Seat,
    runner: Arc<JobRunner>,
    closed: Option<Picos>,
    outputs: Option<Vec<Vec<f32>>>,
}

impl Seated {
    fn new(id: RankId, run: &Arc<PreparedRun>, runner: &Arc<JobRunner>) -> Self {
        let seat = Seat::new(id, run, Picos::ZERO, Picos::ZERO);
        Self { seat, runner: Arc::clone(runner), closed: None, outputs: None }
    }
}

impl Driven for Seated {
    fn serve(&mut self, now: Picos, out: &mut Vec<Frame>) -> Result<(), SimError> {
        // Once is enough: what follows asks nothing more of what went before.
        while self.seat.deliver(now)?.is_some() {}
        while let Some(mut job) = self.seat.poll_job() {
            let output = self.runner.run(self.seat.id(), &mut job.work);
            self.seat.handle_done(job.ready.saturating_add(job.charge), job.id, output)?;
        }
        while let Some(frame) = self.seat.poll_transmit(now) {
            out.push(frame);
        }
        while let Some(event) = self.seat.poll_event() {
            match event {
                Event::Prepared => {}
                Event::Closed { at, .. } => self.closed = Some(at),
                Event::Finished { outputs } => self.outputs = Some(outputs),
            }
        }
        Ok(())
    }

    fn handle_arrival(&mut self, now: Picos, frame: Frame) -> Result<(), SimError> {
        Ok(self.seat.handle_arrival(now, frame)?)
    }

    fn wake_for(&self, arrive: Picos) -> Picos {
        self.seat.wake_for(arrive)
    }

    fn poll_timeout(&self) -> Option<Picos> {
        self.seat.poll_timeout()
    }
}

//! The in-memory shell: all ranks of a run in one process, on a virtual clock. Equal inputs give equal bytes and times.

mod drive;
mod exchange;
mod stack;
mod wakes;

pub use exchange::{Exchanged, exchange};
pub use stack::{SimStack, StackStep};

use crate::control::PhaseReport;
use crate::job::JobRunner;
use crate::rank::Event;
use crate::seat::{Seat, SeatError};
use crate::setup::{PreparedRun, RunSetup, SetupError};
use crate::wire::{Flow, Frame, Phase};
use drive::{Station, drive, lookahead};
use moe::plan::DispatchScheme;
use moe::routing::RoutingError;
use moe::stack::BatchError;
use std::sync::Arc;
use thiserror::Error;
use topology::{Picos, RankId};

/// Why a simulated run ended early.
#[derive(Debug, Error)]
pub enum SimError {
    /// The setup is impossible.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The batch is impossible.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The routing can't be made.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// A rank saw a broken rule.
    #[error(transparent)]
    Seat(#[from] SeatError),
    /// An exchange in chunks of nothing.
    #[error("a chunk has 0 bytes; give at least 1")]
    Chunk,
    /// Nothing moves and some rank still waits.
    #[error("{rank} never closed its {phase:?} phase: every queue is empty, a frame was lost")]
    Stuck {
        /// The first rank that waits.
        rank: RankId,
        /// Its phase.
        phase: Phase,
    },
}

/// What a simulated step yields, by rank.
#[derive(Debug)]
pub struct SimStep {
    /// Dispatch, expert and combine, each `[num_ranks]`.
    pub phases: [Vec<PhaseReport>; 3],
    /// Outputs, `[num_ranks][tokens][hidden]`.
    pub outputs: Vec<Vec<Vec<f32>>>,
}

/// A filter on frames between send and arrival, for fault tests: what it returns arrives.
pub type Tamper = Box<dyn FnMut(Frame) -> Vec<Frame> + Send>;

/// All seats of a run of one layer.
pub struct SimCluster {
    runner: Arc<JobRunner>,
    bench: Bench,
}

/// Seats that go through phases together.
struct Bench {
    /// That of any seat: what phases have in common.
    setup: Arc<RunSetup>,
    seats: Vec<Seated>,
    tamper: Option<Tamper>,
}

/// How many chunks a seat sends or takes in at a time, where nothing depends on it: bounds the frames in flight.
const BATCH_CHUNKS: u64 = 16;

impl std::fmt::Debug for SimCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimCluster").field("seats", &self.bench.seats.len()).finish_non_exhaustive()
    }
}

impl SimCluster {
    /// Seats every rank of `setup`.
    ///
    /// # Errors
    /// When the setup or its routing is impossible.
    pub fn new(setup: Arc<RunSetup>) -> Result<Self, SimError> {
        let run = Arc::new(PreparedRun::new(Arc::clone(&setup))?);
        let runner = Arc::new(JobRunner::new(Arc::clone(&setup))?);
        let seats = setup.cluster.ranks().map(|id| Seated::new(id, &run, &runner)).collect();
        Ok(Self { runner, bench: Bench { setup, seats, tamper: None } })
    }

    /// The gate and weights in use.
    #[must_use]
    pub fn runner(&self) -> &JobRunner {
        &self.runner
    }

    /// Puts a filter between send and arrival.
    pub fn set_tamper(&mut self, tamper: Tamper) {
        self.bench.tamper = Some(tamper);
    }

    /// Runs one step, its phases in lockstep: each opens at time zero on every rank once the one before has closed everywhere.
    ///
    /// # Errors
    /// [`SimError`] when a rule is broken or nothing moves any more.
    pub fn step(&mut self, step: u32) -> Result<SimStep, SimError> {
        let bench = &mut self.bench;
        let setup = &bench.setup;
        let flow = Flow {
            cluster: setup.cluster_id,
            run: setup.run,
            epoch: setup.epoch,
            step,
            micro_batch: 0,
            layer: setup.layer,
        };
        for seated in &mut bench.seats {
            seated.seat.prepare(flow);
        }
        bench.drive(Phase::Dispatch)?;
        let mut reports: [Vec<PhaseReport>; 3] = Default::default();
        for (phase, reports) in PHASES.into_iter().zip(&mut reports) {
            *reports = bench.phase(phase, |seat| seat.begin(phase))?;
        }
        let outputs = bench.seats.iter_mut().map(|seated| std::mem::take(&mut seated.outputs)).collect();
        Ok(SimStep { phases: reports, outputs })
    }
}

/// Of a run of one layer, in order.
const PHASES: [Phase; 3] = [Phase::Dispatch, Phase::Expert, Phase::Combine];

impl Bench {
    /// Opens a phase on every seat and runs until it has closed on all of them.
    fn phase(
        &mut self,
        phase: Phase,
        begin: impl Fn(&mut Seat) -> Result<(), SeatError>,
    ) -> Result<Vec<PhaseReport>, SimError> {
        for seated in &mut self.seats {
            seated.closed = None;
            begin(&mut seated.seat)?;
        }
        if let Some(patience) = self.patience(phase) {
            self.seats.iter_mut().for_each(|seated| seated.seat.batch(patience));
        }
        self.drive(phase)?;
        let report = |Seated { seat, closed, .. }: &Seated| {
            let at = closed.ok_or_else(|| SimError::Stuck { rank: seat.id(), phase })?;
            let nic = seat.nic().expect("a phase has a card");
            Ok(PhaseReport {
                phase,
                measured: at,
                stamped: at,
                frames: nic.frames_received(),
                overtaken: nic.overtaken(),
                lateness_ns: Vec::new(),
                sent_bytes: nic.sent_bytes(),
                cpu_ns: 0,
                udp_bytes: 0,
            })
        };
        self.seats.iter().map(report).collect()
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
        let fabric = self.setup.phase_links(phase).fabric;
        drive(&mut self.seats, lookahead(&self.setup.cluster, &fabric), &mut self.tamper)
    }
}

/// A seat with what its phase and step have yielded.
struct Seated {
    seat: Seat,
    runner: Arc<JobRunner>,
    closed: Option<Picos>,
    outputs: Vec<Vec<f32>>,
}

impl Seated {
    fn new(id: RankId, run: &Arc<PreparedRun>, runner: &Arc<JobRunner>) -> Self {
        let seat = Seat::new(id, run, Picos::ZERO, Picos::ZERO);
        Self { seat, runner: Arc::clone(runner), closed: None, outputs: Vec::new() }
    }
}

impl Station for Seated {
    fn serve(&mut self, now: Picos, out: &mut Vec<Frame>) -> Result<(), SimError> {
        loop {
            let mut moved = false;
            while self.seat.deliver(now)?.is_some() {
                moved = true;
            }
            while let Some(mut job) = self.seat.poll_job() {
                let output = self.runner.run(self.seat.id(), &mut job.work);
                self.seat.handle_done(job.ready + job.charge, job.id, output)?;
                moved = true;
            }
            while let Some(frame) = self.seat.poll_transmit(now) {
                out.push(frame);
                moved = true;
            }
            while let Some(event) = self.seat.poll_event() {
                match event {
                    Event::Prepared => {}
                    Event::Closed { at, .. } => self.closed = Some(at),
                    Event::Finished { outputs } => self.outputs = outputs,
                }
            }
            if !moved {
                return Ok(());
            }
        }
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

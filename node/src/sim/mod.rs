//! The in-memory shell: all ranks of a run in one process, on a virtual clock. Equal inputs give equal bytes and times.

mod wakes;

use crate::control::PhaseReport;
use crate::job::JobRunner;
use crate::rank::Event;
use crate::seat::{Seat, SeatError};
use crate::setup::{PreparedRun, RunSetup, SetupError};
use crate::wire::{Flow, Frame, Phase};
use moe::plan::DispatchScheme;
use moe::routing::RoutingError;
use std::sync::Arc;
use thiserror::Error;
use topology::{Picos, RankId};
use wakes::Wakes;

/// Why a simulated run ended early.
#[derive(Debug, Error)]
pub enum SimError {
    /// The setup is impossible.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The routing can't be made.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// A rank saw a broken rule.
    #[error(transparent)]
    Seat(#[from] SeatError),
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
pub type Tamper = Box<dyn FnMut(Frame) -> Vec<Frame>>;

/// All seats of a run.
pub struct SimCluster {
    setup: Arc<RunSetup>,
    runner: Arc<JobRunner>,
    seats: Vec<Seat>,
    tamper: Option<Tamper>,
    exact_order: bool,
}

/// How many chunks a seat sends or takes in at a time, where nothing depends on it: bounds the frames in flight.
const BATCH_CHUNKS: u64 = 16;

impl std::fmt::Debug for SimCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimCluster").field("seats", &self.seats.len()).finish_non_exhaustive()
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
        let seat = |id| Seat::new(id, &run, Picos::ZERO, Picos::ZERO);
        let seats = setup.cluster.ranks().map(seat).collect();
        Ok(Self { setup, runner, seats, tamper: None, exact_order: false })
    }

    /// The gate and weights in use.
    #[must_use]
    pub fn runner(&self) -> &JobRunner {
        &self.runner
    }

    /// Serves every seat at the very time of each event, in their order over all seats: what batches are held against.
    pub fn set_exact_order(&mut self) {
        self.exact_order = true;
    }

    /// Puts a filter between send and arrival.
    pub fn set_tamper(&mut self, tamper: Tamper) {
        self.tamper = Some(tamper);
    }

    /// Runs one step, its phases in lockstep: each opens at time zero on every rank once the one before has closed everywhere.
    ///
    /// # Errors
    /// [`SimError`] when a rule is broken or nothing moves any more.
    pub fn step(&mut self, step: u32) -> Result<SimStep, SimError> {
        let setup = &self.setup;
        let flow = Flow {
            cluster: setup.cluster_id,
            run: setup.run,
            epoch: setup.epoch,
            step,
            micro_batch: 0,
            layer: setup.layer,
        };
        let ranks = self.seats.len();
        let mut outputs = vec![Vec::new(); ranks];
        for seat in &mut self.seats {
            seat.prepare(flow);
        }
        let mut prepared = vec![None; ranks];
        self.drive(&mut prepared, &mut outputs)?;
        let phases = [Phase::Dispatch, Phase::Expert, Phase::Combine];
        let mut reports: [Vec<PhaseReport>; 3] = Default::default();
        for (phase, reports) in phases.into_iter().zip(&mut reports) {
            for seat in &mut self.seats {
                seat.begin(phase)?;
            }
            if let Some(patience) = self.patience() {
                self.seats.iter_mut().for_each(|seat| seat.batch(patience));
            }
            let mut closed = vec![None; ranks];
            self.drive(&mut closed, &mut outputs)?;
            for (seat, at) in self.seats.iter().zip(closed) {
                let at = at.ok_or_else(|| SimError::Stuck { rank: seat.id(), phase })?;
                let nic = seat.nic().expect("a phase has a card");
                reports.push(PhaseReport {
                    phase,
                    measured: at,
                    stamped: at,
                    frames: nic.frames_received(),
                    overtaken: nic.overtaken(),
                    lateness_ns: Vec::new(),
                    sent_bytes: nic.sent_bytes(),
                    cpu_ns: 0,
                    udp_bytes: 0,
                });
            }
        }
        Ok(SimStep { phases: reports, outputs })
    }

    /// How late seats may be served in the phase that has begun without any time coming out differently.
    ///
    /// Where nobody forwards and no flow needs credit, what a rank takes in has no effect on others before the phase's end.
    /// Seats then work in batches, each with its memory at hand: a thousand ranks are simulated twice as fast.
    fn patience(&self) -> Option<Picos> {
        let alone = self.setup.scheme != DispatchScheme::Hierarchical;
        let free = alone && !self.exact_order && !self.seats.iter().any(Seat::needs_credit);
        let links = [self.setup.fabric.scale_up, self.setup.fabric.scale_out];
        let used = &links[..self.setup.cluster.num_racks().min(2) as usize];
        let chunks = BATCH_CHUNKS * self.setup.chunk_bytes();
        free.then(|| used.iter().map(|link| link.rate.transfer(chunks)).max().unwrap_or(Picos::ZERO))
    }

    /// How long after a seat has done something others can feel it at the earliest: the shortest latency in use.
    fn lookahead(&self) -> Picos {
        let (cluster, fabric) = (&self.setup.cluster, &self.setup.fabric);
        let inside = cluster.rack_sizes().iter().any(|&size| size > 1).then_some(fabric.scale_up.latency);
        let between = (cluster.num_racks() > 1).then_some(fabric.scale_out.latency);
        let shortest = inside.into_iter().chain(between).min().unwrap_or(Picos::ZERO);
        if self.exact_order { Picos::ZERO } else { shortest }
    }

    /// Runs until nothing moves.
    ///
    /// Time goes in windows as long as the lookahead. What a seat does in a window reaches others after its end, so each seat
    /// goes through its own events of a window at once, in their order, while its memory is at hand.
    fn drive(&mut self, closed: &mut [Option<Picos>], outputs: &mut [Vec<Vec<f32>>]) -> Result<(), SimError> {
        let mut wakes = Wakes::new(self.seats.len(), Picos::ZERO);
        let lookahead = self.lookahead();
        while let Some((start, _)) = wakes.first() {
            let end = start.saturating_add(lookahead.max(Picos(1)));
            while let Some((mut now, at)) = wakes.first().filter(|(time, _)| *time < end) {
                loop {
                    wakes.set(at, Picos::MAX);
                    self.serve(at, now, closed, outputs, &mut wakes)?;
                    let next = self.seats[at].poll_timeout().map_or(Picos::MAX, |next| next.max(now));
                    if next >= end || lookahead == Picos::ZERO {
                        wakes.set(at, next.min(wakes.of(at)));
                        break;
                    }
                    now = next;
                }
            }
        }
        Ok(())
    }

    /// Everything that one seat can do at `now`.
    fn serve(
        &mut self,
        at: usize,
        now: Picos,
        closed: &mut [Option<Picos>],
        outputs: &mut [Vec<Vec<f32>>],
        wakes: &mut Wakes,
    ) -> Result<(), SimError> {
        loop {
            let mut moved = false;
            while self.seats[at].deliver(now)?.is_some() {
                moved = true;
            }
            while let Some(job) = self.seats[at].poll_job() {
                let output = self.runner.run(self.seats[at].id(), &job.work);
                self.seats[at].handle_done(job.ready + job.charge, job.id, output)?;
                moved = true;
            }
            while let Some(frame) = self.seats[at].poll_transmit(now) {
                moved = true;
                let Some(tamper) = &mut self.tamper else {
                    self.carry(now, frame, wakes)?;
                    continue;
                };
                for frame in tamper(frame) {
                    self.carry(now, frame, wakes)?;
                }
            }
            while let Some(event) = self.seats[at].poll_event() {
                match event {
                    Event::Prepared => {}
                    Event::Closed { at: time, .. } => closed[at] = Some(time),
                    Event::Finished { outputs: values } => outputs[at] = values,
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// Hands a frame to its receiver.
    fn carry(&mut self, now: Picos, frame: Frame, wakes: &mut Wakes) -> Result<(), SimError> {
        let (to, arrive) = (frame.destination.0 as usize, frame.arrive);
        self.seats[to].handle_arrival(now, frame)?;
        let wake = self.seats[to].wake_for(arrive);
        if wake < wakes.of(to) {
            wakes.set(to, wake);
        }
        Ok(())
    }
}

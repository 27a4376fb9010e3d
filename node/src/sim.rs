//! The in-memory shell: all ranks of a run in one process, on a virtual clock. Equal inputs give equal bytes and times.

use crate::control::PhaseReport;
use crate::job::JobRunner;
use crate::rank::Event;
use crate::seat::{Seat, SeatError};
use crate::setup::{RunSetup, SetupError};
use crate::wire::{Flow, Frame, Phase};
use moe::routing::RoutingError;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use thiserror::Error;
use topology::{Picos, RankId};

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
    wakes: BinaryHeap<Reverse<(Picos, u64, u32)>>,
    wake_count: u64,
    tamper: Option<Tamper>,
}

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
        setup.validate()?;
        let runner = Arc::new(JobRunner::new(Arc::clone(&setup))?);
        let flows = Arc::new(setup.flows());
        let seats =
            setup.cluster.ranks().map(|id| Seat::new(id, &setup, &flows, Picos::ZERO, Picos::ZERO)).collect();
        Ok(Self { setup, runner, seats, wakes: BinaryHeap::new(), wake_count: 0, tamper: None })
    }

    /// The gate and weights in use.
    #[must_use]
    pub fn runner(&self) -> &JobRunner {
        &self.runner
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
                    sent_bytes: nic.sent_bytes().to_vec(),
                    cpu_ns: 0,
                    udp_bytes: 0,
                });
            }
        }
        Ok(SimStep { phases: reports, outputs })
    }

    /// Runs until nothing moves.
    fn drive(&mut self, closed: &mut [Option<Picos>], outputs: &mut [Vec<Vec<f32>>]) -> Result<(), SimError> {
        for at in 0..self.seats.len() {
            self.wake(Picos::ZERO, at);
        }
        let mut due = vec![Picos::MAX; self.seats.len()];
        while let Some(Reverse((now, _, rank))) = self.wakes.pop() {
            let at = rank as usize;
            due[at] = Picos::MAX;
            self.serve(at, now, closed, outputs, &mut due)?;
            if let Some(next) = self.seats[at].poll_timeout().map(|next| next.max(now))
                && next < due[at]
            {
                due[at] = next;
                self.wake(next, at);
            }
        }
        Ok(())
    }

    fn wake(&mut self, time: Picos, at: usize) {
        self.wake_count += 1;
        let rank = u32::try_from(at).expect("ranks are bounded");
        self.wakes.push(Reverse((time, self.wake_count, rank)));
    }

    /// Everything that one seat can do at `now`.
    fn serve(
        &mut self,
        at: usize,
        now: Picos,
        closed: &mut [Option<Picos>],
        outputs: &mut [Vec<Vec<f32>>],
        due: &mut [Picos],
    ) -> Result<(), SimError> {
        loop {
            let mut moved = self.seats[at].deliver(now)?.is_some();
            while let Some(job) = self.seats[at].poll_job() {
                let output = self.runner.run(self.seats[at].id(), &job.work);
                self.seats[at].handle_done(job.ready + job.charge, job.id, output)?;
                moved = true;
            }
            while let Some(frame) = self.seats[at].poll_transmit(now) {
                moved = true;
                let arrivals = match &mut self.tamper {
                    Some(tamper) => tamper(frame),
                    None => vec![frame],
                };
                for frame in arrivals {
                    let (to, arrive) = (frame.destination.0 as usize, frame.arrive);
                    self.seats[to].handle_arrival(now, frame)?;
                    if arrive < due[to] {
                        due[to] = arrive;
                        self.wake(arrive, to);
                    }
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
}

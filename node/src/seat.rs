//! A rank and its card as one unit, driven by either shell: the in-memory one and the QUIC one call exactly this.
//!
//! Times are emulated picoseconds since the phase's start. After any input, poll [`Seat::poll_job`], [`Seat::poll_transmit`],
//! [`Seat::poll_event`] until they say `None`, then wait until [`Seat::poll_timeout`] or the next input.

use crate::control::PhaseReport;
use crate::fault::Faults;
use crate::job::{Job, JobId, JobOutput};
use crate::nic::{Nic, NicConfig, NicError};
use crate::program::Stop;
use crate::rank::{Event, Rank, RankError, Send};
use crate::setup::PreparedRun;
use crate::trace::{JobTrace, PhaseTrace};
use crate::wire::{Flow, Frame, Phase};
use moe::stack::{Column, KvCache};
use std::sync::Arc;
use thiserror::Error;
use topology::{Picos, RankId};

/// A broken rule of the protocol, at either layer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SeatError {
    /// Seen by the rank.
    #[error(transparent)]
    Rank(#[from] RankError),
    /// Seen by the card.
    #[error("{rank}: {error}")]
    Nic {
        /// The rank whose card complains.
        rank: RankId,
        /// What it saw.
        error: NicError,
    },
    /// A frame of another step or phase than the one under way.
    #[error("{rank} got a frame of step {got:?} in {got_phase:?} while in {at:?}")]
    Stale {
        /// This rank.
        rank: RankId,
        /// The frame's flow.
        got: Box<Flow>,
        /// The frame's phase.
        got_phase: Phase,
        /// The phase under way.
        at: Option<Phase>,
    },
}

/// A delivered frame's due time, for the shell that measures how late it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Emulated time at which the frame's last byte left the ingress port.
    pub due: Picos,
    /// Number of rows in it.
    pub rows: u32,
}

/// One rank and its card.
#[derive(Debug)]
pub struct Seat {
    rank: Rank,
    run: Arc<PreparedRun>,
    horizon: Picos,
    resolution: Picos,
    flow: Option<Flow>,
    /// Where the half's program goes on.
    next: usize,
    at: Option<(Flow, Phase)>,
    /// The card, in a phase in which rows travel here.
    nic: Option<Nic>,
    /// In a phase of a run with faults.
    faults: Option<Box<Faults>>,
    /// In a step that is traced: what is kept besides what the card keeps.
    trace: Option<Box<PhaseTrace>>,
}

impl Seat {
    /// An idle seat. `horizon` and `resolution` are the shell's (see [`NicConfig`]): zero on a virtual clock.
    #[must_use]
    pub fn new(id: RankId, run: &Arc<PreparedRun>, horizon: Picos, resolution: Picos) -> Self {
        let rank = Rank::new(id, Arc::clone(run));
        let (flow, at, nic) = (None, None, None);
        let (faults, trace) = (None, None);
        Self { rank, run: Arc::clone(run), horizon, resolution, flow, next: 0, at, nic, faults, trace }
    }

    /// This seat's rank.
    #[must_use]
    pub fn id(&self) -> RankId {
        self.rank.id()
    }

    /// Step and phase under way.
    #[must_use]
    pub fn at(&self) -> Option<(Flow, Phase)> {
        self.at
    }

    /// Ranks whose rows of the phase under way have not all come, ascending.
    #[must_use]
    pub fn waits_for(&self) -> Vec<RankId> {
        self.nic.as_ref().map(Nic::waits_for).unwrap_or_default()
    }

    /// True when the card has nothing left to send.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.nic.as_ref().is_none_or(Nic::is_idle)
    }

    /// What the card has counted in `phase`, which has closed: by the stamps at `stamped`, by the shell's clock at `measured`. What else
    /// only a shell can know is 0. What was kept for a timeline goes with it.
    #[must_use]
    pub fn report(&mut self, phase: Phase, stamped: Picos, measured: Picos) -> PhaseReport {
        let trace = self.take_trace();
        let nic = self.nic.as_ref();
        PhaseReport {
            phase,
            measured,
            stamped,
            frames: nic.map_or(0, Nic::frames_received),
            overtaken: nic.map_or(0, Nic::overtaken),
            lateness_ns: Vec::new(),
            sent_bytes: nic.map(Nic::sent_bytes).unwrap_or_default(),
            cpu_ns: 0,
            udp_bytes: 0,
            faults: self.faults.as_ref().map_or(0, |faults| faults.struck()),
            trace,
        }
    }

    fn take_trace(&mut self) -> PhaseTrace {
        let Some(trace) = &mut self.trace else { return PhaseTrace::default() };
        let mut trace = std::mem::take(&mut **trace);
        if let Some(nic) = &mut self.nic {
            nic.take_trace(&mut trace);
        }
        trace.jobs.sort_unstable();
        trace
    }

    /// Command: prepare step number `step`; in a whole model `column` is what enters the first stage, and `half` whose half it is.
    ///
    /// # Errors
    /// As [`Rank::prepare`].
    pub fn prepare(&mut self, step: u32, half: u16, column: Column) -> Result<(), SeatError> {
        let flow = self.run.flow(step, half);
        (self.flow, self.next, self.at, self.nic) = (Some(flow), 0, None, None);
        self.faults = None;
        let setup = self.run.setup();
        let tracing = setup.tracing.filter(|tracing| tracing.covers(setup.first_step.saturating_add(step)));
        self.trace = tracing.map(|_| Box::default());
        Ok(self.rank.prepare(flow, column)?)
    }

    /// The cache of a seat of a whole model, for tests that spoil it; `None` while a job has it.
    pub fn cache_mut(&mut self) -> Option<&mut KvCache> {
        self.rank.cache_mut()
    }

    /// Command: open the next stop of the half's program, with free ports at time zero.
    ///
    /// # Errors
    /// [`SeatError`] when it can't begin.
    pub fn begin(&mut self, stop: Stop) -> Result<(), SeatError> {
        let order = RankError::PhaseOrder { rank: self.id(), phase: stop.phase };
        let of_step = self.flow.ok_or_else(|| order.clone())?;
        let mut rest = (self.next..).zip(&self.run.stops()[self.next..]);
        let next = rest.find(|(_, next)| next.half == of_step.micro_batch);
        let (at, _) = next.filter(|(_, next)| **next == stop).ok_or(order)?;
        self.next = at + 1;
        let flow = Flow { layer: self.run.layer_on_frames(stop), ..of_step };
        self.at = Some((flow, stop.phase));
        self.faults = Faults::of(self.run.setup(), self.run.cluster(), self.id(), flow, stop.phase);
        let travels = !stop.phase.computes() && self.run.takes_part(stop);
        self.nic = travels.then(|| self.card(flow, stop.phase));
        self.rank.begin(stop, flow)?;
        self.flush();
        Ok(())
    }

    /// A card for a phase.
    fn card(&self, flow: Flow, phase: Phase) -> Nic {
        let (horizon, resolution) = (self.horizon, self.resolution);
        let config = NicConfig { horizon, resolution, ..self.run.setup().nic_config(phase) };
        let (id, cluster) = (self.id(), Arc::clone(self.run.cluster()));
        let mut nic = Nic::new(id, cluster, &config, flow, phase, self.run.peers(id, flow, phase));
        if let Some(faults) = &self.faults {
            nic.set_paces(faults.ports());
        }
        if let Some(tracing) = self.run.setup().tracing.filter(|_| self.trace.is_some()) {
            nic.trace(tracing.every);
        }
        nic
    }

    /// Input: a frame came in physically.
    ///
    /// # Errors
    /// [`SeatError`] when it is not of the phase under way, or breaks the card's rules.
    pub fn handle_arrival(&mut self, now: Picos, frame: Frame) -> Result<(), SeatError> {
        let (rank, at) = (self.id(), self.at());
        match &mut self.nic {
            Some(nic) if at == Some((frame.flow, frame.phase)) => {
                nic.handle_arrival(now, frame).map_err(|error| SeatError::Nic { rank, error })
            }
            _ => Err(SeatError::Stale {
                rank,
                got: Box::new(frame.flow),
                got_phase: frame.phase,
                at: at.map(|(_, phase)| phase),
            }),
        }
    }

    /// Input: a job is done at `now`.
    ///
    /// # Errors
    /// [`SeatError`] when the output is not of the kind asked for.
    pub fn handle_done(&mut self, now: Picos, job: JobId, output: JobOutput) -> Result<(), SeatError> {
        self.rank.handle_done(now, job, output)?;
        self.flush();
        Ok(())
    }

    /// Hands the next frame that is due by `now` to the rank.
    ///
    /// # Errors
    /// [`SeatError`] when a row in it is wrong.
    pub fn deliver(&mut self, now: Picos) -> Result<Option<Delivery>, SeatError> {
        let Some((due, frame)) = self.nic.as_mut().and_then(|nic| nic.poll_deliver(now)) else {
            return Ok(None);
        };
        if self.has_ended_by(due) {
            return Ok(None);
        }
        let rows = u32::try_from(frame.rows.len()).expect("bounded by the frame");
        self.rank.handle_frame(due, frame)?;
        self.flush();
        Ok(Some(Delivery { due, rows }))
    }

    /// The next frame to send when it is `now`.
    pub fn poll_transmit(&mut self, now: Picos) -> Option<Frame> {
        let nic = self.nic.as_mut()?;
        let Some(faults) = &mut self.faults else { return nic.poll_transmit(now) };
        loop {
            if let Some(frame) = faults.poll() {
                return Some(frame);
            }
            faults.pass(nic.poll_transmit(now)?);
        }
    }

    /// The next job. One that its rank doesn't live to end is none.
    pub fn poll_job(&mut self) -> Option<Job> {
        loop {
            let mut job = self.rank.poll_job()?;
            if let Some(faults) = &self.faults {
                let Some(charge) = faults.charge(job.ready, job.charge) else { continue };
                job.charge = charge;
            }
            if let Some(trace) = &mut self.trace {
                let (start, end) = (job.ready, job.ready.saturating_add(job.charge));
                trace.job(JobTrace { start, end, kind: job.work.kind() });
            }
            return Some(job);
        }
    }

    /// When the rank ends in the phase under way by the run's faults, and whether its process does.
    #[must_use]
    pub fn ends(&self) -> Option<(Picos, bool)> {
        self.faults.as_ref()?.ends()
    }

    /// Whether the rank's part of the phase can't be over: its end keeps something from leaving.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.ends().is_some()
            && (!self.is_idle() || self.faults.as_ref().is_some_and(|faults| faults.cut_short()))
    }

    fn has_ended_by(&self, time: Picos) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.is_past(time))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.rank.poll_event()
    }

    /// Emulated time at which [`Seat::deliver`] or [`Seat::poll_transmit`] can next do something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Picos> {
        self.nic.as_ref()?.poll_timeout().filter(|&time| !self.has_ended_by(time))
    }

    /// As [`Nic::needs_credit`]; false between phases.
    #[must_use]
    pub fn needs_credit(&self) -> bool {
        self.nic.as_ref().is_some_and(Nic::needs_credit)
    }

    /// As [`Nic::batch`].
    pub fn batch(&mut self, patience: Picos) {
        if let Some(nic) = &mut self.nic {
            nic.batch(patience);
        }
    }

    /// As [`Nic::wake_for`].
    #[must_use]
    pub fn wake_for(&self, arrive: Picos) -> Picos {
        self.nic.as_ref().map_or(arrive, |nic| nic.wake_for(arrive))
    }

    /// Moves what the rank wants sent into the card's queues.
    fn flush(&mut self) {
        let me = self.id();
        while let Some(send) = self.rank.poll_send() {
            let (Some(nic), Some((_, phase))) = (&mut self.nic, self.at) else { continue };
            match send {
                Send::Row { to, row } => nic.enqueue(to, row),
                Send::Close { to, at } => {
                    let class = self.run.setup().cluster.link_class(me, to);
                    nic.close(to, at.max(self.run.setup().phase_links(phase).open_until(class)));
                }
                Send::Grant { to, bytes, at } => nic.grant(to, bytes, at),
            }
        }
    }
}

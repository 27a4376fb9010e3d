//! The run under way on a worker: its seat, its clock, and what it measures. A run in two halves has two of them.

use super::clock::{HORIZON_NS, PhaseClock};
use super::error::ActiveError;
use super::links::Links;
use super::tally::Tally;
use crate::control::{FromNode, NodeId, Pacing, PhaseReport, SeatPlan};
use crate::digest::token_digest;
use crate::job::{Job, JobId, JobOutput, JobRunner, Work};
use crate::net::clock::{monotonic_ns, process_cpu_ns};
use crate::program::Stop;
use crate::rank::Event;
use crate::seat::Seat;
use crate::setup::{PreparedRun, Setup};
use crate::wire::{Flow, Frame, Phase};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use moe::stack::Column;
use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::task::JoinHandle;
use topology::{Picos, RankId};

/// A finished job.
pub(super) type Output = Result<(Job, JobOutput), String>;

/// Frames of one peer of a phase that this worker has not been told to open yet: those that its credit allows, marks and grants.
const EARLY_FRAMES_MAX: usize = 1024;
/// How much later than a port can be reserved a stamp may be, wall ns: clocks of two machines differ.
const STAMP_AHEAD_NS: u64 = 2_000_000_000;

pub(super) struct Active {
    /// Which half of the batches is seated here.
    half: u16,
    rank: RankId,
    setup: Arc<Setup>,
    seat: Seat,
    runner: Arc<JobRunner>,
    nodes: Vec<NodeId>,
    pacing: Pacing,
    clock: PhaseClock,
    step: u32,
    early: Vec<Frame>,
    /// Frames and bytes in it by sender, `[num_ranks]`.
    early_of: Vec<(usize, u64)>,
    job: Option<JoinHandle<(Job, JobOutput)>>,
    /// A finished job whose charge has not passed yet.
    charged: Option<(Picos, JobId, JobOutput)>,
    /// When a fault ends the rank in the phase under way, wall ns, and whether as if killed.
    ends: Option<(u64, bool)>,
    lateness_ns: Histogram<u64>,
    handed_ns: u64,
    closed: Option<(Phase, Picos)>,
    cpu_before_ns: u64,
    udp_before: u64,
    messages: VecDeque<FromNode>,
}

impl Active {
    /// Rank and stage of `node` in a run; none if the plan has none for it. Refuses a plan that has not a seat for each rank, and a setup
    /// that the rank can't run.
    pub(super) fn place_of(
        node: NodeId,
        setup: &Setup,
        plan: &SeatPlan,
    ) -> Result<Option<(RankId, u32)>, ActiveError> {
        let (seats, ranks) = (plan.seats.len(), setup.cluster.num_ranks());
        let nodes: BTreeSet<NodeId> = plan.seats.iter().map(|seat| seat.node).collect();
        if seats != ranks as usize || nodes.len() != seats {
            return Err(ActiveError::Seats { seats, ranks });
        }
        let found = plan.seats.iter().zip((0..).map(RankId)).find(|(seat, _)| seat.node == node);
        let Some((_, rank)) = found else { return Ok(None) };
        Ok(Some((rank, setup.validate_for(rank)?)))
    }

    /// Takes the seats of a rank of a stage: one for each half of a batch.
    pub(super) fn seats(
        (rank, stage): (RankId, u32),
        setup: Arc<Setup>,
        plan: &SeatPlan,
        pacing: Pacing,
        links: &Links,
    ) -> Result<Vec<Self>, ActiveError> {
        let nodes: Vec<NodeId> = plan.seats.iter().map(|seat| seat.node).collect();
        let setup = if setup.fabric.oversubscription.blocks() {
            Arc::new(Setup::clone(&setup).in_equal_shares())
        } else {
            setup
        };
        let prepared = Arc::new(PreparedRun::new(Arc::clone(&setup), stage)?);
        let runner = Arc::new(JobRunner::new(Arc::clone(&setup), stage)?);
        let dilation = pacing.network_dilation.max(1);
        let emulated = |wall_ns| PhaseClock { start_ns: 0, dilation }.emulated(wall_ns);
        let one = |half| Self {
            half,
            rank,
            setup: Arc::clone(&setup),
            seat: Seat::new(rank, &prepared, emulated(HORIZON_NS), emulated(pacing.resolution_ns)),
            runner: Arc::clone(&runner),
            nodes: nodes.clone(),
            pacing,
            clock: PhaseClock { start_ns: 0, dilation: 1 },
            step: 0,
            early: Vec::new(),
            early_of: vec![(0, 0); nodes.len()],
            job: None,
            charged: None,
            ends: None,
            lateness_ns: new_histogram(),
            handed_ns: 0,
            closed: None,
            cpu_before_ns: process_cpu_ns(),
            udp_before: links.udp_bytes(),
            messages: VecDeque::new(),
        };
        Ok((0..setup.program.halves()).map(one).collect())
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Ranks whose rows of the phase under way have not all come.
    pub(super) fn waits_for(&self) -> Vec<RankId> {
        self.seat.waits_for()
    }

    pub(super) fn poll_message(&mut self) -> Option<FromNode> {
        self.messages.pop_front()
    }

    pub(super) fn prepare(&mut self, step: u32, column: Column) -> Result<(), ActiveError> {
        self.step = step;
        self.early.clear();
        self.early_of.fill((0, 0));
        self.job = None;
        self.charged = None;
        self.ends = None;
        Ok(self.seat.prepare(step, self.half, column)?)
    }

    pub(super) fn begin(&mut self, stop: Stop, start_ns: u64) -> Result<(), ActiveError> {
        let dilation =
            if stop.computes() { self.pacing.compute_dilation } else { self.pacing.network_dilation };
        self.clock = PhaseClock { start_ns, dilation: dilation.max(1) };
        self.lateness_ns = new_histogram();
        self.handed_ns = start_ns;
        self.closed = None;
        self.cpu_before_ns = process_cpu_ns();
        self.seat.begin(stop)?;
        self.ends = self.seat.ends().map(|(at, killed)| (self.clock.wall_ns(at), killed));
        let at = self.seat.at();
        self.early_of.fill((0, 0));
        for frame in std::mem::take(&mut self.early) {
            if Some((frame.flow, frame.phase)) == at {
                self.check_stamp(&frame)?;
                self.seat.handle_arrival(Picos::ZERO, frame)?;
            }
        }
        Ok(())
    }

    /// The rank of a node; `None` where it has no seat.
    pub(super) fn rank_of(&self, node: NodeId) -> Option<RankId> {
        self.nodes.iter().zip((0..).map(RankId)).find(|(seated, _)| **seated == node).map(|(_, rank)| rank)
    }

    /// Input: a frame from a peer, at any time.
    pub(super) fn handle_arrival(&mut self, peer: RankId, frame: Frame) -> Result<(), ActiveError> {
        if frame.flow.cluster != self.setup.cluster_id {
            return Err(ActiveError::Cluster { got: frame.flow.cluster, mine: self.setup.cluster_id });
        }
        let Flow { run, epoch, .. } = frame.flow;
        let Setup { run: my_run, epoch: my_epoch, .. } = *self.setup;
        if (run, epoch) < (my_run, my_epoch) {
            return Ok(());
        }
        if frame.source != peer {
            return Err(ActiveError::Sender { peer, claimed: frame.source });
        }
        if (run, epoch) != (my_run, my_epoch) {
            return Err(ActiveError::Run { run, epoch, my_run, my_epoch });
        }
        if self.seat.at() == Some((frame.flow, frame.phase)) {
            self.check_stamp(&frame)?;
            let now = self.clock.emulated(monotonic_ns());
            return Ok(self.seat.handle_arrival(now, frame)?);
        }
        let credit_bytes = self.setup.nic_config(frame.phase).credit_bytes;
        let (frames, bytes) = &mut self.early_of[peer.0 as usize];
        *frames += 1;
        // One row may be more than a window.
        let most = credit_bytes.max(self.setup.chunk_bytes());
        *bytes = bytes.saturating_add(frame.charged_bytes());
        if *frames > EARLY_FRAMES_MAX || *bytes > most {
            return Err(ActiveError::Early { peer, frames: *frames, bytes: *bytes });
        }
        // Credits that cross the end of a phase have nothing left to act on; `begin` drops them with their phase.
        self.early.push(frame);
        Ok(())
    }

    /// A stamp says when a port is through with a frame. Ports are reserved little ahead of the clock: what is far ahead would never be
    /// delivered, and the phase would seem to be this rank's to close.
    fn check_stamp(&self, frame: &Frame) -> Result<(), ActiveError> {
        let config = self.setup.nic_config(frame.phase);
        let link = config.fabric.scale_out;
        let slowest = link.rate.min(config.fabric.scale_up.rate).transfer(config.chunk_bytes);
        let wall = PhaseClock { start_ns: 0, ..self.clock }.emulated(STAMP_AHEAD_NS);
        let (delay, permille) = self.setup.faults.worst();
        let ahead = u128::from(slowest.0) * 4 * u128::from(permille) / 1_000;
        let ahead = Picos(u64::try_from(ahead).unwrap_or(u64::MAX)).saturating_add(delay);
        let reserved = ahead.saturating_add(link.latency);
        let reserved = reserved.saturating_add(config.fabric.scale_up.latency).saturating_add(wall);
        let now = self.clock.emulated(monotonic_ns());
        if frame.arrive <= now.saturating_add(reserved) {
            return Ok(());
        }
        let ahead = Picos(frame.arrive.0.saturating_sub(now.0));
        Err(ActiveError::Stamp { peer: frame.source, stamp: frame.arrive, ahead })
    }

    /// The output of the next job to end, and at which of the seats; never ends while there is none. Cancel safe.
    pub(super) async fn job_done(seats: &mut [Self]) -> (usize, Output) {
        std::future::poll_fn(|context| {
            for (at, active) in seats.iter_mut().enumerate() {
                let polled = active.job.as_mut().map(|job| Pin::new(job).poll(context));
                if let Some(Poll::Ready(done)) = polled {
                    return Poll::Ready((at, done.map_err(|error| error.to_string())));
                }
            }
            Poll::Pending
        })
        .await
    }

    pub(super) fn handle_output(&mut self, output: Output) -> Result<(), ActiveError> {
        self.job = None;
        let (job, output) = output.map_err(ActiveError::Job)?;
        self.charged = Some((job.ready.saturating_add(job.charge), job.id, output));
        Ok(())
    }

    /// Wall time of the next thing to do.
    pub(super) fn deadline_ns(&self) -> u64 {
        let charged = self.charged.as_ref().map(|(due, _, _)| self.clock.wall_ns(*due));
        // The seat subtracts its lookahead from transmissions itself; what is due before the start was sent by `pump`.
        let seat = self.seat.poll_timeout().map(|time| self.clock.wall_ns(time));
        let ends = self.ends.map(|(ends_ns, _)| ends_ns);
        charged.into_iter().chain(seat).chain(ends).min().unwrap_or(u64::MAX)
    }

    /// Does all that is due.
    pub(super) fn pump(&mut self, links: &Links, tally: &Tally) -> Result<(), ActiveError> {
        loop {
            let mut moved = self.deliver()?;
            moved |= self.finish_job()?;
            moved |= self.start_jobs()?;
            let now = self.clock.emulated(monotonic_ns());
            while let Some(frame) = self.seat.poll_transmit(now) {
                let to = self.nodes[frame.destination.0 as usize];
                links.send(to, frame)?;
                moved = true;
            }
            while let Some(event) = self.seat.poll_event() {
                match event {
                    Event::Prepared => {
                        self.messages.push_back(FromNode::Prepared { run: self.setup.run, step: self.step });
                    }
                    Event::Closed { phase, at } => self.closed = Some((phase, at)),
                    Event::Finished { outputs } => {
                        let digests = outputs.iter().map(|values| token_digest(values)).collect();
                        let (run, step, half) = (self.setup.run, self.step, self.half);
                        self.messages.push_back(FromNode::Finished { run, step, half, digests });
                    }
                }
            }
            if !moved {
                break;
            }
        }
        self.report(links, tally);
        match self.ends.filter(|(ends_ns, _)| *ends_ns <= monotonic_ns()) {
            Some((_, killed)) => Err(ActiveError::Ended { rank: self.rank, killed }),
            None => Ok(()),
        }
    }

    fn deliver(&mut self) -> Result<bool, ActiveError> {
        let mut moved = false;
        loop {
            let wall_ns = monotonic_ns();
            if wall_ns < self.clock.start_ns {
                return Ok(moved);
            }
            let Some(delivery) = self.seat.deliver(self.clock.emulated(wall_ns))? else {
                return Ok(moved);
            };
            let late_ns = wall_ns.saturating_sub(self.clock.wall_ns(delivery.due));
            self.lateness_ns.saturating_record(late_ns.max(1));
            self.handed_ns = wall_ns;
            moved = true;
        }
    }

    fn finish_job(&mut self) -> Result<bool, ActiveError> {
        let wall_ns = monotonic_ns();
        let due = self.charged.as_ref().is_some_and(|(due, _, _)| self.clock.wall_ns(*due) <= wall_ns);
        if !due {
            return Ok(false);
        }
        if let Some((due, job, output)) = self.charged.take() {
            self.handed_ns = wall_ns;
            self.seat.handle_done(due, job, output)?;
        }
        Ok(true)
    }

    /// Small sums are made at once; long jobs go to another thread, so that keep-alives and commands are still served.
    fn start_jobs(&mut self) -> Result<bool, ActiveError> {
        let mut moved = false;
        while self.job.is_none() && self.charged.is_none() {
            let Some(mut job) = self.seat.poll_job() else { break };
            moved = true;
            if let Work::Reduce { .. } = job.work {
                let output = self.runner.run(self.rank, &mut job.work);
                self.seat.handle_done(job.ready, job.id, output)?;
                continue;
            }
            let (runner, rank) = (Arc::clone(&self.runner), self.rank);
            self.job = Some(tokio::task::spawn_blocking(move || {
                let output = runner.run(rank, &mut job.work);
                (job, output)
            }));
        }
        Ok(moved)
    }

    /// Reports a closed phase once the card has nothing left to send either.
    fn report(&mut self, links: &Links, tally: &Tally) {
        let over = self.seat.is_idle() && !self.seat.is_cut_short();
        let Some((phase, stamped)) = self.closed.filter(|_| over) else { return };
        let mut lateness_ns = Vec::new();
        V2Serializer::new()
            .serialize(&self.lateness_ns, &mut lateness_ns)
            .expect("a histogram fits in memory");
        let udp_bytes = links.udp_bytes();
        let report = PhaseReport {
            lateness_ns,
            cpu_ns: process_cpu_ns().saturating_sub(self.cpu_before_ns),
            udp_bytes: udp_bytes.saturating_sub(self.udp_before),
            ..self.seat.report(phase, stamped, self.clock.emulated(self.handed_ns))
        };
        self.udp_before = udp_bytes;
        let wall_ns = self.handed_ns.saturating_sub(self.clock.start_ns);
        tally.close((&self.setup.cluster, self.rank), &report, wall_ns, self.lateness_ns.max());
        // Whose part is over lives on.
        (self.closed, self.ends) = (None, None);
        let (run, step, half) = (self.setup.run, self.step, self.half);
        self.messages.push_back(FromNode::Closed { run, step, half, report });
    }
}

/// One nanosecond to a minute in two significant digits.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("constant bounds are valid")
}

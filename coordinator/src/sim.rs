//! All ranks in this process on a virtual clock: the coordinator's machine decides, seats in memory answer.

use crate::error::RunError;
use crate::machine::{Coordinator, Limits, SessionEvent};
use crate::run::{RunRequest, Runner, StepRecord, run_steps};
use moe::stack::StepBatch;
use node::control::{FromNode, Machine, NodeId, ToNode};
use node::digest::token_digest;
use node::program::Stop;
use node::sim::{SimCluster, SimError};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use topology::RankId;

/// The simulator: exact and repeatable.
#[derive(Debug, Default)]
pub struct SimRunner {
    /// Its nodes stay from run to run.
    machine: Option<Coordinator>,
    open: Option<Open>,
}

/// Time stands still for the machine: between two stops none passes, and within a stop each seat has its own.
const NOW_NS: u64 = 0;

#[derive(Debug)]
struct Open {
    run: u64,
    seats: SimCluster,
}

/// What a simulation comes to, on the calling thread and without a runtime.
///
/// # Panics
/// If it waits: a simulation has nothing to wait for.
pub fn at_once<T>(simulation: impl Future<Output = T>) -> T {
    match pin!(simulation).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => unreachable!("a simulation waits for nothing"),
    }
}

impl SimRunner {
    /// As [`run_steps`], on the calling thread and without a runtime.
    ///
    /// # Errors
    /// As [`run_steps`].
    pub fn run_blocking(request: &RunRequest, steps: u32) -> Result<Vec<StepRecord>, RunError> {
        at_once(run_steps(&mut Self::default(), request, steps))
    }

    /// As [`Runner::open`], on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Setup`] or [`RunError::Sim`].
    pub fn open_blocking(&mut self, request: &RunRequest) -> Result<(), RunError> {
        self.close();
        let seats = SimCluster::new(Arc::new(request.setup.clone()))?;
        let limits = Limits { beat_ms: 0, slack_ns: u64::MAX, ..Limits::default() };
        let made = || Coordinator::new(NOW_NS, 0, "", limits);
        let machine = self.machine.get_or_insert_with(made);
        for rank in (machine.num_members()..request.setup.cluster.num_ranks()).map(RankId) {
            let home = Machine { id: String::new(), cores: 1 };
            let joined = machine.handle_register(NOW_NS, &rank.0.to_string(), ([0, 0, 0, 0], 0).into(), home);
            debug_assert_eq!(joined, Ok(node_of(rank)), "nodes are numbered as they come");
        }
        let run = machine.open(NOW_NS, request.clone())?;
        self.open = Some(Open { run, seats });
        self.settled(true).map(|_| ())
    }

    /// As [`Runner::step`], on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Batch`] or [`RunError::Sim`].
    pub fn step_blocking(&mut self, batch: &StepBatch) -> Result<StepRecord, RunError> {
        let (Some(machine), Some(open)) = (&mut self.machine, &self.open) else {
            return Err(RunError::Closed);
        };
        machine.step(NOW_NS, open.run, batch.clone())?;
        self.settled(false)?.ok_or(RunError::Closed)
    }

    /// Carries messages until the machine waits; the run is over unless it then has what it should: a record, or an `opened` run.
    fn settled(&mut self, opened: bool) -> Result<Option<StepRecord>, RunError> {
        let (Some(machine), Some(open)) = (&mut self.machine, &mut self.open) else { return Ok(None) };
        let settled = open.settle(machine);
        if !matches!(&settled, Ok(record) if record.is_none() == opened) {
            // Messages of what has gone wrong are forgotten with the machine.
            *self = Self::default();
        }
        settled
    }
}

impl Open {
    /// Carries messages to and fro until the machine waits for its next command; the record of a step, if one is complete.
    fn settle(&mut self, machine: &mut Coordinator) -> Result<Option<StepRecord>, RunError> {
        let (ranks, mut begun): (_, Vec<(Stop, usize)>) =
            (self.seats.setup().cluster.num_ranks(), Vec::new());
        loop {
            while machine.poll_event().is_some() {}
            let Some((node, message)) = machine.poll_transmit() else { break };
            let rank = RankId(node.0 - 1);
            match message {
                ToNode::Configure { setup, .. } => {
                    say(machine, node, FromNode::Configured { run: setup.run })
                }
                ToNode::Prepare { run, step, columns } => {
                    self.seats.prepare(rank, step, columns)?;
                    say(machine, node, FromNode::Prepared { run, step });
                }
                ToNode::Begin { run, step, stop, .. } => {
                    // Stages know nothing of each other but go through the same stops: in memory one waits for the other.
                    let at = begun.iter().position(|&(other, _)| other == stop).unwrap_or_else(|| {
                        begun.push((stop, 0));
                        begun.len() - 1
                    });
                    begun[at].1 += 1;
                    if begun[at].1 == ranks as usize {
                        begun.swap_remove(at);
                        self.go(machine, (run, step), stop)?;
                    }
                }
                ToNode::Welcome { .. }
                | ToNode::Ping { .. }
                | ToNode::Beat
                | ToNode::Abort { .. }
                | ToNode::Health { .. }
                | ToNode::Shutdown => {}
            }
        }
        match machine.poll_session() {
            Some((_, SessionEvent::Stepped(record))) => Ok(Some(*record)),
            Some((_, SessionEvent::Failed(error))) => Err(error),
            Some((_, SessionEvent::Opened)) | None => Ok(None),
        }
    }

    /// Goes through a stop with all ranks.
    fn go(&mut self, machine: &mut Coordinator, (run, step): (u64, u32), stop: Stop) -> Result<(), SimError> {
        let half = stop.half;
        for (rank, (report, outputs)) in (0..).map(RankId).zip(self.seats.go(stop)?) {
            say(machine, node_of(rank), FromNode::Closed { run, step, half, report });
            if let Some(outputs) = outputs {
                let digests = outputs.iter().map(|values| token_digest(values)).collect();
                say(machine, node_of(rank), FromNode::Finished { run, step, half, digests });
            }
        }
        Ok(())
    }
}

fn say(machine: &mut Coordinator, node: NodeId, message: FromNode) {
    machine.handle_message(NOW_NS, node, message);
}

/// Nodes are numbered from 1 in the order in which they register.
fn node_of(rank: RankId) -> NodeId {
    NodeId(rank.0 + 1)
}

impl Runner for SimRunner {
    fn open(&mut self, request: &RunRequest) -> impl Future<Output = Result<(), RunError>> + Send {
        std::future::ready(self.open_blocking(request))
    }

    fn step(&mut self, batch: &StepBatch) -> impl Future<Output = Result<StepRecord, RunError>> + Send {
        std::future::ready(self.step_blocking(batch))
    }

    fn close(&mut self) {
        if let (Some(machine), Some(open)) = (&mut self.machine, self.open.take()) {
            machine.close(open.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    #[test]
    fn the_simulator_repeats_itself() {
        let request = request(&[2, 2]);
        let records = SimRunner::run_blocking(&request, 3).unwrap();
        assert_eq!(records.iter().map(|record| record.step).collect::<Vec<_>>(), [0, 1, 2]);
        for record in &records {
            assert_eq!(record.digests, records[0].digests, "every step has the same tokens");
            assert_eq!(record.phases, records[0].phases);
        }
    }

    #[test]
    fn a_simulation_of_nothing_is_an_error() {
        let error = SimRunner::run_blocking(&request(&[2]), 0).unwrap_err();
        assert!(error.to_string().starts_with("a run of 0 steps"), "{error}");
        let mut runner = SimRunner::default();
        assert!(matches!(runner.step_blocking(&StepBatch::default()), Err(RunError::Closed)));
    }

    #[test]
    fn a_run_leaves_nothing_to_the_next_but_the_nodes() {
        let mut runner = SimRunner::default();
        for racks in [&[2, 2][..], &[3], &[2, 3], &[2, 2]] {
            let request = request(racks);
            // One is closed, another is closed by the next, and one is in the middle of its steps.
            for steps in 0..3 {
                runner.open_blocking(&request).unwrap();
                let expected = SimRunner::run_blocking(&request, 3).unwrap();
                for expected in &expected[..steps] {
                    assert_eq!(&runner.step_blocking(&StepBatch::default()).unwrap(), expected);
                }
            }
            runner.close();
        }
        let mut other = request(&[2]);
        other.setup.chunk_rows = 0;
        assert!(runner.open_blocking(&other).is_err());
        assert!(matches!(runner.step_blocking(&StepBatch::default()), Err(RunError::Closed)));
        runner.open_blocking(&request(&[2])).unwrap();
    }
}

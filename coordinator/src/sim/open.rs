//! A run in memory: seats that do what the machine says, and what becomes of those that a fault ends.

use super::machinery::Machinery;
use crate::error::RunError;
use crate::machine::SessionEvent;
use crate::run::StepRecord;
use node::control::{FromNode, NodeId, ToNode};
use node::digest::token_digest;
use node::nic::NicError;
use node::program::{Program, Stop};
use node::seat::SeatError;
use node::setup::Setup;
use node::sim::{SimCluster, SimError};
use std::sync::Arc;
use topology::RankId;

#[derive(Debug)]
pub(super) struct Open {
    pub(super) run: u64,
    seats: SimCluster,
    /// Number of the segment under way, once it is known.
    segment: Option<u64>,
    /// The node of each rank.
    nodes: Vec<NodeId>,
    /// As it was asked for: of a whole model ranks are told parts.
    setup: Arc<Setup>,
    /// Stops that are open on some ranks, and on how many.
    begun: Vec<(Stop, usize)>,
}

impl Open {
    /// Seats of a run whose number is known, before the machine has said who sits where.
    pub(super) fn new(run: u64, setup: Arc<Setup>, seats: SimCluster) -> Self {
        Self { run, seats, segment: None, nodes: Vec::new(), setup, begun: Vec::new() }
    }

    /// Carries messages to and fro until the machine waits for its next command; the record of a step, if one is complete.
    pub(super) fn settle(&mut self, machinery: &mut Machinery) -> Result<Option<StepRecord>, RunError> {
        loop {
            while machinery.machine.poll_event().is_some() {}
            let Some((node, message)) = machinery.machine.poll_transmit() else { break };
            match message {
                ToNode::Configure { setup, seats, .. } => {
                    let run = setup.run;
                    self.seat(&setup, seats.seats.iter().map(|seat| seat.node).collect())?;
                    machinery.say(node, FromNode::Configured { run });
                }
                ToNode::Prepare { run, step, columns } => {
                    let Some(rank) = self.rank_of(node) else { continue };
                    self.seats.prepare(rank, step, columns)?;
                    machinery.say(node, FromNode::Prepared { run, step });
                }
                ToNode::Begin { run, step, stop, .. } => {
                    // Stages know nothing of each other but go through the same stops: in memory one waits for the other.
                    let at = self.begun.iter().position(|&(other, _)| other == stop).unwrap_or_else(|| {
                        self.begun.push((stop, 0));
                        self.begun.len() - 1
                    });
                    self.begun[at].1 += 1;
                    if self.begun[at].1 == self.nodes.len() {
                        self.begun.swap_remove(at);
                        self.go(machinery, (run, step), stop)?;
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
        match machinery.machine.poll_session() {
            Some((_, SessionEvent::Stepped(record))) => Ok(Some(*record)),
            Some((_, SessionEvent::Failed(error))) => Err(error),
            Some((_, SessionEvent::Opened)) | None => Ok(None),
        }
    }

    fn rank_of(&self, node: NodeId) -> Option<RankId> {
        let at = self.nodes.iter().position(|seated| *seated == node)?;
        u32::try_from(at).ok().map(RankId)
    }

    /// Takes the seats of a segment; those of the first one have been taken already.
    fn seat(&mut self, told: &Setup, nodes: Vec<NodeId>) -> Result<(), SimError> {
        if self.segment.replace(told.run).is_some_and(|segment| segment != told.run) {
            let (first_step, faults) = (told.first_step, told.faults.clone());
            let setup = match &told.program {
                Program::Stack(_) => Setup { first_step, faults, ..Setup::clone(&self.setup) },
                Program::Layer(_) | Program::Moves(_) => told.clone(),
            };
            self.seats = SimCluster::new(Arc::new(setup))?;
            self.begun.clear();
        }
        self.nodes = nodes;
        Ok(())
    }

    /// Goes through a stop with all ranks.
    fn go(&mut self, machinery: &mut Machinery, (run, step): (u64, u32), stop: Stop) -> Result<(), SimError> {
        let half = stop.half;
        let passed = match self.seats.go(stop) {
            Ok(passed) => passed,
            Err(error) => return self.fail(machinery, run, error),
        };
        for (node, (report, outputs)) in self.nodes.clone().into_iter().zip(passed) {
            machinery.say(node, FromNode::Closed { run, step, half, report });
            if let Some(outputs) = outputs {
                let digests = outputs.iter().map(|values| token_digest(values)).collect();
                machinery.say(node, FromNode::Finished { run, step, half, digests });
            }
        }
        Ok(())
    }

    /// What nodes would make of what has gone wrong: of lost ranks nothing, they are missed; a damaged frame is the fault of its link.
    fn fail(&self, machinery: &mut Machinery, run: u64, error: SimError) -> Result<(), SimError> {
        match &error {
            SimError::Ended { ranks, .. } => {
                let lost: Vec<NodeId> = ranks.iter().map(|rank| self.nodes[rank.0 as usize]).collect();
                machinery.lose(&lost, "it was silent for too long");
            }
            SimError::Seat(SeatError::Nic { rank, error: NicError::Checksum { from } }) => {
                let [node, peer] = [rank, from].map(|rank| self.nodes[rank.0 as usize]);
                machinery.complain(node, peer, run, error.to_string());
            }
            _ => return Err(error),
        }
        Ok(())
    }
}

//! What nodes are asked to do: steps of one layer, as many as were asked for, or whole steps of a model, one at a time.

use crate::run::{RoundRecord, RunRequest};
use crate::steps::{StepRecord, StepsRequest};
use moe::stack::{Column, Halves, Split, StepBatch};
use node::control::{NodeId, PhaseReport, SeatPlan, ToNode};
use node::stack::{Stop, program};
use node::wire::Phase;
use std::collections::VecDeque;
use topology::RankId;

/// One of the two.
#[derive(Debug)]
pub(super) enum Task {
    Layer { request: Box<RunRequest>, records: Vec<RoundRecord> },
    Model { request: Box<StepsRequest>, halves: Halves, batches: VecDeque<Batch> },
}

/// A batch under way.
#[derive(Debug)]
pub(super) enum Batch {
    Whole(StepBatch),
    Split(Split),
}

impl Batch {
    fn column(&self, half: u16, column: u32) -> Option<&Column> {
        let batch = match self {
            Self::Whole(batch) => batch,
            Self::Split(split) => &split.halves[usize::from(half)],
        };
        batch.columns.get(column as usize)
    }
}

impl Task {
    /// Takes the next batch of a model; false where there is none to take.
    pub(super) fn take(&mut self, batch: StepBatch) -> bool {
        let Self::Model { request, halves, batches } = self else { return false };
        batches.push_front(match request.halves {
            1 => Batch::Whole(batch),
            _ => Batch::Split(halves.split(&batch)),
        });
        batches.truncate(request.setup.stack.num_stages() as usize);
        true
    }

    /// Halves of a batch.
    pub(super) fn halves(&self) -> usize {
        match self {
            Self::Layer { .. } => 1,
            Self::Model { request, .. } => usize::from(request.halves),
        }
    }

    pub(super) fn num_stages(&self) -> u32 {
        match self {
            Self::Layer { .. } => 1,
            Self::Model { request, .. } => request.setup.stack.num_stages(),
        }
    }

    pub(super) fn stage_of(&self, rank: RankId) -> u32 {
        match self {
            Self::Layer { .. } => 0,
            Self::Model { request, .. } => request.setup.stack.stage_of(rank),
        }
    }

    pub(super) fn num_ranks(&self) -> u32 {
        match self {
            Self::Layer { request, .. } => request.setup.cluster.num_ranks(),
            Self::Model { request, .. } => request.setup.cluster.num_ranks(),
        }
    }

    pub(super) fn expected_phase_ns(&self) -> u64 {
        match self {
            Self::Layer { request, .. } => request.expected_phase_ns,
            Self::Model { request, .. } => request.expected_phase_ns,
        }
    }

    /// The stops of a step.
    pub(super) fn program(&self) -> Vec<Stop> {
        match self {
            Self::Layer { .. } => {
                let stop = |phase| Stop { half: 0, layer: 0, phase };
                [Phase::Dispatch, Phase::Expert, Phase::Combine].map(stop).into()
            }
            Self::Model { request, .. } => program(&request.setup.stack, request.halves),
        }
    }

    /// The stop after which digests are owed.
    pub(super) fn finishes_at(&self, stop: Stop) -> bool {
        match self {
            Self::Layer { .. } => stop.phase == Phase::Combine,
            Self::Model { request, .. } => {
                stop.phase == Phase::Local && u32::from(stop.layer) == request.setup.stack.longest()
            }
        }
    }

    /// The message that seats every node, with the numbers that the coordinator gives.
    pub(super) fn configure(
        &self,
        (cluster_id, run, epoch): (u64, u64, u32),
        plan: &SeatPlan,
    ) -> Vec<(NodeId, ToNode)> {
        let message = |rank: usize| match self {
            Self::Layer { request, .. } => {
                let mut setup = Box::new(request.setup.clone());
                (setup.cluster_id, setup.run, setup.epoch) = (cluster_id, run, epoch);
                ToNode::Configure { setup, seats: plan.clone(), pacing: request.pacing }
            }
            Self::Model { request, .. } => {
                let stage = request.setup.stack.stage_of(rank_at(rank));
                let mut setup = Box::new(request.setup.stage_run(stage));
                (setup.cluster_id, setup.run, setup.epoch) = (cluster_id, run, epoch);
                let stage = Box::new(request.setup.stage(stage));
                let (halves, pacing) = (request.halves, request.pacing);
                ToNode::ConfigureStage { setup, stage, halves, seats: plan.clone(), pacing }
            }
        };
        plan.seats.iter().enumerate().map(|(rank, (node, _))| (*node, message(rank))).collect()
    }

    /// The message that prepares a step on every node.
    pub(super) fn prepare(&self, run: u64, step: u32, plan: &SeatPlan) -> Vec<(NodeId, ToNode)> {
        let message = |rank: usize| match self {
            Self::Layer { .. } => ToNode::Prepare { run, step },
            Self::Model { request, batches, .. } => {
                let column = request.setup.stack.column_of(rank_at(rank));
                let entering = |half| batches.front().and_then(|batch| batch.column(half, column));
                let columns = (0..request.halves).map(|half| entering(half).cloned().unwrap_or_default());
                ToNode::PrepareColumn { run, step, columns: columns.collect() }
            }
        };
        plan.seats.iter().enumerate().map(|(rank, (node, _))| (*node, message(rank))).collect()
    }

    /// The message that opens a stop on every node.
    pub(super) fn begin(&self, run: u64, step: u32, stop: Stop, start_at_ns: u64) -> ToNode {
        match self {
            Self::Layer { .. } => ToNode::Begin { run, step, phase: stop.phase, start_at_ns },
            Self::Model { .. } => ToNode::BeginStop { run, step, stop, start_at_ns },
        }
    }

    /// Digests that a rank owes in a step, for a half of its batch.
    pub(super) fn digests_of(&self, rank: RankId, half: u16) -> usize {
        match self {
            Self::Layer { request, .. } => request.setup.tokens[rank.0 as usize] as usize,
            Self::Model { request, batches, .. } => {
                let stack = &request.setup.stack;
                let last = stack.num_stages() - 1;
                let answered = batches.get(last as usize).filter(|_| stack.stage_of(rank) == last);
                let column = answered.and_then(|batch| batch.column(half, stack.column_of(rank)));
                column.map_or(0, |column| column.tokens() as usize)
            }
        }
    }

    /// Takes the record of a complete step: `phases` by stop, `digests` by half and rank. `None` where the task goes on by itself.
    pub(super) fn finish(
        &mut self,
        step: u32,
        program: &[Stop],
        phases: Vec<Vec<PhaseReport>>,
        digests: Vec<Vec<Vec<u64>>>,
        Walls { wall_ns, clock_error_ns }: Walls,
    ) -> Option<StepRecord> {
        match self {
            Self::Layer { request, records } => {
                let mut phases = phases.into_iter();
                let of_phases =
                    |all: Vec<u64>| std::array::from_fn(|at| all.get(at).copied().unwrap_or_default());
                records.push(RoundRecord {
                    step,
                    warmup: step < request.warmup,
                    phases: std::array::from_fn(|_| phases.next().unwrap_or_default()),
                    digests: digests.into_iter().next().unwrap_or_default(),
                    wall_ns: of_phases(wall_ns),
                    clock_error_ns: of_phases(clock_error_ns),
                    outputs: None,
                });
                None
            }
            Self::Model { request, batches, .. } => {
                let stack = &request.setup.stack;
                let last = stack.num_stages() - 1;
                let first = stack.rank_at(last, 0).0 as usize;
                let of_last = |half: Vec<Vec<u64>>| {
                    half.into_iter().skip(first).take(stack.columns() as usize).collect::<Vec<_>>()
                };
                let mut halves = digests.into_iter().map(of_last);
                let first = halves.next().unwrap_or_default();
                let digests = match batches.get(last as usize) {
                    Some(Batch::Split(split)) => split.join([first, halves.next().unwrap_or_default()]),
                    _ => first,
                };
                Some(StepRecord {
                    step,
                    answered: step.checked_sub(last),
                    phases: program.iter().copied().zip(phases).collect(),
                    digests,
                    wall_ns,
                    clock_error_ns,
                })
            }
        }
    }
}

/// What the coordinator's own clock tells of a step, by stop, ns.
pub(super) struct Walls {
    /// How long the stop took.
    pub(super) wall_ns: Vec<u64>,
    /// How far off its start may have been on some node.
    pub(super) clock_error_ns: Vec<u64>,
}

pub(super) fn rank_at(index: usize) -> RankId {
    RankId(u32::try_from(index).expect("ranks are bounded"))
}

//! What nodes are asked to do: steps of a program, one at a time.

use crate::run::{Leads, RunRequest};
use moe::stack::{Column, Halves, Split, StepBatch};
use node::control::{NodeId, Pacing, SeatPlan, ToNode};
use node::program::{Program, Stop};
use node::setup::Setup;
use std::collections::VecDeque;
use std::sync::Arc;
use topology::{Cluster, RankId};

#[derive(Debug)]
pub(super) struct Task {
    /// As the ranks of each stage are told it; the coordinator's numbers come with [`Self::configure`].
    setups: Vec<Arc<Setup>>,
    pacing: Pacing,
    expected_phase_ns: u64,
    leads: Option<Leads>,
    halves: Halves,
    /// Those that are not answered yet, newest first.
    batches: VecDeque<Batch>,
    /// Number of the run's first step, as it was asked for.
    first_step: u32,
    /// Steps that the setups leave out.
    left_out: u32,
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
    pub(super) fn new(request: RunRequest) -> Self {
        let RunRequest { setup, pacing, expected_phase_ns, leads } = request;
        let first_step = setup.first_step;
        let setups = match setup.program.num_stages() {
            1 => vec![Arc::new(setup)],
            stages => (0..stages).map(|stage| Arc::new(setup.for_stage(stage))).collect(),
        };
        let (halves, batches) = (Halves::default(), VecDeque::new());
        Self { setups, pacing, expected_phase_ns, leads, halves, batches, first_step, left_out: 0 }
    }

    /// For seats that have nothing, and whose first step comes after `steps` of the run.
    pub(super) fn restart(&mut self, steps: u32) {
        (self.halves, self.batches) = (Halves::default(), VecDeque::new());
        let before = std::mem::replace(&mut self.left_out, steps);
        if before == steps {
            return;
        }
        for setup in &mut self.setups {
            let setup = Arc::make_mut(setup);
            setup.first_step = self.first_step.saturating_add(steps);
            if let Program::Moves(moves) = &mut setup.program {
                // A program has one round at least, be it one that nobody asks for.
                let more = steps.saturating_sub(before) as usize;
                moves.rounds.drain(..more.min(moves.rounds.len() - 1));
            }
        }
    }

    /// The step after `steps` of the run is begun anew.
    pub(super) fn begin_anew(&mut self, steps: u32) {
        let step = self.first_step.saturating_add(steps);
        for setup in self.setups.iter_mut().filter(|setup| !setup.faults.is_empty()) {
            Arc::make_mut(setup).faults.begin_anew(step);
        }
    }

    /// Whether some expert of some layer has more than one slot.
    pub(super) fn has_replicas(&self) -> bool {
        self.setups.iter().any(|setup| match &setup.program {
            Program::Layer(layer) => layer.placement.num_slots() > layer.placement.num_experts(),
            Program::Moves(_) => false,
            Program::Stack(own) => own
                .placements
                .distinct()
                .iter()
                .any(|placement| placement.num_slots() > placement.num_experts()),
        })
    }

    pub(super) fn program(&self) -> &Program {
        &self.setups[0].program
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.setups[0].cluster
    }

    pub(super) fn num_ranks(&self) -> u32 {
        self.cluster().num_ranks()
    }

    /// Wall time of a stop over its emulated time.
    pub(super) fn dilation(&self, stop: Stop) -> u64 {
        if stop.computes() { self.pacing.compute_dilation } else { self.pacing.network_dilation }
    }

    pub(super) fn compute_dilation(&self) -> u64 {
        self.pacing.compute_dilation
    }

    pub(super) fn expected_phase_ns(&self) -> u64 {
        self.expected_phase_ns
    }

    /// How long before its start ranks are told of a stop, if the request says so.
    pub(super) fn lead_ns(&self, stop: Stop) -> Option<u64> {
        self.leads.map(|leads| if stop.computes() { leads.compute_ns } else { leads.network_ns })
    }

    /// Takes the batch of the next step.
    pub(super) fn take(&mut self, batch: StepBatch) {
        self.batches.push_front(match self.program().halves() {
            1 => Batch::Whole(batch),
            _ => Batch::Split(self.halves.split(&batch)),
        });
        self.batches.truncate(self.program().num_stages() as usize);
    }

    /// The message that seats every node, with the numbers that the coordinator gives.
    pub(super) fn configure(
        &mut self,
        (cluster_id, run, epoch): (u64, u64, u32),
        plan: &Arc<SeatPlan>,
    ) -> Vec<(NodeId, ToNode)> {
        for setup in &mut self.setups {
            let setup = Arc::make_mut(setup);
            (setup.cluster_id, setup.run, setup.epoch) = (cluster_id, run, epoch);
        }
        self.tell(plan, |rank| ToNode::Configure {
            setup: Arc::clone(&self.setups[self.program().stage_of(rank) as usize]),
            seats: Arc::clone(plan),
            pacing: self.pacing,
        })
    }

    /// The message that prepares a step on every node.
    pub(super) fn prepare(&self, run: u64, step: u32, plan: &SeatPlan) -> Vec<(NodeId, ToNode)> {
        let entering = |rank| {
            let (Some(stack), Some(batch)) = (self.program().stack(), self.batches.front()) else {
                return Vec::new();
            };
            let column = stack.column_of(rank);
            let halves = 0..self.program().halves();
            halves.map(|half| batch.column(half, column).cloned().unwrap_or_default()).collect()
        };
        self.tell(plan, |rank| ToNode::Prepare { run, step, columns: entering(rank) })
    }

    fn tell(&self, plan: &SeatPlan, message: impl Fn(RankId) -> ToNode) -> Vec<(NodeId, ToNode)> {
        plan.seats.iter().zip((0..).map(RankId)).map(|(seat, rank)| (seat.node, message(rank))).collect()
    }

    /// Digests that a rank owes in a step, for a half of its batch.
    pub(super) fn digests_of(&self, rank: RankId, half: u16) -> usize {
        let program = self.program();
        let Some(stack) = program.stack() else { return program.tokens_of(rank) as usize };
        let last = stack.num_stages() - 1;
        let answered = self.batches.get(last as usize).filter(|_| stack.stage_of(rank) == last);
        let column = answered.and_then(|batch| batch.column(half, stack.column_of(rank)));
        column.map_or(0, |column| column.tokens() as usize)
    }

    /// Which step a complete one answers, if any yet, and with what: of `digests` by half and rank, those of the ranks that answer.
    pub(super) fn answered(&self, step: u32, digests: Vec<Vec<Vec<u64>>>) -> (Option<u32>, Vec<Vec<u64>>) {
        let answering = self.program().answering(&self.setups[0].cluster);
        let of_last = |mut half: Vec<Vec<u64>>| {
            half.truncate(answering.end as usize);
            half.split_off(answering.start as usize)
        };
        let mut halves = digests.into_iter().map(of_last);
        let first = halves.next().unwrap_or_default();
        let last = self.program().num_stages() - 1;
        let digests = match self.batches.get(last as usize) {
            Some(Batch::Split(split)) => split.join([first, halves.next().unwrap_or_default()]),
            _ => first,
        };
        (step.checked_sub(last), digests)
    }
}

//! A whole model in memory: steps of all layers on the virtual clock, with batches that change from step to step.

use super::{Bench, Seated, SimError, Tamper};
use crate::control::PhaseReport;
use crate::job::JobRunner;
use crate::setup::PreparedRun;
use crate::stack::{StackSetup, Stop, program};
use crate::wire::{Flow, Phase};
use moe::stack::{KvCache, StepBatch};
use std::sync::Arc;
use topology::{Picos, RankId};

/// What a step of a whole model yields.
#[derive(Clone, Debug)]
pub struct StackStep {
    /// Number of the step, from 0.
    pub step: u32,
    /// Number of the batch that was answered: with s stages that which entered s - 1 steps ago, if there was one.
    pub answered: Option<u32>,
    /// Every stop, in order, with the reports of all ranks: `[stops]` of `[num_ranks]`.
    pub phases: Vec<(Stop, Vec<PhaseReport>)>,
    /// What the model answers for each token of the batch that was answered: `[columns][tokens][hidden]`; empty rows without payload.
    pub outputs: Vec<Vec<Vec<f32>>>,
}

impl StackStep {
    /// How long the step lasts: its stops one after the other, each as long as its slowest rank.
    #[must_use]
    pub fn time(&self) -> Picos {
        self.phases.iter().fold(Picos::ZERO, |sum, (_, reports)| sum + PhaseReport::slowest(reports))
    }
}

/// All seats of a run of a whole model.
pub struct SimStack {
    setup: Arc<StackSetup>,
    program: Vec<Stop>,
    bench: Bench,
    next: u32,
}

impl std::fmt::Debug for SimStack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimStack").field("seats", &self.bench.seats.len()).finish_non_exhaustive()
    }
}

impl SimStack {
    /// Seats every rank of `setup`, caches empty.
    ///
    /// # Errors
    /// When the setup or its routing is impossible.
    pub fn new(setup: Arc<StackSetup>) -> Result<Self, SimError> {
        setup.validate()?;
        let (stack, mut seats, mut shared) = (&setup.stack, Vec::new(), None);
        for (stage, ranks) in (0..).zip(stack.stages().iter().map(|stage| stage.ranks.clone())) {
            let (own, run) = (setup.stage(stage), Arc::new(setup.stage_run(stage)));
            let prepared = Arc::new(PreparedRun::of_stage(Arc::clone(&run), &own)?);
            let runner = Arc::new(JobRunner::of_stage(Arc::clone(&run), &own)?);
            seats.extend(ranks.map(|rank| Seated::new(RankId(rank), &prepared, &runner)));
            shared.get_or_insert(run);
        }
        let program = program(stack, 1);
        let shared = shared.expect("a stack has a stage");
        Ok(Self { program, bench: Bench { setup: shared, seats, tamper: None }, setup, next: 0 })
    }

    /// What the run is defined by.
    #[must_use]
    pub fn setup(&self) -> &Arc<StackSetup> {
        &self.setup
    }

    /// Puts a filter between send and arrival.
    pub fn set_tamper(&mut self, tamper: Tamper) {
        self.bench.tamper = Some(tamper);
    }

    /// The cache of a rank between two steps, for tests that spoil it; `None` if there is no such rank.
    pub fn cache_mut(&mut self, rank: RankId) -> Option<&mut KvCache> {
        self.bench.seats.get_mut(rank.0 as usize)?.seat.cache_mut()
    }

    /// Runs one step: `batch` enters the first stage, every stage takes what it has in hand through its layers, and hands it on. A step
    /// in which nothing enters has an empty batch.
    ///
    /// # Errors
    /// [`SimError`] when the batch is impossible, a rule is broken or nothing moves any more. The run can't go on after any but an
    /// impossible batch.
    pub fn step(&mut self, batch: &StepBatch) -> Result<StackStep, SimError> {
        let (stack, step) = (&self.setup.stack, self.next);
        batch.validate(stack.columns())?;
        let flow = Flow { cluster: 0, run: 0, epoch: 0, step, micro_batch: 0, layer: 0 };
        for seated in &mut self.bench.seats {
            let column = &batch.columns[stack.column_of(seated.seat.id()) as usize];
            seated.outputs.clear();
            seated.seat.prepare_column(flow, column.clone())?;
        }
        self.bench.drive(Phase::Local)?;
        self.next += 1;
        let mut phases = Vec::with_capacity(self.program.len());
        for &stop in &self.program {
            phases.push((stop, self.bench.phase(stop.phase, |seat| seat.begin_stop(stop))?));
        }
        let last = stack.num_stages() - 1;
        let first = stack.rank_at(last, 0).0 as usize;
        let answering = self.bench.seats[first..].iter_mut();
        let outputs = answering.map(|seated| std::mem::take(&mut seated.outputs)).collect();
        Ok(StackStep { step, answered: step.checked_sub(last), phases, outputs })
    }
}

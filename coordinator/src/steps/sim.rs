//! Sessions in this process, on a virtual clock.

use super::{StepRecord, Stepper, StepsRequest};
use crate::run::RunError;
use moe::stack::{Halves, Split, StepBatch};
use node::digest::token_digest;
use node::sim::{SimStack, StackStep};
use node::stack::{Stop, program};
use std::collections::VecDeque;
use std::sync::Arc;

/// All ranks in this process ([`SimStack`]): exact and repeatable.
#[derive(Debug)]
pub struct SimSteps {
    /// One, or one for each half of a batch: halves share nothing but what they are of.
    stacks: Vec<SimStack>,
    program: Vec<Stop>,
    halves: Halves,
    /// Batches under way, newest first; only of halves.
    splits: VecDeque<Split>,
}

impl SimSteps {
    /// Seats every rank, caches empty.
    ///
    /// # Errors
    /// [`RunError::Setup`] or [`RunError::Sim`].
    pub fn open(request: &StepsRequest) -> Result<Self, RunError> {
        request.validate()?;
        let setup = Arc::new(request.setup.clone());
        let stacks: Result<_, _> = (0..request.halves).map(|_| SimStack::new(Arc::clone(&setup))).collect();
        let program = program(&setup.stack, request.halves);
        Ok(Self { stacks: stacks?, program, halves: Halves::default(), splits: VecDeque::new() })
    }

    /// Runs a step on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Batch`] or [`RunError::Sim`].
    pub fn step_blocking(&mut self, batch: &StepBatch) -> Result<StepRecord, RunError> {
        let setup = Arc::clone(self.stacks[0].setup());
        batch.validate(setup.stack.columns())?;
        let [first, second] = self.stacks.as_mut_slice() else {
            let mut done = self.stacks[0].step(batch)?;
            let digests = digests(&mut done);
            return Ok(self.record(vec![done], digests));
        };
        self.splits.push_front(self.halves.split(batch));
        self.splits.truncate(setup.stack.num_stages() as usize);
        let [one, other] = &self.splits[0].halves;
        let mut done = [first.step(one)?, second.step(other)?];
        let halves = done.each_mut().map(digests);
        let digests = match self.splits.get(setup.stack.num_stages() as usize - 1) {
            Some(split) => split.join(halves),
            None => vec![Vec::new(); setup.stack.columns() as usize],
        };
        Ok(self.record(done.into(), digests))
    }

    fn record(&self, done: Vec<StackStep>, digests: Vec<Vec<u64>>) -> StepRecord {
        let (step, answered) = (done[0].step, done[0].answered);
        let mut halves: Vec<_> = done.into_iter().map(|half| half.phases.into_iter()).collect();
        let reports = |&stop: &Stop| {
            let (_, reports) = halves[usize::from(stop.half)].next().expect("halves have the same stops");
            (stop, reports)
        };
        let phases: Vec<_> = self.program.iter().map(reports).collect();
        let zeros = vec![0; phases.len()];
        StepRecord { step, answered, phases, digests, wall_ns: zeros.clone(), clock_error_ns: zeros }
    }
}

/// `[columns][tokens]`.
fn digests(done: &mut StackStep) -> Vec<Vec<u64>> {
    let of_column = |tokens: &Vec<Vec<f32>>| tokens.iter().map(|values| token_digest(values)).collect();
    std::mem::take(&mut done.outputs).iter().map(of_column).collect()
}

impl Stepper for SimSteps {
    fn step(&mut self, batch: &StepBatch) -> impl Future<Output = Result<StepRecord, RunError>> + Send {
        std::future::ready(self.step_blocking(batch))
    }
}

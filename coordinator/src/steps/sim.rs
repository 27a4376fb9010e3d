//! Sessions in this process, on a virtual clock.

use super::{StepRecord, Stepper, StepsRequest};
use crate::run::RunError;
use moe::stack::StepBatch;
use node::digest::token_digest;
use node::sim::SimStack;
use std::sync::Arc;

/// All ranks in this process ([`SimStack`]): exact and repeatable.
#[derive(Debug)]
pub struct SimSteps {
    stack: SimStack,
}

impl SimSteps {
    /// Seats every rank, caches empty.
    ///
    /// # Errors
    /// [`RunError::Sim`].
    pub fn open(request: &StepsRequest) -> Result<Self, RunError> {
        Ok(Self { stack: SimStack::new(Arc::new(request.setup.clone()))? })
    }

    /// Runs a step on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Batch`] or [`RunError::Sim`].
    pub fn step_blocking(&mut self, batch: &StepBatch) -> Result<StepRecord, RunError> {
        batch.validate(self.stack.setup().stack.columns())?;
        let done = self.stack.step(batch)?;
        let digests =
            done.outputs.iter().map(|tokens| tokens.iter().map(|values| token_digest(values)).collect());
        Ok(StepRecord {
            step: done.step,
            answered: done.answered,
            digests: digests.collect(),
            wall_ns: vec![0; done.phases.len()],
            clock_error_ns: vec![0; done.phases.len()],
            phases: done.phases,
        })
    }
}

impl Stepper for SimSteps {
    fn step(&mut self, batch: &StepBatch) -> impl Future<Output = Result<StepRecord, RunError>> + Send {
        std::future::ready(self.step_blocking(batch))
    }
}

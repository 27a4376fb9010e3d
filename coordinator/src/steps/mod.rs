//! Whole steps of a model, one after the other: a session that is opened, stepped with whatever batch comes next, and closed.
//!
//! What is served next follows from what was answered last, so that no list of steps can be asked for at once, as a run of one
//! layer is. [`SimSteps`] runs them in memory, [`crate::ClusterHandle::open`] and [`crate::LocalCluster::open`] on nodes; all are
//! [`Stepper`]s.

mod sim;
#[cfg(test)]
mod tests;

pub use sim::SimSteps;

use crate::run::RunError;
use moe::stack::StepBatch;
use node::control::{Pacing, PhaseReport};
use node::setup::SetupError;
use node::stack::{StackSetup, Stop};

/// A model on racks, to be stepped.
#[derive(Clone, Debug, PartialEq)]
pub struct StepsRequest {
    /// The model, its stages and everything that they are run with.
    pub setup: StackSetup,
    /// 1, or 2 for batches in two halves, of which one computes while the rows of the other are on their way. Their sequences sit in
    /// halves as [`moe::stack::Halves`] says.
    pub halves: u16,
    /// How emulated time maps to the wall clock; the simulator ignores it. [`crate::pace::pace`] knows one.
    pub pacing: Pacing,
    /// How long the longest phase should take, wall ns, as in [`crate::RunRequest::expected_phase_ns`].
    pub expected_phase_ns: u64,
}

impl StepsRequest {
    /// Checks the setup and the halves.
    ///
    /// # Errors
    /// [`RunError::Setup`].
    pub fn validate(&self) -> Result<(), RunError> {
        if !(1..=2).contains(&self.halves) {
            return Err(SetupError::Stack(format!("{} halves of a batch; give 1 or 2", self.halves)).into());
        }
        Ok(self.setup.validate()?)
    }
}

/// What one step yielded, all ranks together.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// Number of the step, from 0: that of the batch that entered.
    pub step: u32,
    /// Number of the batch that was answered: with s stages that which entered s - 1 steps ago, if there was one.
    pub answered: Option<u32>,
    /// Every stop of the step, in order, with the reports of all ranks.
    pub phases: Vec<(Stop, Vec<PhaseReport>)>,
    /// XXH3-64 of what the model answers for each token of the batch that was answered: `[columns][tokens]`.
    pub digests: Vec<Vec<u64>>,
    /// From a stop's common start on a stage until the coordinator knew that it had closed there, wall ns, the longest of all stages:
    /// `[stops]`; 0 in the simulator.
    pub wall_ns: Vec<u64>,
    /// How far from a stop's common start some rank may have begun, as in [`crate::run::RoundRecord`]: `[stops]`.
    pub clock_error_ns: Vec<u64>,
}

/// An open session.
pub trait Stepper {
    /// Runs a step: `batch` enters the first stage, and all stages go on with what they have in hand.
    ///
    /// # Errors
    /// [`RunError`]; but for an impossible batch, the session is over then.
    fn step(&mut self, batch: &StepBatch) -> impl Future<Output = Result<StepRecord, RunError>> + Send;
}

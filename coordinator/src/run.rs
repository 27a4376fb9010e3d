//! What is run, where, and what comes of it: a request, a runner that is opened with it and stepped, and the record of a step.

use crate::error::{RunError, STEPS_MAX};
use moe::stack::StepBatch;
use node::control::{Pacing, PhaseReport};
use node::program::Stop;
use node::setup::Setup;
use node::wire::Phase;

/// A configuration to be stepped.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRequest {
    /// The configuration. Its `cluster_id`, `run` and `epoch` are replaced by the coordinator's own.
    pub setup: Setup,
    /// How emulated time maps to the wall clock; the simulator ignores it. [`crate::pace::pace`] knows one.
    pub pacing: Pacing,
    /// How long the longest phase should take, wall ns: ten times as much, and 30 s, pass before a node that does not answer is given
    /// up. The simulator ignores it.
    pub expected_phase_ns: u64,
    /// From the command to open a phase until its common start; `None` for what the coordinator's limits say. The simulator ignores it.
    pub leads: Option<Leads>,
}

/// How long before a phase's common start its ranks are told of it, wall ns. From then on they hand rows to QUIC, as far as their horizon
/// goes: what leaves its ports at once has this time to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leads {
    /// Of phases in which rows travel.
    pub network_ns: u64,
    /// Of phases in which ranks compute.
    pub compute_ns: u64,
}

impl RunRequest {
    /// A request that waits for phases no longer than it must, undilated.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self { setup, pacing: Pacing::default(), expected_phase_ns: 0, leads: None }
    }
}

/// What one step yielded, all ranks together.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// Number of the step in its run, from 0: that of the batch that entered.
    pub step: u32,
    /// Number of the step whose tokens are answered: with s stages the one that began s - 1 steps ago, if there was one.
    pub answered: Option<u32>,
    /// Every stop of the step, in order, with the reports of all ranks: `[stops]` of `[num_ranks]`.
    pub phases: Vec<(Stop, Vec<PhaseReport>)>,
    /// XXH3-64 of what came out for each token that is answered ([`node::digest::token_digest`]): `[num_ranks][tokens]`, of a whole model
    /// `[columns][tokens]`.
    pub digests: Vec<Vec<u64>>,
    /// From a stop's common start on a stage until the coordinator knew that it had closed there, wall ns, the longest of all stages:
    /// `[stops]`; 0 in the simulator.
    pub wall_ns: Vec<u64>,
    /// How far from a stop's common start some rank may have begun, for its clock is known no better, wall ns: `[stops]`; 0 where all
    /// ranks share the coordinator's clock.
    pub clock_error_ns: Vec<u64>,
    /// How often the step was begun anew because a seat was lost; everything else is of the last time.
    pub replays: u32,
    /// What that cost beside the steps' own time.
    pub outage: Outage,
}

/// How long a step stood because seats or links were lost, ns of the coordinator's clock; over all times that it was begun anew. In the
/// simulator, where no beats are sent, a silent rank counts as found after as many as the limits say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    /// From the opening of what was under way until the loss was known.
    pub noticed_ns: u64,
    /// From then until the step was begun anew.
    pub resumed_ns: u64,
}

impl StepRecord {
    /// Reports of the step's first stop of a phase, `[num_ranks]`; none where the program has no such stop.
    #[must_use]
    pub fn reports(&self, phase: Phase) -> &[PhaseReport] {
        let found = self.phases.iter().find(|(stop, _)| stop.phase == phase);
        found.map_or(&[], |(_, reports)| reports)
    }
}

/// Something that runs programs, one at a time: ranks in this process on a virtual clock, or nodes over QUIC.
pub trait Runner {
    /// Seats every rank of `request`. What was open before is closed.
    ///
    /// # Errors
    /// [`RunError`]; nothing is open then.
    fn open(&mut self, request: &RunRequest) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Runs a step of what is open. `batch` enters a whole model's first stage, and all stages go on with what they have in hand; it has
    /// no columns where a step's tokens are always the same.
    ///
    /// # Errors
    /// [`RunError`]; but for an impossible batch, the run is over then. [`RunError::Closed`] where nothing is open.
    fn step(&mut self, batch: &StepBatch) -> impl Future<Output = Result<StepRecord, RunError>> + Send;

    /// Ends what is open.
    fn close(&mut self);
}

/// Runs `steps` steps of a program whose tokens are always the same, and yields one record a step.
///
/// # Errors
/// [`RunError`]; no records then.
pub async fn run_steps<R: Runner>(
    runner: &mut R,
    request: &RunRequest,
    steps: u32,
) -> Result<Vec<StepRecord>, RunError> {
    run_until(runner, request, steps, |_| false).await
}

/// As [`run_steps`], but ends before that where the records so far are `enough`.
///
/// # Errors
/// As [`run_steps`].
pub async fn run_until<R: Runner>(
    runner: &mut R,
    request: &RunRequest,
    steps: u32,
    enough: impl Fn(&[StepRecord]) -> bool,
) -> Result<Vec<StepRecord>, RunError> {
    if !(1..=STEPS_MAX).contains(&steps) {
        return Err(RunError::Steps(steps));
    }
    runner.open(request).await?;
    let mut records = Vec::with_capacity(steps as usize);
    let mut ended = Ok(());
    while records.len() < steps as usize && ended.is_ok() && !enough(&records) {
        ended = runner.step(&StepBatch::default()).await.map(|record| records.push(record));
    }
    runner.close();
    ended.map(|()| records)
}

//! What a backend is asked to run, what it records, and every reason why a run may fail.

use moe::stack::BatchError;
use node::control::{Pacing, PhaseReport};
use node::setup::{RunSetup, SetupError};
use node::sim::SimError;
use thiserror::Error;

/// Most steps of one run, warm-up included: bounds the records kept in memory.
pub const STEPS_MAX: u32 = 10_000;

/// One configuration, to be stepped `warmup + rounds` times.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRequest {
    /// The configuration. The QUIC backend replaces `cluster_id`, `run` and `epoch` by its own.
    pub setup: RunSetup,
    /// How emulated time maps to the wall clock; the simulator ignores it.
    pub pacing: Pacing,
    /// Steps before the measured ones; their records are marked.
    pub warmup: u32,
    /// Measured steps, at least one.
    pub rounds: u32,
    /// How long the longest phase should take, wall ns: ten times as much, and 30 s, pass before a node that does not answer is given
    /// up. The simulator ignores it.
    pub expected_phase_ns: u64,
}

impl RunRequest {
    /// Steps in all, warm-up first.
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.warmup.saturating_add(self.rounds)
    }

    /// Checks the setup and the number of steps.
    ///
    /// # Errors
    /// [`RunError::Setup`] or [`RunError::Steps`].
    pub fn validate(&self) -> Result<(), RunError> {
        self.setup.validate()?;
        if self.rounds == 0 || self.steps() > STEPS_MAX {
            return Err(RunError::Steps { warmup: self.warmup, rounds: self.rounds });
        }
        Ok(())
    }
}

/// What one step of a run yielded, all ranks together.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundRecord {
    /// Number of the step in its run, from 0, warm-up included.
    pub step: u32,
    /// Whether it is a warm-up step, which counts for nothing.
    pub warmup: bool,
    /// Dispatch, expert and combine; each `[num_ranks]`.
    pub phases: [Vec<PhaseReport>; 3],
    /// XXH3-64 of each token's output ([`node::digest::token_digest`]), `[num_ranks][tokens]`.
    pub digests: Vec<Vec<u64>>,
    /// From a phase's common start until the coordinator knew that it had closed everywhere, wall ns; 0 in the simulator.
    pub wall_ns: [u64; 3],
    /// How far from a phase's common start some rank may have begun, for its clock is known no better, wall ns; 0 where all ranks share
    /// the coordinator's clock.
    pub clock_error_ns: [u64; 3],
    /// Outputs, `[num_ranks][tokens][hidden]`: only from a simulator that was asked to keep them.
    pub outputs: Option<Vec<Vec<Vec<f32>>>>,
}

/// Why a run yielded no records. Every message is one line that names the node and what to do.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration is impossible.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Too many steps, or none that is measured.
    #[error(
        "{warmup} warm-up steps and {rounds} rounds: a run takes at least 1 round and at most {STEPS_MAX} steps in all"
    )]
    Steps {
        /// Warm-up steps.
        warmup: u32,
        /// Measured steps.
        rounds: u32,
    },
    /// A step of a whole model that can't be taken.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A step that is asked for before the one before it is answered.
    #[error("run {run} has a step under way; wait for its record before the next")]
    StepUnderWay {
        /// The run.
        run: u64,
    },
    /// The simulator stopped.
    #[error(transparent)]
    Sim(#[from] std::sync::Arc<SimError>),
    /// Real nodes have no rows without bytes.
    #[error("a run without payload moves no bytes; use the simulator for it")]
    NoPayload,
    /// Not enough nodes, and none came in time.
    #[error("{there} of {needed} nodes have registered; start {} more `railyard node`, or run fewer ranks", needed - there)]
    TooFewNodes {
        /// Nodes that are members.
        there: u32,
        /// Ranks of the run.
        needed: u32,
    },
    /// One run at a time.
    #[error("run {run} is under way; wait for its end")]
    Busy {
        /// The run under way.
        run: u64,
    },
    /// A node reported an error.
    #[error("{node} failed: {error}")]
    Failed {
        /// Name and rank.
        node: String,
        /// What it said.
        error: String,
    },
    /// A node's connection ended.
    #[error("{node} was lost during {during}: {reason}; see its log, start it again, then repeat the run")]
    Lost {
        /// Name and rank.
        node: String,
        /// What the run was doing.
        during: String,
        /// How the connection ended.
        reason: String,
    },
    /// A worker process of this machine ended.
    #[error("worker {name} ended: {status}{}", last_words(last_line.as_deref()))]
    Worker {
        /// Its name.
        name: String,
        /// Its exit status, or the signal that ended it.
        status: String,
        /// The last line that the process wrote to stderr, empty if none; a task has no stderr.
        last_line: Option<String>,
    },
    /// Nodes did not answer in time.
    #[error("no answer from {nodes} within {limit_s} s of {during}; see their logs, stop or restart them")]
    Timeout {
        /// Names and ranks, the first few.
        nodes: String,
        /// What the run was doing.
        during: String,
        /// The limit, seconds.
        limit_s: u64,
    },
    /// A node said something that does not fit.
    #[error(
        "{node} broke the control protocol during {during}: {what}; run one build of railyard everywhere"
    )]
    Protocol {
        /// Name and rank.
        node: String,
        /// What the run was doing.
        during: String,
        /// What was wrong.
        what: String,
    },
    /// A node's clock contradicts what it showed before.
    #[error(
        "the monotonic clock of {node} has jumped against the coordinator's; was one of the machines suspended? Repeat the run"
    )]
    Clock {
        /// Name.
        node: String,
    },
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
    /// The caller withdrew the run.
    #[error("the run was cancelled")]
    Cancelled,
    /// The coordinator is shut down.
    #[error("the coordinator is shut down; start it again")]
    Closed,
}

impl From<SimError> for RunError {
    fn from(error: SimError) -> Self {
        Self::Sim(std::sync::Arc::new(error))
    }
}

fn last_words(line: Option<&str>) -> String {
    match line {
        None => String::new(),
        Some("") => "; it wrote nothing to stderr".to_owned(),
        Some(line) => format!("; its last line: {line}"),
    }
}

//! Every reason why a run may fail.

use moe::stack::BatchError;
use node::setup::SetupError;
use node::sim::SimError;
use thiserror::Error;

/// Most steps of one run, warm-up included: bounds the records kept in memory.
pub const STEPS_MAX: u32 = 10_000;

/// Why a run yielded no records. Every message is one line that names the node and what to do.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration is impossible.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Too many steps, or none.
    #[error("a run of {0} steps: give 1 to {STEPS_MAX}, warm-up included")]
    Steps(u32),
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
    Sim(#[from] SimError),
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
    /// No node of that name.
    #[error("no node is called {name}; `railyard health` counts those that are there")]
    NoNode {
        /// The name that was asked for.
        name: String,
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
    #[error("{node} was lost during {during}: {reason}; see its log and start it again")]
    Lost {
        /// Name and rank.
        node: String,
        /// What the run was doing.
        during: String,
        /// How the connection ended.
        reason: String,
    },
    /// A seat was lost, and no node took it in time.
    #[error("{lost}; no node took the seat within {limit_s} s")]
    Unseated {
        /// How it was lost.
        lost: Box<Self>,
        /// How long it was waited for, seconds.
        limit_s: u64,
        /// The ranks without a node, ascending.
        ranks: Vec<u32>,
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
    #[error(
        "no answer from {nodes} within {limit_s} s of {during}{}; see their logs, stop or restart them",
        clause(why)
    )]
    Timeout {
        /// Names and ranks, the first few.
        nodes: String,
        /// What the run was doing.
        during: String,
        /// The limit, seconds.
        limit_s: u64,
        /// Who waits for whom; may be empty.
        why: String,
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

fn clause(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

fn last_words(line: Option<&str>) -> String {
    match line {
        None => String::new(),
        Some("") => "; it wrote nothing to stderr".to_owned(),
        Some(line) => format!("; its last line: {line}"),
    }
}

//! What the coordinator has to tell: news for people, and what becomes of a run for whoever asked for it.

use crate::error::RunError;
use crate::run::StepRecord;
use node::control::NodeId;

/// News for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoordinatorEvent {
    /// A node registered.
    NodeJoined {
        /// Its id.
        node: NodeId,
        /// Its name.
        name: String,
        /// Members from now on.
        members: u32,
        /// Epoch from now on.
        epoch: u32,
    },
    /// A node left or was replaced.
    NodeLeft {
        /// Its id.
        node: NodeId,
        /// Its name.
        name: String,
        /// Why, one line.
        reason: String,
        /// Members from now on.
        members: u32,
        /// Epoch from now on.
        epoch: u32,
    },
    /// A node complained outside of any run.
    NodeComplained {
        /// Its name.
        name: String,
        /// What it said.
        error: String,
    },
    /// Someone was turned away before it became a node.
    Refused {
        /// Who and why, one line.
        reason: String,
    },
    /// Seats are taken and told to configure themselves.
    RunStarted {
        /// The run.
        run: u64,
        /// Its epoch.
        epoch: u32,
        /// Its ranks.
        ranks: u32,
    },
    /// A step is complete on every rank.
    StepDone {
        /// The run.
        run: u64,
        /// Steps complete.
        done: u32,
    },
}

/// What becomes of a run.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// Every seat waits for the first step.
    Opened,
    /// A step is complete; every seat waits for the next.
    Stepped(Box<StepRecord>),
    /// The run is over.
    Failed(RunError),
}

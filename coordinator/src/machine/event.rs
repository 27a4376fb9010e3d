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
    /// A node has been silent for too long; it takes no seat.
    NodeSuspected {
        /// Its name.
        name: String,
        /// For how long, ns.
        silence_ns: u64,
    },
    /// A link between two seats loses packets, whose rows are sent again.
    LinkLossy {
        /// Name and rank of who sends.
        from: String,
        /// Name and rank of who should receive.
        to: String,
        /// Packets lost so far.
        lost: u64,
        /// Packets sent so far, lost ones included.
        sent: u64,
    },
    /// A node has computed longer than its rank is charged, for some steps in succession, while the others did not.
    NodeSlow {
        /// Its name.
        name: String,
        /// Steps in succession.
        steps: u32,
        /// How much longer in the last one, percent.
        percent: u64,
        /// Whether it is to leave now, since a spare can take its seat.
        left_out: bool,
    },
    /// A node that was suspected is heard again.
    NodeHeard {
        /// Its name.
        name: String,
    },
    /// A run has lost a seat, or a link between seats, and waits for nodes.
    RunInterrupted {
        /// The run.
        run: u64,
        /// What happened, one line.
        reason: String,
    },
    /// A run that was interrupted has its seats again, or a seat has gone to a spare.
    RunResumed {
        /// The run.
        run: u64,
        /// Its epoch from now on.
        epoch: u32,
        /// Steps complete, which stay.
        done: u32,
        /// Since the loss was noticed, ns; 0 without a loss.
        after_ns: u64,
    },
    /// A step is complete on every rank.
    StepDone {
        /// The run.
        run: u64,
        /// Steps complete.
        done: u32,
    },
}

impl CoordinatorEvent {
    /// Whether it is about who is there.
    #[must_use]
    pub fn changes_the_roll(&self) -> bool {
        matches!(
            self,
            Self::NodeJoined { .. }
                | Self::NodeLeft { .. }
                | Self::NodeSuspected { .. }
                | Self::NodeHeard { .. }
        )
    }
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

//! What a rank puts out: things for its card, and what it tells its owner.

use crate::nic::OutRow;
use crate::wire::Phase;
use topology::{Picos, RankId};

/// Something for the rank's card.
#[derive(Debug)]
pub enum Send {
    /// Queue a row.
    Row {
        /// Receiver of this hop.
        to: RankId,
        /// The row.
        row: OutRow,
    },
    /// No more rows for `to` in this phase.
    Close {
        /// Receiver of the flow.
        to: RankId,
        /// Emulated time of the decision.
        at: Picos,
    },
    /// Rows of `to` have been taken in: it may send as many bytes again.
    Grant {
        /// Sender of those rows.
        to: RankId,
        /// Their bytes.
        bytes: u64,
        /// Emulated time of the delivery.
        at: Picos,
    },
}

/// What the rank tells its owner.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Gate and quantisation are done: dispatch can begin.
    Prepared,
    /// The rank's part of a phase is complete.
    Closed {
        /// Which phase.
        phase: Phase,
        /// Emulated time since its start: delivery of the last row, or the end of the expert job.
        at: Picos,
    },
    /// All tokens are summed; in a run of a whole model, all layers are done.
    Finished {
        /// f32 values of each token, `[tokens][hidden]`; empty rows in a payload-free run.
        outputs: Vec<Vec<f32>>,
    },
}

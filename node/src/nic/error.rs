//! Rules of the card that a peer has broken.

use thiserror::Error;
use topology::RankId;

/// What a peer did that a correct program does not do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NicError {
    /// A frame from a rank that scheme and placement give nothing to send here.
    #[error("a frame from {from}, which has no flow to this rank")]
    NoFlow {
        /// Sender of the frame.
        from: RankId,
    },
    /// A frame that is not what was sent.
    #[error("a frame from {from} fails its checksum: a bit of it was turned on its way")]
    Checksum {
        /// Sender of the frame.
        from: RankId,
    },
    /// A frame out of sequence: one was lost or sent twice.
    #[error("frame {got} from {from} where {expected} was due: a frame was lost or doubled")]
    Sequence {
        /// Sender of the frame.
        from: RankId,
        /// Sequence number due.
        expected: u32,
        /// Sequence number found.
        got: u32,
    },
    /// Rows after the flow's last frame, or a last frame that counts other rows than came.
    #[error("flow from {from} says it had {said} rows, {came} came")]
    FlowRows {
        /// Sender of the flow.
        from: RankId,
        /// Rows according to its last frame.
        said: u32,
        /// Rows that arrived.
        came: u32,
    },
    /// More bytes on the way than the credit allows.
    #[error("{from} has {bytes} bytes on the way, its credit is {credit}")]
    Credit {
        /// Sender without credit.
        from: RankId,
        /// Bytes outstanding.
        bytes: u64,
        /// Its window.
        credit: u64,
    },
    /// Credit that can't be owed.
    #[error(
        "{from} grants {bytes} bytes of credit: at least {least} at once, and no more than it was sent, can be owed"
    )]
    Grant {
        /// Who grants.
        from: RankId,
        /// How much.
        bytes: u64,
        /// Least that is granted at once.
        least: u64,
    },
    /// A frame that brings nothing and ends nothing, or more rows than a frame has, or rows of no bytes.
    #[error(
        "a frame of {rows} rows and {bytes} bytes from {from}, where 1 to {most} rows with values are due"
    )]
    Frame {
        /// Sender of the frame.
        from: RankId,
        /// Its rows.
        rows: usize,
        /// Their bytes.
        bytes: u64,
        /// Most rows of a frame.
        most: u32,
    },
}

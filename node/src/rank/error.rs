//! What a peer, a shell or a placement can do wrong to a rank.

use crate::job::JobId;
use crate::wire::Phase;
use moe::{ExpertId, SlotId};
use thiserror::Error;
use topology::RankId;

/// Most bytes that the cache of one rank takes where values are computed.
pub(super) const KV_BYTES_MAX: u64 = 1 << 30;

/// A row or command that breaks the protocol. The step can't be trusted any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RankError {
    /// A phase opened, or a frame of a phase delivered, before the one before it closed.
    #[error(
        "{rank} can't take part in {phase:?} now: the phase before it is not complete, or no step is prepared"
    )]
    PhaseOrder {
        /// This rank.
        rank: RankId,
        /// The phase asked for.
        phase: Phase,
    },
    /// A row for a slot that is neither here nor reachable from here by the scheme.
    #[error("{rank} got token {token} of {source_rank} for {slot}, which it neither hosts nor forwards to")]
    Misrouted {
        /// This rank.
        rank: RankId,
        /// Whose token.
        source_rank: RankId,
        /// Which token.
        token: u32,
        /// The slot asked for.
        slot: SlotId,
    },
    /// A row that came before.
    #[error("{rank} got token {token} of {source_rank} twice from {from}")]
    Doubled {
        /// This rank.
        rank: RankId,
        /// Sender of the second copy.
        from: RankId,
        /// Whose token.
        source_rank: RankId,
        /// Which token.
        token: u32,
    },
    /// A combine row that nothing here waits for.
    #[error("{rank} got a result for token {token} of {source_rank} from {from} that it did not ask for")]
    Unexpected {
        /// This rank.
        rank: RankId,
        /// Sender of the row.
        from: RankId,
        /// Whose token.
        source_rank: RankId,
        /// Which token.
        token: u32,
    },
    /// A row of another size than rows of its phase have.
    #[error("{rank} got a row of {got} bytes from {from} in {phase:?}, where rows have {expected}")]
    RowBytes {
        /// This rank.
        rank: RankId,
        /// Its sender.
        from: RankId,
        /// The phase.
        phase: Phase,
        /// Its bytes.
        got: u64,
        /// What it should have.
        expected: u64,
    },
    /// Weights that are not those of the expert.
    #[error("{rank} got row {row} of {expert}'s weights from {from}, and it is not what they are")]
    Weights {
        /// This rank.
        rank: RankId,
        /// Their sender.
        from: RankId,
        /// The expert.
        expert: ExpertId,
        /// The row of its weights.
        row: u32,
    },
    /// All flows ended and rows are still owed.
    #[error("{rank}: every flow of {phase:?} has ended and {missing} rows never came (first: token {token})")]
    Missing {
        /// This rank.
        rank: RankId,
        /// The phase.
        phase: Phase,
        /// How many.
        missing: usize,
        /// The first token without all its rows.
        token: u32,
    },
    /// A cache that is not what a batch says it is.
    #[error(
        "{rank} holds {held} tokens of sequence {sequence} in the cache of layer {layer}, its batch says {context}: an entry was lost, or the sequence was moved without its cache"
    )]
    Cache {
        /// This rank.
        rank: RankId,
        /// The sequence.
        sequence: u32,
        /// The first layer where they differ.
        layer: u32,
        /// Tokens that are there.
        held: usize,
        /// Tokens that the batch counts on.
        context: u32,
    },
    /// No room for a batch's entries.
    #[error(
        "{rank} would need {bytes} bytes of cache, a run with payload has at most {KV_BYTES_MAX}; end sequences earlier, or run without payload"
    )]
    CacheFull {
        /// This rank.
        rank: RankId,
        /// Bytes needed.
        bytes: u64,
    },
    /// More tokens than a rank takes where values are computed.
    #[error(
        "{rank} would have {tokens} tokens in hand, with payload at most {most}; split the batch, or run without payload"
    )]
    Tokens {
        /// This rank.
        rank: RankId,
        /// Its tokens.
        tokens: u32,
        /// The most of this width.
        most: u64,
    },
    /// A job output that does not fit.
    #[error("{rank}: the output of job {job} is not of the kind asked for")]
    Job {
        /// This rank.
        rank: RankId,
        /// The job.
        job: JobId,
    },
    /// The hardware preset can't charge the experts.
    #[error("{0}")]
    Hardware(String),
}

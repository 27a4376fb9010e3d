//! Why a simulation ends early.

use crate::seat::SeatError;
use crate::setup::SetupError;
use crate::wire::Phase;
use thiserror::Error;
use topology::RankId;

/// Why a simulated run ended early.
#[derive(Clone, Debug, Error)]
pub enum SimError {
    /// The setup is impossible.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A rank saw a broken rule.
    #[error(transparent)]
    Seat(#[from] SeatError),
    /// An exchange in chunks of nothing.
    #[error("a chunk has 0 bytes; give at least 1")]
    Chunk,
    /// Nothing moves and some rank still waits.
    #[error("{rank} never closed its {phase:?} phase: every queue is empty, a frame was lost")]
    Stuck {
        /// The first rank that waits.
        rank: RankId,
        /// Its phase.
        phase: Phase,
    },
}

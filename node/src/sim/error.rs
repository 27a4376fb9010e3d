//! Why a simulation ends early.

use crate::seat::SeatError;
use crate::setup::SetupError;
use crate::wire::Phase;
use thiserror::Error;
use topology::RankId;

/// For whom a rank waits, in words.
fn awaited(from: Option<RankId>) -> String {
    from.map_or_else(String::new, |from| format!(", it waits for rows of {from}"))
}

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
    #[error("{rank} never closed its {phase}{}: every queue is empty, a frame was lost", awaited(*from))]
    Stuck {
        /// The first rank that waits, of those that wait for one who waits for nobody.
        rank: RankId,
        /// Its phase.
        phase: Phase,
        /// Whose rows it waits for, if for any.
        from: Option<RankId>,
    },
    /// A fault of the run's plan has ended ranks.
    #[error("{} {} in the {phase}, as its faults say", ranks[0], if *killed { "was killed" } else { "froze for good" })]
    Ended {
        /// Who has ended, ascending; one at least.
        ranks: Vec<RankId>,
        /// The phase.
        phase: Phase,
        /// Whether a process is gone with the first.
        killed: bool,
    },
}

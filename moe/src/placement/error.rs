//! Limits of a placement, and why one can't be built.

use crate::registry::NameError;
use thiserror::Error;

/// Most slots that a placement may have (65,536 ranks of 16, or 4,096 of 256).
pub const MAX_SLOTS: usize = 1 << 20;

/// Why a placement can't be built.
#[derive(Debug, Error)]
pub enum PlacementError {
    /// Slots, a demand, a file or a program's answer that make no placement.
    #[error("{origin}: {problem}")]
    Refused {
        /// What was being built or read.
        origin: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A policy that needs another number of slots.
    #[error(
        "{slots} slots: {policy} has {needed}, neither more nor fewer: give that number, or another policy"
    )]
    FixedSlots {
        /// The policy.
        policy: String,
        /// Slots asked for.
        slots: u32,
        /// Slots that it has.
        needed: u64,
    },
    /// A policy that there is not.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A placement that another system's file can't express.
    #[error("{0}")]
    Export(String),
}

impl PlacementError {
    /// What makes no placement, and what would.
    pub(crate) fn refused(origin: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Refused { origin: origin.into(), problem: problem.into() }
    }
}

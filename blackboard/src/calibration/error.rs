//! Why measurements can't be read or fitted.

use thiserror::Error;

use crate::BlackboardError;

/// Why measurements can't be read or fitted.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CalibrationError {
    /// A line that can't be read.
    #[error("{origin}:{line}: {problem}")]
    Line {
        /// The file's name as the caller gave it.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// A time that no hardware of this kind can have.
    #[error("{at}: {problem}")]
    Impossible {
        /// File, line and column.
        at: String,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// Too few measurements of a kind for its parameters.
    #[error(
        "{column}: {rows} measurement(s); a fit of start and rate needs {least} or more: give more, or leave the column out"
    )]
    TooFew {
        /// What of which kernel.
        column: String,
        /// Its measurements.
        rows: usize,
        /// Fewest that are fitted.
        least: usize,
    },
    /// A profile without what was measured.
    #[error("{name}: it has no measured {what}")]
    Unmeasured {
        /// The profile.
        name: String,
        /// `kernels`, `layer` or `server`.
        what: &'static str,
    },
    /// No measurement at all.
    #[error("{origin}: no measurements; give a header and lines such as {example}")]
    Empty {
        /// The file's name as the caller gave it.
        origin: String,
        /// A header of its kind.
        example: &'static str,
    },
    /// A measurement that was given before.
    #[error("{at}: the same measurement as {before}; give each once, of repeats their mean")]
    Twice {
        /// File, line and column.
        at: String,
        /// The same of the first.
        before: String,
    },
    /// Ranks that a group can't be of.
    #[error("{at}: {ranks} rank(s) in {racks} rack(s) have no all-to-all, or don't divide over the racks")]
    Ranks {
        /// File, line and column.
        at: String,
        /// Ranks of the measurement.
        ranks: u32,
        /// Its racks.
        racks: u32,
    },
    /// A hold-out that can't be read, or leaves nothing.
    #[error("hold-out `{rule}`: {problem}")]
    HoldOut {
        /// As it was given.
        rule: String,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// Numbers of the layer that don't fit each other.
    #[error(transparent)]
    Layer(#[from] BlackboardError),
}

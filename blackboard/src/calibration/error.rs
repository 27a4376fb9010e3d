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
    /// No measurement at all.
    #[error("{0}: no measurements; give lines of tokens,nodes,phase,us")]
    Empty(String),
    /// Experts that don't divide over the ranks.
    #[error(
        "{nodes} node(s) are {ranks} ranks, over which {experts} experts don't divide; give --ranks-per-node and --experts as measured"
    )]
    Spread {
        /// Nodes of the measurement.
        nodes: u32,
        /// Ranks that they are.
        ranks: u32,
        /// Experts of the layer.
        experts: u32,
    },
    /// Numbers of the layer that don't fit each other.
    #[error(transparent)]
    Layer(BlackboardError),
}

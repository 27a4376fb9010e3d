//! What can be wrong with a cluster file, and where.

use thiserror::Error;

use super::MAX_CLUSTER_FILE_BYTES;
use crate::{ClusterError, HardwareTableProblem, UnitError};

/// A fault in a cluster file, where it is.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{origin}:{line}: {problem}")]
pub struct ClusterFileError {
    /// The file's name as the caller gave it.
    pub origin: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: ClusterFileProblem,
}

/// What can be wrong with a cluster file.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ClusterFileProblem {
    /// Not TOML, an unknown or missing key, or a value of the wrong type.
    #[error("{0}")]
    Toml(String),
    /// Longer than [`MAX_CLUSTER_FILE_BYTES`].
    #[error(
        "the file has {bytes} bytes, more than the limit of {MAX_CLUSTER_FILE_BYTES}; is it a cluster file?"
    )]
    TooLong {
        /// Length of the text.
        bytes: usize,
    },
    /// Impossible rack sizes.
    #[error("racks: {0}")]
    Racks(ClusterError),
    /// An unknown preset, or a value that can't be.
    #[error(transparent)]
    Hardware(#[from] HardwareTableProblem),
    /// Neither a preset nor a table.
    #[error("no hardware; give `hardware = \"gb200\"` in [cluster] or describe a [hardware] table")]
    NoHardware,
    /// Both a preset and a table.
    #[error("hardware is given twice; keep either the preset in [cluster] or the [hardware] table")]
    TwoHardwares,
    /// A throttle outside of its range, or one that leaves less than 1 byte/s.
    #[error("throttle = {0}: give a number from 0.001 to 1000000 that leaves scale-out at least 1 byte/s")]
    Throttle(f64),
    /// A number of the way between racks that can't be.
    #[error("{key} = {problem}")]
    Shared {
        /// `oversubscription` or `background`.
        key: &'static str,
        /// The value, and what it must be.
        problem: UnitError,
    },
}

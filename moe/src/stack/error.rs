//! Stacks and batches that can't be: always with the remedy.

use crate::error::ModelError;
use crate::placement::PlacementError;
use thiserror::Error;

/// A stack that can't be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StackError {
    /// The model is impossible.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A stage without layers.
    #[error("{stages} stages for {layers} layers; give 1 to {layers}")]
    Stages {
        /// Stages asked for.
        stages: u32,
        /// Layers of the model.
        layers: u32,
    },
    /// Racks that stages don't divide.
    #[error(
        "racks of {racks:?} ranks can't be divided into {stages} equal stages; give each stage the same racks, or each rack the same number of equal stages"
    )]
    Racks {
        /// Stages asked for.
        stages: u32,
        /// Sizes of the racks.
        racks: Vec<u32>,
    },
    /// Groups of tensor parallelism that a rack can't be divided into.
    #[error("tp = {tp}: {ranks} ranks of a stage in one rack are no whole groups of {tp}; give a divisor")]
    Groups {
        /// Ranks of a group.
        tp: u32,
        /// Ranks of a stage in one rack.
        ranks: u32,
    },
    /// Stages of another cluster.
    #[error("the stages were made for other racks; make the stack for this cluster")]
    Other,
    /// A stage's experts can't be placed.
    #[error(transparent)]
    Placement(#[from] PlacementError),
}

/// A batch that no step can take.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Not a column for each.
    #[error("a batch of {got} columns for stages of {columns} ranks; give one column a rank of a stage")]
    Columns {
        /// Columns of the batch.
        got: usize,
        /// Ranks of a stage.
        columns: u32,
    },
    /// More than a rank takes.
    #[error("column {column} has {got} {what}, a step takes at most {limit}; split the batch")]
    Size {
        /// Index of the column, from 0.
        column: usize,
        /// What it has too much of.
        what: &'static str,
        /// Chunks, tokens or sequences that were given.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// A chunk of nothing.
    #[error("column {column} has a chunk of sequence {sequence} with 0 tokens; leave the chunk out")]
    Empty {
        /// Index of the column, from 0.
        column: usize,
        /// Number of the sequence.
        sequence: u32,
    },
    /// A sequence in two places.
    #[error("sequence {sequence} is in a batch twice; give each one chunk a step, in one column")]
    Twice {
        /// Number of the sequence.
        sequence: u32,
    },
}

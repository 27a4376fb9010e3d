//! What one step does: for each column, which sequences get how many new tokens.

use super::BatchError;
use crate::ids::TokenId;
use crate::work::{RankLoad, Reaches};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most chunks of one column in one step, and most sequences that it may end.
pub const MAX_CHUNKS: usize = 65_536;
/// Most new tokens of one column in one step.
pub const MAX_COLUMN_TOKENS: u32 = 1 << 20;

/// New tokens of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The sequence. One whose context is 0 begins anew: what was cached under its name is forgotten.
    pub sequence: u32,
    /// Its tokens in the cache.
    pub context: u32,
    /// New tokens after them, at least 1.
    pub tokens: u32,
    /// Whether the token after the last one is asked for: in decode, and at the end of a prompt.
    pub sample: bool,
}

impl Chunk {
    /// Names of the new tokens, in order.
    pub fn ids(self) -> impl Iterator<Item = TokenId> {
        (0..self.tokens)
            .map(move |token| TokenId { sequence: self.sequence, position: self.context.wrapping_add(token) })
    }
}

/// What the ranks of one column do in a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// New tokens, by sequence.
    pub chunks: Vec<Chunk>,
    /// Sequences whose cache can go before the step.
    pub ended: Vec<u32>,
}

impl Column {
    /// Number of new tokens.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.tokens))
    }

    /// Names of the new tokens, in order: a rank's token t is the t-th.
    pub fn ids(&self) -> impl Iterator<Item = TokenId> {
        self.chunks.iter().flat_map(|chunk| chunk.ids())
    }

    /// Tokens after which another is asked for.
    pub fn answered(&self) -> impl Iterator<Item = TokenId> {
        self.chunks.iter().filter(|chunk| chunk.sample).filter_map(|chunk| chunk.ids().last())
    }

    /// What attention that looks back in `reaches` has to look at. One new token after others counts as decode.
    #[must_use]
    pub fn load(&self, reaches: &Reaches) -> RankLoad {
        let mut load = RankLoad::default();
        for chunk in &self.chunks {
            let tokens = reaches.of_sequence(chunk.context.into(), chunk.tokens.into());
            if chunk.tokens == 1 && chunk.context > 0 {
                load.decode += tokens;
            } else {
                load.prefill += tokens;
            }
        }
        load
    }
}

/// What all columns do in a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepBatch {
    /// One for each column of ranks (a rank's index in its stage), `[columns]`.
    pub columns: Vec<Column>,
}

impl StepBatch {
    /// A batch without tokens.
    #[must_use]
    pub fn empty(columns: u32) -> Self {
        Self { columns: vec![Column::default(); columns as usize] }
    }

    /// New tokens of all columns.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.columns.iter().map(|column| u64::from(column.tokens())).sum()
    }

    /// Checks sizes, and that no sequence is in two places.
    ///
    /// # Errors
    /// [`BatchError`] names the column or the sequence.
    pub fn validate(&self, columns: u32) -> Result<(), BatchError> {
        if self.columns.len() != columns as usize {
            return Err(BatchError::Columns { got: self.columns.len(), columns });
        }
        let mut seen = BTreeSet::new();
        for (at, column) in self.columns.iter().enumerate() {
            let size = |what, got: u64, limit: u64| {
                if got <= limit { Ok(()) } else { Err(BatchError::Size { column: at, what, got, limit }) }
            };
            size("chunks", column.chunks.len() as u64, MAX_CHUNKS as u64)?;
            size("ended sequences", column.ended.len() as u64, MAX_CHUNKS as u64)?;
            size("tokens", column.tokens().into(), MAX_COLUMN_TOKENS.into())?;
            for &Chunk { sequence, context, tokens, .. } in &column.chunks {
                if tokens == 0 {
                    return Err(BatchError::Empty { column: at, sequence });
                }
                let length = u64::from(context) + u64::from(tokens);
                size("tokens of one sequence", length, u64::from(u32::MAX))?;
                if !seen.insert(sequence) {
                    return Err(BatchError::Twice { sequence });
                }
            }
        }
        Ok(())
    }
}

//! Routing replayed from a recorded trace: rows taken in order from a seeded first one on, and round again.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use topology::RankId;

use super::RoutingError;

use crate::LayerShape;
use crate::ids::ExpertId;
use crate::ids::TokenId;
use crate::seed::{Purpose, generator};
use crate::topk::Routing;

/// Most rows that are accepted.
pub const MAX_RECORDED_ROWS: usize = 16_777_216;

/// Routing as recorded from a real model: rows of `top_k` experts and weights, without their tokens or layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRows {
    /// Experts per row.
    pub top_k: u32,
    /// Logical experts, `[rows, top_k]` by rows; distinct within a row.
    pub idx: Vec<u32>,
    /// Weights, `[rows, top_k]` by rows.
    pub weights: Vec<f32>,
}

impl RecordedRows {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.idx.len().checked_div(self.top_k as usize).unwrap_or(0)
    }

    /// A copy for a layer of `shape`.
    ///
    /// # Errors
    /// [`RoutingError::Recorded`] where they don't fit it.
    pub(super) fn fitting(&self, shape: &LayerShape) -> Result<Self, RoutingError> {
        if self.top_k != shape.top_k {
            return Err(RoutingError::Recorded {
                problem: format!("top_k = {} in the trace, {} in the layer", self.top_k, shape.top_k),
                remedy: "replay the trace on the model it was recorded from".to_owned(),
            });
        }
        self.validate(shape.num_experts)?;
        Ok(self.clone())
    }

    /// Checks the rows against themselves and against a layer of `num_experts` experts.
    ///
    /// # Errors
    /// [`RoutingError::Recorded`] names the row and the remedy.
    pub fn validate(&self, num_experts: u32) -> Result<(), RoutingError> {
        let wrong = |problem: String, remedy: &str| {
            Err(RoutingError::Recorded { problem, remedy: remedy.to_owned() })
        };
        let k = self.top_k as usize;
        if self.rows() == 0 || self.rows() > MAX_RECORDED_ROWS {
            let problem = format!("{} rows of top_k = {k}", self.rows());
            let remedy = format!("give 1 to {MAX_RECORDED_ROWS} rows, each with at least one expert");
            return wrong(problem, &remedy);
        }
        if self.idx.len() != self.rows() * k || self.weights.len() != self.idx.len() {
            let problem =
                format!("{} experts and {} weights for top_k = {k}", self.idx.len(), self.weights.len());
            return wrong(problem, "give top_k experts and top_k weights for every row");
        }
        for (row, (experts, weights)) in
            self.idx.chunks_exact(k).zip(self.weights.chunks_exact(k)).enumerate()
        {
            if let Some(&expert) = experts.iter().find(|&&e| e >= num_experts) {
                let problem = format!("row {row} goes to {}, the layer has {num_experts}", ExpertId(expert));
                return wrong(problem, "replay the trace on the model it was recorded from");
            }
            if let Some(expert) = first_repeated(experts) {
                let problem = format!("row {row} goes to {} twice", ExpertId(expert));
                return wrong(problem, "record the distinct experts of every token");
            }
            if let Some(weight) = weights.iter().find(|w| !w.is_finite()) {
                return wrong(format!("row {row} has weight {weight}"), "record finite weights");
            }
        }
        Ok(())
    }

    /// Routes tokens `0..tokens` of `rank`: token t takes row `(offset + rank * tokens + t) % rows`.
    pub(super) fn route(&self, seed: u64, layer: u32, rank: RankId, tokens: u32) -> Routing {
        let offset = self.offset(seed, [layer.into(), 0, 0]) + u64::from(rank.0) * u64::from(tokens);
        self.pick((0..tokens).map(|token| offset + u64::from(token)))
    }

    /// Routes tokens by their names: a sequence takes rows in order, from a seeded first one on.
    pub(super) fn route_ids(&self, seed: u64, layer: u32, tokens: &[TokenId]) -> Routing {
        self.pick(tokens.iter().map(|token| {
            self.offset(seed, [layer.into(), token.sequence.into(), 1]) + u64::from(token.position)
        }))
    }

    fn offset(&self, seed: u64, coordinates: [u64; 3]) -> u64 {
        generator(Purpose::TraceOffset, seed, coordinates).random_range(0..self.rows() as u64)
    }

    fn pick(&self, rows: impl ExactSizeIterator<Item = u64>) -> Routing {
        let k = self.top_k as usize;
        let mut routing = Routing::with_capacity(self.top_k, rows.len());
        for row in rows {
            let row = (row % self.rows() as u64) as usize;
            routing.topk_idx.extend_from_slice(&self.idx[row * k..(row + 1) * k]);
            routing.topk_weights.extend_from_slice(&self.weights[row * k..(row + 1) * k]);
        }
        routing
    }
}

/// The first expert that occurs a second time in `experts`.
pub(crate) fn first_repeated(experts: &[u32]) -> Option<u32> {
    experts.iter().enumerate().find(|&(at, expert)| experts[..at].contains(expert)).map(|(_, &expert)| expert)
}

//! The experts that tokens go to, with their weights, wherever they come from.

use serde::{Deserialize, Serialize};

/// The routing of some tokens of one rank: `top_k` experts and weights each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// Experts per token.
    pub top_k: u32,
    /// Logical experts, `[tokens, top_k]` by rows; distinct within a token, but for [`Routing::NOWHERE`].
    pub topk_idx: Vec<u32>,
    /// Weight of each expert's output, `[tokens, top_k]` by rows.
    pub topk_weights: Vec<f32>,
}

impl Routing {
    /// What stands for an expert that passes its token on as it is: the pick goes nowhere.
    pub const NOWHERE: u32 = u32::MAX;

    /// No tokens yet, with room for `tokens`.
    pub(crate) fn with_capacity(top_k: u32, tokens: usize) -> Self {
        let entries = tokens * top_k as usize;
        Self { top_k, topk_idx: Vec::with_capacity(entries), topk_weights: Vec::with_capacity(entries) }
    }

    /// Some of the tokens.
    pub(crate) fn part(&self, tokens: &std::ops::Range<u32>) -> Self {
        let entries = (tokens.start * self.top_k) as usize..(tokens.end * self.top_k) as usize;
        let (topk_idx, topk_weights) =
            (self.topk_idx[entries.clone()].to_vec(), self.topk_weights[entries].to_vec());
        Self { top_k: self.top_k, topk_idx, topk_weights }
    }

    /// These tokens, then those of `other`.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.topk_idx.extend(other.topk_idx);
        self.topk_weights.extend(other.topk_weights);
        self
    }

    /// Number of tokens.
    pub fn tokens(&self) -> u32 {
        self.topk_idx.len().checked_div(self.top_k as usize).unwrap_or(0) as u32
    }

    /// Experts with weights of token `t`, each with the weight of its output.
    ///
    /// # Panics
    /// If `t` is not below [`Routing::tokens`].
    pub fn picks(&self, t: u32) -> impl Iterator<Item = (u32, f32)> {
        let (experts, weights) = self.token(t);
        let picks = experts.iter().copied().zip(weights.iter().copied());
        picks.filter(|&(expert, _)| expert != Self::NOWHERE)
    }

    /// Experts and weights of token `t`, [`Routing::NOWHERE`] included.
    ///
    /// # Panics
    /// If `t` is not below [`Routing::tokens`].
    pub fn token(&self, t: u32) -> (&[u32], &[f32]) {
        let (t, k) = (t as usize, self.top_k as usize);
        (&self.topk_idx[t * k..(t + 1) * k], &self.topk_weights[t * k..(t + 1) * k])
    }
}

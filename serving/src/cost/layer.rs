//! What one layer's dispatch, routed experts and combine take for given tokens of each rank.

use super::CostError;
use topology::Picos;

/// Tokens of each rank of a stage, with what is asked of them again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankTokens {
    ranks: Vec<u32>,
    total: u64,
    max: u32,
}

impl RankTokens {
    /// Of `ranks`, one entry each.
    #[must_use]
    pub fn new(ranks: Vec<u32>) -> Self {
        let total = ranks.iter().map(|&tokens| u64::from(tokens)).sum();
        let max = ranks.iter().copied().max().unwrap_or(0);
        Self { ranks, total, max }
    }

    /// Tokens of each rank.
    #[must_use]
    pub fn ranks(&self) -> &[u32] {
        &self.ranks
    }

    /// Tokens of all ranks together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Of the rank that has most.
    #[must_use]
    pub const fn max(&self) -> u32 {
        self.max
    }

    /// Of a rank on average.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.total as f64 / self.ranks.len().max(1) as f64
    }
}

/// Times of one layer's phases, each the slowest rank's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerTimes {
    /// Rows to the experts.
    pub dispatch: Picos,
    /// Experts over all rows that have come.
    pub experts: Picos,
    /// Results on their way back to their tokens' ranks.
    pub combine: Picos,
}

impl LayerTimes {
    /// One phase after the other.
    #[must_use]
    pub fn total(self) -> Picos {
        self.dispatch + self.experts + self.combine
    }
}

/// A layer whose times are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedLayer {
    /// An index in the model, with experts.
    pub layer: u32,
    /// Number of the step.
    pub step: u32,
    /// Tokens.
    pub tokens: RankTokens,
}

/// Something that knows what a layer's phases take.
pub trait LayerCost {
    /// Times of `layer` (an index in the model, with experts) at `step` for `tokens`.
    ///
    /// # Errors
    /// [`CostError`].
    fn layer(&mut self, layer: u32, step: u32, tokens: &RankTokens) -> Result<LayerTimes, CostError>;

    /// Times of several, in the order in which they are asked for: for who can use several cores at once.
    ///
    /// # Errors
    /// The first [`CostError`].
    fn layers(&mut self, asked: &[AskedLayer]) -> Result<Vec<LayerTimes>, CostError> {
        asked.iter().map(|asked| self.layer(asked.layer, asked.step, &asked.tokens)).collect()
    }

    /// Whether a layer takes the same at any step: the same tokens go the same way then, and another step tells nothing more.
    fn repeats(&self) -> bool {
        false
    }

    /// Where the times are from, in a word.
    fn name(&self) -> &'static str;
}

impl<L: LayerCost + ?Sized> LayerCost for Box<L> {
    fn layer(&mut self, layer: u32, step: u32, tokens: &RankTokens) -> Result<LayerTimes, CostError> {
        (**self).layer(layer, step, tokens)
    }

    fn layers(&mut self, asked: &[AskedLayer]) -> Result<Vec<LayerTimes>, CostError> {
        (**self).layers(asked)
    }

    fn repeats(&self) -> bool {
        (**self).repeats()
    }

    fn name(&self) -> &'static str {
        (**self).name()
    }
}

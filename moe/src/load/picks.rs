//! What each token picked, layer by layer: kept where the source has it.

use crate::routing::{MAX_RECORDED_ROWS, first_repeated};
use crate::shape::{MAX_EXPERTS, MAX_TOP_K};
use std::collections::BTreeMap;

use super::{ExpertLoad, LoadError, MAX_LOAD_LAYERS};

/// In place of an expert in a row that picked fewer than the others.
const NONE: u32 = u32::MAX;

/// The picks of one layer, a row a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerPicks {
    top_k: usize,
    /// `[rows, top_k]` by rows, [`NONE`] at a row's end.
    idx: Vec<u32>,
    /// As `idx`, 0 with [`NONE`]; empty where the source has no weights. So are the other two.
    weights: Vec<f32>,
    ranks: Vec<u32>,
    steps: Vec<u64>,
}

/// A row to be taken in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PickedRow<'a> {
    /// Distinct experts, -1 for none.
    pub(super) experts: &'a [i64],
    pub(super) weights: Option<&'a [f32]>,
    pub(super) rank: Option<u32>,
    pub(super) step: Option<u64>,
}

impl LayerPicks {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idx.len().checked_div(self.top_k).unwrap_or(0)
    }

    /// True without rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.idx.is_empty()
    }

    /// Most experts of a row.
    #[must_use]
    pub fn top_k(&self) -> u32 {
        self.top_k as u32
    }

    /// The distinct experts of a row, at most [`Self::top_k`].
    ///
    /// # Panics
    /// If `row` is not below [`Self::len`]; so do the other methods for one row.
    #[must_use]
    pub fn experts(&self, row: usize) -> &[u32] {
        let experts = &self.idx[row * self.top_k..(row + 1) * self.top_k];
        &experts[..experts.iter().position(|&expert| expert == NONE).unwrap_or(self.top_k)]
    }

    /// The gate's weight of each expert of a row, where the source has weights.
    #[must_use]
    pub fn weights(&self, row: usize) -> Option<&[f32]> {
        let first = row * self.top_k;
        (!self.weights.is_empty()).then(|| &self.weights[first..first + self.experts(row).len()])
    }

    /// The rank whose token a row is, where the source has it.
    #[must_use]
    pub fn rank(&self, row: usize) -> Option<u32> {
        (!self.ranks.is_empty()).then(|| self.ranks[row])
    }

    /// The step (Megatron) or batch (moe-balance) of a row, where the source has it.
    #[must_use]
    pub fn step(&self, row: usize) -> Option<u64> {
        (!self.steps.is_empty()).then(|| self.steps[row])
    }

    /// The experts of every row.
    pub fn rows(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.len()).map(|row| self.experts(row))
    }

    /// Rows of each expert.
    pub(super) fn counts(&self, num_experts: u32) -> Vec<u64> {
        let mut counts = vec![0; num_experts as usize];
        for &expert in self.idx.iter().filter(|&&expert| expert != NONE) {
            counts[expert as usize] += 1;
        }
        counts
    }

    /// The rows for which `keep` is true.
    pub(super) fn filtered(&self, keep: impl Fn(usize) -> bool) -> Self {
        let rows: Vec<usize> = (0..self.len()).filter(|&row| keep(row)).collect();
        fn kept<T: Copy>(list: &[T], width: usize, rows: &[usize]) -> Vec<T> {
            if list.is_empty() {
                return Vec::new();
            }
            rows.iter().flat_map(|row| list[row * width..(row + 1) * width].iter().copied()).collect()
        }
        Self {
            top_k: self.top_k,
            idx: kept(&self.idx, self.top_k, &rows),
            weights: kept(&self.weights, self.top_k, &rows),
            ranks: kept(&self.ranks, 1, &rows),
            steps: kept(&self.steps, 1, &rows),
        }
    }

    fn push(&mut self, row: &PickedRow<'_>) -> Result<(), String> {
        let k = row.experts.len();
        if k == 0 || k > MAX_TOP_K as usize {
            return Err(format!("{k} experts a token; give 1 to {MAX_TOP_K}"));
        }
        if !self.is_empty() && k != self.top_k {
            return Err(format!(
                "{k} experts a token, {} before; give as many for each, -1 for none",
                self.top_k
            ));
        }
        if row.weights.is_some_and(|weights| weights.len() != k) {
            let weights = row.weights.map_or(0, <[f32]>::len);
            return Err(format!("{weights} weights for {k} experts; give one an expert, or none at all"));
        }
        for (what, before, now) in [
            ("weights", !self.weights.is_empty(), row.weights.is_some()),
            ("a rank", !self.ranks.is_empty(), row.rank.is_some()),
            ("a step", !self.steps.is_empty(), row.step.is_some()),
        ] {
            if !self.is_empty() && before != now {
                return Err(format!(
                    "a row {} {what} after one {}; give it for all or none",
                    has(now),
                    has(before)
                ));
            }
        }
        let mut experts = Vec::with_capacity(k);
        let mut weights = Vec::with_capacity(k);
        for (at, &expert) in row.experts.iter().enumerate().filter(|&(_, &expert)| expert != -1) {
            if !(0..i64::from(MAX_EXPERTS)).contains(&expert) {
                return Err(format!("expert {expert}; give ids below {MAX_EXPERTS}, -1 for none"));
            }
            experts.push(expert as u32);
            let weight = row.weights.map_or(0.0, |weights| weights[at]);
            if !weight.is_finite() {
                return Err(format!("weight {weight}; give finite weights"));
            }
            weights.push(weight);
        }
        if let Some(expert) = first_repeated(&experts) {
            return Err(format!("expert {expert} twice in a row; give the distinct experts of each token"));
        }
        self.top_k = k;
        experts.resize(k, NONE);
        self.idx.extend(experts);
        if row.weights.is_some() {
            weights.resize(k, 0.0);
            self.weights.extend(weights);
        }
        self.ranks.extend(row.rank);
        self.steps.extend(row.step);
        Ok(())
    }
}

const fn has(there: bool) -> &'static str {
    if there { "with" } else { "without" }
}

/// Gathers rows by layer.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// By (block, layer): a model may number the layers of its blocks apart.
    layers: BTreeMap<(u32, u32), LayerPicks>,
    rows: usize,
}

impl Gathered {
    /// Takes in one row of a layer; otherwise what is wrong with it.
    pub(super) fn push(&mut self, layer: (u32, u32), row: &PickedRow<'_>) -> Result<(), String> {
        if self.rows == MAX_RECORDED_ROWS {
            return Err(format!("more than {MAX_RECORDED_ROWS} rows; cut the trace"));
        }
        if self.layers.len() == MAX_LOAD_LAYERS && !self.layers.contains_key(&layer) {
            return Err(format!("more than {MAX_LOAD_LAYERS} layers; cut the trace"));
        }
        self.rows += 1;
        self.layers.entry(layer).or_default().push(row)
    }

    /// The load of `num_experts` experts, or of as many as the largest id says.
    pub(super) fn finish(self, num_experts: Option<u32>, origin: &str) -> Result<ExpertLoad, LoadError> {
        let picked = self.layers.values().flat_map(|layer| &layer.idx).filter(|&&expert| expert != NONE);
        let Some(&largest) = picked.max() else {
            return Err(LoadError::NoTokens { origin: origin.to_owned() });
        };
        let (keys, picks): (Vec<_>, Vec<_>) = self.layers.into_iter().unzip();
        let layer_ids = keys.into_iter().map(|(_, layer)| layer).collect();
        Ok(ExpertLoad::of_picks(layer_ids, picks, num_experts.unwrap_or(0).max(largest + 1)))
    }
}

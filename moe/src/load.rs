//! Expert load: how many tokens each logical expert of each layer got, which experts tokens picked together where that is
//! known, and how evenly a placement spreads them.
//!
//! Read from the records of SGLang, Megatron, vLLM, moe-balance and simllm, or from lists and rows of counts, one file each and a line
//! each in the table of `read`, or drawn from a routing. Everything read is bounded.

mod coactivation;
mod constant;
mod counts;
mod csv;
mod demand;
mod error;
mod format;
mod lines;
mod megatron;
mod moe_balance;
mod npy;
mod picks;
mod read;
mod rows;
mod sampled;
mod simllm;
mod stats;
mod tables;
mod trace;
mod vllm;
mod warnings;
mod wide;

pub use coactivation::Coactivation;
pub use error::LoadError;
pub use picks::LayerPicks;
pub use read::{formats, parse_loads, read_loads};
pub use sampled::Sampling;
pub use stats::{LoadStats, balancedness, gini, max_over_mean, percentile};
pub use trace::{Trace, TraceInfo, read_trace};

use crate::ids::ExpertId;
use crate::placement::Placement;
use std::collections::BTreeSet;
use std::ops::Range;
use topology::Cluster;

/// Longest record, or line of a trace, that is read, bytes.
pub const MAX_LOAD_BYTES: usize = 256 << 20;
/// Most layers of a record.
pub const MAX_LOAD_LAYERS: usize = 4096;

/// Tokens by layer and logical expert, with the picks they are made of where these are known.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertLoad {
    /// `[layers][experts]`, as many experts in every layer.
    logical_count: Vec<Vec<u64>>,
    /// The number that each layer has in its source, `[layers]`.
    layer_ids: Vec<u32>,
    /// `[layers]`, or empty where only counts are known.
    picks: Vec<LayerPicks>,
    /// `[steps][layers][experts]` of a source that counts by step, with the number of its first step.
    steps: Vec<Vec<Vec<u64>>>,
    first_step: u64,
    /// How many of these tokens the source counts as one; above 1 where it has fractions.
    scale: f64,
}

impl ExpertLoad {
    /// `[layers][experts]` of a record, which `origin` names in errors.
    ///
    /// # Errors
    /// No layers or experts, too many, not as many experts in each layer, or no tokens.
    fn of_counts(logical_count: Vec<Vec<u64>>, origin: &str) -> Result<Self, LoadError> {
        counts::check(&logical_count, origin)?;
        Self::counted(logical_count).with_tokens(origin)
    }

    /// `[steps][layers][experts]` of a record, as [`Self::of_counts`]; counts beyond 64 bits stay at the largest.
    ///
    /// # Errors
    /// As there, and a step with other layers or experts than the first.
    fn of_steps(steps: Vec<Vec<Vec<u64>>>, origin: &str) -> Result<Self, LoadError> {
        counts::check_steps(&steps, origin)?;
        Self::summed(steps).with_tokens(origin)
    }

    /// A record that has tokens: without any there is nothing to place by.
    fn with_tokens(self, origin: &str) -> Result<Self, LoadError> {
        if self.logical_count.iter().flatten().any(|&count| count > 0) {
            return Ok(self);
        }
        Err(LoadError::NoTokens { origin: origin.to_owned() })
    }

    fn counted(logical_count: Vec<Vec<u64>>) -> Self {
        let layer_ids = (0..logical_count.len() as u32).collect();
        Self { logical_count, layer_ids, picks: Vec::new(), steps: Vec::new(), first_step: 0, scale: 1.0 }
    }

    fn summed(steps: Vec<Vec<Vec<u64>>>) -> Self {
        let mut sum = steps[0].clone();
        for step in &steps[1..] {
            let counts = step.iter().flatten();
            for (sum, &count) in sum.iter_mut().flatten().zip(counts) {
                *sum = sum.saturating_add(count);
            }
        }
        Self { steps, ..Self::counted(sum) }
    }

    fn of_picks(layer_ids: Vec<u32>, picks: Vec<LayerPicks>, num_experts: u32) -> Self {
        let logical_count = picks.iter().map(|layer| layer.counts(num_experts)).collect();
        Self { logical_count, layer_ids, picks, steps: Vec::new(), first_step: 0, scale: 1.0 }
    }

    /// Layers of the record, at least 1.
    #[must_use]
    pub fn num_layers(&self) -> usize {
        self.logical_count.len()
    }

    /// Logical experts of every layer, at least 1. A trace of picks that doesn't tell has as many as its largest expert id says.
    #[must_use]
    pub fn num_experts(&self) -> u32 {
        self.logical_count[0].len() as u32
    }

    /// Tokens of each expert, by layer.
    pub fn layers(&self) -> impl Iterator<Item = &[u64]> {
        self.logical_count.iter().map(Vec::as_slice)
    }

    /// The number that each layer has in its source, `[layers]`.
    #[must_use]
    pub fn layer_ids(&self) -> &[u32] {
        &self.layer_ids
    }

    /// What each token picked in a layer; `None` where the source has only counts.
    #[must_use]
    pub fn picks(&self, layer: usize) -> Option<&LayerPicks> {
        self.picks.get(layer)
    }

    /// Which experts tokens picked together in a layer; `None` where the source has only counts.
    #[must_use]
    pub fn coactivation(&self, layer: usize) -> Option<Coactivation> {
        self.picks(layer).map(|picks| Coactivation::of(picks, self.num_experts()))
    }

    /// The steps that the source tells apart, ascending; none where it doesn't.
    #[must_use]
    pub fn steps(&self) -> Vec<u64> {
        if !self.steps.is_empty() {
            return (self.first_step..).take(self.steps.len()).collect();
        }
        let of_layer = |layer| -> BTreeSet<u64> {
            let picks: &LayerPicks = layer;
            (0..picks.len()).filter_map(|row| picks.step(row)).collect()
        };
        self.picks.iter().flat_map(of_layer).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The load of some steps alone, with the same layers and experts; `None` where the source has none of them.
    #[must_use]
    pub fn window(&self, steps: Range<u64>) -> Option<Self> {
        let known = self.steps();
        let first = known.partition_point(|&step| step < steps.start);
        let last = known.partition_point(|&step| step < steps.end);
        if first >= last {
            return None;
        }
        let mut window = if self.steps.is_empty() {
            let within = |picks: &LayerPicks, row| picks.step(row).is_some_and(|step| steps.contains(&step));
            let picks = self.picks.iter().map(|picks| picks.filtered(|row| within(picks, row))).collect();
            Self::of_picks(Vec::new(), picks, self.num_experts())
        } else {
            Self { first_step: known[first], ..Self::summed(self.steps[first..last].to_vec()) }
        };
        window.layer_ids.clone_from(&self.layer_ids);
        window.scale = self.scale;
        Some(window)
    }
}

/// The tokens that each rank computes where each expert's are shared evenly by its replicas, `[ranks]`.
///
/// # Panics
/// If `load` has not one entry an expert of `placement`.
#[must_use]
pub fn rank_load(cluster: &Cluster, placement: &Placement, load: &[u64]) -> Vec<f64> {
    assert_eq!(load.len(), placement.num_experts() as usize, "the load of another model");
    let share =
        |expert: ExpertId| load[expert.0 as usize] as f64 / placement.replicas_of(expert).len() as f64;
    let of_rank =
        |rank| placement.slots_of(rank).iter().map(|&slot| share(placement.expert_of(slot))).sum::<f64>();
    cluster.ranks().map(of_rank).collect()
}

#[cfg(test)]
mod tests;

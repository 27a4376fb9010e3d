//! What a model leaves of its ranks' memory: weights and buffers of each stage, and what a sequence's cache takes there.

use crate::ledger::StageMemory;
use crate::trains::TrainPolicy;
use moe::RowBytes;
use moe::placement::LayerPlacements;
use moe::stack::Stack;
use topology::{Hardware, RankId};

/// Shares of a rank's memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryShares {
    /// What weights, buffers and caches may take; the rest is a reserve for what else runs there.
    pub used: f64,
    /// Of what weights and buffers leave of it, what is kept for caches of ended requests.
    pub kept: f64,
}

/// Memory of each stage's fullest rank, before any sequence sits there. `placements` has the experts of each layer on the ranks of a
/// stage.
///
/// - Weights: the rank's share of what every token uses, its slots of every layer with experts (of the rank with most of them in all), the input embedding in the first
///   stage and the head in the last (one matrix, where a single stage has both and they are tied).
/// - Buffers: rows of the largest step, `T (k (d + c) + 2 h)` with d and c a row's bytes out and back and `2 h` those of a BF16 state,
///   as `blackboard::deployment` counts them. With tensor parallelism T is shared out in the group.
#[must_use]
pub fn stage_memory(
    stack: &Stack,
    hardware: &Hardware,
    placements: &LayerPlacements,
    policy: &TrainPolicy,
    shares: MemoryShares,
) -> Vec<StageMemory> {
    let (model, shape, part) = (&stack.model, stack.shape(), stack.part());
    let expert_bytes = shape.expert_weight_bytes() as f64;
    let rows = RowBytes::new(shape.hidden);
    let row_bytes = (shape.mean_picks() * (rows.dispatch + rows.combine) as f64).ceil() as u64
        + 2 * u64::from(model.hidden);
    let rows_bytes = u64::from(policy.max_num_batched_tokens.div_ceil(stack.tp)) * row_bytes;
    let last = stack.stages().len() - 1;
    let capacity = (hardware.hbm_bytes as f64 * shares.used).floor() as u64;
    let (layers, common_drafting, drafting_cache) = model.draft_held(stack.drafts, &part);
    // With as many slots as the layers that they are like.
    let slots_of = |&layer: &u32| {
        if model.is_moe_layer(layer) { f64::from(placements.of(layer).max_slots_per_rank()) } else { 0.0 }
    };
    let drafting = common_drafting + layers.iter().map(slots_of).sum::<f64>() * expert_bytes;
    let stage = |(index, stage): (usize, &moe::stack::Stage)| {
        let routed: Vec<u32> = stage.layers.clone().filter(|&layer| model.is_moe_layer(layer)).collect();
        let slots = |rank| routed.iter().map(|&layer| placements.of(layer).slots_of(rank).len()).sum();
        let slots: usize = (0..stack.columns()).map(|rank| slots(RankId(rank))).max().unwrap_or(0);
        let [embedding, head] = model.embedding_bytes(&part);
        let ends = match (index == 0, index == last) {
            (true, true) if model.tied_embeddings => embedding,
            (first, last) => f64::from(u8::from(first)) * embedding + f64::from(u8::from(last)) * head,
        };
        let common = model.common_bytes(stage.layers.clone(), &part) + ends;
        let drafting = if index == last { drafting } else { 0.0 };
        let weights_bytes = (common + slots as f64 * expert_bytes + drafting).ceil() as u64;
        let mut cache = model.cache_growth(stage.layers.clone(), stack.kv_dtype, stack.tp);
        if index == last {
            cache.add_all(&drafting_cache);
        }
        let left = capacity.saturating_sub(weights_bytes).saturating_sub(rows_bytes);
        StageMemory {
            capacity_bytes: capacity,
            weights_bytes,
            buffers_bytes: rows_bytes,
            kept_bytes: (left as f64 * shares.kept).floor() as u64,
            cache,
        }
    };
    stack.stages().iter().enumerate().map(stage).collect()
}

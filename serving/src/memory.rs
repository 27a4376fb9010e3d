//! What a model leaves of its ranks' memory: weights and buffers of each stage, and what a token's cache takes there.

use crate::ledger::StageMemory;
use crate::trains::TrainPolicy;
use moe::RowBytes;
use moe::placement::LayerPlacements;
use moe::stack::Stack;
use topology::{Hardware, RankId};

/// Memory of each stage's fullest rank, before any sequence sits there. `placements` has the experts of each layer on the ranks of a
/// stage; `cache_share` of what weights leave is kept for caches of ended requests.
///
/// - Weights: the rank's share of what every token uses, its slots of every layer with experts (of the rank with most of them in all), the input embedding in the first
///   stage and the head in the last (one matrix, where a single stage has both and they are tied).
/// - Buffers: rows of the largest step, `T (k (d + c) + 2 h)` with d and c a row's bytes out and back and `2 h` those of a BF16 state,
///   as `blackboard::deployment` counts them.
#[must_use]
pub fn stage_memory(
    stack: &Stack,
    hardware: &Hardware,
    placements: &LayerPlacements,
    policy: &TrainPolicy,
    cache_share: f64,
) -> Vec<StageMemory> {
    let model = &stack.model;
    let (share, width) = (stack.common.share(stack.columns()), stack.dtype.bytes());
    let expert_bytes = stack.shape().expert_weight_bytes() as f64;
    let rows = RowBytes::new(model.hidden);
    let row_bytes = u64::from(model.top_k) * (rows.dispatch + rows.combine) + 2 * u64::from(model.hidden);
    let rows_bytes = u64::from(policy.max_num_batched_tokens) * row_bytes;
    let last = stack.stages().len() - 1;
    let stage = |(index, stage): (usize, &moe::stack::Stage)| {
        let routed: Vec<u32> = stage.layers.clone().filter(|&layer| model.is_moe_layer(layer)).collect();
        let slots = |rank| routed.iter().map(|&layer| placements.of(layer).slots_of(rank).len()).sum();
        let slots: usize = (0..stack.columns()).map(|rank| slots(RankId(rank))).max().unwrap_or(0);
        let ends = match (index == 0, index == last) {
            (true, true) if model.tied_embeddings => 1.0,
            (first, last) => f64::from(u8::from(first)) + f64::from(u8::from(last)),
        };
        let common = model.common_params(stage.layers.clone()) + ends * model.embedding_params();
        let weights_bytes = (common * share * width + slots as f64 * expert_bytes).ceil() as u64;
        let left = hardware.hbm_bytes.saturating_sub(weights_bytes).saturating_sub(rows_bytes);
        let kept = (left as f64 * cache_share).floor() as u64;
        let kv = model.kv_bytes_per_layer(stack.kv_dtype) * (stage.layers.end - stage.layers.start) as f64;
        StageMemory {
            capacity_bytes: hardware.hbm_bytes,
            weights_bytes,
            buffers_bytes: rows_bytes,
            kept_bytes: kept,
            kv_bytes_per_token: kv.ceil() as u64,
        }
    };
    stack.stages().iter().enumerate().map(stage).collect()
}

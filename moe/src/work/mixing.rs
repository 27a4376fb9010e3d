//! FLOP and cache traffic of each kind of mixer, without its projections.

use super::load::{Reaches, TokenLoad};
use crate::model::{Cache, Index, Mixer};
use topology::Dtype;

/// FLOP that a recurrence spends on each element of its state a token: two to read it, two to write it, two to decay and correct it.
const STATE_FLOPS: f64 = 6.0;

/// Scores and weighted values of `load`.
///
/// - Grouped heads: 2 FLOP for each element of a key and of a value, `2 n_q (d_k + d_v)` a pair.
/// - Latent heads ask the latent itself (absorbed, `2 n_q (2 c + r)` a pair) or expand it first (`2 n_q (q_nope + r + v)` a
///   pair and `2 n_q c (q_nope + v)` an entry read or written), whichever is less: decode absorbs, prefill expands. Source:
///   shapes of V3; claim E3b of `railyard board`.
/// - An index scores every key: `2 n_i d_i` a pair.
pub(super) fn score_flops(mixer: &Mixer, load: &TokenLoad, reaches: &Reaches) -> f64 {
    let ways = mixer.reaches();
    let seen = |way: usize| reaches.seen(load, ways[way]);
    let indexed = |index: Option<Index>, way: usize| {
        index.map_or(0.0, |Index { heads, head_dim, .. }| {
            2.0 * f64::from(heads) * f64::from(head_dim) * seen(way).pairs as f64
        })
    };
    match *mixer {
        Mixer::Grouped { heads, head_dim, v_head_dim, .. } => {
            let widths = f64::from(head_dim) + f64::from(v_head_dim.unwrap_or(head_dim));
            2.0 * f64::from(heads) * widths * seen(0).pairs as f64
        }
        Mixer::Latent { heads, kv_lora, qk_nope, qk_rope, v_head, index, .. } => {
            let (heads, latent) = (f64::from(heads), f64::from(kv_lora));
            let (nope, rope, v) = (f64::from(qk_nope), f64::from(qk_rope), f64::from(v_head));
            let (pairs, entries) = (seen(0).pairs as f64, seen(0).entries as f64);
            let absorbed = 2.0 * heads * (2.0 * latent + rope) * pairs;
            let expanded = 2.0 * heads * ((nope + rope + v) * pairs + latent * (nope + v) * entries);
            absorbed.min(expanded) + indexed(index, 1)
        }
        Mixer::Compressed { heads, head_dim, ratio, index, .. } => {
            let groups = if ratio > 0 { seen(1).pairs } else { 0 };
            let pairs = (seen(0).pairs + groups) as f64;
            4.0 * f64::from(heads) * f64::from(head_dim) * pairs + indexed(index, 2)
        }
        Mixer::State { state, .. } => STATE_FLOPS * state as f64 * load.tokens as f64,
    }
}

/// Bytes of its cache that are read and written; a state is read and written once for all new tokens of a sequence.
pub(super) fn cache_bytes(mixer: &Mixer, load: &TokenLoad, reaches: &Reaches, kv_dtype: Dtype) -> f64 {
    let ways = mixer.reaches();
    let entries = |way: usize| reaches.seen(load, ways[way]).entries as f64;
    let one = mixer.entry() as f64 * kv_dtype.bytes();
    // Keys of an index take a byte an element.
    let index_keys = |index: Option<Index>, way: usize| {
        index.map_or(0.0, |index| f64::from(index.head_dim) * entries(way))
    };
    match *mixer {
        Mixer::Grouped { .. } => one * entries(0),
        Mixer::Latent { index, .. } => one * entries(0) + index_keys(index, 1),
        Mixer::Compressed { ratio, index, .. } => {
            let groups = if ratio > 0 { entries(1) } else { 0.0 };
            one * (entries(0) + groups) + index_keys(index, 2)
        }
        Mixer::State { state, conv_state, .. } => {
            let held = Cache { state, conv_state, ..Cache::default() };
            2.0 * held.bytes(0) as f64 * load.sequences as f64
        }
    }
}

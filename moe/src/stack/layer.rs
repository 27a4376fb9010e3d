//! What a layer does to tokens outside its routed experts, where values are computed: cheap maps that depend on all they should.

use super::{Chunk, KvCache, Stack, TokenId};
use crate::experts::{ExpertKind, Experts, WEIGHT_CACHE_BYTES};
use crate::ids::ExpertId;
use crate::model::Block;
use crate::rows::round_bf16;
use crate::seed::{Purpose, derived_seed, generator};
use crate::shape::LayerShape;
use rand::RngExt;
use rand_distr::StandardNormal;

/// The smallest mean square that [`norm`] divides by, as in DeepSeek-V3's `rms_norm_eps`.
const NORM_EPSILON: f64 = 1e-6;

/// Fills `row` with the state of a token as it enters the first layer: standard normal, rounded to BF16.
pub fn fill_embedding(seed: u64, token: TokenId, row: &mut [f32]) {
    let rng = generator(Purpose::Embedding, seed, [token.sequence.into(), token.position.into(), 0]);
    for (value, sample) in row.iter_mut().zip(rng.sample_iter::<f32, _>(StandardNormal)) {
        *value = round_bf16(sample);
    }
}

/// Adds what the routed experts gave to a token's state, which a layer ends with.
pub fn add_routed(state: &mut [f32], routed: &[f32]) {
    for (x, y) in state.iter_mut().zip(routed) {
        *x = round_bf16(*x + y);
    }
}

/// What the model answers for each token: `norm` of its state after the last layer.
#[must_use]
pub fn answers(states: &[f32], hidden: usize) -> Vec<Vec<f32>> {
    let mut answers: Vec<_> = states.chunks_exact(hidden).map(<[f32]>::to_vec).collect();
    answers.iter_mut().for_each(|row| norm(row));
    answers
}

/// Divides a row by the root of its mean square, summed in order.
fn norm(row: &mut [f32]) {
    let sum: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let scale = (1.0 / (sum / row.len() as f64 + NORM_EPSILON).sqrt()) as f32;
    row.iter_mut().for_each(|x| *x *= scale);
}

/// One layer without its routed experts.
///
/// Attention stands for what it is by three things that it shares with it: every token leaves an entry made of its whole state in
/// the cache; a token's result depends on the entries of all tokens before it and its own, each by its distance; and nothing else.
/// An entry that is lost, or in another place, changes every result after it. With entries e and state a of a token at place p:
///
/// ```text
/// e[j] = sum of a[i] over i = j mod width, over the root of their number
/// c    = sum of e_q / (1 + p - q) over q = 0 .. p, over the sum of 1 / (1 + p - q)
/// y[i] = s a[(i + shift) mod hidden] + t c[i mod width],   s^2 + t^2 = 1
/// ```
#[derive(Debug)]
pub struct LocalLayer {
    hidden: usize,
    /// Constants of attention, drawn by (seed, layer).
    own: f32,
    context: f32,
    shift: usize,
    /// The dense block, or the shared experts as one block of their inner widths together; `None` where there are none.
    block: Option<Experts>,
    dense: bool,
}

impl LocalLayer {
    /// Layer `layer` of `stack`. Blocks are made as `kind` says that experts are.
    ///
    /// # Panics
    /// If the model has no such layer.
    #[must_use]
    pub fn new(stack: &Stack, kind: ExpertKind, seed: u64, layer: u32) -> Self {
        let model = &stack.model;
        assert!(layer < model.num_layers(), "layer {layer} of {}", model.num_layers());
        let mut constants = generator(Purpose::Attention, seed, [layer.into(), 0, 0]);
        // Half-angle form, as the modelled experts have it.
        let t = constants.random_range(0.2f32..0.8);
        let unit = 1.0 + t * t;
        let shift = if model.hidden > 1 { constants.random_range(1..model.hidden) as usize } else { 0 };
        let dense = !model.is_moe_layer(layer);
        let inter = model.layer_at(layer).blocks.iter().map(Block::common_inter).sum();
        let block = (inter > 0).then(|| {
            let shape = LayerShape {
                hidden: model.hidden,
                num_experts: 1,
                top_k: 1,
                expert_inter: inter,
                ..stack.shape()
            };
            let seed = derived_seed(Purpose::CommonBlock, seed, [0; 3]);
            let limit = WEIGHT_CACHE_BYTES / model.num_layers() as usize;
            Experts::new(kind, &shape, seed, layer).with_cache_limit(limit)
        });
        let (own, context) = ((1.0 - t * t) / unit, 2.0 * t / unit);
        Self { hidden: model.hidden as usize, own, context, shift, block, dense }
    }

    /// Takes `states`, `[tokens of chunks, hidden]`, through the layer up to its routed experts. Returns what these get, in a layer
    /// that has them. `layer` is the layer's index in `cache`, which must hold each chunk's context.
    ///
    /// # Panics
    /// If `states` has not a row for each token.
    pub fn run(
        &self,
        chunks: &[Chunk],
        states: &mut [f32],
        cache: &mut KvCache,
        layer: usize,
    ) -> Option<Vec<f32>> {
        let mut rows = states.chunks_exact_mut(self.hidden);
        let mut attended = vec![0.0; self.hidden];
        for chunk in chunks {
            let width = cache.width();
            let entries = cache.entries_mut(chunk.sequence, layer);
            for _ in 0..chunk.tokens {
                let row = rows.next().expect("a row for each token");
                attended.copy_from_slice(row);
                norm(&mut attended);
                self.attend(&attended, entries, width, row);
            }
        }
        let mut normed = states.to_vec();
        normed.chunks_exact_mut(self.hidden).for_each(norm);
        if let Some(block) = &self.block {
            let mut out = vec![0.0; normed.len()];
            block.apply(ExpertId(0), &normed, &mut out);
            for (x, y) in states.iter_mut().zip(out) {
                *x += y;
            }
        }
        if self.dense {
            states.iter_mut().for_each(|x| *x = round_bf16(*x));
            return None;
        }
        Some(normed)
    }

    /// Leaves an entry of the token with normed state `a`, and adds what attention makes of it to `row`.
    fn attend(&self, a: &[f32], values: &mut Vec<f32>, width: usize, row: &mut [f32]) {
        let first = values.len();
        values.resize(first + width, 0.0);
        for block in a.chunks(width) {
            for (sum, x) in values[first..].iter_mut().zip(block) {
                *sum += x;
            }
        }
        for (j, sum) in values[first..].iter_mut().enumerate() {
            *sum /= ((a.len() - j).div_ceil(width) as f32).sqrt();
        }
        let (mut context, mut weights) = (vec![0.0_f32; width], 0.0_f32);
        let last = values.len() / width - 1;
        for (q, entry) in values.chunks_exact(width).enumerate() {
            let weight = 1.0 / (1 + last - q) as f32;
            weights += weight;
            for (sum, e) in context.iter_mut().zip(entry) {
                *sum += weight * e;
            }
        }
        context.iter_mut().for_each(|c| *c /= weights);
        for (i, x) in row.iter_mut().enumerate() {
            *x += self.own * a[(i + self.shift) % a.len()] + self.context * context[i % width];
        }
    }
}

//! What a step asks of a rank outside its experts, in FLOP and bytes of memory traffic: attention, dense and shared blocks, head.
//!
//! `topology::Hardware::time` makes a time of it. Norms, residual sums, the embedding's lookup and activations that stay on the
//! chip are left out: below 1% of any model here.

use crate::model::{Attention, Model};
use std::ops::{Add, AddAssign};
use topology::Dtype;

/// Arithmetic and memory traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations, two a multiply-add.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { flops: self.flops + other.flops, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What attention has to look at for some tokens of one rank. Loads of several sequences add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenLoad {
    /// New tokens, whose cache entries are written.
    pub tokens: u64,
    /// Entries of the cache that are read: a sequence's context, once for all its new tokens.
    pub read: u64,
    /// Pairs of a new token and one that it looks at, itself included.
    pub pairs: u64,
}

impl TokenLoad {
    /// `tokens` new ones after `context` cached ones of one sequence: each looks at the context and at the new ones up to itself.
    #[must_use]
    pub const fn of_sequence(context: u64, tokens: u64) -> Self {
        Self { tokens, read: context, pairs: tokens * context + tokens * (tokens + 1) / 2 }
    }
}

impl Add for TokenLoad {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            read: self.read + other.read,
            pairs: self.pairs + other.pairs,
        }
    }
}

impl AddAssign for TokenLoad {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The tokens of one rank in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RankLoad {
    /// Of sequences that decode: one token each.
    pub decode: TokenLoad,
    /// Of prompts, in chunks.
    pub prefill: TokenLoad,
}

impl RankLoad {
    /// New tokens of both kinds.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.decode.tokens + self.prefill.tokens
    }
}

impl AddAssign for RankLoad {
    fn add_assign(&mut self, other: Self) {
        self.decode += other.decode;
        self.prefill += other.prefill;
    }
}

/// Where the weights lie that every token uses: attention, dense and shared blocks, embedding and head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommonWeights {
    /// On every rank: data-parallel attention, as DeepSeek serves (V3, section 3.4). Each rank reads all of them.
    #[default]
    Replicated,
    /// An equal part on each of the ranks of a stage, as the equations of a model on n ranks assume (`blackboard`). Nothing is charged for bringing the
    /// parts' results together.
    Even,
}

impl CommonWeights {
    /// The share of the weights that one of `ranks` holds and reads.
    #[must_use]
    pub fn share(self, ranks: u32) -> f64 {
        match self {
            Self::Replicated => 1.0,
            Self::Even => 1.0 / f64::from(ranks.max(1)),
        }
    }
}

impl Attention {
    /// Scores and weighted values of `load`, without projections.
    ///
    /// - Grouped heads: 2 FLOP for each element of a key and of a value, `4 n_q d` a pair.
    /// - Latent heads ask the latent itself (absorbed, `2 n_q (2 c + r)` a pair) or expand it first (`2 n_q (q_nope + r + v)` a
    ///   pair and `2 n_q c (q_nope + v)` an entry read or written), whichever is less: decode absorbs, prefill expands. Source:
    ///   shapes of V3; claim E3b of `railyard board`.
    fn score_flops(&self, load: TokenLoad) -> f64 {
        let (pairs, entries) = (load.pairs as f64, (load.read + load.tokens) as f64);
        match *self {
            Self::Grouped { heads, head_dim, .. } => 4.0 * f64::from(heads) * f64::from(head_dim) * pairs,
            Self::Latent { heads, kv_lora, qk_nope, qk_rope, v_head, .. } => {
                let (heads, latent) = (f64::from(heads), f64::from(kv_lora));
                let (nope, rope, v) = (f64::from(qk_nope), f64::from(qk_rope), f64::from(v_head));
                let absorbed = 2.0 * heads * (2.0 * latent + rope) * pairs;
                let expanded = 2.0 * heads * ((nope + rope + v) * pairs + latent * (nope + v) * entries);
                absorbed.min(expanded)
            }
        }
    }
}

impl Model {
    /// Bytes that a token leaves in one layer's cache.
    #[must_use]
    pub fn kv_bytes_per_layer(&self, kv_dtype: Dtype) -> f64 {
        self.attention.kv_elements() as f64 * kv_dtype.bytes()
    }

    /// One layer's attention for the tokens of one rank that holds `share` of its weights ([`CommonWeights::share`]): projections,
    /// scores and values; weights read, cache read and written. Nothing where there are no tokens.
    #[must_use]
    pub fn attention_work(&self, load: RankLoad, dtype: Dtype, kv_dtype: Dtype, share: f64) -> Work {
        if load.tokens() == 0 {
            return Work::default();
        }
        let params = self.attention.params(self.hidden) as f64;
        let scores = self.attention.score_flops(load.decode) + self.attention.score_flops(load.prefill);
        let entries = load.decode.read + load.prefill.read + load.tokens();
        Work {
            flops: 2.0 * params * load.tokens() as f64 + scores,
            bytes: params * share * dtype.bytes() + entries as f64 * self.kv_bytes_per_layer(kv_dtype),
        }
    }

    /// What layer `index` does to every token beside attention and routed experts: a dense block, or router and shared experts.
    ///
    /// # Panics
    /// If the model has no such layer.
    #[must_use]
    pub fn block_work(&self, index: u32, tokens: u64, dtype: Dtype, share: f64) -> Work {
        assert!(index < self.num_layers, "layer {index} of {}", self.num_layers);
        every_token(self.block_params(index), tokens, dtype, share)
    }

    /// The output head for `tokens` that need their next token.
    #[must_use]
    pub fn head_work(&self, tokens: u64, dtype: Dtype, share: f64) -> Work {
        every_token(self.head_params(), tokens, dtype, share)
    }

    /// Weights of layer `index` that every token uses beside attention's.
    fn block_params(&self, index: u32) -> f64 {
        let h = f64::from(self.hidden);
        if self.is_moe_layer(index) {
            h * (3.0 * f64::from(self.shared_experts) * f64::from(self.shared_inter)
                + f64::from(self.num_experts))
        } else {
            3.0 * h * f64::from(self.dense_inter)
        }
    }

    fn head_params(&self) -> f64 {
        f64::from(self.hidden) * f64::from(self.vocab)
    }

    /// Weights that every token of `layers` uses, of all ranks' routed experts none: attention, dense and shared blocks, routers.
    #[must_use]
    pub fn common_params(&self, layers: std::ops::Range<u32>) -> f64 {
        let attention = self.attention.params(self.hidden) as f64;
        layers.map(|index| attention + self.block_params(index)).sum()
    }

    /// Weights of the input embedding and of the output head, apart; the first stage holds the one, the last stage the other.
    #[must_use]
    pub fn embedding_params(&self) -> f64 {
        self.head_params()
    }
}

fn every_token(params: f64, tokens: u64, dtype: Dtype, share: f64) -> Work {
    if tokens == 0 {
        return Work::default();
    }
    Work { flops: 2.0 * params * tokens as f64, bytes: params * share * dtype.bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v3() -> Model {
        Model::preset("deepseek-v3").unwrap()
    }

    #[test]
    fn common_and_routed_weights_are_all_weights() {
        for model in Model::presets() {
            let routed = f64::from(model.moe_layers)
                * f64::from(model.num_experts)
                * 3.0
                * f64::from(model.hidden)
                * f64::from(model.expert_inter);
            let embeddings = if model.tied_embeddings { 1.0 } else { 2.0 } * model.embedding_params();
            let sum = model.common_params(0..model.num_layers) + routed + embeddings;
            assert!((sum / model.total_params() - 1.0).abs() < 1e-12, "{}", model.name);
        }
    }

    #[test]
    fn a_cache_entry_is_read_once_a_step_and_written_once() {
        let model = v3();
        let load = RankLoad { decode: TokenLoad::of_sequence(4_999, 1), prefill: TokenLoad::default() };
        let work = model.attention_work(load, Dtype::Fp8, Dtype::Bf16, 0.0);
        // 576 elements of 2 bytes a token and layer: 70,272 B over 61 layers (ISCA).
        assert_eq!(work.bytes * 61.0, 5_000.0 * 70_272.0);
    }

    #[test]
    fn absorbed_decode_has_the_intensity_that_the_source_states() {
        // E3b: 242 FLOP a byte of BF16 cache.
        let scores = v3().attention.score_flops(TokenLoad { tokens: 0, read: 1_000_000, pairs: 1_000_000 });
        let bytes = 1e6 * v3().kv_bytes_per_layer(Dtype::Bf16);
        assert_eq!((scores / bytes).round(), 242.0);
    }

    #[test]
    fn a_prompt_in_chunks_looks_at_as_much_as_at_once() {
        let whole = TokenLoad::of_sequence(0, 1_000);
        let mut chunks = TokenLoad::default();
        for start in (0..1_000).step_by(250) {
            chunks += TokenLoad::of_sequence(start, 250);
        }
        assert_eq!((whole.tokens, whole.pairs), (chunks.tokens, chunks.pairs));
        assert!(chunks.read > whole.read, "chunks read the cache of those before them");
    }
}

//! What a step asks of a rank outside its routed experts, in FLOP and bytes of memory traffic: attention and recurrences, dense and shared
//! blocks, routers, the head.
//!
//! `topology::Hardware::time` makes a time of it. Norms, residual sums, the embedding's lookup and activations that stay on the
//! chip are left out: below 1% of any model here.

mod drafts;
mod load;
mod mixing;
#[cfg(test)]
mod tests;

pub use drafts::Drafts;
pub use load::{RankLoad, Reaches, TokenLoad};

use crate::model::{Block, Layer, Model, Part};
use std::ops::{Add, AddAssign, Mul};
use std::str::FromStr;
use topology::{Dtype, named};

/// Arithmetic and memory traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations, two a multiply-add.
    pub flops: f64,
    /// Bytes of weights that are read.
    pub weights: f64,
    /// Bytes of caches that are read and written.
    pub cache: f64,
}

impl Work {
    /// All memory traffic.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.weights + self.cache
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flops: self.flops + other.flops,
            weights: self.weights + other.weights,
            cache: self.cache + other.cache,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<f64> for Work {
    type Output = Self;

    fn mul(self, times: f64) -> Self {
        Self { flops: self.flops * times, weights: self.weights * times, cache: self.cache * times }
    }
}

/// Where the weights lie that every token uses: attention, dense and shared blocks, embedding and head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommonWeights {
    /// On every rank, or shared out in each group of tensor parallelism: data-parallel attention, as DeepSeek serves (V3, section 3.4).
    /// Each of them reads all of it.
    #[default]
    Replicated,
    /// An equal part on each of the ranks of a stage, as the equations of a model on n ranks assume (`blackboard`). Nothing is charged for bringing the
    /// parts' results together.
    Even,
}

impl FromStr for CommonWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &[("replicated", Self::Replicated), ("even", Self::Even)])
    }
}

/// What one rank has of a layer's common work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankPart {
    /// Format of the arithmetic, and of the weights where the model says none.
    pub dtype: Dtype,
    /// Format of the cache's entries.
    pub kv_dtype: Dtype,
    /// Ranks that divide heads and inner widths, and work on the same tokens.
    pub tp: u32,
    /// Share of the weights that this rank holds and reads.
    pub share: f64,
    /// How the model's layers look back, as its loads were made.
    pub reaches: Reaches,
}

impl RankPart {
    /// Of one of `ranks` ranks of a stage of `model` in groups of `tp`, weights lying as `common` says.
    #[must_use]
    pub fn new(
        model: &Model,
        (dtype, kv_dtype): (Dtype, Dtype),
        common: CommonWeights,
        tp: u32,
        ranks: u32,
    ) -> Self {
        let share = match common {
            CommonWeights::Replicated => 1.0 / f64::from(tp.max(1)),
            CommonWeights::Even => 1.0 / f64::from(ranks.max(1)),
        };
        Self { dtype, kv_dtype, tp: tp.max(1), share, reaches: model.reaches() }
    }
}

impl Model {
    /// The ways in which its layers look back.
    #[must_use]
    pub fn reaches(&self) -> Reaches {
        Reaches::of(self.ways().into_iter())
    }

    /// The mixers of layer `index` for the tokens of a group of ranks that work on the same ones: projections, scores and values;
    /// weights read, cache read and written, on one of them. Nothing where there are no tokens.
    ///
    /// # Panics
    /// If the model has no such layer, or the load was not made with [`Model::reaches`].
    #[must_use]
    pub fn mixer_work(&self, index: u32, load: &RankLoad, part: &RankPart) -> Work {
        if load.tokens() == 0 {
            return Work::default();
        }
        let width = self.width(index, Part::Mixer, part);
        let mut work = Work::default();
        for mixer in &self.layer_at(index).mixers {
            let params = mixer.params(self.hidden) as f64;
            work.weights += params * part.share * width;
            work.flops += 2.0 * params * load.tokens() as f64 / f64::from(part.tp);
            for of in [&load.decode, &load.prefill] {
                work.flops += mixing::score_flops(mixer, of, &part.reaches) / f64::from(part.tp);
                let cache = mixing::cache_bytes(mixer, of, &part.reaches, part.kv_dtype);
                work.cache += cache * mixer.cache_share(part.tp);
            }
        }
        work
    }

    /// What layer `index` does to every token beside mixers and routed experts: dense blocks, shared experts and, of each rank's own part of
    /// the tokens, the router.
    ///
    /// # Panics
    /// If the model has no such layer.
    #[must_use]
    pub fn block_work(&self, index: u32, tokens: u64, part: &RankPart) -> Work {
        let mut work = Work::default();
        for block in &self.layer_at(index).blocks {
            let (shared, router) = (block.shared_params(self.hidden), block.router_params(self.hidden));
            let of = match block {
                Block::Dense { .. } => Part::Dense,
                Block::Routed { .. } => Part::Shared,
            };
            work += self.every_token(shared as f64, tokens, self.width(index, of, part), part);
            // A router is too small to be shared out: each rank has it for its own tokens.
            let whole = RankPart { share: if part.tp > 1 { 1.0 } else { part.share }, ..*part };
            work += self.every_token(router as f64, tokens, self.width(index, Part::Router, part), &whole);
        }
        work
    }

    /// The output head for `tokens` that need their next token.
    #[must_use]
    pub fn head_work(&self, tokens: u64, part: &RankPart) -> Work {
        let params = f64::from(self.hidden) * f64::from(self.vocab);
        let bits = self.storage.held_bits(None, self.head_part(), part.dtype);
        self.every_token(params, tokens, bits / 8.0, part)
    }

    /// The matrix that stands for the head: the embedding where they are one.
    fn head_part(&self) -> Part {
        if self.tied_embeddings { Part::Embedding } else { Part::Head }
    }

    /// Bytes of a weight of `part` in layer `index`.
    fn width(&self, index: u32, of: Part, part: &RankPart) -> f64 {
        self.storage.held_bits(Some(index as usize), of, part.dtype) / 8.0
    }

    fn every_token(&self, params: f64, tokens: u64, width: f64, part: &RankPart) -> Work {
        if tokens == 0 {
            return Work::default();
        }
        let flops = 2.0 * params * tokens as f64 / f64::from(part.tp);
        Work { flops, weights: params * part.share * width, cache: 0.0 }
    }

    /// Bytes that a rank holds of what every token of `layers` uses: mixers, dense and shared blocks, routers; norms are left out.
    #[must_use]
    pub fn common_bytes(&self, layers: std::ops::Range<u32>, part: &RankPart) -> f64 {
        let one = RankLoad { decode: TokenLoad { tokens: 1, ..TokenLoad::default() }, ..RankLoad::default() };
        let of = |layer| self.mixer_work(layer, &one, part).weights + self.block_work(layer, 1, part).weights;
        layers.map(of).sum()
    }

    /// Bytes that a rank holds of the input embedding and of the output head, apart; one matrix where they are tied. The first stage holds
    /// the one, the last stage the other.
    #[must_use]
    pub fn embedding_bytes(&self, part: &RankPart) -> [f64; 2] {
        let params = f64::from(self.hidden) * f64::from(self.vocab) * part.share;
        [Part::Embedding, self.head_part()]
            .map(|of| params * self.storage.held_bits(None, of, part.dtype) / 8.0)
    }

    /// Times that a group of tensor parallelism brings its parts' results of layer `index` together: after each mixer, each dense block and the
    /// shared experts.
    ///
    /// # Panics
    /// If the model has no such layer.
    #[must_use]
    pub fn exchanges(&self, index: u32) -> u32 {
        let Layer { mixers, blocks } = self.layer_at(index);
        let shared = blocks.iter().filter(|block| block.shared_params(self.hidden) > 0);
        (mixers.len() + shared.count()) as u32
    }
}

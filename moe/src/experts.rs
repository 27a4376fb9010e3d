//! The mathematics of one layer's experts: cheap checkable maps, or real products on seeded weights.
//!
//! Either way an expert is a function of a row alone: the result for a row has the same bits whatever rows it is
//! computed with, so that batches may be cut and ordered freely without changing an output.

mod gemm;
mod modelled;

use crate::ids::ExpertId;
use crate::seed::{self, Purpose};
use crate::shape::LayerShape;
use rand::Rng as _;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use topology::named;

/// Bytes of expert weights that one [`Experts`] keeps by default.
pub const WEIGHT_CACHE_BYTES: usize = 512 << 20;

/// What stands in for an expert's feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpertKind {
    /// `y[i] = a * x[i] + b * x[(i + s) mod hidden]` with a, b, s of the expert: costs next to nothing, and a row that
    /// reached the wrong expert or arrived with elements out of place gives a different result.
    Modelled,
    /// `w2 (silu(w1 x) * w3 x)` in f32, `w2 relu(w1 x)^2` for experts of two matrices; weights seeded and rounded to BF16.
    Gemm,
}

impl FromStr for ExpertKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &[("modelled", Self::Modelled), ("gemm", Self::Gemm)])
    }
}

/// What stands for the first `bytes` of an expert's weights on the wire: the same for whoever holds or awaits them.
#[must_use]
pub fn weight_block(seed: u64, layer: u32, expert: ExpertId, bytes: usize) -> Vec<u8> {
    let mut block = vec![0; bytes];
    let coordinates = [u64::from(layer), u64::from(expert.0), 0];
    seed::generator(Purpose::WeightBlock, seed, coordinates).fill_bytes(&mut block);
    block
}

/// The experts of one layer.
///
/// Weights follow from (seed, layer, expert) alone, so every process that hosts a replica computes the same outputs.
/// They are scaled so that rows of standard normal elements give outputs of unit variance.
#[derive(Debug)]
pub struct Experts {
    hidden: usize,
    num_experts: u32,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Modelled(Vec<modelled::Mix>),
    Gemm(gemm::GemmExperts),
}

impl Experts {
    /// The experts of `layer` at `shape`. Modelled constants are made now; gemm weights when an expert is first used.
    #[must_use]
    pub fn new(kind: ExpertKind, shape: &LayerShape, seed: u64, layer: u32) -> Self {
        let body = match kind {
            ExpertKind::Modelled => Body::Modelled(
                (0..shape.num_experts)
                    .map(|e| modelled::Mix::new(&mut generator(seed, layer, ExpertId(e)), shape.hidden))
                    .collect(),
            ),
            ExpertKind::Gemm => Body::Gemm(gemm::GemmExperts::new(shape, seed, layer)),
        };
        Self { hidden: shape.hidden as usize, num_experts: shape.num_experts, body }
    }

    /// Keeps at most `bytes` of gemm weights (f32, 12 * hidden * inter bytes an expert of three matrices) instead of
    /// [`WEIGHT_CACHE_BYTES`]. Experts that find no room are made again at every call: slower, same outputs.
    #[must_use]
    pub fn with_cache_limit(mut self, bytes: usize) -> Self {
        if let Body::Gemm(experts) = &mut self.body {
            experts.set_cache_limit(bytes);
        }
        self
    }

    /// Which kind these are.
    #[must_use]
    pub const fn kind(&self) -> ExpertKind {
        match self.body {
            Body::Modelled(_) => ExpertKind::Modelled,
            Body::Gemm(_) => ExpertKind::Gemm,
        }
    }

    /// Applies `expert` to `rows` (`[n, hidden]`) into `out` (`[n, hidden]`), each row independently of the others.
    ///
    /// # Panics
    /// If `expert` is not one of the layer's, or the slices are not whole rows of equal number.
    pub fn apply(&self, expert: ExpertId, rows: &[f32], out: &mut [f32]) {
        self.check(expert, rows.len(), out.len());
        match &self.body {
            Body::Modelled(mixes) => mixes[expert.0 as usize].apply(self.hidden, rows, out),
            Body::Gemm(experts) => experts.apply(expert, rows, out),
        }
    }

    /// [`Self::apply`] in float64, by plain loops that share nothing with it but the weights.
    ///
    /// # Panics
    /// As [`Self::apply`].
    pub fn apply_f64(&self, expert: ExpertId, rows: &[f64], out: &mut [f64]) {
        self.check(expert, rows.len(), out.len());
        match &self.body {
            Body::Modelled(mixes) => mixes[expert.0 as usize].apply_f64(self.hidden, rows, out),
            Body::Gemm(experts) => experts.apply_f64(expert, rows, out),
        }
    }

    fn check(&self, expert: ExpertId, rows: usize, out: usize) {
        assert!(expert.0 < self.num_experts, "{expert} of a layer with {} experts", self.num_experts);
        assert!(
            rows == out && rows.is_multiple_of(self.hidden),
            "{expert}: {rows} elements in and {out} out are not rows of {}",
            self.hidden
        );
    }
}

/// The generator behind one expert's constants or weights.
fn generator(seed: u64, layer: u32, expert: ExpertId) -> Pcg64 {
    seed::generator(Purpose::Expert, seed, [u64::from(layer), u64::from(expert.0), 0])
}

#[cfg(test)]
mod tests;

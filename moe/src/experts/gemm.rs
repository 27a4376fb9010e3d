//! The gemm expert: SwiGLU, or the squared ReLU of two matrices, on weights drawn from a seed, kept in memory up to a bound.

use super::{WEIGHT_CACHE_BYTES, generator};
use crate::ids::ExpertId;
use crate::rows::round_bf16;
use crate::shape::LayerShape;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use rand::Rng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// E[silu(g)^2] for a standard normal g: what w2's scale must undo for outputs of unit variance.
const SILU_SECOND_MOMENT: f64 = 0.355_8;
/// E[relu(g)^4] for a standard normal g.
const SQUARED_RELU_SECOND_MOMENT: f64 = 1.5;

/// `w2 (silu(w1 x) * w3 x)`, or `w2 relu(w1 x)^2` where experts have two matrices, for every expert of one layer; weights in the
/// `[out, in]` layout of published checkpoints.
#[derive(Debug)]
pub(super) struct GemmExperts {
    hidden: usize,
    inter: usize,
    gated: bool,
    seed: u64,
    layer: u32,
    cache_limit: usize,
    cache: RwLock<BTreeMap<ExpertId, Arc<Weights>>>,
}

/// One expert's matrices: f32 that are exactly BF16 values.
struct Weights {
    /// `[inter, hidden]`
    w1: Vec<f32>,
    /// `[hidden, inter]`
    w2: Vec<f32>,
    /// `[inter, hidden]`; nothing where experts have two matrices.
    w3: Vec<f32>,
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Millions of numbers help nobody.
        f.debug_struct("Weights").field("elements", &self.w1.len()).finish_non_exhaustive()
    }
}

impl GemmExperts {
    pub(super) fn new(shape: &LayerShape, seed: u64, layer: u32) -> Self {
        Self {
            hidden: shape.hidden as usize,
            inter: shape.expert_inter as usize,
            gated: shape.gated,
            seed,
            layer,
            cache_limit: WEIGHT_CACHE_BYTES,
            cache: RwLock::default(),
        }
    }

    pub(super) fn set_cache_limit(&mut self, bytes: usize) {
        self.cache_limit = bytes;
    }

    pub(super) fn apply(&self, expert: ExpertId, rows: &[f32], out: &mut [f32]) {
        let (hidden, inter, n) = (self.hidden, self.inter, rows.len() / self.hidden);
        let weights = self.weights(expert);
        let x = view(rows, n, hidden);
        let mut gate = Array2::zeros((n, inter));
        general_mat_mul(1.0, &x, &view(&weights.w1, inter, hidden).t(), 0.0, &mut gate);
        if self.gated {
            let mut up = Array2::zeros((n, inter));
            general_mat_mul(1.0, &x, &view(&weights.w3, inter, hidden).t(), 0.0, &mut up);
            gate.zip_mut_with(&up, |gate, up| *gate = *gate / (1.0 + (-*gate).exp()) * up);
        } else {
            gate.map_inplace(|inner| *inner = inner.max(0.0).powi(2));
        }
        let mut out = ArrayViewMut2::from_shape((n, hidden), out).expect(WHOLE_ROWS);
        general_mat_mul(1.0, &gate, &view(&weights.w2, hidden, inter).t(), 0.0, &mut out);
    }

    pub(super) fn apply_f64(&self, expert: ExpertId, rows: &[f64], out: &mut [f64]) {
        let weights = self.weights(expert);
        let mut inner = vec![0.0; self.inter];
        for (x, out) in rows.chunks_exact(self.hidden).zip(out.chunks_exact_mut(self.hidden)) {
            for (inner, w1) in inner.iter_mut().zip(weights.w1.chunks_exact(self.hidden)) {
                *inner = dot_f64(w1, x);
            }
            if self.gated {
                for (inner, w3) in inner.iter_mut().zip(weights.w3.chunks_exact(self.hidden)) {
                    *inner = *inner / (1.0 + (-*inner).exp()) * dot_f64(w3, x);
                }
            } else {
                inner.iter_mut().for_each(|inner| *inner = inner.max(0.0).powi(2));
            }
            for (out, w2) in out.iter_mut().zip(weights.w2.chunks_exact(self.inter)) {
                *out = dot_f64(w2, &inner);
            }
        }
    }

    /// The weights of `expert`: from the cache, or made now and kept if there is room.
    fn weights(&self, expert: ExpertId) -> Arc<Weights> {
        // A panic can't leave the map half changed, so a poisoned lock still guards a good cache.
        let cached = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(&expert).cloned();
        if let Some(weights) = cached {
            return weights;
        }
        let made = Arc::new(self.make(expert));
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = (2 + usize::from(self.gated)) * self.hidden * self.inter * size_of::<f32>();
        if (cache.len() + 1).saturating_mul(bytes) <= self.cache_limit {
            cache.insert(expert, Arc::clone(&made));
        }
        made
    }

    /// Experts whose weights are in memory.
    #[cfg(test)]
    pub(super) fn cached(&self) -> usize {
        self.cache.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn make(&self, expert: ExpertId) -> Weights {
        let (hidden, inter) = (self.hidden, self.inter);
        let mut generator = generator(self.seed, self.layer, expert);
        let elements = hidden * inter;
        let w1 = matrix(&mut generator, elements, 1.0 / hidden as f64);
        let (w3, moment) = match self.gated {
            true => (matrix(&mut generator, elements, 1.0 / hidden as f64), SILU_SECOND_MOMENT),
            false => (Vec::new(), SQUARED_RELU_SECOND_MOMENT),
        };
        let w2 = matrix(&mut generator, elements, 1.0 / (moment * inter as f64));
        Weights { w1, w2, w3 }
    }
}

/// `elements` values, uniform with mean 0 and the given variance, rounded to BF16.
fn matrix(generator: &mut Pcg64, elements: usize, variance: f64) -> Vec<f32> {
    // Uniform on [-a, a) has variance a^2 / 3; an i32 spans [-2^31, 2^31).
    let unit = ((3.0 * variance).sqrt() / f64::from(1u32 << 31)) as f32;
    (0..elements).map(|_| round_bf16(generator.next_u32().cast_signed() as f32 * unit)).collect()
}

const WHOLE_ROWS: &str = "lengths are whole rows, as checked on entry";

fn view(rows: &[f32], n: usize, width: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((n, width), rows).expect(WHOLE_ROWS)
}

/// The dot product of two slices of equal length, in eight partial sums that the processor can run side by side.
fn dot_f64(w: &[f32], x: &[f64]) -> f64 {
    let ((w, w_rest), (x, x_rest)) = (w.as_chunks::<8>(), x.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (w, x) in w.iter().zip(x) {
        for i in 0..8 {
            sums[i] += f64::from(w[i]) * x[i];
        }
    }
    let rest: f64 = w_rest.iter().zip(x_rest).map(|(&w, x)| f64::from(w) * x).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn weights_are_bf16_values_of_the_wanted_variance() {
        let weights = GemmExperts::new(&testing::shape(300, 5, 1, 200), 1, 0).make(ExpertId(4));
        let w2_variance = 1.0 / (SILU_SECOND_MOMENT * 200.0);
        for (w, variance) in [(weights.w1, 1.0 / 300.0), (weights.w2, w2_variance), (weights.w3, 1.0 / 300.0)]
        {
            assert_eq!(w.len(), 60_000);
            assert!(w.iter().all(|&x| round_bf16(x) == x));
            let mean_square = w.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / w.len() as f64;
            assert!((mean_square / variance - 1.0).abs() < 0.02, "{mean_square} for {variance}");
        }
    }
}

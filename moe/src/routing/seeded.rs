//! The seeded gate: router weights and bias drawn from a seed, and the logits they give for hidden states.

use rand::RngExt;
use rand_distr::StandardNormal;

use crate::gate::{GroupLimiter, Scratch, Selector};
use crate::seed::{Purpose, generator};
use crate::shape::LayerShape;
use crate::topk::Routing;

/// Spread of the seeded correction bias: a tenth of the spread of sigmoid scores, which is 0.21 for standard
/// normal logits; enough to change selections, not enough to decide them.
const BIAS_STD: f32 = 0.02;

/// Independent sums of a dot product; the order of additions is part of the result.
const LANES: usize = 16;

/// A gate with weights `[num_experts, hidden]`, standard normal over `sqrt(hidden)`: logits of standard normal
/// hidden states are standard normal too.
#[derive(Debug)]
pub(super) struct SeededGate {
    hidden: usize,
    top_k: u32,
    weights: Vec<f32>,
    selector: Selector,
}

impl SeededGate {
    /// Tokens whose logits are computed together, so that a row of weights is read once for all of them.
    pub(super) const BLOCK: usize = 16;

    /// Draws the gate of `layer` for a checked `shape`; `limit` (racks) is applied before the model's own groups.
    pub(super) fn new(shape: &LayerShape, limit: Option<GroupLimiter>, seed: u64, layer: u32) -> Self {
        let mut rng = generator(Purpose::Gate, seed, [layer.into(), 0, 0]);
        let hidden = shape.hidden as usize;
        let scale = 1.0 / (shape.hidden as f32).sqrt();
        let mut normal = |std: f32, n: usize| -> Vec<f32> {
            (0..n).map(|_| std * rng.sample::<f32, _>(StandardNormal)).collect()
        };
        let weights = normal(scale, hidden * shape.num_experts as usize);
        let bias = normal(BIAS_STD, shape.num_experts as usize);
        let selector = Selector::new(&shape.gate, shape.num_experts, shape.top_k, bias, limit);
        Self { hidden, top_k: shape.top_k, weights, selector }
    }

    /// Experts per token.
    pub(super) fn top_k(&self) -> u32 {
        self.top_k
    }

    /// Routes hidden `states`, `[tokens, hidden]` by rows, and appends the tokens to `routing`. A token's result
    /// does not depend on its neighbours.
    pub(super) fn route(&self, states: &[f32], routing: &mut Routing) {
        let (mut logits, mut scratch) = (Vec::new(), Scratch::default());
        for block in states.chunks(Self::BLOCK * self.hidden) {
            self.logits(block, &mut logits);
            for token in logits.chunks_exact_mut(self.weights.len() / self.hidden) {
                self.selector.select(token, &mut scratch, routing);
            }
        }
    }

    /// Logits of `states`, `[tokens, num_experts]` by rows.
    fn logits(&self, states: &[f32], logits: &mut Vec<f32>) {
        let experts = self.weights.len() / self.hidden;
        logits.clear();
        logits.resize(states.len() / self.hidden * experts, 0.0);
        for (expert, row) in self.weights.chunks_exact(self.hidden).enumerate() {
            for (token, state) in states.chunks_exact(self.hidden).enumerate() {
                logits[token * experts + expert] = dot(row, state);
            }
        }
    }
}

/// The dot product of two slices of one length, in a fixed order that vectorises: lane `i` sums the elements
/// `i, i + 16, i + 32, ...`, then halves are added to halves.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (lane, (x, y)) in lanes.iter_mut().zip(a_blocks.remainder().iter().zip(b_blocks.remainder())) {
        *lane = x * y;
    }
    for (x, y) in a_blocks.zip(b_blocks) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_equals_the_exact_sum_of_small_integers() {
        for n in [0, 1, 15, 16, 17, 100] {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..n).map(|i| (i % 5) as f32 - 2.0).collect();
            let exact: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            assert_eq!(dot(&a, &b), exact, "length {n}");
        }
    }
}

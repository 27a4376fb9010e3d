//! The experts of a token: scores by a gate's rule, limits, the largest, their weights.

use super::group_limit::largest;
use super::{GateKind, GateOption, GateSpec, GroupLimiter};
use crate::topk::Routing;

/// A complete selection rule: a scoring policy, group limits, and the number of experts to take.
#[derive(Debug)]
pub struct Selector {
    kind: GateKind,
    /// Of each expert, added for the selection alone; empty for a kind without.
    bias: Vec<f32>,
    limits: Vec<GroupLimiter>,
    top_k: usize,
    scaling: f32,
}

/// Buffers that [`Selector::select`] reuses from token to token.
#[derive(Debug, Default)]
pub struct Scratch {
    selection: Vec<f32>,
    best: Vec<(f32, u32)>,
    groups: Vec<(f32, u32, u32)>,
}

impl Selector {
    /// The rule of `spec` for `num_experts` experts under an optional further limit, which is applied first.
    ///
    /// `bias` (one value an expert) is used only where the kind asks for it. `spec` must have been checked against
    /// `num_experts` and `top_k`, as `LayerShape::validate` does.
    pub fn new(
        spec: &GateSpec,
        num_experts: u32,
        top_k: u32,
        bias: Vec<f32>,
        outer: Option<GroupLimiter>,
    ) -> Self {
        let biased = spec.kind.has(GateOption::Bias);
        let mut limits: Vec<_> = outer.into_iter().collect();
        if spec.topk_group < spec.n_group {
            let summed = if biased { 2 } else { 1 };
            limits.push(GroupLimiter::even(num_experts, spec.n_group, spec.topk_group, summed, top_k));
        }
        let bias = if biased { bias } else { Vec::new() };
        Self { kind: spec.kind, bias, limits, top_k: top_k as usize, scaling: spec.routed_scaling_factor }
    }

    /// Routes one token by the `logits` of all experts and appends its experts, best first, to `routing`.
    ///
    /// `logits` is overwritten. Equal selection scores go to the lower expert id.
    pub fn select(&self, logits: &mut [f32], scratch: &mut Scratch, routing: &mut Routing) {
        self.kind.gate().score(logits);
        let scores = &*logits;
        scratch.selection.clear();
        scratch.selection.extend_from_slice(scores);
        for (score, bias) in scratch.selection.iter_mut().zip(&self.bias) {
            *score += bias;
        }
        for limit in &self.limits {
            limit.mask(&mut scratch.selection, &mut scratch.best, &mut scratch.groups);
        }
        let candidates = (0_u32..).zip(&scratch.selection).map(|(e, &s)| (s, e));
        largest(candidates, self.top_k, &mut scratch.best);
        let first = routing.topk_weights.len();
        for &(_, expert) in &scratch.best {
            routing.topk_idx.push(expert);
            routing.topk_weights.push(scores[expert as usize]);
        }
        let weights = &mut routing.topk_weights[first..];
        self.kind.gate().weigh(weights);
        if self.kind.has(GateOption::NormTopk) {
            normalise(weights);
        }
        for weight in weights {
            *weight *= self.scaling;
        }
    }
}

/// Divides by the sum, as Hugging Face does with `norm_topk_prob`: the tiny term keeps a zero sum harmless.
fn normalise(weights: &mut [f32]) {
    let sum = weights.iter().sum::<f32>() + 1e-20;
    for weight in weights {
        *weight /= sum;
    }
}

#[cfg(test)]
mod tests;

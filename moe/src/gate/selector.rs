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

/// Buffers that a selection reuses from token to token.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Of each expert, what it is selected by; minus infinity is out of the question.
    pub(super) selection: Vec<f32>,
    best: Vec<(f32, u32)>,
    groups: Vec<(f32, u32, u32)>,
}

impl Scratch {
    /// The `top_k` experts with the largest `selection` under `limits`, each behind its value, best first; equal ones by their
    /// ids. `score` makes of a value one that adds up over a group.
    pub(super) fn choose(
        &mut self,
        limits: &[GroupLimiter],
        top_k: usize,
        score: impl Fn(f32) -> f32,
    ) -> &[(f32, u32)] {
        for limit in limits {
            limit.mask(&mut self.selection, &score, &mut self.best, &mut self.groups);
        }
        largest((0_u32..).zip(&self.selection).map(|(e, &s)| (s, e)), top_k, &mut self.best);
        &self.best
    }
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
        limits.extend(GroupLimiter::of(&spec.selection(num_experts, top_k)));
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
        let first = routing.topk_weights.len();
        for &(_, expert) in scratch.choose(&self.limits, self.top_k, |score| score) {
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

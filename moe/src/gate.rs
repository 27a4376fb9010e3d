//! Gates: from router logits to the experts of a token and their weights.
//!
//! A gate is a scoring policy ([`Gate`], one file each) under any number of group limits: the model's own groups
//! and, on top of them, the racks. Selection goes by the biased score, weights come from the unbiased one.
//! Reference: DeepSeek-V3's published inference code (`model.py`, class `Gate`), restated here;
//! groups that are dropped are masked with minus infinity, as there.

mod group_limit;
mod seeded;
mod sigmoid;
mod softmax;

pub use group_limit::GroupLimiter;
pub use seeded::SeededGate;
pub use sigmoid::SigmoidGate;
pub use softmax::{SoftmaxAfterTopk, SoftmaxGate};

use crate::shape::{GateKind, GateSpec};
use crate::topk::Routing;

/// How logits become scores, and the scores of the selected experts weights.
pub trait Gate: std::fmt::Debug + Send + Sync {
    /// Turns the logits of all experts into scores, in place.
    fn score(&self, logits: &mut [f32]);

    /// What is added to each expert's score for selection only.
    fn bias(&self) -> Option<&[f32]> {
        None
    }

    /// Turns the scores of the selected experts into weights, in place.
    fn weigh(&self, selected: &mut [f32]);
}

/// The policy of `kind`; `bias` (one value per expert) is used only where `kind` asks for it.
pub fn policy(kind: GateKind, bias: Vec<f32>) -> Box<dyn Gate> {
    match kind {
        GateKind::Softmax { norm_topk } => Box::new(SoftmaxGate { norm_topk }),
        GateKind::SoftmaxAfterTopk => Box::new(SoftmaxAfterTopk),
        GateKind::Sigmoid { bias: biased, norm_topk } => {
            Box::new(SigmoidGate { bias: biased.then_some(bias), norm_topk })
        }
    }
}

/// A complete selection rule: a scoring policy, group limits, and the number of experts to take.
#[derive(Debug)]
pub struct Selector {
    gate: Box<dyn Gate>,
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
    /// `spec` must have been checked against `num_experts` and `top_k`, as `LayerShape::validate` does.
    pub fn new(
        spec: &GateSpec,
        num_experts: u32,
        top_k: u32,
        bias: Vec<f32>,
        outer: Option<GroupLimiter>,
    ) -> Self {
        let gate = policy(spec.kind, bias);
        let mut limits: Vec<_> = outer.into_iter().collect();
        if spec.topk_group < spec.n_group {
            let summed = if gate.bias().is_some() { 2 } else { 1 };
            limits.push(GroupLimiter::even(num_experts, spec.n_group, spec.topk_group, summed, top_k));
        }
        Self { gate, limits, top_k: top_k as usize, scaling: spec.routed_scaling_factor }
    }

    /// Routes one token by the `logits` of all experts and appends its experts, best first, to `routing`.
    ///
    /// `logits` is overwritten. Equal selection scores go to the lower expert id.
    pub fn select(&self, logits: &mut [f32], scratch: &mut Scratch, routing: &mut Routing) {
        self.gate.score(logits);
        let scores = &*logits;
        scratch.selection.clear();
        match self.gate.bias() {
            Some(bias) => scratch.selection.extend(scores.iter().zip(bias).map(|(s, b)| s + b)),
            None => scratch.selection.extend_from_slice(scores),
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
        self.gate.weigh(weights);
        for weight in weights {
            *weight *= self.scaling;
        }
    }
}

/// Leaves in `best` the `n` largest of `candidates` in descending order; of equals, the earlier ones.
fn largest(candidates: impl Iterator<Item = (f32, u32)>, n: usize, best: &mut Vec<(f32, u32)>) {
    best.clear();
    for (value, id) in candidates {
        if best.len() == n && best.last().is_none_or(|&(last, _)| value <= last) {
            continue;
        }
        let at = best.partition_point(|&(other, _)| other >= value);
        best.truncate(n - 1);
        best.insert(at, (value, id));
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

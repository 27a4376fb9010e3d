//! Softmax gates: over all experts before the selection, or over the selected ones after it.

use super::{Gate, normalise};

/// Softmax over all experts, then the largest (DeepSeek-V2, Qwen-MoE, OLMoE).
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxGate {
    /// Divide the selected weights by their sum.
    pub norm_topk: bool,
}

impl Gate for SoftmaxGate {
    fn score(&self, logits: &mut [f32]) {
        softmax(logits);
    }

    fn weigh(&self, selected: &mut [f32]) {
        if self.norm_topk {
            normalise(selected);
        }
    }
}

/// The largest logits, then softmax over those alone (Mixtral, gpt-oss, Granite).
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxAfterTopk;

impl Gate for SoftmaxAfterTopk {
    fn score(&self, _logits: &mut [f32]) {}

    fn weigh(&self, selected: &mut [f32]) {
        softmax(selected);
    }
}

/// Softmax in place, shifted by the maximum; summed in index order.
fn softmax(values: &mut [f32]) {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = (*value - max).exp();
        sum += *value;
    }
    for value in values {
        *value /= sum;
    }
}

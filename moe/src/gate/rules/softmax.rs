//! Softmax over all experts before the selection.

use crate::gate::{Gate, GateOption};

/// Softmax over all experts, then the largest.
#[derive(Clone, Copy, Debug)]
pub struct Softmax;

impl Gate for Softmax {
    fn name(&self) -> &str {
        "softmax"
    }

    fn help(&self) -> &str {
        "softmax over all experts, then the k largest (DeepSeek-V2, Qwen-MoE, OLMoE)"
    }

    fn options(&self) -> &'static [GateOption] {
        &[GateOption::NormTopk]
    }

    fn score(&self, logits: &mut [f32]) {
        softmax(logits);
    }
}

/// Softmax in place, shifted by the maximum; summed in index order.
pub(super) fn softmax(values: &mut [f32]) {
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

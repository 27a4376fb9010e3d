//! The sigmoid gate of DeepSeek-V3, Kimi K2, GLM-4.5 and Llama 4: each expert is scored on its own.

use super::{Gate, normalise};

/// Sigmoid of each logit; selection by score plus bias, weights from the score alone.
#[derive(Debug, Clone)]
pub struct SigmoidGate {
    /// `e_score_correction_bias`, one value per expert; `None` for gates without one.
    pub bias: Option<Vec<f32>>,
    /// Divide the selected weights by their sum.
    pub norm_topk: bool,
}

impl Gate for SigmoidGate {
    fn score(&self, logits: &mut [f32]) {
        for logit in logits {
            *logit = 1.0 / (1.0 + (-*logit).exp());
        }
    }

    fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    fn weigh(&self, selected: &mut [f32]) {
        if self.norm_topk {
            normalise(selected);
        }
    }
}

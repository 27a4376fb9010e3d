//! The sigmoid gate of DeepSeek-V3, Kimi K2, GLM-4.5 and Llama 4: each expert is scored on its own.

use crate::gate::{Gate, GateOption};

/// Sigmoid of each logit.
#[derive(Clone, Copy, Debug)]
pub struct Sigmoid;

impl Gate for Sigmoid {
    fn name(&self) -> &str {
        "sigmoid"
    }

    fn help(&self) -> &str {
        "sigmoid of each logit, then the k largest (DeepSeek-V3, Kimi K2, GLM-4.5, Llama 4)"
    }

    fn options(&self) -> &'static [GateOption] {
        &[GateOption::Bias, GateOption::NormTopk]
    }

    fn score(&self, logits: &mut [f32]) {
        for logit in logits {
            *logit = 1.0 / (1.0 + (-*logit).exp());
        }
    }
}

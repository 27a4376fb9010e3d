//! The gate of DeepSeek-V4: each expert is scored on its own, without an upper bound.

use crate::gate::{Gate, GateOption};

/// Square root of the softplus of each logit.
#[derive(Clone, Copy, Debug)]
pub struct SqrtSoftplus;

impl Gate for SqrtSoftplus {
    fn name(&self) -> &str {
        "sqrt_softplus"
    }

    fn help(&self) -> &str {
        "square root of the softplus of each logit, then the k largest (DeepSeek-V4)"
    }

    fn options(&self) -> &'static [GateOption] {
        &[GateOption::Bias, GateOption::NormTopk]
    }

    fn score(&self, logits: &mut [f32]) {
        for logit in logits {
            // ln(1 + e^x) without overflow where x is large.
            let softplus = logit.max(0.0) + (-logit.abs()).exp().ln_1p();
            *logit = softplus.sqrt();
        }
    }
}

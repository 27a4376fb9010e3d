//! A gate by softplus, a smooth step from nothing to the logit itself: weights without a largest one.

use crate::gate::{Gate, GateOption};

/// `ln(1 + e^x)` of each logit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Softplus;

impl Gate for Softplus {
    fn name(&self) -> &str {
        "softplus"
    }

    fn help(&self) -> &str {
        "ln(1 + e^x) of each logit x, then the k largest"
    }

    fn options(&self) -> &'static [GateOption] {
        &[GateOption::NormTopk]
    }

    fn score(&self, logits: &mut [f32]) {
        for logit in logits {
            *logit = logit.max(0.0) + (-logit.abs()).exp().ln_1p();
        }
    }
}

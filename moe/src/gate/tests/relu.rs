//! A gate by rectified logits: no expert that scores below zero has a weight.

use super::{Gate, normalise};

/// The largest logits, weighted in proportion to what of them is above zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReluGate;

impl Gate for ReluGate {
    fn score(&self, logits: &mut [f32]) {
        for logit in logits {
            *logit = logit.max(0.0);
        }
    }

    fn weigh(&self, selected: &mut [f32]) {
        normalise(selected);
    }
}

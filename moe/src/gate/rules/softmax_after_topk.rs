//! Softmax over the selected experts alone.

use super::softmax::softmax;
use crate::gate::Gate;

/// The largest logits, then softmax over those.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxAfterTopk;

impl Gate for SoftmaxAfterTopk {
    fn name(&self) -> &str {
        "softmax_after_topk"
    }

    fn help(&self) -> &str {
        "the k largest logits, then softmax over those alone (Mixtral, gpt-oss, Granite)"
    }

    fn score(&self, _logits: &mut [f32]) {}

    fn weigh(&self, selected: &mut [f32]) {
        softmax(selected);
    }
}

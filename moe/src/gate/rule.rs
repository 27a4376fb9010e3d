//! The trait behind every gate.

use crate::registry::Entry;
use std::fmt;

/// How logits become scores, and the scores of the selected experts weights; one file each in `rules/`.
pub trait Gate: fmt::Debug + Send + Sync {
    /// The name in model files and JSON: lower case, `_` between words.
    fn name(&self) -> &str;

    /// What it does, one line for help and documentation, without a full stop.
    fn help(&self) -> &str;

    /// What a model may ask of it on top of the rule, in the order in which it is written.
    fn options(&self) -> &'static [GateOption] {
        &[]
    }

    /// Turns the logits of all experts into scores, in place.
    fn score(&self, logits: &mut [f32]);

    /// Turns the scores of the selected experts into weights, in place.
    fn weigh(&self, _selected: &mut [f32]) {}
}

/// What the selection does to any rule that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateOption {
    /// Experts are selected by score plus a correction bias each; weights come from the unbiased score.
    Bias,
    /// The selected weights are divided by their sum.
    NormTopk,
}

impl GateOption {
    /// The key that sets it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bias => "bias",
            Self::NormTopk => "norm_topk",
        }
    }
}

impl Entry for dyn Gate {
    fn name(&self) -> &str {
        self.name()
    }

    fn help(&self) -> &str {
        self.help()
    }
}

impl PartialEq for dyn Gate {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Gate {}

//! Gates: from router logits to the experts of a token and their weights.
//!
//! A gate is a rule of the registry ([`GATES`], a file each) under any number of group limits: the model's own groups
//! and, on top of them, the racks. Selection goes by the biased score, weights come from the unbiased one.
//! Reference: DeepSeek-V3's published inference code (`model.py`, class `Gate`), restated here;
//! groups that are dropped are masked with minus infinity, as there.

mod counts;
mod drawn;
mod fit;
mod group_limit;
mod race;
mod rule;
mod rules;
mod selection;
mod selector;
mod spec;

pub use counts::GroupCounts;
pub(crate) use drawn::DrawnGate;
pub use fit::{Fit, Unreachable, rarities};
pub use group_limit::GroupLimiter;
pub(crate) use race::Race;
pub use rule::{Gate, GateOption};
pub use rules::{GATES, Sigmoid, Softmax, SoftmaxAfterTopk, SqrtSoftplus};
pub use selection::SelectionRule;
pub use selector::{Scratch, Selector};
pub use spec::{GateKind, GateSpec};

#[cfg(test)]
pub(crate) use rules::tests::any_kind;

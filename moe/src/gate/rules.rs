//! The registry of gates: a gate is a file here and a line in the table.

mod sigmoid;
mod softmax;
mod softmax_after_topk;
mod sqrt_softplus;

/// The gate of docs/extending.md.
#[cfg(any(test, feature = "extending"))]
#[path = "rules/tests/softplus.rs"]
mod softplus;

use super::Gate;
use crate::registry::Registry;

pub use sigmoid::Sigmoid;
pub use softmax::Softmax;
pub use softmax_after_topk::SoftmaxAfterTopk;
pub use sqrt_softplus::SqrtSoftplus;

/// Every gate that can be named, as listed in help and documentation. The order is part of the wire format.
pub const GATES: Registry<dyn Gate> = Registry::new(
    "gate",
    &[
        &Softmax,
        &SoftmaxAfterTopk,
        &Sigmoid,
        &SqrtSoftplus,
        #[cfg(feature = "extending")]
        &softplus::Softplus,
    ],
);

#[cfg(test)]
pub(crate) mod tests;

//! The registry of placement policies: a policy is a file here and a line in the table.

mod eplb;
mod eplb_global;
mod linear;
mod one_rack;
mod rack_aware;
mod replicated;
mod round_robin;

/// The policy of docs/extending.md.
#[cfg(any(test, feature = "extending"))]
#[path = "policies/tests/snake.rs"]
mod snake;

use super::PlacementPolicy;
use crate::registry::Registry;

pub use eplb::{Eplb, EplbShape};
pub use eplb_global::EplbGlobal;
pub use linear::Linear;
pub use one_rack::OneRack;
pub use rack_aware::{Aim, RackAware};
pub use replicated::Replicated;
pub use round_robin::RoundRobin;

/// Every policy that can be named, as listed in help, tables and documentation.
pub const POLICIES: Registry<dyn PlacementPolicy> = Registry::new(
    "placement policy",
    &[
        &Linear,
        &RoundRobin,
        &Replicated,
        &OneRack,
        &Eplb,
        &EplbGlobal,
        &RackAware { aim: Aim::Even },
        #[cfg(feature = "extending")]
        &snake::Snake,
    ],
);

#[cfg(test)]
mod tests;

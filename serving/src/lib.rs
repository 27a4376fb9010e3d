//! Serving a model on a virtual clock: requests arrive, are seated on trains, drag their KV caches along, and are answered.
//!
//! Nothing here performs I/O beyond reading traces that it is handed, reads a clock, or knows how a step is computed: how long one
//! takes says a [`StepCost`].

pub mod arrivals;
pub mod cost;
pub mod request;
pub mod tiers;

pub use arrivals::{ArrivalError, Arrivals};
pub use cost::{CostError, StepCost, StepShape, StepTimes};
pub use request::{Prefix, Request, RequestId};

//! Serving a model on a virtual clock: requests arrive, board trains, drag their KV caches along, and are answered.
//!
//! Nothing here performs I/O beyond reading traces that it is handed, reads a clock, or knows how a step is computed: how long one
//! takes says a [`StepCost`].

pub mod arrivals;
pub mod books;
pub mod cost;
pub mod drive;
mod error;
pub mod handover;
pub mod ledger;
pub mod lockstep;
pub mod memory;
pub mod metrics;
pub mod over_time;
pub mod request;
pub mod tiers;
pub mod trace;
pub mod track;
pub mod trains;

pub use arrivals::{ArrivalError, Arrivals};
pub use books::{Outcome, Spent};
pub use cost::{CostError, StageTime, StepCost, StepShape, StepTimes};
pub use drive::{Drive, Pool};
pub use error::{DriveError, STEPS_MAX};
pub use handover::{Handover, Routes};
pub use ledger::{Ledger, StageMemory};
pub use lockstep::{Lockstep, TickTime};
pub use metrics::{Meter, Slo, Summary};
pub use over_time::OverTime;
pub use request::{Prefix, Request, RequestId};
pub use track::Span;
pub use trains::{NoCache, PrefixCache, Station, TrainPolicy};

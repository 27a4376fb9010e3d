//! Models, gates, expert placement, dispatch plans, quantised rows, expert mathematics and the slow references.
//!
//! Everything here is a pure function of its arguments: no sockets, no clocks, no hidden randomness.

mod error;
pub mod evaluation;
pub mod experts;
mod fp8;
pub mod gate;
pub mod hidden;
pub mod ids;
pub mod load;
pub mod model;
pub mod names;
pub mod placement;
pub mod plan;
pub mod presets;
pub mod reference;
pub mod registry;
pub mod routing;
pub mod rows;
pub mod seed;
pub mod shape;
pub mod stack;
#[cfg(test)]
mod testing;
pub mod topk;
pub mod work;

pub use error::ModelError;
pub use experts::{ExpertKind, Experts};
pub use gate::{GateKind, GateSpec};
pub use ids::{ExpertId, SlotId};
pub use model::Model;
pub use placement::{Placement, PlacementError};
pub use plan::{
    Copies, DispatchScheme, PlannedRow, PlannedTraffic, RowBytes, Target, combine_to, dispatch_rows,
    plan_traffic, split_targets,
};
pub use routing::{GateLimit, RecordedRows, Router, RoutingError, RoutingSpec};
pub use shape::LayerShape;
pub use topk::Routing;

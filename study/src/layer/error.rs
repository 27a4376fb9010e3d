//! Why a comparison can't be made.

use super::headroom::MemoryLimit;
use crate::placing::PlaceError;
use coordinator::RunError;
use moe::{ModelError, PlacementError, RoutingError};
use node::setup::SetupError;
use thiserror::Error;
use topology::{ClusterError, HardwareError};

/// A comparison that yields no report. A row that fails its checks is not one of these: it is in the report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Options that contradict each other.
    #[error("{0}")]
    Spec(String),
    /// Impossible racks.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// An impossible layer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A placement that doesn't fit.
    #[error("placement: {0}")]
    Placement(#[from] PlacementError),
    /// Experts that can't be placed.
    #[error("placement: {0}")]
    Place(#[from] PlaceError),
    /// Routing that can't be made.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// Hardware without the layer's arithmetic.
    #[error(transparent)]
    Hardware(#[from] HardwareError),
    /// An impossible run.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A closed form that doesn't apply.
    #[error(transparent)]
    Blackboard(#[from] blackboard::BlackboardError),
    /// More memory than there is.
    #[error(
        "{what} needs about {needed}, the limit is {limit}; give fewer ranks, tokens or experts, or raise the limit (--memory-limit says another)"
    )]
    Memory {
        /// The row and backend.
        what: String,
        /// The estimate, for people.
        needed: String,
        /// The limit.
        limit: Box<MemoryLimit>,
    },
    /// Too many wait for their turn.
    #[error("{waiting} comparisons are under way or waiting already; try again later")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// A finished row that is none of this comparison's.
    #[error(
        "the finished row `{found}` is not {}; it was kept by another build: ask for the comparison anew",
        wanted.as_ref().map_or_else(|| "one of this comparison's".to_owned(), |wanted| format!("`{wanted}`"))
    )]
    Finished {
        /// What was kept.
        found: String,
        /// What belongs in its place, if anything.
        wanted: Option<String>,
    },
    /// A backend gave up.
    #[error("{row}: {source}")]
    Run {
        /// The row.
        row: String,
        /// Why.
        source: RunError,
    },
}

impl CompareError {
    /// True if the options are at fault, not the run: the command then exits with 2.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Run { .. } | Self::Memory { .. } | Self::Busy { .. } | Self::Finished { .. })
    }
}

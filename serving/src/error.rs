//! Why a run can't go on.

use crate::arrivals::ArrivalError;
use crate::cost::CostError;
use thiserror::Error;

/// Most steps of a run.
pub const STEPS_MAX: u64 = 200_000_000;

/// A run that can't go on.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum DriveError {
    /// The source of requests.
    #[error(transparent)]
    Arrivals(#[from] ArrivalError),
    /// The source of times.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// Too long a run.
    #[error("more than {STEPS_MAX} steps; give fewer requests or shorter answers")]
    Steps,
}

//! The trait behind every placement policy.

use super::{Demand, Placement, PlacementError};
use topology::Cluster;

/// A rule that decides which slot holds which expert.
///
/// Placements depend on the arguments alone: the same ones give the same slots and the same choice of replicas, which is made
/// for the demand.
pub trait PlacementPolicy {
    /// The name on the command line and in tables.
    fn name(&self) -> &str;

    /// Places the experts of `demand` in `slots` slots on the ranks of `cluster`.
    ///
    /// # Errors
    /// [`PlacementError`] where the numbers are not such as the policy can work with, and says what would be.
    fn place(&self, cluster: &Cluster, slots: u32, demand: &Demand) -> Result<Placement, PlacementError>;
}

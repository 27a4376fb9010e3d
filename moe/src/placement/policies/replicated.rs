//! A full set of experts in every rack.

use crate::ids::ExpertId;
use crate::placement::{Demand, Placement, PlacementError, PlacementPolicy, check_sizes, even_split};
use topology::Cluster;

/// The policy of [`Placement::replicated_per_rack`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Replicated;

impl PlacementPolicy for Replicated {
    fn name(&self) -> &str {
        "replicated"
    }

    fn help(&self) -> &str {
        "a full set of experts in each rack"
    }

    fn is_for_demand(&self) -> bool {
        false
    }

    fn place(&self, cluster: &Cluster, _: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        let placement = Placement::replicated_per_rack(cluster, demand.num_experts())?;
        placement.for_demand(cluster, &demand.by_rack(cluster), 0.0)
    }
}

impl Placement {
    /// A full set of experts in every rack, each spread over its rack as in [`Self::linear`]. Nothing crosses racks where
    /// that leaves the ranks as even as they can be, as it does in racks of one size.
    ///
    /// # Errors
    /// If `num_experts` is 0 or above [`MAX_EXPERTS`](crate::shape::MAX_EXPERTS), or there would be more than
    /// [`MAX_SLOTS`](crate::placement::MAX_SLOTS) slots.
    pub fn replicated_per_rack(cluster: &Cluster, num_experts: u32) -> Result<Self, PlacementError> {
        let origin = "placement replicated per rack";
        check_sizes(origin, num_experts, u64::from(cluster.num_racks()) * u64::from(num_experts))?;
        let map = (0..cluster.num_racks()).flat_map(|_| (0..num_experts).map(ExpertId)).collect();
        let counts: Vec<u32> =
            cluster.rack_sizes().iter().flat_map(|&size| even_split(num_experts, size)).collect();
        Self::from_parts(cluster, map, &counts, num_experts, origin)
    }
}

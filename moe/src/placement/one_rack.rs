//! All experts in one rack: every token of the others crosses.

use super::{Demand, Placement, PlacementError, PlacementPolicy, check_sizes, even_split, one_slot_each};
use crate::ids::ExpertId;
use topology::{Cluster, RackId};

/// The policy of [`Placement::one_rack`].
#[derive(Clone, Copy, Debug)]
pub struct OneRack(pub RackId);

impl PlacementPolicy for OneRack {
    fn name(&self) -> &str {
        "one-rack"
    }

    fn place(&self, cluster: &Cluster, slots: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        Placement::one_rack(cluster, one_slot_each(self.name(), slots, demand)?, self.0)
    }
}

impl Placement {
    /// All experts in `rack`, spread over it as in [`Self::linear`]; the other racks host none.
    ///
    /// # Errors
    /// If `rack` is not in the cluster, or `num_experts` is 0 or above [`MAX_EXPERTS`](crate::shape::MAX_EXPERTS).
    pub fn one_rack(cluster: &Cluster, num_experts: u32, rack: RackId) -> Result<Self, PlacementError> {
        let origin = "one-rack placement";
        check_sizes(origin, num_experts, num_experts.into())?;
        if rack.0 >= cluster.num_racks() {
            return Err(PlacementError::NoSuchRack { rack, num_racks: cluster.num_racks() });
        }
        let mut counts = vec![0; cluster.num_ranks() as usize];
        for (rank, count) in cluster.ranks_in(rack).zip(even_split(num_experts, cluster.rack_size(rack))) {
            counts[rank.0 as usize] = count;
        }
        Self::from_parts(cluster, (0..num_experts).map(ExpertId).collect(), &counts, num_experts, origin)
    }
}

//! All experts in one rack: every token of the others crosses.

use crate::ids::ExpertId;
use crate::placement::{Demand, Placement, PlacementError, PlacementPolicy, check_sizes, even_split};
use topology::{Cluster, RackId};

/// The policy of [`Placement::one_rack`] for the first rack.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneRack;

impl PlacementPolicy for OneRack {
    fn name(&self) -> &str {
        "one-rack"
    }

    fn help(&self) -> &str {
        "all experts in the first rack: every token of the others crosses"
    }

    fn is_for_demand(&self) -> bool {
        false
    }

    fn place(&self, cluster: &Cluster, _: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        Placement::one_rack(cluster, demand.num_experts(), RackId(0))
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
            let last = cluster.num_racks() - 1;
            return Err(PlacementError::refused(
                origin,
                format!("{rack} does not exist: the cluster has racks 0 to {last}"),
            ));
        }
        let mut counts = vec![0; cluster.num_ranks() as usize];
        for (rank, count) in cluster.ranks_in(rack).zip(even_split(num_experts, cluster.rack_size(rack))) {
            counts[rank.0 as usize] = count;
        }
        Self::from_parts(cluster, (0..num_experts).map(ExpertId).collect(), &counts, num_experts, origin)
    }
}

//! The placements that need no file: linear, round-robin, replicated per rack, all in one rack.

use super::{Placement, PlacementError, check_sizes, even_split};
use crate::ids::ExpertId;
use topology::{Cluster, RackId};

impl Placement {
    /// Experts in order, contiguous, spread evenly: with E experts on n ranks, the first E mod n ranks host one more.
    ///
    /// # Errors
    /// If `num_experts` is 0 or above [`MAX_EXPERTS`](crate::shape::MAX_EXPERTS).
    pub fn linear(cluster: &Cluster, num_experts: u32) -> Result<Self, PlacementError> {
        let origin = "linear placement";
        check_sizes(origin, num_experts, num_experts.into())?;
        let counts = even_split(num_experts, cluster.num_ranks());
        Self::from_parts(cluster, (0..num_experts).map(ExpertId).collect(), &counts, num_experts, origin)
    }

    /// Expert e on rank e mod n.
    ///
    /// # Errors
    /// If `num_experts` is 0 or above [`MAX_EXPERTS`](crate::shape::MAX_EXPERTS).
    pub fn round_robin(cluster: &Cluster, num_experts: u32) -> Result<Self, PlacementError> {
        let origin = "round-robin placement";
        check_sizes(origin, num_experts, num_experts.into())?;
        let ranks = cluster.num_ranks();
        let map = (0..ranks).flat_map(|r| (r..num_experts).step_by(ranks as usize)).map(ExpertId).collect();
        Self::from_parts(cluster, map, &even_split(num_experts, ranks), num_experts, origin)
    }

    /// A full set of experts in every rack, each spread over its rack as in [`Self::linear`]: nothing crosses racks.
    ///
    /// # Errors
    /// If `num_experts` is 0 or above [`MAX_EXPERTS`](crate::shape::MAX_EXPERTS), or there would be more than
    /// [`MAX_SLOTS`](super::MAX_SLOTS) slots.
    pub fn replicated_per_rack(cluster: &Cluster, num_experts: u32) -> Result<Self, PlacementError> {
        let origin = "placement replicated per rack";
        check_sizes(origin, num_experts, u64::from(cluster.num_racks()) * u64::from(num_experts))?;
        let map = (0..cluster.num_racks()).flat_map(|_| (0..num_experts).map(ExpertId)).collect();
        let counts: Vec<u32> =
            cluster.rack_sizes().iter().flat_map(|&size| even_split(num_experts, size)).collect();
        Self::from_parts(cluster, map, &counts, num_experts, origin)
    }

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

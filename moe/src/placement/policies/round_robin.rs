//! Experts dealt to the ranks like cards.

use crate::ids::ExpertId;
use crate::placement::{Demand, Placement, PlacementError, PlacementPolicy, check_sizes, even_split};
use topology::Cluster;

/// The policy of [`Placement::round_robin`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

impl PlacementPolicy for RoundRobin {
    fn name(&self) -> &str {
        "round-robin"
    }

    fn help(&self) -> &str {
        "expert e on rank e mod n"
    }

    fn is_for_demand(&self) -> bool {
        false
    }

    fn place(&self, cluster: &Cluster, _: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        Placement::round_robin(cluster, demand.num_experts())
    }
}

impl Placement {
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
}

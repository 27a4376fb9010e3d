//! Experts in order, contiguous, spread evenly: the placement of most systems that have no other.

use crate::ids::ExpertId;
use crate::placement::{Demand, Placement, PlacementError, PlacementPolicy, check_sizes, even_split};
use topology::Cluster;

/// The policy of [`Placement::linear`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Linear;

impl PlacementPolicy for Linear {
    fn name(&self) -> &str {
        "linear"
    }

    fn help(&self) -> &str {
        "experts in order, contiguous, spread evenly over the ranks"
    }

    fn is_for_demand(&self) -> bool {
        false
    }

    fn place(&self, cluster: &Cluster, _: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        Placement::linear(cluster, demand.num_experts())
    }
}

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
}

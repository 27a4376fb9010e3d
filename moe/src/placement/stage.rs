//! A placement of some ranks of a larger cluster: where the experts of one pipeline stage lie.

use super::{Placement, PlacementError};
use crate::ids::ExpertId;
use topology::{Cluster, RankId};

impl Placement {
    /// The same slots on the ranks of `cluster` from `first` on; the others host none. Replicas are chosen anew, for an even demand of
    /// the whole cluster.
    ///
    /// # Errors
    /// [`PlacementError::SlotCount`] if `cluster` has not that many ranks.
    pub fn moved_to(&self, cluster: &Cluster, first: RankId) -> Result<Self, PlacementError> {
        let mut counts = vec![0; cluster.num_ranks() as usize];
        for (count, rank) in counts.iter_mut().skip(first.0 as usize).zip(0..self.num_ranks()) {
            *count = self.slots_of(RankId(rank)).len() as u32;
        }
        let experts: Vec<ExpertId> = self.slots.iter().map(|&slot| self.expert_of(slot)).collect();
        Self::from_parts(cluster, experts, &counts, self.num_experts(), "placement of a stage")
    }

    /// The experts of a stage on `ranks` of `cluster`, in order and spread evenly as in [`Self::linear`].
    ///
    /// # Errors
    /// As [`Self::linear`], and if `cluster` has not those ranks.
    pub fn linear_on(
        cluster: &Cluster,
        ranks: std::ops::Range<u32>,
        num_experts: u32,
    ) -> Result<Self, PlacementError> {
        let mut counts = vec![0; cluster.num_ranks() as usize];
        let split = super::even_split(num_experts, (ranks.end - ranks.start).max(1));
        for (count, slots) in counts.iter_mut().skip(ranks.start as usize).zip(split) {
            *count = slots;
        }
        let experts = (0..num_experts).map(ExpertId).collect();
        Self::from_parts(cluster, experts, &counts, num_experts, "placement of a stage")
    }
}

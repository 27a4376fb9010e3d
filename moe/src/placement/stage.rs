//! A placement of some ranks of a larger cluster: where the experts of one pipeline stage lie.

use super::shares::check_size;
use super::{Placement, PlacementError};
use crate::ids::ExpertId;
use topology::{Cluster, RackId, RankId};

impl Placement {
    /// The same slots on the ranks of `cluster` from `first` on, which is the first of a rack or of a part of one; the others host none.
    ///
    /// Tokens of a stage's racks choose among replicas as they did. Those of other racks are never sent here: they are given the choice
    /// of the stage's first rack.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if `cluster` has not that many ranks, or the table of shares would be too large.
    ///
    /// # Panics
    /// If `first` is not in the cluster.
    pub fn moved_to(&self, cluster: &Cluster, first: RankId) -> Result<Self, PlacementError> {
        let origin = "placement of a stage";
        let mut counts = vec![0; cluster.num_ranks() as usize];
        for (count, rank) in counts.iter_mut().skip(first.0 as usize).zip(0..self.num_ranks()) {
            *count = self.slots_of(RankId(rank)).len() as u32;
        }
        let experts: Vec<ExpertId> = self.slots.iter().map(|&slot| self.expert_of(slot)).collect();
        let mut moved = Self::indexed(experts, &counts, self.num_experts(), origin)?;
        let replicated = self.replicated.len() as u32;
        if replicated > 0 {
            check_size(origin, cluster.num_racks(), replicated)?;
            let (racks, own) = (self.shares.lists() as u32 / replicated, cluster.rack_of(first).0);
            let of = |rack: RackId| rack.0.checked_sub(own).filter(|&rack| rack < racks).unwrap_or(0);
            moved.shares = self.shares.by_racks(replicated, cluster.racks().map(of));
        }
        Ok(moved)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ExpertId;

    #[test]
    fn a_stage_chooses_replicas_as_it_did_before_it_was_moved() {
        // Two of four racks, whose tokens want other experts.
        let stage = Cluster::new(&[2, 2]).unwrap();
        let map = r#"{"physical_to_logical_map": [0, 1, 0, 2, 1, 3, 0, 2]}"#;
        let demand = [vec![9.0, 1.0, 5.0, 1.0], vec![1.0, 7.0, 2.0, 3.0]];
        let placement = Placement::from_json(map, "test", &stage, 4).unwrap();
        let placement = placement.for_demand(&stage, &demand, 0.0).unwrap();
        let cluster = Cluster::new(&[2, 2, 2, 2]).unwrap();
        let moved = placement.moved_to(&cluster, RankId(4)).unwrap();
        assert!(moved.fits(&cluster));
        for (rank, expert) in (0..4).flat_map(|rank| (0..4).map(move |expert| (rank, ExpertId(expert)))) {
            let choices =
                |placement: &Placement, rack| placement.choices(RackId(rack), expert).collect::<Vec<_>>();
            assert_eq!(choices(&placement, rank / 2), choices(&moved, 2 + rank / 2));
            let slot = placement.slot_for(&stage, RankId(rank), 7, expert);
            assert_eq!(moved.slot_for(&cluster, RankId(4 + rank), 7, expert), slot);
            assert_eq!(moved.rank_of(slot), RankId(4 + placement.rank_of(slot).0));
        }
        // On its own racks it is what it was.
        assert_eq!(placement.moved_to(&stage, RankId(0)).unwrap(), placement);
        // A part of a rack.
        let half = Placement::from_json(map, "test", &Cluster::new(&[4]).unwrap(), 4).unwrap();
        let whole = Cluster::new(&[8]).unwrap();
        assert!(half.moved_to(&whole, RankId(4)).unwrap().fits(&whole));
    }
}

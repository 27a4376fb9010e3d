//! Which rank hosts which expert: physical slots, each holding a copy of one logical expert.

pub(crate) mod demand;
mod error;
pub mod export;
mod file;
mod layers;
mod moves;
mod policies;
mod policy;
mod question;
mod shares;
mod stage;
mod survivors;
mod word;

use crate::ids::{ExpertId, SlotId};
use crate::shape::MAX_EXPERTS;
use serde::{Deserialize, Serialize};
use shares::{Share, Shares};
use std::collections::BTreeSet;
use std::ops::Range;
use topology::{Cluster, RackId, RankId};

pub use demand::{Demand, Picks};
pub use error::{MAX_SLOTS, PlacementError};
pub use file::PlacementFile;
pub use layers::LayerPlacements;
pub use moves::{MoveRound, WeightMove, move_traffic, weight_moves};
pub use policies::{
    Aim, Eplb, EplbGlobal, EplbShape, Linear, OneRack, POLICIES, RackAware, Replicated, RoundRobin,
};
pub use policy::PlacementPolicy;
pub use survivors::{Loading, loading};
pub use word::PlacementWord;

/// A placement: slots in rank order, each with its logical expert.
///
/// Slots `0..num_slots()` are numbered rank by rank, as in DeepSeek's EPLB (`physical_to_logical_map`). Every logical
/// expert has at least one slot; with more it has replicas, and [`Self::slot_for`] chooses among them by the shares that
/// each rack has in them. A rank may host none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "file::Stored", into = "file::Stored")]
pub struct Placement {
    physical_to_logical: Vec<ExpertId>,
    rank_of_slot: Vec<RankId>,
    /// `0..num_slots`, so that a rank's slots can be lent as a slice.
    slots: Vec<SlotId>,
    /// Slots of rank r: `first_slot[r]..first_slot[r + 1]`.
    first_slot: Vec<u32>,
    /// All slots, grouped by expert, ascending within it.
    replicas: Vec<SlotId>,
    /// Replicas of expert e: `first_replica[e]..first_replica[e + 1]`.
    first_replica: Vec<u32>,
    /// Experts with replicas, ascending.
    replicated: Vec<ExpertId>,
    /// By expert: its index in `replicated`; meaningless for the others.
    replicated_index: Vec<u32>,
    shares: Shares,
}

impl Placement {
    /// Checks and indexes a map; `counts` has one entry per rank. Tokens come from all ranks alike, and go to all experts
    /// alike.
    fn from_parts(
        cluster: &Cluster,
        physical_to_logical: Vec<ExpertId>,
        counts: &[u32],
        num_experts: u32,
        origin: &str,
    ) -> Result<Self, PlacementError> {
        Self::indexed(physical_to_logical, counts, num_experts, origin)?.for_even_demand(cluster, origin)
    }

    /// With replicas chosen for tokens that come from all ranks alike, and go to all experts alike.
    fn for_even_demand(mut self, cluster: &Cluster, origin: &str) -> Result<Self, PlacementError> {
        let experts = self.num_experts() as usize;
        let row = |&size: &u32| vec![f64::from(size); experts];
        let demand: Vec<Vec<f64>> = cluster.rack_sizes().iter().map(row).collect();
        self.shares = shares::solve(cluster, &self, &demand, 0.0, origin)?;
        Ok(self)
    }

    /// Checks and indexes a map, without shares.
    fn indexed(
        physical_to_logical: Vec<ExpertId>,
        counts: &[u32],
        num_experts: u32,
        origin: &str,
    ) -> Result<Self, PlacementError> {
        let num_slots = physical_to_logical.len();
        check_sizes(origin, num_experts, num_slots as u64)?;
        let sum: u64 = counts.iter().copied().map(u64::from).sum();
        if sum != num_slots as u64 {
            let problem = format!(
                "slots_per_rank adds up to {sum}, but physical_to_logical_map has {num_slots} slots: make them agree"
            );
            return Err(PlacementError::refused(origin, problem));
        }
        let slots: Vec<SlotId> = (0..num_slots as u32).map(SlotId).collect();
        let mut first_replica = vec![0; num_experts as usize + 1];
        for (&slot, &expert) in slots.iter().zip(&physical_to_logical) {
            if expert.0 >= num_experts {
                let problem = format!(
                    "physical_to_logical_map[{}] is {}, but the model has experts 0 to {}: correct that slot",
                    slot.0,
                    expert.0,
                    num_experts - 1
                );
                return Err(PlacementError::refused(origin, problem));
            }
            first_replica[expert.0 as usize + 1] += 1;
        }
        let mut without = (0..num_experts).filter(|&e| first_replica[e as usize + 1] == 0);
        if let Some(first) = without.next() {
            let (expert, missing) = (ExpertId(first), 1 + without.count());
            let problem = format!(
                "{expert} has no slot ({missing} experts have none): add it to physical_to_logical_map"
            );
            return Err(PlacementError::refused(origin, problem));
        }
        accumulate(&mut first_replica);
        let mut replicas = slots.clone();
        replicas.sort_by_key(|slot| physical_to_logical[slot.0 as usize]);

        let mut first_slot: Vec<u32> = std::iter::once(0).chain(counts.iter().copied()).collect();
        accumulate(&mut first_slot);
        let rank_of_slot =
            (0u32..).zip(counts).flat_map(|(r, &n)| std::iter::repeat_n(RankId(r), n as usize)).collect();
        let has_replicas = |expert: &ExpertId| span(&first_replica, expert.0).len() > 1;
        let replicated: Vec<ExpertId> = (0..num_experts).map(ExpertId).filter(has_replicas).collect();
        let mut replicated_index = vec![0; num_experts as usize];
        for (index, expert) in (0..).zip(&replicated) {
            replicated_index[expert.0 as usize] = index;
        }
        Ok(Self {
            physical_to_logical,
            rank_of_slot,
            slots,
            first_slot,
            replicas,
            first_replica,
            replicated,
            replicated_index,
            shares: Shares::default(),
        })
    }

    /// The same slots with replicas chosen for the demand that is expected instead of an even one: `demand` is
    /// `[racks][experts]`, tokens from each rack for each expert, in any unit.
    ///
    /// The fullest rank carries as little as the slots allow, or `at_most` (in the same unit) where that is more; within
    /// that as many tokens as possible stay in their own rack.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if the table of shares would be too large.
    ///
    /// # Panics
    /// If `demand` or `cluster` is of another shape than the placement.
    pub fn for_demand(
        mut self,
        cluster: &Cluster,
        demand: &[Vec<f64>],
        at_most: f64,
    ) -> Result<Self, PlacementError> {
        let experts = self.num_experts() as usize;
        assert_eq!(cluster.num_ranks(), self.num_ranks(), "a placement of another cluster");
        assert!(demand.len() == cluster.num_racks() as usize, "a row of demand for each rack");
        assert!(demand.iter().all(|rack| rack.len() == experts), "the demand of another model");
        self.shares = shares::solve(cluster, &self, demand, at_most, "choice of replicas")?;
        Ok(self)
    }

    /// Physical slots, replicas included.
    #[must_use]
    pub fn num_slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Logical experts.
    #[must_use]
    pub fn num_experts(&self) -> u32 {
        self.first_replica.len() as u32 - 1
    }

    /// Ranks of the cluster this placement was made for, those without slots included.
    #[must_use]
    pub fn num_ranks(&self) -> u32 {
        self.first_slot.len() as u32 - 1
    }

    /// Whether it was made for the racks of `cluster`, as far as that shows: as many ranks, and shares for as many racks.
    #[must_use]
    pub fn fits(&self, cluster: &Cluster) -> bool {
        let racks = cluster.num_racks() as usize * self.replicated.len();
        self.num_ranks() == cluster.num_ranks() && self.shares.lists() == racks
    }

    /// The rank that hosts `slot`.
    ///
    /// # Panics
    /// If `slot` is not below [`Self::num_slots`].
    #[must_use]
    pub fn rank_of(&self, slot: SlotId) -> RankId {
        self.rank_of_slot[slot.0 as usize]
    }

    /// The logical expert in `slot`.
    ///
    /// # Panics
    /// If `slot` is not below [`Self::num_slots`].
    #[must_use]
    pub fn expert_of(&self, slot: SlotId) -> ExpertId {
        self.physical_to_logical[slot.0 as usize]
    }

    /// The slots of `rank`, ascending; empty if it hosts none.
    ///
    /// # Panics
    /// If `rank` is not below [`Self::num_ranks`].
    #[must_use]
    pub fn slots_of(&self, rank: RankId) -> &[SlotId] {
        &self.slots[span(&self.first_slot, rank.0)]
    }

    /// The slots that hold `expert`, ascending; at least one.
    ///
    /// # Panics
    /// If `expert` is not below [`Self::num_experts`].
    #[must_use]
    pub fn replicas_of(&self, expert: ExpertId) -> &[SlotId] {
        &self.replicas[span(&self.first_replica, expert.0)]
    }

    /// Slots on the fullest rank.
    #[must_use]
    pub fn max_slots_per_rank(&self) -> u32 {
        self.first_slot.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
    }

    /// The replica of `expert` that `token` (an index into the batch of `source`) goes to, the same at every call.
    ///
    /// Over the tokens of a rack, each replica gets its share. The shares follow from the demand: the fullest rank carries
    /// as little as it can, and within that as many tokens as possible stay in their rack. Experts of one token choose by
    /// one point, so that those of equal shares meet.
    ///
    /// # Panics
    /// If `expert` or `source` is out of range, or `cluster` has other racks than the placement was made for.
    #[must_use]
    pub fn slot_for(&self, cluster: &Cluster, source: RankId, token: u32, expert: ExpertId) -> SlotId {
        match self.replicas_of(expert) {
            &[only] => only,
            _ => match self.shares_of(cluster.rack_of(source), expert) {
                &[only] => only.slot,
                several => Shares::at(several, shares::point(cluster, source, token)),
            },
        }
    }

    /// The replicas of `expert` that tokens of `rack` may go to, with the fraction of them that does; the sum is 1.
    ///
    /// # Panics
    /// If `expert` or `rack` is out of range.
    pub fn choices(&self, rack: RackId, expert: ExpertId) -> impl Iterator<Item = (SlotId, f64)> {
        let whole = [Share { slot: self.replicas_of(expert)[0], end: shares::WHOLE }];
        let several = self.replicas_of(expert).len() > 1;
        let list: Vec<Share> = if several { self.shares_of(rack, expert).to_vec() } else { whole.to_vec() };
        let mut begin = 0;
        list.into_iter().map(move |share| {
            let width = share.end - std::mem::replace(&mut begin, share.end);
            (share.slot, f64::from(width) / f64::from(shares::WHOLE))
        })
    }

    /// The choices of a token of `rack` for all experts together, each with its probability: the slots of experts 0, 1, ...
    /// `[num_experts]`. One without replicas, else as many as there are distinct points where a share ends.
    ///
    /// # Panics
    /// If `rack` is out of range.
    pub fn joint_choices(&self, rack: RackId) -> impl Iterator<Item = (f64, Vec<SlotId>)> {
        let ends =
            self.replicated.iter().flat_map(|&expert| self.shares_of(rack, expert)).map(|share| share.end);
        let ends: BTreeSet<u32> = ends.chain([shares::WHOLE]).collect();
        let mut begin = 0;
        ends.into_iter().map(move |end| {
            let point = std::mem::replace(&mut begin, end);
            let slot = |expert| match self.replicas_of(expert) {
                &[only] => only,
                _ => Shares::at(self.shares_of(rack, expert), point),
            };
            let slots = (0..self.num_experts()).map(|expert| slot(ExpertId(expert))).collect();
            (f64::from(end - point) / f64::from(shares::WHOLE), slots)
        })
    }

    /// The shares of an expert with replicas.
    fn shares_of(&self, rack: RackId, expert: ExpertId) -> &[Share] {
        self.shares.of(rack, self.replicated.len() as u32, self.replicated_index[expert.0 as usize])
    }
}

fn check_sizes(origin: &str, num_experts: u32, slots: u64) -> Result<(), PlacementError> {
    if num_experts == 0 || num_experts > MAX_EXPERTS {
        let problem =
            format!("{num_experts} logical experts; a placement covers 1 to {MAX_EXPERTS}: check the model");
        return Err(PlacementError::refused(origin, problem));
    }
    if slots > MAX_SLOTS as u64 {
        let problem = format!("{slots} slots, more than {MAX_SLOTS}: use fewer replicas or fewer ranks");
        return Err(PlacementError::refused(origin, problem));
    }
    Ok(())
}

/// `total` in `parts` shares that differ by at most one, the larger ones first.
fn even_split(total: u32, parts: u32) -> Vec<u32> {
    (0..parts).map(|i| total / parts + u32::from(i < total % parts)).collect()
}

/// Turns counts, after a leading zero, into running sums.
fn accumulate(counts: &mut [u32]) {
    for i in 1..counts.len() {
        counts[i] += counts[i - 1];
    }
}

fn span(bounds: &[u32], index: u32) -> Range<usize> {
    bounds[index as usize] as usize..bounds[index as usize + 1] as usize
}

#[cfg(test)]
mod tests;

//! Which rank hosts which expert: physical slots, each holding a copy of one logical expert.

mod eplb;
mod error;
mod file;
mod moves;
mod policies;

use crate::ids::{ExpertId, SlotId};
use crate::shape::MAX_EXPERTS;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use topology::{Cluster, RankId};

pub use eplb::EplbShape;
pub use error::{MAX_SLOTS, PlacementError};
pub use moves::{MoveRound, WeightMove, move_traffic, weight_moves};

/// A placement: slots in rank order, each with its logical expert.
///
/// Slots `0..num_slots()` are numbered rank by rank, as in DeepSeek's EPLB (`physical_to_logical_map`). Every logical
/// expert has at least one slot; with more it has replicas, and [`Self::slot_for`] chooses among them. A rank may host
/// none.
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
}

impl Placement {
    /// Checks and indexes a map; `counts` has one entry per rank.
    fn from_parts(
        physical_to_logical: Vec<ExpertId>,
        counts: &[u32],
        num_experts: u32,
        origin: &str,
    ) -> Result<Self, PlacementError> {
        let num_slots = physical_to_logical.len();
        check_sizes(origin, num_experts, num_slots as u64)?;
        let sum: u64 = counts.iter().copied().map(u64::from).sum();
        if sum != num_slots as u64 {
            return Err(PlacementError::SlotCount { origin: origin.to_owned(), sum, slots: num_slots });
        }
        let slots: Vec<SlotId> = (0..num_slots as u32).map(SlotId).collect();
        let mut first_replica = vec![0; num_experts as usize + 1];
        for (&slot, &expert) in slots.iter().zip(&physical_to_logical) {
            if expert.0 >= num_experts {
                let origin = origin.to_owned();
                return Err(PlacementError::NoSuchExpert { origin, slot, expert, num_experts });
            }
            first_replica[expert.0 as usize + 1] += 1;
        }
        let mut without = (0..num_experts).filter(|&e| first_replica[e as usize + 1] == 0);
        if let Some(first) = without.next() {
            return Err(PlacementError::MissingExpert {
                origin: origin.to_owned(),
                expert: ExpertId(first),
                missing: 1 + without.count(),
            });
        }
        accumulate(&mut first_replica);
        let mut replicas = slots.clone();
        replicas.sort_by_key(|slot| physical_to_logical[slot.0 as usize]);

        let mut first_slot: Vec<u32> = std::iter::once(0).chain(counts.iter().copied()).collect();
        accumulate(&mut first_slot);
        let rank_of_slot =
            (0u32..).zip(counts).flat_map(|(r, &n)| std::iter::repeat_n(RankId(r), n as usize)).collect();
        Ok(Self { physical_to_logical, rank_of_slot, slots, first_slot, replicas, first_replica })
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

    /// The replica of `expert` that `source` sends to, the same at every call: among the n replicas in the source's
    /// own rack, or among all n where it has none, the (index of the source in its rack mod n)-th by slot.
    ///
    /// # Panics
    /// If `expert` or `source` is out of range.
    #[must_use]
    pub fn slot_for(&self, cluster: &Cluster, source: RankId, expert: ExpertId) -> SlotId {
        let replicas = self.replicas_of(expert);
        if let &[only] = replicas {
            return only;
        }
        // Slots go by rank and ranks by rack, so a rack's replicas lie together.
        let own = cluster.rack_of(source);
        let rack = |slot: &SlotId| cluster.rack_of(self.rank_of(*slot));
        let first = replicas.partition_point(|slot| rack(slot) < own);
        let end = replicas.partition_point(|slot| rack(slot) <= own);
        let among = if first == end { replicas } else { &replicas[first..end] };
        among[cluster.index_in_rack(source) as usize % among.len()]
    }
}

fn check_sizes(origin: &str, num_experts: u32, slots: u64) -> Result<(), PlacementError> {
    if num_experts == 0 || num_experts > MAX_EXPERTS {
        return Err(PlacementError::NumExperts { origin: origin.to_owned(), num_experts });
    }
    if slots > MAX_SLOTS as u64 {
        return Err(PlacementError::TooManySlots { origin: origin.to_owned(), slots });
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

//! Replica choice: which replica of an expert a token goes to, so that ranks carry alike and racks keep what they can.
//!
//! Every (source rack, expert) has shares over the expert's replicas. A token draws a point that (source, token) fix, the
//! same for all its experts, and takes the replica into whose share it falls. Both ends know the shares: they travel with
//! the placement.

mod flow;
mod solve;

use super::{PlacementError, span};
use crate::ids::{ExpertId, SlotId};
use serde::{Deserialize, Serialize};
use topology::{Cluster, RackId, RankId};

pub(super) use solve::{fullest_rank, solve};

/// Units of a whole: a (rack, expert)'s shares add up to it.
pub(super) const WHOLE: u32 = 1 << 14;

/// Most (rack, replicated expert) pairs of a placement.
const MAX_SHARED: u64 = 1 << 22;

/// One replica's part of what a (rack, expert) sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) slot: SlotId,
    /// Where it ends in `0..=WHOLE`; it begins where the one before ends.
    pub(super) end: u32,
}

/// The shares of all (rack, replicated expert); nothing where no expert has replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shares {
    /// Shares of (rack r, i-th replicated expert): `first[r * replicated + i]..first[r * replicated + i + 1]`.
    first: Vec<u32>,
    shares: Vec<Share>,
}

impl Shares {
    /// Takes lists in order of (rack, replicated expert), each of (slot, amount) with a positive sum, own rack first.
    pub(super) fn from_amounts(lists: impl Iterator<Item = Vec<(SlotId, u64)>>) -> Self {
        let mut table = Self { first: vec![0], shares: Vec::new() };
        for list in lists {
            let total: u64 = list.iter().map(|&(_, amount)| amount).sum();
            let (mut sum, mut begin) = (0, 0);
            for (slot, amount) in list {
                sum += amount;
                // Rounded to the nearest unit; the last one ends at the whole.
                let end = ((u128::from(sum) * u128::from(WHOLE) + u128::from(total) / 2) / u128::from(total))
                    as u32;
                if end > begin {
                    table.shares.push(Share { slot, end });
                    begin = end;
                }
            }
            table.first.push(table.shares.len() as u32);
        }
        table
    }

    /// The shares of one (rack, replicated expert), of which there are `replicated` a rack.
    pub(super) fn of(&self, rack: RackId, replicated: u32, index: u32) -> &[Share] {
        &self.shares[span(&self.first, rack.0 * replicated + index)]
    }

    /// A table whose racks have what `racks` of this one have, of which there are `replicated` lists a rack.
    pub(super) fn by_racks(&self, replicated: u32, racks: impl Iterator<Item = u32>) -> Self {
        let mut table = Self { first: vec![0], shares: Vec::new() };
        for (rack, index) in racks.flat_map(|rack| (0..replicated).map(move |index| (rack, index))) {
            table.shares.extend(self.of(RackId(rack), replicated, index));
            table.first.push(table.shares.len() as u32);
        }
        table
    }

    /// Number of (rack, replicated expert).
    pub(super) fn lists(&self) -> usize {
        self.first.len().saturating_sub(1)
    }

    /// The share that `point` falls into.
    pub(super) fn at(shares: &[Share], point: u32) -> SlotId {
        let at = shares.iter().position(|share| point < share.end);
        shares[at.expect("points are below the whole")].slot
    }

    /// Checks what was read: `racks` rows of lists that partition the whole over replicas of the right expert.
    pub(super) fn check(
        &self,
        replicated: &[ExpertId],
        expert_of: impl Fn(SlotId) -> Option<ExpertId>,
    ) -> bool {
        if replicated.is_empty() {
            return *self == Self::default();
        }
        let lists = self.lists();
        let bounded =
            self.first.first() == Some(&0) && self.first.last() == Some(&(self.shares.len() as u32));
        bounded
            && lists > 0
            && lists.is_multiple_of(replicated.len())
            && self.first.windows(2).all(|w| w[0] < w[1])
            && self.first.windows(2).enumerate().all(|(at, w)| {
                let list = &self.shares[w[0] as usize..w[1] as usize];
                let expert = replicated[at % replicated.len()];
                list[0].end > 0
                    && list.windows(2).all(|pair| pair[0].end < pair[1].end)
                    && list[list.len() - 1].end == WHOLE
                    && list.iter().all(|share| expert_of(share.slot) == Some(expert))
            })
    }
}

/// The point of `token` of `source`, below [`WHOLE`]: a lattice of two irrational steps (Roberts' R2 sequence), so that any
/// few tokens of a rank, and any few ranks of a rack, spread evenly over the whole.
pub(super) fn point(cluster: &Cluster, source: RankId, token: u32) -> u32 {
    /// 2^32 over the plastic number, and over its square.
    const STEPS: [u32; 2] = [3_242_174_889, 2_447_445_414];
    let lattice =
        token.wrapping_mul(STEPS[0]).wrapping_add(cluster.index_in_rack(source).wrapping_mul(STEPS[1]));
    lattice >> (32 - WHOLE.trailing_zeros())
}

/// Refuses tables that would be too large.
pub(super) fn check_size(origin: &str, racks: u32, replicated: u32) -> Result<(), PlacementError> {
    let pairs = u64::from(racks) * u64::from(replicated);
    if pairs > MAX_SHARED {
        let problem = format!(
            "{racks} racks that each choose among replicas of {replicated} experts, more than {MAX_SHARED} pairs: use fewer \
             racks or replicate fewer experts"
        );
        return Err(PlacementError::refused(origin, problem));
    }
    Ok(())
}

//! Placements as JSON, and as the stored form that travels between processes.

use super::shares::Shares;
use super::{Placement, PlacementError, even_split};
use crate::ids::{ExpertId, SlotId};
use serde::{Deserialize, Serialize};
use topology::Cluster;

/// Room for `MAX_SLOTS` experts of five digits and as many counts, generously spaced.
const MAX_JSON_BYTES: usize = 32 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    physical_to_logical_map: Vec<u32>,
    slots_per_rank: Option<Vec<u32>>,
}

/// A placement without its indexes; reading one checks it again.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    num_experts: u32,
    physical_to_logical_map: Vec<ExpertId>,
    slots_per_rank: Vec<u32>,
    shares: Shares,
}

impl From<Placement> for Stored {
    fn from(placement: Placement) -> Self {
        Self {
            num_experts: placement.num_experts(),
            slots_per_rank: placement.first_slot.windows(2).map(|w| w[1] - w[0]).collect(),
            physical_to_logical_map: placement.physical_to_logical,
            shares: placement.shares,
        }
    }
}

impl TryFrom<Stored> for Placement {
    type Error = PlacementError;

    fn try_from(stored: Stored) -> Result<Self, PlacementError> {
        let Stored { num_experts, physical_to_logical_map, slots_per_rank, shares } = stored;
        let origin = "stored placement";
        let mut placement = Self::indexed(physical_to_logical_map, &slots_per_rank, num_experts, origin)?;
        let expert_of = |slot: SlotId| placement.physical_to_logical.get(slot.0 as usize).copied();
        if !shares.check(&placement.replicated, expert_of) {
            return Err(PlacementError::Shares);
        }
        placement.shares = shares;
        Ok(placement)
    }
}

impl Placement {
    /// Reads `{"physical_to_logical_map": [expert, ...], "slots_per_rank": [n, ...]}`.
    ///
    /// Slot i holds expert `physical_to_logical_map[i]`; ranks take slots in order, `slots_per_rank[r]` of them each.
    /// Without the second key slots are split evenly, the first ranks taking one more.
    ///
    /// # Errors
    /// If the text is not such JSON, a slot names an unknown expert, an expert has no slot, counts disagree, or a size
    /// is past its limit. Messages begin with `origin`.
    pub fn from_json(
        text: &str,
        origin: &str,
        cluster: &Cluster,
        num_experts: u32,
    ) -> Result<Self, PlacementError> {
        if text.len() > MAX_JSON_BYTES {
            let (origin, bytes) = (origin.to_owned(), text.len());
            return Err(PlacementError::TooLong { origin, bytes, limit: MAX_JSON_BYTES });
        }
        let File { physical_to_logical_map, slots_per_rank } = serde_json::from_str(text)
            .map_err(|source| PlacementError::Json { origin: origin.to_owned(), source })?;
        let map: Vec<ExpertId> = physical_to_logical_map.into_iter().map(ExpertId).collect();
        let ranks = cluster.num_ranks();
        let counts = match slots_per_rank {
            Some(counts) if counts.len() != ranks as usize => {
                let (origin, entries) = (origin.to_owned(), counts.len());
                return Err(PlacementError::RankCount { origin, entries, num_ranks: ranks });
            }
            Some(counts) => counts,
            None => even_split(map.len() as u32, ranks),
        };
        Self::from_parts(cluster, map, &counts, num_experts, origin)
    }
}

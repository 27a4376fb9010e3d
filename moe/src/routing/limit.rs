//! Rack-limited gating: a token's experts lie in at most so many groups of experts, usually racks.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use topology::Cluster;

use super::RoutingError;
use crate::ids::{ExpertId, SlotId};
use crate::placement::Placement;

/// A limit on where a token's experts may lie: in at most `limit` of `groups` groups (racks).
///
/// Groups without experts are left out of account. A `limit` of at least the number of groups that have experts
/// is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateLimit {
    /// The group of each logical expert, below `groups`.
    pub group_of_expert: Vec<u32>,
    /// Number of groups, at most [`topology::MAX_RANKS`].
    pub groups: u32,
    /// Groups that a token may use, at least 1.
    pub limit: u32,
}

impl GateLimit {
    /// The limit to `limit` racks of `cluster`, each expert in the rack where `placement` puts it.
    ///
    /// # Errors
    /// [`RoutingError::ReplicatedAcrossRacks`] if an expert is in several racks.
    pub fn from_placement(
        cluster: &Cluster,
        placement: &Placement,
        limit: u32,
    ) -> Result<Self, RoutingError> {
        let mut rack_of_expert = vec![None; placement.num_experts() as usize];
        for slot in (0..placement.num_slots()).map(SlotId) {
            let expert = placement.expert_of(slot);
            let rack = cluster.rack_of(placement.rank_of(slot)).0;
            if rack_of_expert[expert.0 as usize].replace(rack).is_some_and(|other| other != rack) {
                return Err(RoutingError::ReplicatedAcrossRacks { expert });
            }
        }
        // A placement hosts every expert, so nothing is lost here.
        let group_of_expert = rack_of_expert.into_iter().flatten().collect();
        Ok(Self { group_of_expert, groups: cluster.num_racks(), limit })
    }

    /// The experts of each group that has any, ascending and without those `excluded` from all picks, or `None` where
    /// the limit does not bind.
    ///
    /// # Errors
    /// [`RoutingError::Limit`] if the limit does not describe `num_experts` experts, and
    /// [`RoutingError::TooFewExperts`] if the smallest `limit` groups hold fewer than `top_k`.
    pub(crate) fn members(
        &self,
        num_experts: u32,
        top_k: u32,
        excluded: &Range<u32>,
    ) -> Result<Option<Vec<Vec<u32>>>, RoutingError> {
        let invalid =
            |field, value: String, remedy: String| Err(RoutingError::Limit { field, value, remedy });
        let listed = self.group_of_expert.len();
        if listed != num_experts as usize {
            let remedy = format!("one group for each of the {num_experts} experts");
            return invalid("group_of_expert", format!("a list of {listed}"), remedy);
        }
        if self.groups == 0 || self.groups > topology::MAX_RANKS {
            let remedy = format!("between 1 and {}", topology::MAX_RANKS);
            return invalid("groups", self.groups.to_string(), remedy);
        }
        if self.limit == 0 {
            return invalid("limit", "0".to_owned(), "at least 1".to_owned());
        }
        let mut members = vec![Vec::new(); self.groups as usize];
        for (expert, &group) in (0_u32..).zip(&self.group_of_expert) {
            match members.get_mut(group as usize) {
                Some(_) if excluded.contains(&expert) => {}
                Some(list) => list.push(expert),
                None => {
                    let value = format!("group {group} for {}", ExpertId(expert));
                    return invalid("group_of_expert", value, format!("groups below {}", self.groups));
                }
            }
        }
        members.retain(|list| !list.is_empty());
        if self.limit as usize >= members.len() {
            return Ok(None);
        }
        let mut sizes: Vec<u32> = members.iter().map(|list| list.len() as u32).collect();
        sizes.sort_unstable();
        let available = sizes[..self.limit as usize].iter().sum();
        if available < top_k {
            return Err(RoutingError::TooFewExperts { limit: self.limit, available, top_k });
        }
        Ok(Some(members))
    }
}

//! EPLB without groups: all experts in one group on one node.

use super::Eplb;
use crate::placement::{Demand, Placement, PlacementError, PlacementPolicy};
use topology::Cluster;

/// The policy of [`Placement::eplb`] with one group, whatever groups the demand has.
#[derive(Clone, Copy, Debug, Default)]
pub struct EplbGlobal;

impl PlacementPolicy for EplbGlobal {
    fn name(&self) -> &str {
        "eplb-global"
    }

    fn help(&self) -> &str {
        "DeepSeek's EPLB without groups: replicas for hot experts, all ranks as even as they can be"
    }

    fn place(&self, cluster: &Cluster, slots: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        Eplb.place(cluster, slots, &demand.clone().in_groups(1))
    }
}

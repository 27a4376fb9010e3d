//! The trait behind every placement policy.

use super::{Demand, Placement, PlacementError};
use crate::registry::Entry;
use std::fmt;
use topology::Cluster;

/// A rule that decides which slot holds which expert; one file each in `policies/`.
///
/// Placements depend on the arguments alone: the same ones give the same slots and the same choice of replicas.
pub trait PlacementPolicy: fmt::Debug + Send + Sync {
    /// The name on the command line, in files and in tables.
    fn name(&self) -> &str;

    /// What it does, one line for help and documentation, without a full stop.
    fn help(&self) -> &str;

    /// Whether it looks at the demand and fills as many slots as it is asked to; else it has a number of slots of its own.
    fn is_for_demand(&self) -> bool {
        true
    }

    /// Places the experts of `demand` on the ranks of `cluster`, in `slots` slots if it is for the demand. The racks of both are
    /// the same ones. Callers use [`Placement::by`], which sees to that.
    ///
    /// # Errors
    /// [`PlacementError`] where the numbers are not such as the policy can work with, and says what would be.
    fn place(&self, cluster: &Cluster, slots: u32, demand: &Demand) -> Result<Placement, PlacementError>;
}

impl Entry for dyn PlacementPolicy {
    fn name(&self) -> &str {
        self.name()
    }

    fn help(&self) -> &str {
        self.help()
    }
}

impl Placement {
    /// The placement of `policy` for `demand`, in `slots` slots or, without them, one an expert or as many as the policy has.
    ///
    /// # Errors
    /// What the policy says; [`PlacementError::FixedSlots`] if it has another number of slots; [`PlacementError::Refused`] if
    /// the demand is of other racks.
    pub fn by(
        policy: &dyn PlacementPolicy,
        cluster: &Cluster,
        slots: Option<u32>,
        demand: &Demand,
    ) -> Result<Self, PlacementError> {
        demand.check(cluster)?;
        let asked = slots.or_else(|| policy.is_for_demand().then_some(demand.load().len() as u32));
        let placement = policy.place(cluster, asked.unwrap_or_default(), demand)?;
        let needed = placement.num_slots();
        match asked.filter(|&slots| slots != needed) {
            Some(slots) => {
                let policy = policy.name().to_owned();
                Err(PlacementError::FixedSlots { policy, slots, needed: needed.into() })
            }
            None => Ok(placement),
        }
    }
}

//! Where the experts of a row are.

use super::configuration::LAYER;
use super::{CompareError, CompareSpec};
use crate::placing::{PlacementChoice, PlacementRequest};
use moe::Placement;
use topology::Cluster;

impl CompareSpec {
    /// What is asked of the experts of its layer.
    pub(super) fn asked_of_experts(&self) -> PlacementRequest<'_> {
        let steps = if self.distinct_steps() > 1 { self.warmup..self.warmup + self.rounds } else { 0..1 };
        let (shape, routing, tokens) = (&self.shape, &self.routing, self.tokens);
        PlacementRequest { shape, routing, tokens, seeds: &self.seeds, steps, slots: self.slots }
    }
}

/// The placement of `choice` on `cluster`; the slots of `spec` are for the comparison's own choice alone.
///
/// # Errors
/// [`CompareError::Placement`] when experts, slots and racks don't fit each other.
pub(super) fn place(
    spec: &CompareSpec,
    choice: &PlacementChoice,
    cluster: &Cluster,
) -> Result<Placement, CompareError> {
    let asked = spec.asked_of_experts();
    let slots = asked.slots.filter(|_| *choice == spec.placement);
    Ok(PlacementRequest { slots, ..asked }.place(choice, cluster, LAYER.into())?)
}

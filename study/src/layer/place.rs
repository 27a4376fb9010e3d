//! Where the experts of a row are: placements as chosen, and the demand that the policies among them are given.

use super::configuration::LAYER;
use super::expected::sample;
use super::{CompareError, CompareSpec};
use crate::placing::PlacementChoice;
use moe::placement::{Demand, Picks};
use moe::{Placement, PlacementError, RoutingSpec};
use topology::Cluster;

/// The placement of `choice` on `cluster`; the slots of `spec` are for the comparison's own choice alone.
///
/// # Errors
/// [`CompareError::Placement`] when experts, slots and racks don't fit each other.
pub(super) fn place(
    spec: &CompareSpec,
    choice: &PlacementChoice,
    cluster: &Cluster,
) -> Result<Placement, CompareError> {
    place_layer(spec, choice, cluster, LAYER.into())
}

/// The same for `layer`, whose popular experts follow from it and the seed.
///
/// # Errors
/// As [`place`].
pub(crate) fn place_layer(
    spec: &CompareSpec,
    choice: &PlacementChoice,
    cluster: &Cluster,
    layer: u32,
) -> Result<Placement, CompareError> {
    let experts = spec.shape.num_experts;
    let slots = spec.slots.filter(|_| *choice == spec.placement);
    let policy = choice.policy().map_err(PlacementError::from)?;
    let demand = if policy.is_for_demand() {
        demand(spec, cluster, layer)?
    } else {
        Demand::even(cluster, experts).of_layer(layer)
    };
    Ok(Placement::by(policy, cluster, slots, &demand)?)
}

/// What the routing of `spec` asks of the experts of `layer`, known from its distribution: exactly for uniform routing and for a trace
/// (all its rows, from every rank), else from tokens that neither the run nor the expectations have. Gate limits are left
/// out, for their groups come from the placement.
fn demand(spec: &CompareSpec, cluster: &Cluster, layer: u32) -> Result<Demand, CompareError> {
    let (experts, top_k) = (spec.shape.num_experts, spec.shape.top_k);
    let picks: Vec<u32> = match &spec.routing {
        RoutingSpec::Uniform => Vec::new(),
        RoutingSpec::Rows(rows) => rows.idx.clone(),
        _ => {
            let ranks = cluster.num_ranks();
            // Ranks from 2n on: those of the run are below n, those of the expectations below 2n.
            let sampled = sample(spec, ranks, None, ranks.saturating_mul(2), layer)?;
            sampled.routings.iter().flatten().flat_map(|routing| routing.topk_idx.iter().copied()).collect()
        }
    };
    let mut load = vec![u64::from(picks.is_empty()); experts as usize];
    for &expert in &picks {
        load[expert as usize] += 1;
    }
    // No routing has picks that depend on the rank: each rack wants them in proportion to the tokens that it has.
    let tokens = spec.rank_tokens(cluster.num_ranks(), spec.seeds.first().copied().unwrap_or(1));
    let of_rack =
        |rack| -> u64 { cluster.ranks_in(rack).map(|rank| u64::from(tokens[rank.0 as usize])).sum() };
    let by_rack =
        cluster.racks().map(|rack| load.iter().map(|&picks| picks * of_rack(rack)).collect()).collect();
    let groups = spec.shape.gate.n_group.max(1);
    let demand = Demand::new(load, top_k).from_racks(by_rack)?.in_groups(groups).of_layer(layer);
    if picks.is_empty() {
        return Ok(demand);
    }
    Ok(demand.with_picks(Picks { top_k, experts: picks, racks: None })?)
}

//! Which flows a phase has: who sends to this rank and to whom it sends, by scheme.

use crate::wire::Phase;
use moe::plan::DispatchScheme;
use std::collections::BTreeSet;
use topology::{Cluster, RankId};

/// Ranks from which `me` receives a flow in `phase` (each ends with a mark, with or without rows).
pub(super) fn senders(
    scheme: DispatchScheme,
    cluster: &Cluster,
    me: RankId,
    phase: Phase,
) -> BTreeSet<RankId> {
    match (scheme, phase) {
        (_, Phase::Expert) => BTreeSet::new(),
        (DispatchScheme::Hierarchical, Phase::Dispatch) => {
            mates(cluster, me).chain(served(cluster, me)).collect()
        }
        (DispatchScheme::Hierarchical, Phase::Combine) => {
            mates(cluster, me).chain(gateways(cluster, me)).collect()
        }
        _ => cluster.ranks().filter(|&rank| rank != me).collect(),
    }
}

/// Ranks to which `me` sends a flow in `phase`.
pub(super) fn receivers(
    scheme: DispatchScheme,
    cluster: &Cluster,
    me: RankId,
    phase: Phase,
) -> BTreeSet<RankId> {
    match phase {
        Phase::Expert => BTreeSet::new(),
        Phase::Dispatch => senders(scheme, cluster, me, Phase::Combine),
        Phase::Combine => senders(scheme, cluster, me, Phase::Dispatch),
    }
}

fn mates(cluster: &Cluster, me: RankId) -> impl Iterator<Item = RankId> {
    cluster.ranks_in(cluster.rack_of(me)).filter(move |&rank| rank != me)
}

/// Ranks of other racks whose gateway into this rack is `me`.
pub(super) fn served(cluster: &Cluster, me: RankId) -> impl Iterator<Item = RankId> {
    let rack = cluster.rack_of(me);
    cluster.ranks().filter(move |&rank| cluster.rack_of(rank) != rack && cluster.gateway(rank, rack) == me)
}

/// The gateways of `me` into every other rack.
fn gateways(cluster: &Cluster, me: RankId) -> impl Iterator<Item = RankId> {
    let racks = (0..cluster.num_racks()).map(topology::RackId);
    racks.filter(move |&rack| rack != cluster.rack_of(me)).map(move |rack| cluster.gateway(me, rack))
}

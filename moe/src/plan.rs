//! Who sends which row to whom: the three dispatch schemes, their combine, and the traffic that both add up to.
//!
//! | scheme | a source sends one row per | who forwards | combine rows |
//! | --- | --- | --- | --- |
//! | flat | (token, expert) | nobody | one per (token, expert), straight back |
//! | dedup | (token, destination rank) | nobody | one partial sum per (token, rank), straight back |
//! | hierarchical | (token, rank) in its own rack, (token, rack) elsewhere | the rack's rank with the source's index | partial sums to that rank, which reduces them to one row per (token, rack) |

mod flows;
mod scheme;
mod traffic;

pub use flows::Flows;
pub use scheme::DispatchScheme;
pub(crate) use traffic::token_hops;
pub use traffic::{Copies, PlannedTraffic, RowBytes, plan_traffic};

use crate::ids::{ExpertId, SlotId};
use crate::placement::Placement;
use crate::topk::Routing;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use topology::{Cluster, RankId};

/// One expert that a row is for: the slot that computes it and the gate's weight for its output.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The slot that holds the expert.
    pub slot: SlotId,
    /// The gate's weight of this expert for the row's token.
    pub weight: f32,
}

/// The targets of a row. Most rows have one or two, which take no memory of their own.
pub type Targets = SmallVec<[Target; 2]>;

/// A row that a source owes in dispatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedRow {
    /// The token, an index into the source's batch.
    pub token: u32,
    /// The rank the source sends it to; the source itself for rows that stay.
    pub to: RankId,
    /// The experts it is for, ascending by logical expert; all on `to`, except that a hierarchical row to another
    /// rack has the targets of the whole rack.
    pub targets: Targets,
}

/// The rows that `source` sends in dispatch, ordered by token, then destination (flat: then expert).
///
/// Rows with `to == source` are included; they make no copy on the wire. A token with no experts makes no row.
///
/// # Panics
/// If `routing` names an expert, or `source` a rank, that `placement` or `cluster` doesn't have.
#[must_use]
pub fn dispatch_rows(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    source: RankId,
    routing: &Routing,
) -> Vec<PlannedRow> {
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for token in 0..routing.tokens() {
        routed_targets(cluster, placement, source, routing, token, &mut targets);
        let entry = |target: &RoutedTarget| entry_rank(scheme, cluster, source, target.rank);
        targets.sort_by_key(|target| (entry(target), target.expert));
        let same_row =
            |a: &RoutedTarget, b: &RoutedTarget| scheme != DispatchScheme::Flat && entry(a) == entry(b);
        rows.extend(targets.chunk_by(same_row).map(|group| PlannedRow {
            token,
            to: entry(&group[0]),
            targets: group.iter().map(|target| target.target).collect(),
        }));
    }
    rows
}

/// Groups a row's targets by the rank that hosts them, in order of rank; targets keep their order within a group.
///
/// # Panics
/// If a target's slot is not in `placement`.
#[must_use]
pub fn split_targets(placement: &Placement, targets: &[Target]) -> SmallVec<[(RankId, Targets); 1]> {
    let mut parts: SmallVec<[(RankId, Targets); 1]> = SmallVec::new();
    for &target in targets {
        let rank = placement.rank_of(target.slot);
        match parts.binary_search_by_key(&rank, |(rank, _)| *rank) {
            Ok(at) => parts[at].1.push(target),
            Err(at) => parts.insert(at, (rank, Targets::from_slice(&[target]))),
        }
    }
    parts
}

/// Where `expert_rank` sends its combine row for a token of `source`.
///
/// Flat and dedup: to the source. Hierarchical: to the source in its own rack, elsewhere to the rack's gateway for the
/// source, which may be `expert_rank` itself; the gateway sends what it has reduced to the source.
///
/// # Panics
/// If a rank is not in `cluster`.
#[must_use]
pub fn combine_to(scheme: DispatchScheme, cluster: &Cluster, expert_rank: RankId, source: RankId) -> RankId {
    if goes_through_gateway(scheme, cluster, source, expert_rank) {
        cluster.gateway(source, cluster.rack_of(expert_rank))
    } else {
        source
    }
}

/// The rank that `source` addresses in order to reach an expert on `host`.
fn entry_rank(scheme: DispatchScheme, cluster: &Cluster, source: RankId, host: RankId) -> RankId {
    if goes_through_gateway(scheme, cluster, source, host) {
        cluster.gateway(source, cluster.rack_of(host))
    } else {
        host
    }
}

fn goes_through_gateway(scheme: DispatchScheme, cluster: &Cluster, source: RankId, host: RankId) -> bool {
    scheme == DispatchScheme::Hierarchical && !cluster.same_rack(source, host)
}

/// A target with what sorting and grouping need.
struct RoutedTarget {
    expert: ExpertId,
    rank: RankId,
    target: Target,
}

/// Fills `targets` with the slots that `token` of `source` goes to, ascending by logical expert.
fn routed_targets(
    cluster: &Cluster,
    placement: &Placement,
    source: RankId,
    routing: &Routing,
    token: u32,
    targets: &mut Vec<RoutedTarget>,
) {
    targets.clear();
    targets.extend(routing.picks(token).map(|(expert, weight)| {
        let expert = ExpertId(expert);
        let slot = placement.slot_for(cluster, source, token, expert);
        RoutedTarget { expert, rank: placement.rank_of(slot), target: Target { slot, weight } }
    }));
    targets.sort_by_key(|target| target.expert);
}

#[cfg(test)]
mod tests;

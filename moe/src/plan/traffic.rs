//! What a dispatch and a combine put on every port, in bytes and in row copies.

use super::{DispatchScheme, RoutedTarget, entry_rank, routed_targets};
use crate::placement::Placement;
use crate::rows;
use crate::topk::Routing;
use serde::{Deserialize, Serialize};
use topology::{Cluster, RankId, TrafficMatrix};

/// Bytes of one row in each direction, frame headers not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowBytes {
    /// An FP8 row with its scales and origin.
    pub dispatch: u64,
    /// Bytes of a row on its way back: BF16, `2 * hidden`.
    pub combine: u64,
}

impl RowBytes {
    /// The wire's own row sizes at `hidden` elements: 7,408 B and 14,336 B at 7168.
    #[must_use]
    pub const fn new(hidden: u32) -> Self {
        Self {
            dispatch: rows::fp8_row_bytes(hidden as usize) as u64,
            combine: rows::bf16_row_bytes(hidden as usize) as u64,
        }
    }
}

/// Row copies that leave a rank in dispatch; each hop of a forwarded row counts. A combine makes as many, reversed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Copies between two ranks of one rack.
    pub intra: u64,
    /// Copies from one rack to another.
    pub inter: u64,
}

/// The traffic of one layer's dispatch and combine.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedTraffic {
    /// Bytes from rank to rank in dispatch, forwarded hops included; nothing on the diagonal.
    pub dispatch: TrafficMatrix,
    /// Bytes from rank to rank in combine, hops to a reducing gateway included; nothing on the diagonal.
    pub combine: TrafficMatrix,
    /// Row copies behind `dispatch`, and as many behind `combine`.
    pub copies: Copies,
    /// Tokens routed, over all ranks.
    pub tokens: u64,
    /// Tokens with at least one expert outside their source's rack.
    pub tokens_crossing: u64,
    /// (token, expert) rows that each slot computes.
    pub rows_per_slot: Vec<u64>,
}

/// Adds up what `routings` (one per rank, in order) put on the wire under `scheme`.
///
/// Exact for the given routing, to the byte, forwarded hops included. The two matrices take 16 B times the square of the
/// number of ranks.
///
/// # Panics
/// If there are more routings than ranks, or a routing names an expert that `placement` doesn't have.
#[must_use]
pub fn plan_traffic(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    routings: &[Routing],
    row_bytes: RowBytes,
) -> PlannedTraffic {
    let mut plan = PlannedTraffic {
        dispatch: TrafficMatrix::new(cluster.num_ranks()),
        combine: TrafficMatrix::new(cluster.num_ranks()),
        copies: Copies::default(),
        tokens: 0,
        tokens_crossing: 0,
        rows_per_slot: vec![0; placement.num_slots() as usize],
    };
    let mut targets: Vec<RoutedTarget> = Vec::new();
    let mut hops: Vec<(RankId, RankId)> = Vec::new();
    for (source, routing) in cluster.ranks().zip(routings) {
        plan.tokens += u64::from(routing.tokens());
        for token in 0..routing.tokens() {
            routed_targets(cluster, placement, source, routing, token, &mut targets);
            for RoutedTarget { target, .. } in &targets {
                plan.rows_per_slot[target.slot.0 as usize] += 1;
            }
            plan.tokens_crossing +=
                u64::from(targets.iter().any(|target| !cluster.same_rack(source, target.rank)));
            token_hops(scheme, cluster, source, targets.iter().map(|target| target.rank), &mut hops);
            for &(from, to) in &hops {
                plan.dispatch.add(from, to, row_bytes.dispatch);
                plan.combine.add(to, from, row_bytes.combine);
                if cluster.same_rack(from, to) { plan.copies.intra += 1 } else { plan.copies.inter += 1 }
            }
        }
    }
    plan
}

/// Fills `hops` with the pairs of ranks that a token of `source` travels between to reach `hosts`, one a row copy.
pub(crate) fn token_hops(
    scheme: DispatchScheme,
    cluster: &Cluster,
    source: RankId,
    hosts: impl Iterator<Item = RankId>,
    hops: &mut Vec<(RankId, RankId)>,
) {
    hops.clear();
    for host in hosts {
        let entry = entry_rank(scheme, cluster, source, host);
        hops.extend([(source, entry), (entry, host)]);
    }
    hops.retain(|(from, to)| from != to);
    if scheme != DispatchScheme::Flat {
        hops.sort_unstable();
        hops.dedup();
    }
}

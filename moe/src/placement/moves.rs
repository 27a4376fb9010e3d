//! From one placement to another: which weights travel, in rounds that never need room for more than one expert a rank.
//!
//! A rank has room for its slots and one expert more, in which it receives; at the end of a round it drops an expert that
//! it is not to keep. What a rank receives and drops are edges of a balanced graph (ranks as nodes, one extra node for
//! experts that gain or lose replicas), and a balanced graph falls apart into simple cycles: in a cycle each rank
//! receives one expert and drops one, and no expert is dropped before all who still need it have a copy. A round is a set of cycles
//! that share no rank.

use super::Placement;
use crate::ids::ExpertId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use topology::{Cluster, RankId, TrafficMatrix};

/// The weights of one expert on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WeightMove {
    /// Rank that sends them; it holds the expert when the round begins.
    pub from: RankId,
    /// Rank that receives them.
    pub to: RankId,
    /// The expert.
    pub expert: ExpertId,
}

/// A set of moves that can be under way together, and what is dropped after them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRound {
    /// What travels, by sender; each rank receives at most one expert.
    pub moves: Vec<WeightMove>,
    /// Copies that ranks then drop.
    pub drops: Vec<(RankId, ExpertId)>,
}

/// An expert that one rank is to receive so that another may drop its copy; `None` is nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    expert: ExpertId,
    dropper: Option<RankId>,
    receiver: Option<RankId>,
    /// 0 for a rank's first copy of the expert, the only one that travels.
    copy: u32,
}

/// Moves that turn the ranks' experts from those of `from` into those of `to`, round by round.
///
/// Experts that stay on their rank don't travel, whatever slot they get; the second copy of an expert on one rank doesn't
/// either. A source in the receiver's rack is preferred. Empty if nothing has to move.
///
/// # Panics
/// If the placements have different experts, ranks or numbers of slots on a rank.
#[must_use]
pub fn weight_moves(cluster: &Cluster, from: &Placement, to: &Placement) -> Vec<MoveRound> {
    assert_eq!(from.num_experts(), to.num_experts(), "placements of one model");
    assert_eq!((from.num_ranks(), to.num_ranks()), (cluster.num_ranks(), cluster.num_ranks()));
    let slots_agree = |rank| from.slots_of(rank).len() == to.slots_of(rank).len();
    assert!(cluster.ranks().all(slots_agree), "placements with as many slots on every rank");
    let before = copies(from);
    let mut edges = edges(cluster, &before, &copies(to));
    let mut holders: Vec<BTreeSet<RankId>> =
        before.iter().map(|copies| copies.keys().copied().collect()).collect();
    let mut rounds = Vec::new();
    while !edges.is_empty() {
        let round = disjoint_cycles(&edges);
        assert!(!round.is_empty(), "a balanced graph has cycles");
        let (mut moves, mut drops) = (Vec::new(), Vec::new());
        for edge in &round {
            edges.remove(edge);
            if let Some(receiver) = edge.receiver.filter(|_| edge.copy == 0) {
                let source = source(cluster, &holders[edge.expert.0 as usize], receiver, edge.dropper);
                moves.push(WeightMove { from: source, to: receiver, expert: edge.expert });
            }
        }
        for edge in round.into_iter().filter(|edge| edge.copy == 0) {
            let holders = &mut holders[edge.expert.0 as usize];
            holders.extend(edge.receiver);
            if let Some(dropper) = edge.dropper {
                holders.remove(&dropper);
                drops.push((dropper, edge.expert));
            }
        }
        moves.sort_unstable();
        drops.sort_unstable();
        rounds.push(MoveRound { moves, drops });
    }
    rounds
}

/// What a round of moves puts on the wire, `expert_bytes` each.
///
/// # Panics
/// If a rank is not in the cluster.
#[must_use]
pub fn move_traffic(cluster: &Cluster, moves: &[WeightMove], expert_bytes: u64) -> TrafficMatrix {
    let mut traffic = TrafficMatrix::new(cluster.num_ranks());
    for weights in moves {
        traffic.add(weights.from, weights.to, expert_bytes);
    }
    traffic
}

/// Copies of each expert on each rank that has any, by expert.
fn copies(placement: &Placement) -> Vec<BTreeMap<RankId, u32>> {
    let experts = (0..placement.num_experts()).map(ExpertId);
    let of = |expert| {
        let mut copies = BTreeMap::new();
        for &slot in placement.replicas_of(expert) {
            *copies.entry(placement.rank_of(slot)).or_default() += 1;
        }
        copies
    };
    experts.map(of).collect()
}

/// Pairs of droppers and receivers, closed to a balanced graph by edges without an expert's other end.
fn edges(
    cluster: &Cluster,
    before: &[BTreeMap<RankId, u32>],
    after: &[BTreeMap<RankId, u32>],
) -> BTreeSet<Edge> {
    let mut edges = BTreeSet::new();
    for (expert, (before, after)) in (0..).map(ExpertId).zip(before.iter().zip(after)) {
        let edge = |dropper, receiver, copy| Edge { expert, dropper, receiver, copy };
        let without = |rank: &RankId, other: &BTreeMap<RankId, u32>| !other.contains_key(rank);
        let mut droppers: BTreeSet<RankId> =
            before.keys().filter(|rank| without(rank, after)).copied().collect();
        for &receiver in after.keys().filter(|rank| without(rank, before)) {
            let near = droppers.iter().copied().find(|&dropper| cluster.same_rack(dropper, receiver));
            let dropper = near.or_else(|| droppers.first().copied());
            dropper.map(|dropper| droppers.remove(&dropper));
            edges.insert(edge(dropper, Some(receiver), 0));
        }
        edges.extend(droppers.into_iter().map(|dropper| edge(Some(dropper), None, 0)));
        // Second copies on a rank take room and give it, but nothing travels.
        for &rank in before.keys().chain(after.keys()) {
            let [had, has] = [before, after].map(|copies| copies.get(&rank).copied().unwrap_or(0).max(1));
            edges.extend((has.min(had)..had).map(|copy| edge(Some(rank), None, copy)));
            edges.extend((had.min(has)..has).map(|copy| edge(None, Some(rank), copy)));
        }
    }
    edges
}

/// Edges of simple cycles that share no rank; at least one cycle.
///
/// From a rank that has something to receive one goes on to the rank that may then drop it, which can receive in its turn, and so
/// on until a rank comes again (the cycle is closed) or nobody in particular drops or receives.
fn disjoint_cycles(edges: &BTreeSet<Edge>) -> Vec<Edge> {
    // What a rank is to receive, and what it is to drop without anybody waiting for it.
    let mut incoming: BTreeMap<RankId, Vec<Edge>> = BTreeMap::new();
    let mut free: BTreeMap<RankId, Edge> = BTreeMap::new();
    for edge in edges {
        match (edge.receiver, edge.dropper) {
            (Some(receiver), _) => incoming.entry(receiver).or_default().push(*edge),
            (None, Some(dropper)) => {
                free.entry(dropper).or_insert(*edge);
            }
            (None, None) => {}
        }
    }
    let mut used: BTreeSet<RankId> = BTreeSet::new();
    let mut round = Vec::new();
    // Ranks that can drop something at once begin; then those on closed cycles.
    let starts: Vec<RankId> = free.keys().chain(incoming.keys()).copied().collect();
    for start in starts {
        if used.contains(&start) {
            continue;
        }
        let (mut path, mut ranks) = (Vec::new(), vec![start]);
        let mut at = start;
        let cycle = loop {
            let usable = |edge: &&Edge| edge.dropper.is_none_or(|dropper| !used.contains(&dropper));
            let Some(edge) = incoming.get(&at).and_then(|edges| edges.iter().find(usable)) else {
                // What it is to receive is dropped by ranks of other cycles: another round's.
                break None;
            };
            path.push(*edge);
            let Some(next) = edge.dropper else { break Some(path) };
            if let Some(first) = ranks.iter().position(|&rank| rank == next) {
                // Closed: what led to the cycle waits for another round.
                break Some(path.split_off(first));
            }
            ranks.push(next);
            at = next;
        };
        let Some(mut cycle) = cycle else { continue };
        let closed = cycle.last().is_some_and(|edge| edge.dropper.is_some());
        if !closed {
            // An open path begins where a rank drops what nobody waits for.
            let Some(dropped) = free.get(&start) else { continue };
            cycle.push(*dropped);
        }
        used.extend(cycle.iter().flat_map(|edge| edge.receiver.into_iter().chain(edge.dropper)));
        round.extend(cycle);
    }
    round
}

/// Who sends: a holder in the receiver's rack, else who is about to drop it, else the first.
fn source(
    cluster: &Cluster,
    holders: &BTreeSet<RankId>,
    receiver: RankId,
    dropper: Option<RankId>,
) -> RankId {
    let near = |rank: &RankId| cluster.same_rack(*rank, receiver);
    let nearest = dropper.filter(near).or_else(|| holders.iter().copied().find(near)).or(dropper);
    nearest.or_else(|| holders.first().copied()).expect("every expert has a holder")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn placement(cluster: &Cluster, map: &[u32], experts: u32) -> Placement {
        let text = format!("{{\"physical_to_logical_map\": {map:?}}}");
        Placement::from_json(&text, "test", cluster, experts).unwrap()
    }

    fn experts_of(placement: &Placement, rank: RankId) -> BTreeSet<ExpertId> {
        placement.slots_of(rank).iter().map(|&slot| placement.expert_of(slot)).collect()
    }

    #[test]
    fn a_swap_takes_one_round_and_the_same_placement_none() {
        let cluster = Cluster::new(&[2, 1]).unwrap();
        let before = placement(&cluster, &[0, 1, 2], 3);
        assert!(weight_moves(&cluster, &before, &before).is_empty());
        let after = placement(&cluster, &[1, 0, 2], 3);
        let weights =
            |from, to, expert| WeightMove { from: RankId(from), to: RankId(to), expert: ExpertId(expert) };
        let drops = vec![(RankId(0), ExpertId(0)), (RankId(1), ExpertId(1))];
        let round = MoveRound { moves: vec![weights(0, 1, 0), weights(1, 0, 1)], drops };
        assert_eq!(weight_moves(&cluster, &before, &after), [round]);
    }

    #[test]
    fn a_new_replica_comes_from_the_own_rack() {
        let cluster = Cluster::new(&[2, 2]).unwrap();
        let before = placement(&cluster, &[0, 1, 0, 1], 2);
        let after = placement(&cluster, &[0, 1, 0, 0], 2);
        let rounds = weight_moves(&cluster, &before, &after);
        assert_eq!(rounds.len(), 1);
        assert_eq!(rounds[0].moves, [WeightMove { from: RankId(2), to: RankId(3), expert: ExpertId(0) }]);
        assert_eq!(rounds[0].drops, [(RankId(3), ExpertId(1))]);
    }

    proptest! {
        #[test]
        fn every_round_keeps_within_memory_and_the_last_is_the_new_placement(
            racks in prop::collection::vec(1u32..4, 1..4), by_rank in 1u32..5, experts in 1u32..30,
            seeds in (prop::collection::vec(any::<u32>(), 60), prop::collection::vec(any::<u32>(), 60)),
        ) {
            let cluster = Cluster::new(&racks).unwrap();
            let slots = cluster.num_ranks() * by_rank;
            let experts = experts.min(slots);
            // A random map in which every expert has a slot.
            let random = |seeds: &[u32]| {
                let mut map: Vec<u32> = (0..slots).map(|at| {
                    if at < experts { at } else { seeds[at as usize] % experts }
                }).collect();
                for at in (1..map.len()).rev() {
                    map.swap(at, (seeds[at] as usize).wrapping_mul(7) % (at + 1));
                }
                placement(&cluster, &map, experts)
            };
            let (before, after) = (random(&seeds.0), random(&seeds.1));
            let rounds = weight_moves(&cluster, &before, &after);
            let mut held: Vec<BTreeSet<ExpertId>> = cluster.ranks().map(|rank| experts_of(&before, rank)).collect();
            let wanted: Vec<BTreeSet<ExpertId>> = cluster.ranks().map(|rank| experts_of(&after, rank)).collect();
            for MoveRound { moves, drops } in &rounds {
                let receivers: BTreeSet<RankId> = moves.iter().map(|weights| weights.to).collect();
                prop_assert_eq!(receivers.len(), moves.len(), "one expert a rank and round");
                for weights in moves {
                    prop_assert!(held[weights.from.0 as usize].contains(&weights.expert), "the source has it");
                    prop_assert!(!held[weights.to.0 as usize].contains(&weights.expert), "it is needed");
                    prop_assert!(wanted[weights.to.0 as usize].contains(&weights.expert));
                }
                for weights in moves {
                    held[weights.to.0 as usize].insert(weights.expert);
                }
                for (rank, expert) in drops {
                    prop_assert!(held[rank.0 as usize].remove(expert), "what is dropped is held");
                    prop_assert!(!wanted[rank.0 as usize].contains(expert), "what is dropped is not needed");
                }
                prop_assert!(held.iter().all(|held| held.len() <= by_rank as usize), "no room");
            }
            for (held, wanted) in held.iter().zip(&wanted) {
                prop_assert_eq!(held, wanted);
            }
            prop_assert!(rounds.len() <= 4 * by_rank as usize, "{} rounds for {by_rank} slots a rank", rounds.len());
        }
    }
}

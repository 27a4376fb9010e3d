//! DeepSeek's expert-parallel load balancer (EPLB): replicas for hot experts, packed so that ranks carry alike.
//!
//! Follows the published algorithm slot for slot (deepseek-ai/EPLB, `eplb.py`): f32 weights, stable descending order, ties to
//! the lowest index. Where the groups of experts divide over the nodes it is hierarchical: groups to nodes, replicas within a
//! node, replicas to its ranks; else global, all experts one group on one node. Two replicas of an expert may land on one rank.

use crate::ids::ExpertId;
use crate::placement::{Demand, Placement, PlacementError, PlacementPolicy, check_sizes};
use topology::Cluster;

const ORIGIN: &str = "EPLB placement";

/// How many of what [`Placement::eplb`] balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EplbShape {
    /// Slots in all, `num_replicas` in the original.
    pub num_slots: u32,
    /// Groups of experts that should stay on one node; 1 for none.
    pub num_groups: u32,
}

/// The policy of [`Placement::eplb`], with the groups of the demand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Eplb;

impl PlacementPolicy for Eplb {
    fn name(&self) -> &str {
        "eplb"
    }

    fn help(&self) -> &str {
        "DeepSeek's EPLB: replicas for hot experts, groups of the gate kept in racks where they divide over them"
    }

    fn place(&self, cluster: &Cluster, slots: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        let load: Vec<f32> = demand.load().iter().map(|&tokens| tokens as f32).collect();
        let shape = EplbShape { num_slots: slots, num_groups: demand.groups() };
        Placement::eplb_slots(cluster, &load, shape)?.for_demand(cluster, &demand.by_rack(cluster), 0.0)
    }
}

impl Placement {
    /// Places `load.len()` experts by their load on `cluster`, whose racks are the nodes.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] where a number does not divide another as the algorithm needs it.
    pub fn eplb(cluster: &Cluster, load: &[f32], shape: EplbShape) -> Result<Self, PlacementError> {
        Self::eplb_slots(cluster, load, shape)?.for_even_demand(cluster, ORIGIN)
    }

    /// As [`Self::eplb`], without a choice of replicas.
    fn eplb_slots(cluster: &Cluster, load: &[f32], shape: EplbShape) -> Result<Self, PlacementError> {
        let (ranks, racks) = (cluster.num_ranks() as usize, cluster.num_racks() as usize);
        let (experts, slots, groups) = (load.len(), shape.num_slots as usize, shape.num_groups as usize);
        check_sizes(ORIGIN, u32::try_from(experts).unwrap_or(u32::MAX), slots as u64)?;
        let needs = [
            (groups > 0 && experts.is_multiple_of(groups), "the groups must divide the experts"),
            (slots.is_multiple_of(ranks), "the ranks must divide the slots"),
            (slots >= experts, "there must be a slot for each expert"),
            (
                cluster.is_uniform() || groups == 1,
                "the racks must be of one size for groups to stay in: give 1 group",
            ),
            (
                load.iter().all(|weight| weight.is_finite() && *weight >= 0.0),
                "loads must be finite and at least 0",
            ),
        ];
        if let Some((_, problem)) = needs.into_iter().find(|(met, _)| !met) {
            let origin = format!(
                "{ORIGIN} of {experts} experts in {groups} groups, {slots} slots on {ranks} ranks in {racks} racks"
            );
            return Err(PlacementError::refused(origin, problem));
        }
        let hierarchical =
            groups.is_multiple_of(racks) && slots.is_multiple_of(racks) && ranks.is_multiple_of(racks);
        let (groups, nodes) = if hierarchical { (groups, racks) } else { (1, 1) };
        let map = rebalance(load, slots, groups, nodes, ranks);
        let counts = vec![(slots / ranks) as u32; ranks];
        let map = map.into_iter().map(|expert| ExpertId(expert as u32)).collect();
        Self::indexed(map, &counts, experts as u32, ORIGIN)
    }
}

/// Items to packs of equal size: heaviest first, each to the lightest pack that has room. Returns (pack, place in it) of each.
pub(super) fn balanced_packing(weights: &[f32], packs: usize) -> Vec<(usize, usize)> {
    let room = weights.len() / packs;
    if room == 1 {
        return (0..weights.len()).map(|item| (item, 0)).collect();
    }
    let mut placed = vec![(0, 0); weights.len()];
    let mut filled = vec![(0.0_f32, 0); packs];
    for item in descending(weights) {
        let open = (0..packs).filter(|&pack| filled[pack].1 < room);
        let lightest =
            open.min_by(|&a, &b| filled[a].0.total_cmp(&filled[b].0)).expect("as much room as items");
        placed[item] = (lightest, filled[lightest].1);
        filled[lightest] = (filled[lightest].0 + weights[item], filled[lightest].1 + 1);
    }
    placed
}

/// Indices by weight, heaviest first, equal ones in order.
fn descending(weights: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    order
}

/// One slot an expert, then each further one to the expert with the most load a replica. Returns (expert, replica) of each slot
/// and the replicas of each expert.
fn replicate(weights: &[f32], slots: usize) -> (Vec<usize>, Vec<usize>) {
    let mut expert_of_slot: Vec<usize> = (0..weights.len()).collect();
    let mut count = vec![1; weights.len()];
    while expert_of_slot.len() < slots {
        let load = |expert: usize| weights[expert] / count[expert] as f32;
        let first_largest = (0..weights.len()).rev().max_by(|&a, &b| load(a).total_cmp(&load(b)));
        let hottest = first_largest.expect("there are experts");
        expert_of_slot.push(hottest);
        count[hottest] += 1;
    }
    (expert_of_slot, count)
}

/// `physical_to_logical_map` of one layer.
fn rebalance(load: &[f32], slots: usize, groups: usize, nodes: usize, ranks: usize) -> Vec<usize> {
    let group_size = load.len() / groups;
    // Step 1: groups to nodes. `experts_of_node` is the original's `log2mlog` inverted.
    let group_load: Vec<f32> = load.chunks(group_size).map(|group| group.iter().sum()).collect();
    let mut experts_of_node = vec![vec![0; load.len() / nodes]; nodes];
    for (group, (node, place)) in balanced_packing(&group_load, nodes).into_iter().enumerate() {
        for offset in 0..group_size {
            experts_of_node[node][place * group_size + offset] = group * group_size + offset;
        }
    }
    let (node_slots, node_ranks) = (slots / nodes, ranks / nodes);
    let mut map = Vec::with_capacity(slots);
    for experts in experts_of_node {
        // Step 2: replicas within the node.
        let weights: Vec<f32> = experts.iter().map(|&expert| load[expert]).collect();
        let (of_slot, count) = replicate(&weights, node_slots);
        // Step 3: replicas to its ranks.
        let shares: Vec<f32> = of_slot.iter().map(|&local| weights[local] / count[local] as f32).collect();
        let mut node_map = vec![0; node_slots];
        let by_rank = node_slots / node_ranks;
        for (slot, (rank, place)) in balanced_packing(&shares, node_ranks).into_iter().enumerate() {
            node_map[rank * by_rank + place] = experts[of_slot[slot]];
        }
        map.extend(node_map);
    }
    map
}

/// `physical_to_logical_map` of both variants: the global one, then, where groups and racks divide, the hierarchical one.
pub(in crate::placement) fn maps(
    cluster: &Cluster,
    load: &[f64],
    slots: u32,
    groups: u32,
) -> impl Iterator<Item = Vec<ExpertId>> {
    let weights: Vec<f32> = load.iter().map(|&load| load as f32).collect();
    let racks = cluster.num_racks() as usize;
    let in_groups = groups > 1
        && racks > 1
        && load.len().is_multiple_of(groups as usize)
        && (groups as usize).is_multiple_of(racks)
        && cluster.is_uniform();
    let shapes = [Some(1), in_groups.then_some(groups as usize)];
    let (slots, ranks) = (slots as usize, cluster.num_ranks() as usize);
    shapes.into_iter().flatten().map(move |groups| {
        let nodes = if groups > 1 { racks } else { 1 };
        let map = rebalance(&weights, slots, groups, nodes, ranks);
        map.into_iter().map(|expert| ExpertId(expert as u32)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SlotId;
    use proptest::prelude::*;

    fn map(placement: &Placement) -> Vec<u32> {
        (0..placement.num_slots()).map(|slot| placement.expert_of(SlotId(slot)).0).collect()
    }

    /// The example of EPLB's own README: 12 experts in 4 groups, 16 slots on 8 GPUs of 2 nodes.
    #[test]
    fn the_published_example_slot_for_slot() {
        let cluster = Cluster::new(&[4, 4]).unwrap();
        let layers: [([f32; 12], [u32; 16]); 2] = [
            (
                [90., 132., 40., 61., 104., 165., 39., 4., 73., 56., 183., 86.],
                [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
            ),
            (
                [20., 107., 104., 64., 19., 197., 187., 157., 172., 86., 16., 27.],
                [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
            ),
        ];
        let shape = EplbShape { num_slots: 16, num_groups: 4 };
        for (load, expected) in layers {
            assert_eq!(map(&Placement::eplb(&cluster, &load, shape).unwrap()), expected);
        }
    }

    #[test]
    fn what_does_not_divide_is_named() {
        let cluster = Cluster::new(&[4, 4]).unwrap();
        let error = |load: &[f32], num_slots, num_groups| {
            Placement::eplb(&cluster, load, EplbShape { num_slots, num_groups }).unwrap_err().to_string()
        };
        assert!(error(&[1.0; 12], 17, 4).contains("the ranks must divide the slots"));
        assert!(error(&[1.0; 12], 16, 5).contains("the groups must divide the experts"));
        assert!(error(&[1.0; 12], 8, 4).contains("a slot for each expert"));
        assert!(error(&[f32::NAN; 8], 8, 4).contains("finite"));
        assert!(error(&[], 8, 1).contains("logical experts"));
    }

    proptest! {
        #[test]
        fn every_expert_has_a_slot_and_every_rank_as_many(
            racks in 1_u32..4, size in 1_u32..5, by_rank in 1_u32..5, groups in 1_u32..4, group_size in 1_u32..6,
            seed in prop::collection::vec(0_u32..1000, 60),
        ) {
            let cluster = Cluster::uniform(racks, size).unwrap();
            let experts = groups * group_size;
            let slots = (by_rank * cluster.num_ranks()).max(experts.div_ceil(cluster.num_ranks()) * cluster.num_ranks());
            let load: Vec<f32> = seed.iter().take(experts as usize).map(|&load| load as f32).collect();
            let shape = EplbShape { num_slots: slots, num_groups: groups };
            let placement = Placement::eplb(&cluster, &load, shape).unwrap();
            prop_assert_eq!(placement.num_slots(), slots);
            prop_assert!(cluster.ranks().all(|rank| placement.slots_of(rank).len() as u32 == slots / cluster.num_ranks()));
            prop_assert!((0..experts).all(|expert| !placement.replicas_of(ExpertId(expert)).is_empty()));
        }
    }
}

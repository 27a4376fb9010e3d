//! Starts of the search: EPLB's own placements, and racks that keep the gate's groups.

use super::counts::Replicas;
use super::pack::Packing;
use crate::ids::ExpertId;
use crate::placement::policies::eplb::balanced_packing;
use topology::Cluster;

/// The replicas and the packing of `map`; `None` if an expert is twice on a rank that can't give it away.
pub(super) fn of_map(cluster: &Cluster, load: &[f64], map: &[ExpertId]) -> Option<Packing> {
    let mut replicas: Vec<Replicas> = load.iter().map(|&load| Replicas { count: 0, load }).collect();
    map.iter().for_each(|expert| replicas[expert.0 as usize].count += 1);
    replicas.iter_mut().for_each(|replicas| replicas.load /= f64::from(replicas.count));
    Packing::of_map(cluster, &replicas, map)
}

/// One replica of each expert in the rack of its group, the others where the expert isn't yet and the load is least.
pub(super) fn in_groups(cluster: &Cluster, replicas: &[Replicas], slots: u32, groups: u32) -> Packing {
    let mut packing = Packing::new(cluster, replicas, slots);
    let ranks_in = |rack| cluster.ranks_in(rack).map(|rank| rank.0 as usize).collect();
    let ranks: Vec<Vec<usize>> = cluster.racks().map(ranks_in).collect();
    let room: Vec<usize> =
        ranks.iter().map(|ranks| ranks.iter().map(|&rank| packing.room[rank]).sum()).collect();
    let weight = |expert: u32| replicas[expert as usize].load;
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); ranks.len()];
    let mut left = Vec::new();
    for (expert, rack) in (0..).zip(homes(replicas, groups as usize, ranks.len())) {
        let mut others = replicas[expert as usize].count;
        if members[rack].len() < room[rack] {
            members[rack].push(expert);
            others -= 1;
        }
        left.extend(std::iter::repeat_n(expert, others as usize));
    }
    left.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)).then(a.cmp(&b)));
    let carried = |rack: &usize, members: &[Vec<u32>]| {
        members[*rack].iter().map(|&expert| weight(expert)).sum::<f64>() / ranks[*rack].len() as f64
    };
    let mut loads: Vec<f64> = (0..ranks.len()).map(|rack| carried(&rack, &members)).collect();
    let mut rest = Vec::new();
    for expert in left {
        let here = |rack: usize| members[rack].iter().filter(|&&member| member == expert).count();
        let open = (0..ranks.len())
            .filter(|&rack| members[rack].len() < room[rack] && here(rack) < ranks[rack].len());
        match open.min_by(|&a, &b| here(a).cmp(&here(b)).then(loads[a].total_cmp(&loads[b]))) {
            Some(rack) => {
                members[rack].push(expert);
                loads[rack] += weight(expert) / ranks[rack].len() as f64;
            }
            None => rest.push(expert),
        }
    }
    for (members, ranks) in members.into_iter().zip(&ranks) {
        rest.extend(packing.fill(members, ranks));
    }
    packing.fill_up(rest, &(0..packing.room.len()).collect::<Vec<_>>());
    packing
}

/// The rack in which each expert's group stays: several groups in a rack, or a group in several racks, if they divide.
fn homes(replicas: &[Replicas], groups: usize, racks: usize) -> Vec<usize> {
    let size = replicas.len() / groups;
    let load: Vec<f32> =
        replicas.iter().map(|replicas| (replicas.load * f64::from(replicas.count)) as f32).collect();
    if groups.is_multiple_of(racks) {
        let of_group: Vec<f32> = load.chunks(size).map(|group| group.iter().sum()).collect();
        let packed = balanced_packing(&of_group, racks);
        return (0..load.len()).map(|expert| packed[expert / size].0).collect();
    }
    let parts = racks / groups;
    if parts * groups == racks && size.is_multiple_of(parts) {
        let parts_of = |group: usize| {
            let packed = balanced_packing(&load[group * size..][..size], parts);
            packed.into_iter().map(move |(part, _)| group * parts + part)
        };
        return (0..groups).flat_map(parts_of).collect();
    }
    (0..load.len()).map(|expert| expert * racks / load.len()).collect()
}

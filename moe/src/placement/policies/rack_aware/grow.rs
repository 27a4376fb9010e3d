//! A start in which each rack grows from experts that are picked together, or by tokens of that rack.

use super::counts::Replicas;
use super::pack::Packing;
use crate::placement::demand::Sample;
use topology::{Cluster, RackId};

/// How far a rack's load may be off its part, as a fraction of it, while it grows.
const TOLERANCE: f64 = 0.02;

impl Packing {
    /// Racks one after the other take the expert of which most tokens are already theirs, as long as their load stays within
    /// reach of their part.
    pub(super) fn grown(cluster: &Cluster, replicas: &[Replicas], slots: u32, sample: &Sample) -> Self {
        let mut packing = Self::new(cluster, replicas, slots);
        let mut left: Vec<u32> = replicas.iter().map(|replicas| replicas.count).collect();
        let mut load_left: f64 =
            replicas.iter().map(|replicas| replicas.load * f64::from(replicas.count)).sum();
        let mut slots_left = slots as usize;
        let mut rest = Vec::new();
        let tokens_of = tokens_of(replicas.len(), sample);
        // By load, so that what the rest of a rack can weigh is a walk from either end.
        let mut by_load: Vec<u32> = (0..replicas.len() as u32).collect();
        by_load.sort_by(|&a, &b| {
            replicas[b as usize].load.total_cmp(&replicas[a as usize].load).then(a.cmp(&b))
        });
        for rack in cluster.racks() {
            let ranks: Vec<usize> = cluster.ranks_in(rack).map(|rank| rank.0 as usize).collect();
            let room: usize = ranks.iter().map(|&rank| packing.room[rank]).sum();
            let part = load_left * room as f64 / slots_left as f64;
            let members = if rack.0 + 1 == cluster.num_racks() {
                by_load.iter().flat_map(|&e| std::iter::repeat_n(e, left[e as usize] as usize)).collect()
            } else {
                // Replicas spread over the racks that are still to come.
                let racks_left = (slots_left as f64 / room as f64).max(1.0);
                let quota: Vec<u32> =
                    left.iter().map(|&left| (f64::from(left) / racks_left).ceil() as u32).collect();
                let growth = Growth { rack, sample, tokens_of: &tokens_of, replicas, by_load: &by_load };
                growth.members(room, part, quota, cluster)
            };
            for &expert in &members {
                left[expert as usize] -= 1;
                load_left -= replicas[expert as usize].load;
            }
            slots_left -= room;
            rest.extend(packing.fill(members, &ranks));
        }
        let all: Vec<usize> = (0..packing.room.len()).collect();
        packing.fill_up(rest, &all);
        packing
    }
}

/// By expert: the tokens that picked it.
fn tokens_of(experts: usize, sample: &Sample) -> Vec<Vec<u32>> {
    let mut tokens_of = vec![Vec::new(); experts];
    for (token, picks) in (0..).zip(sample.experts.chunks(sample.top_k)) {
        for &expert in picks {
            tokens_of[expert as usize].push(token);
        }
    }
    tokens_of
}

struct Growth<'a> {
    rack: RackId,
    sample: &'a Sample,
    tokens_of: &'a [Vec<u32>],
    replicas: &'a [Replicas],
    by_load: &'a [u32],
}

impl Growth<'_> {
    /// `room` replicas for the rack with a load of about `part`, of each expert at most its `quota`.
    fn members(&self, room: usize, part: f64, mut quota: Vec<u32>, cluster: &Cluster) -> Vec<u32> {
        let tokens = self.sample.racks.len();
        // Tokens that need no further crossing for another expert here: they come from here or go here already.
        let mut here = vec![false; tokens];
        let mut affine = vec![0_u32; self.replicas.len()];
        for token in 0..tokens {
            if self.sample.racks[token] == self.rack {
                self.mark(token, &mut here, &mut affine);
            }
        }
        let own = affine.clone();
        let average = f64::from(cluster.rack_size(self.rack)) / f64::from(cluster.num_ranks());
        let mut members: Vec<u32> = Vec::with_capacity(room);
        let mut load = 0.0;
        while members.len() < room {
            let after = room - members.len() - 1;
            let (lightest, heaviest) = self.reach(&quota, after);
            let (low, high) =
                (part * (1.0 - TOLERANCE) - load - heaviest, part * (1.0 + TOLERANCE) - load - lightest);
            let open = self.by_load.iter().copied().filter(|&e| quota[e as usize] > 0);
            // The fraction of its tokens that are here; at first, how far more of them come from here than from elsewhere.
            let rating = |expert: u32| {
                let tokens = self.tokens_of[expert as usize].len().max(1) as f64;
                let near = f64::from(own[expert as usize]) / tokens - average;
                if members.is_empty() { near } else { f64::from(affine[expert as usize]) / tokens }
            };
            let fits = |expert: &u32| (low..=high).contains(&self.replicas[*expert as usize].load);
            let best = |experts: &mut dyn Iterator<Item = u32>| {
                // The first of the best: experts come by load.
                experts.fold(None, |best: Option<(u32, f64)>, expert| {
                    let rating = rating(expert);
                    if best.is_none_or(|(_, found)| rating > found) { Some((expert, rating)) } else { best }
                })
            };
            let mut chosen = best(&mut open.clone().filter(fits));
            if chosen.is_none() {
                let miss = |expert: u32| {
                    let weight = self.replicas[expert as usize].load;
                    (low - weight).max(weight - high)
                };
                chosen = open.min_by(|&a, &b| miss(a).total_cmp(&miss(b))).map(|expert| (expert, 0.0));
            }
            // Quotas add up to at least the room.
            let Some((expert, _)) = chosen else { break };
            quota[expert as usize] -= 1;
            load += self.replicas[expert as usize].load;
            members.push(expert);
            for &token in &self.tokens_of[expert as usize] {
                self.mark(token as usize, &mut here, &mut affine);
            }
        }
        members
    }

    fn mark(&self, token: usize, here: &mut [bool], affine: &mut [u32]) {
        if !std::mem::replace(&mut here[token], true) {
            for &expert in &self.sample.experts[token * self.sample.top_k..][..self.sample.top_k] {
                affine[expert as usize] += 1;
            }
        }
    }

    /// The least and the most that `count` replicas can weigh.
    fn reach(&self, quota: &[u32], count: usize) -> (f64, f64) {
        let weigh = |experts: &mut dyn Iterator<Item = &u32>| {
            let (mut sum, mut rest) = (0.0, count as u32);
            for &expert in experts {
                let taken = quota[expert as usize].min(rest);
                sum += f64::from(taken) * self.replicas[expert as usize].load;
                rest -= taken;
                if rest == 0 {
                    break;
                }
            }
            sum
        };
        (weigh(&mut self.by_load.iter().rev()), weigh(&mut self.by_load.iter()))
    }
}

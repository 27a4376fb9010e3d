//! Loads under a limit at the least cost: between racks first, where there is most room, then rank by rank.

use super::{Bound, Search, Slot};
use std::ops::Range;

/// Part of the way from the mean to the limit that racks may carry, so that ranks can be packed within the limit.
const RACK_SLACK: f64 = 0.5;
/// Swaps that may even ranks out, for each slot.
const SWAPS_PER_SLOT: usize = 4;

impl Search {
    /// Swaps between racks alone, ranks packed anew: none above its part of `limit`, then fewer crossings in at most `passes` passes.
    pub(in super::super) fn improve_racks(&mut self, limit: f64, passes: usize) {
        if !self.is_open() {
            return;
        }
        let mean = self.rack_load.iter().sum::<f64>() / self.rack_of.len() as f64;
        let cap = mean + (limit - mean).max(0.0) * RACK_SLACK;
        let caps: Vec<f64> = self.ranks.iter().map(|ranks| cap * ranks.len() as f64).collect();
        let bound = Bound::Racks(caps.clone());
        self.level_racks(&caps, &bound);
        for _ in 0..passes {
            let before = self.cost();
            let moves = self.moves();
            self.swap_slots(&moves, &bound);
            if self.cost() >= before - (before as f64 * super::LEAST_GAIN) as i64 {
                break;
            }
        }
        for ranks in self.ranks.clone() {
            self.packing.repack(&ranks.collect::<Vec<_>>());
        }
    }

    /// Swaps of the rack that is most above its cap, each the one that costs least for what it takes off.
    fn level_racks(&mut self, caps: &[f64], bound: &Bound) {
        let (slots, mut moves) = (self.slots(), self.moves());
        let racks = self.racks;
        let mut load: Vec<f64> =
            slots.iter().map(|&(rank, at)| self.packing.load[self.packing.held[rank][at] as usize]).collect();
        // Slots of a rack are neighbours.
        let of_rack: Vec<Range<usize>> = (0..racks)
            .map(|rack| {
                let end = |rack: usize| slots.partition_point(|&(rank, _)| self.rack_of[rank] < rack);
                end(rack)..end(rack + 1)
            })
            .collect();
        for _ in 0..slots.len() {
            let over = |rack: usize| self.rack_load[rack] - caps[rack];
            let Some(a) = (0..racks).rev().max_by(|&a, &b| over(a).total_cmp(&over(b))) else { return };
            let over = over(a);
            let mut best: Option<(f64, usize, usize)> = None;
            if over <= 0.0 {
                return;
            }
            for mine in of_rack[a].clone() {
                for b in (0..racks).filter(|&b| b != a) {
                    let (leaving, room) = (moves[mine * racks + b], caps[b] - self.rack_load[b]);
                    for theirs in of_rack[b].clone() {
                        let given = load[mine] - load[theirs];
                        if given <= 0.0 || given > room {
                            continue;
                        }
                        let cost = leaving + moves[theirs * racks + a];
                        let rating = (cost.max(0) + 1) as f64 / given.min(over);
                        if best.is_none_or(|(found, ..)| rating < found)
                            && self.fits(bound, slots[mine], slots[theirs])
                        {
                            best = Some((rating, mine, theirs));
                        }
                    }
                }
            }
            let Some((_, mine, theirs)) = best else { return };
            self.swap(slots[mine], slots[theirs]);
            load.swap(mine, theirs);
            self.renew(&slots, [mine, theirs], &mut moves);
        }
    }

    /// Swaps of the fullest rank, each the one that costs least, until no rank carries more than `limit`, or none helps.
    pub(in super::super) fn even_out(&mut self, limit: f64) {
        if self.packing.fullest() <= limit {
            return;
        }
        let slots = self.slots();
        let mut moves = self.moves();
        for _ in 0..slots.len() * SWAPS_PER_SLOT {
            let packing = &self.packing;
            let fullest = (0..packing.carried.len())
                .rev()
                .max_by(|&a, &b| packing.carried[a].total_cmp(&packing.carried[b]));
            let Some(a) = fullest.filter(|&a| packing.carried[a] > limit) else { return };
            let mut best: Option<((bool, f64, f64), usize, usize)> = None;
            let (mine, others): (Vec<usize>, Vec<usize>) =
                (0..slots.len()).partition(|&slot| slots[slot].0 == a);
            for &theirs in &others {
                let (b, j) = slots[theirs];
                for &mine in &mine {
                    let i = slots[mine].1;
                    let given =
                        packing.load[packing.held[a][i] as usize] - packing.load[packing.held[b][j] as usize];
                    let after = (packing.carried[a] - given).max(packing.carried[b] + given);
                    if given <= 0.0 || after >= packing.carried[a] {
                        continue;
                    }
                    let cost = moves[mine * self.racks + self.rack_of[b]]
                        + moves[theirs * self.racks + self.rack_of[a]];
                    let rating =
                        if after <= limit { (false, cost as f64, given) } else { (true, after, given) };
                    if best.is_none_or(|(found, ..)| rating < found) && packing.fits((a, i), (b, j)) {
                        best = Some((rating, mine, theirs));
                    }
                }
            }
            let Some((_, mine, theirs)) = best else { return };
            self.swap(slots[mine], slots[theirs]);
            self.renew(&slots, [mine, theirs], &mut moves);
        }
    }

    /// Works out again what moves of the experts in two slots would add.
    fn renew(&mut self, slots: &[Slot], changed: [usize; 2], moves: &mut [i64]) {
        let expert = |search: &Self, slot: usize| search.packing.held[slots[slot].0][slots[slot].1] as usize;
        for changed in changed.map(|slot| expert(self, slot)) {
            for slot in 0..slots.len() {
                if expert(self, slot) == changed {
                    let row = &mut moves[slot * self.racks..][..self.racks];
                    self.moves_of(changed, self.rack_of[slots[slot].0], row);
                }
            }
        }
    }
}

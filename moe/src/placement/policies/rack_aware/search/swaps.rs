//! The swaps of the search: two replicas, or all that two ranks hold, where that takes crossings off and no rank carries too much.

use super::{Bound, Search, Slot};

/// Swaps that fail before a slot is left alone for the rest of a pass.
const FAILURES: u32 = 2;
/// Swaps that are put in order at a time.
const SORTED: usize = 512;

impl Search {
    /// Swaps of two replicas in different racks, those that promise most first.
    pub(super) fn swap_slots(&mut self, moves: &[i64], bound: &Bound) {
        let slots = self.slots();
        let mut promising = self.promising(&slots, moves, bound);
        // What was worked out for a slot is only good until it is swapped.
        let mut failures = vec![0_u32; slots.len()];
        let mut cost = self.cost();
        while !promising.is_empty() {
            // Most of what comes later has been settled by then, and is never put in order.
            let now = promising.len().min(SORTED);
            if now < promising.len() {
                promising.select_nth_unstable(now);
            }
            let mut later = promising.split_off(now);
            promising.sort_unstable();
            for (_, first, second) in promising {
                let both = [first as usize, second as usize];
                let [mine, theirs] = both.map(|slot| slots[slot]);
                if both.iter().any(|&slot| failures[slot] >= FAILURES)
                    || !self.within(bound, mine, theirs)
                    || !self.fits(bound, mine, theirs)
                {
                    continue;
                }
                self.swap(mine, theirs);
                let after = self.cost();
                let failed = after >= cost;
                if failed {
                    self.swap(mine, theirs);
                } else {
                    cost = after;
                }
                for slot in both {
                    failures[slot] += if failed { 1 } else { FAILURES };
                }
            }
            let is_open = |slot: u32| failures[slot as usize] < FAILURES;
            later.retain(|&(_, first, second)| is_open(first) && is_open(second));
            promising = later;
        }
    }

    /// Pairs of `slots` in different racks whose swap would take crossings off, by `moves`, and how many.
    fn promising(&self, slots: &[Slot], moves: &[i64], bound: &Bound) -> Vec<(i64, u32, u32)> {
        let move_to = |slot: usize, rack: usize| moves[slot * self.racks + rack];
        // Slots of a rack are neighbours.
        let end = |rack: usize| slots.partition_point(|&(rank, _)| self.rack_of[rank] <= rack);
        let ends: Vec<usize> = (0..self.racks).map(end).collect();
        let held = |rack: usize| if rack == 0 { 0 } else { ends[rack - 1] }..ends[rack];
        let mut promising = Vec::new();
        for to in 0..self.racks {
            for from in 0..to {
                let least = held(to).map(|slot| move_to(slot, from)).min().unwrap_or(0);
                for mine in held(from).filter(|&mine| move_to(mine, to) + least < 0) {
                    for theirs in held(to) {
                        let promise = move_to(mine, to) + move_to(theirs, from);
                        if promise < 0 && self.within(bound, slots[mine], slots[theirs]) {
                            promising.push((promise, mine as u32, theirs as u32));
                        }
                    }
                }
            }
        }
        promising
    }

    /// Swaps of all that two ranks of different racks hold; no rank carries more than before.
    pub(super) fn swap_ranks(&mut self) {
        let moves = self.moves();
        let mut sums = vec![vec![0; self.racks]; self.packing.held.len()];
        for (&(rank, _), moves) in self.slots().iter().zip(moves.chunks(self.racks)) {
            sums[rank].iter_mut().zip(moves).for_each(|(sum, added)| *sum += added);
        }
        let mut promising = Vec::new();
        for a in 0..sums.len() {
            for b in a + 1..sums.len() {
                let (from, to) = (self.rack_of[a], self.rack_of[b]);
                let promise = sums[a][to] + sums[b][from];
                let alike = self.packing.held[a].len() == self.packing.held[b].len();
                if from != to && promise < 0 && alike {
                    promising.push((promise, a, b));
                }
            }
        }
        promising.sort_unstable();
        let mut failures = vec![0; sums.len()];
        let mut cost = self.cost();
        for (_, a, b) in promising {
            if failures[a] >= FAILURES || failures[b] >= FAILURES {
                continue;
            }
            self.exchange(a, b);
            let after = self.cost();
            let failed = after >= cost;
            if failed {
                self.exchange(a, b);
            } else {
                cost = after;
            }
            for rank in [a, b] {
                failures[rank] += if failed { 1 } else { FAILURES };
            }
        }
    }

    fn exchange(&mut self, a: usize, b: usize) {
        let (from, to) = (self.rack_of[a], self.rack_of[b]);
        for at in 0..self.packing.held[a].len() {
            let (mine, theirs) = (self.packing.held[a][at] as usize, self.packing.held[b][at] as usize);
            self.relocate(mine, from, to);
            self.relocate(theirs, to, from);
        }
        let given = self.packing.carried[a] - self.packing.carried[b];
        self.rack_load[from] -= given;
        self.rack_load[to] += given;
        self.packing.held.swap(a, b);
        self.packing.carried.swap(a, b);
    }

    fn within(&self, bound: &Bound, (a, i): Slot, (b, j): Slot) -> bool {
        let packing = &self.packing;
        let given = packing.load[packing.held[a][i] as usize] - packing.load[packing.held[b][j] as usize];
        match bound {
            Bound::Ranks(limit) => {
                packing.carried[a] - given <= *limit && packing.carried[b] + given <= *limit
            }
            Bound::Racks(caps) => {
                let (from, to) = (self.rack_of[a], self.rack_of[b]);
                (given >= 0.0 || self.rack_load[from] - given <= caps[from])
                    && (given <= 0.0 || self.rack_load[to] + given <= caps[to])
            }
        }
    }

    /// Whether the swap leaves no expert twice on a rank, or more often in a rack than it has ranks.
    pub(super) fn fits(&self, bound: &Bound, mine: Slot, theirs: Slot) -> bool {
        let Bound::Racks(_) = bound else { return self.packing.fits(mine, theirs) };
        let ((a, i), (b, j)) = (mine, theirs);
        let (mine, theirs) = (self.packing.held[a][i], self.packing.held[b][j]);
        let has_room = |expert: u32, rank: usize| {
            let rack = self.rack_of[rank];
            usize::from(self.places.replicas[expert as usize * self.racks + rack]) < self.ranks[rack].len()
        };
        mine != theirs && has_room(mine, b) && has_room(theirs, a)
    }

    pub(super) fn swap(&mut self, mine: Slot, theirs: Slot) {
        let ((a, i), (b, j)) = (mine, theirs);
        let (first, second) = (self.packing.held[a][i] as usize, self.packing.held[b][j] as usize);
        self.packing.swap(mine, theirs);
        let (from, to) = (self.rack_of[a], self.rack_of[b]);
        if from != to {
            let given = self.packing.load[first] - self.packing.load[second];
            self.rack_load[from] -= given;
            self.rack_load[to] += given;
            self.relocate(first, from, to);
            self.relocate(second, to, from);
        }
    }
}

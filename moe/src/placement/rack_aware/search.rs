//! Swaps that let fewer tokens cross racks, with every rank below a limit on its load.
//!
//! The cost is counted on a sample of tokens. Each pass works out what it would cost to move each replica to each other rack,
//! pairs moves up into swaps of two replicas, or of all that two ranks hold, and makes those that turn out to help.

use super::COSTS;
use super::pack::Packing;
use crate::placement::demand::Sample;
use std::collections::BTreeMap;
use topology::Cluster;

/// A pass that gains less than this part of the cost is the last.
const LEAST_GAIN: f64 = 3e-3;
/// Swaps that fail before a slot is left alone for the rest of a pass.
const FAILURES: u32 = 2;

pub(super) struct Search<'a> {
    packing: Packing,
    by_rack: &'a [Vec<f64>],
    rack_of: Vec<usize>,
    racks: usize,
    top_k: usize,
    /// Source rack by token.
    source: Vec<usize>,
    /// Point of the replica choice by token, in 0..1.
    point: Vec<f64>,
    /// By expert: its places in `served`.
    picked: Vec<Vec<u32>>,
    /// The rack that serves each pick, `[tokens, top_k]` by rows.
    served: Vec<u8>,
    /// Picks of a token that a rack serves, `[tokens, racks]` by rows.
    visits: Vec<u8>,
    /// Replicas of an expert in a rack, `[experts, racks]` by rows.
    replicas: Vec<u16>,
    count: Vec<u16>,
    cost: i64,
}

/// Racks beyond this are not searched: the start is kept.
const MAX_RACKS: usize = 256;

type Slot = (usize, usize);

impl<'a> Search<'a> {
    pub(super) fn new(cluster: &Cluster, by_rack: &'a [Vec<f64>], sample: &Sample, packing: Packing) -> Self {
        let (racks, tokens) = (cluster.num_racks() as usize, sample.racks.len());
        let experts = packing.load.len();
        let mut picked = vec![Vec::new(); experts];
        for (at, &expert) in (0..).zip(&sample.experts) {
            picked[expert as usize].push(at);
        }
        let rack_of: Vec<usize> = cluster.ranks().map(|rank| cluster.rack_of(rank).0 as usize).collect();
        let (mut replicas, mut count) = (vec![0; experts * racks], vec![0; experts]);
        for (rank, held) in packing.held.iter().enumerate() {
            for &expert in held {
                replicas[expert as usize * racks + rack_of[rank]] += 1;
                count[expert as usize] += 1;
            }
        }
        // Tokens of a rack take points in turn; the golden ratio spreads any few of them.
        let golden = |at: usize| (at as f64 * 0.618_033_988_749_894_9).fract();
        let mut search = Self {
            packing,
            by_rack,
            rack_of,
            racks,
            top_k: sample.top_k,
            source: sample.racks.iter().map(|rack| rack.0 as usize).collect(),
            point: (0..tokens).map(golden).collect(),
            picked,
            served: vec![0; sample.experts.len()],
            visits: vec![0; if racks <= MAX_RACKS { tokens * racks } else { 0 }],
            replicas,
            count,
            cost: 0,
        };
        if racks <= MAX_RACKS {
            for expert in 0..experts {
                search.serve(expert, false);
            }
        }
        search
    }

    pub(super) fn finish(self) -> Packing {
        self.packing
    }

    /// Crossings of the sample, weighted.
    pub(super) fn cost(&self) -> i64 {
        self.cost
    }

    /// Load of the fullest rank.
    pub(super) fn fullest(&self) -> f64 {
        self.packing.fullest()
    }

    /// Swaps in at most `passes` passes, no rank above `limit` or the fullest that there is.
    pub(super) fn improve(&mut self, limit: f64, passes: usize) {
        if self.racks < 2 || self.racks > MAX_RACKS {
            return;
        }
        let limit = limit.max(self.packing.fullest());
        for _ in 0..passes {
            let before = self.cost;
            let moves = self.moves();
            self.swap_slots(&moves, limit);
            if self.cost > before - (before as f64 * LEAST_GAIN) as i64 {
                self.swap_ranks();
            }
            if self.cost >= before - (before as f64 * LEAST_GAIN) as i64 {
                break;
            }
        }
    }

    /// What each replica's move to each rack would add to the cost: by rank, slot and rack.
    fn moves(&mut self) -> Vec<Vec<Vec<i64>>> {
        // Replicas of an expert in one rack are alike.
        let mut known: BTreeMap<(usize, usize), Vec<i64>> = BTreeMap::new();
        let mut all = Vec::with_capacity(self.packing.held.len());
        for rank in 0..self.packing.held.len() {
            let from = self.rack_of[rank];
            let mut by_slot = Vec::with_capacity(self.packing.held[rank].len());
            for at in 0..self.packing.held[rank].len() {
                let expert = self.packing.held[rank][at] as usize;
                by_slot.push(if self.count[expert] == 1 {
                    self.moves_of(expert, from)
                } else {
                    known.entry((expert, from)).or_insert_with(|| self.moves_of(expert, from)).clone()
                });
            }
            all.push(by_slot);
        }
        all
    }

    fn moves_of(&mut self, expert: usize, from: usize) -> Vec<i64> {
        let [visit, copy] = COSTS;
        let mut added = vec![0; self.racks];
        if self.count[expert] == 1 {
            let mut leaving = 0;
            for &at in &self.picked[expert] {
                let token = at as usize / self.top_k;
                let (source, visits) = (self.source[token], &self.visits[token * self.racks..][..self.racks]);
                if source != from {
                    leaving -= copy + if visits[from] == 1 { visit } else { 0 };
                }
                for (added, &visits) in added.iter_mut().zip(visits) {
                    *added += if visits == 0 { visit + copy } else { copy };
                }
                added[source] -= if visits[source] == 0 { visit + copy } else { copy };
            }
            added.iter_mut().for_each(|added| *added += leaving);
        } else {
            for to in (0..self.racks).filter(|&to| to != from) {
                added[to] = self.added(expert, from, to);
            }
        }
        added[from] = 0;
        added
    }

    /// Swaps of two replicas in different racks, those that promise most first.
    fn swap_slots(&mut self, moves: &[Vec<Vec<i64>>], limit: f64) {
        let slots: Vec<Slot> =
            (0..moves.len()).flat_map(|rank| (0..moves[rank].len()).map(move |at| (rank, at))).collect();
        let mut promising = Vec::new();
        for (first, &(a, i)) in slots.iter().enumerate() {
            for &(b, j) in &slots[first + 1..] {
                let (from, to) = (self.rack_of[a], self.rack_of[b]);
                if from == to {
                    continue;
                }
                let promise = moves[a][i][to] + moves[b][j][from];
                if promise < 0 && self.within(limit, (a, i), (b, j)) {
                    promising.push((promise, (a, i), (b, j)));
                }
            }
        }
        promising.sort_unstable();
        // What was worked out for a slot is only good until it is swapped.
        let mut failures: Vec<Vec<u32>> = moves.iter().map(|rank| vec![0; rank.len()]).collect();
        for (_, mine, theirs) in promising {
            let done = |(rank, at): Slot| failures[rank][at] >= FAILURES;
            if done(mine)
                || done(theirs)
                || !self.within(limit, mine, theirs)
                || !self.packing.fits(mine, theirs)
            {
                continue;
            }
            let before = self.cost;
            self.swap(mine, theirs);
            let failed = self.cost >= before;
            if failed {
                self.swap(mine, theirs);
            }
            for (rank, at) in [mine, theirs] {
                failures[rank][at] += if failed { 1 } else { FAILURES };
            }
        }
    }

    /// Swaps of all that two ranks of different racks hold; no rank carries more than before.
    fn swap_ranks(&mut self) {
        let moves = self.moves();
        let sums: Vec<Vec<i64>> = moves
            .iter()
            .map(|rank| (0..self.racks).map(|rack| rank.iter().map(|slot| slot[rack]).sum()).collect())
            .collect();
        let mut promising = Vec::new();
        for a in 0..moves.len() {
            for b in a + 1..moves.len() {
                let (from, to) = (self.rack_of[a], self.rack_of[b]);
                let promise = sums[a][to] + sums[b][from];
                if from != to && promise < 0 && moves[a].len() == moves[b].len() {
                    promising.push((promise, a, b));
                }
            }
        }
        promising.sort_unstable();
        let mut failures = vec![0; moves.len()];
        for (_, a, b) in promising {
            if failures[a] >= FAILURES || failures[b] >= FAILURES {
                continue;
            }
            let before = self.cost;
            self.exchange(a, b);
            let failed = self.cost >= before;
            if failed {
                self.exchange(a, b);
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
        self.packing.held.swap(a, b);
        self.packing.carried.swap(a, b);
    }

    fn within(&self, limit: f64, (a, i): Slot, (b, j): Slot) -> bool {
        let packing = &self.packing;
        let given = packing.load[packing.held[a][i] as usize] - packing.load[packing.held[b][j] as usize];
        packing.carried[a] - given <= limit && packing.carried[b] + given <= limit
    }

    fn swap(&mut self, mine: Slot, theirs: Slot) {
        let ((a, i), (b, j)) = (mine, theirs);
        let (first, second) = (self.packing.held[a][i] as usize, self.packing.held[b][j] as usize);
        self.packing.swap(mine, theirs);
        self.relocate(first, self.rack_of[a], self.rack_of[b]);
        self.relocate(second, self.rack_of[b], self.rack_of[a]);
    }

    /// Moves one replica from rack to rack, with the cost.
    fn relocate(&mut self, expert: usize, from: usize, to: usize) {
        self.replicas[expert * self.racks + from] -= 1;
        self.replicas[expert * self.racks + to] += 1;
        self.serve(expert, true);
    }

    /// What moving one replica from rack to rack would add to the cost.
    fn added(&mut self, expert: usize, from: usize, to: usize) -> i64 {
        let [visit, copy] = COSTS;
        self.replicas[expert * self.racks + from] -= 1;
        self.replicas[expert * self.racks + to] += 1;
        let routes = self.routes(expert);
        self.replicas[expert * self.racks + from] += 1;
        self.replicas[expert * self.racks + to] -= 1;
        let mut added = 0;
        for &at in &self.picked[expert] {
            let token = at as usize / self.top_k;
            let (source, old) = (self.source[token], usize::from(self.served[at as usize]));
            let new = routes.to(source, self.point[token]);
            if new == old {
                continue;
            }
            let visits = &self.visits[token * self.racks..][..self.racks];
            if old != source {
                added -= copy + if visits[old] == 1 { visit } else { 0 };
            }
            if new != source {
                added += copy + if visits[new] == 0 { visit } else { 0 };
            }
        }
        added
    }

    /// Decides which racks serve the picks of `expert`; `again` if it was decided before.
    fn serve(&mut self, expert: usize, again: bool) {
        let [visit, copy] = COSTS;
        let replicas = &self.replicas[expert * self.racks..][..self.racks];
        let only = replicas.iter().position(|&n| n == self.count[expert]);
        let routes = if only.is_none() { self.routes(expert) } else { Routes::default() };
        for &at in &self.picked[expert] {
            let token = at as usize / self.top_k;
            let source = self.source[token];
            let to = only.unwrap_or_else(|| routes.to(source, self.point[token]));
            let visits = &mut self.visits[token * self.racks..][..self.racks];
            let served = &mut self.served[at as usize];
            if again {
                let from = usize::from(*served);
                if from == to {
                    continue;
                }
                visits[from] -= 1;
                if from != source {
                    self.cost -= copy + if visits[from] == 0 { visit } else { 0 };
                }
            }
            if to != source {
                self.cost += copy + if visits[to] == 0 { visit } else { 0 };
            }
            visits[to] += 1;
            *served = to as u8;
        }
    }

    /// For each source rack, the racks that serve its tokens for `expert`: its own as far as its replicas' even share goes,
    /// then others that have some left, in order.
    fn routes(&self, expert: usize) -> Routes {
        let wanted = |rack: usize| self.by_rack[rack][expert];
        let total: f64 = (0..self.racks).map(wanted).sum();
        let replicas = &self.replicas[expert * self.racks..][..self.racks];
        let each = total / f64::from(self.count[expert]);
        let part = |rack: usize| each * f64::from(replicas[rack]);
        let first_holder = replicas.iter().position(|&n| n > 0).unwrap_or(0);
        let mut routes = Routes {
            first: Vec::with_capacity(self.racks + 1),
            stretches: Vec::with_capacity(2 * self.racks),
        };
        let (mut next, mut left) = (0, (part(0) - wanted(0)).max(0.0));
        for (rack, &held) in replicas.iter().enumerate() {
            let begin = routes.stretches.len();
            routes.first.push(begin as u32);
            let wanted_here = wanted(rack);
            let mut sum = wanted_here.min(part(rack));
            if sum > 0.0 {
                routes.stretches.push((sum / wanted_here, rack as u8));
            }
            while sum < wanted_here && next < self.racks {
                let taken = left.min(wanted_here - sum);
                left -= taken;
                if taken > 0.0 {
                    sum += taken;
                    routes.stretches.push((sum / wanted_here, next as u8));
                }
                if left <= 0.0 {
                    next += 1;
                    left = if next < self.racks { (part(next) - wanted(next)).max(0.0) } else { 0.0 };
                }
            }
            if routes.stretches.len() == begin {
                let nearest = if held > 0 { rack } else { first_holder };
                routes.stretches.push((1.0, nearest as u8));
            }
        }
        routes.first.push(routes.stretches.len() as u32);
        routes
    }
}

/// Which rack serves the tokens of each source rack for one expert.
#[derive(Default)]
struct Routes {
    /// Stretches of rack r: `first[r]..first[r + 1]`.
    first: Vec<u32>,
    /// Where each ends in 0..1, and its rack.
    stretches: Vec<(f64, u8)>,
}

impl Routes {
    fn to(&self, source: usize, point: f64) -> usize {
        let stretches = &self.stretches[self.first[source] as usize..self.first[source + 1] as usize];
        let found = stretches.iter().find(|&&(end, _)| point < end);
        let (_, rack) = found.unwrap_or(&stretches[stretches.len() - 1]);
        usize::from(*rack)
    }
}

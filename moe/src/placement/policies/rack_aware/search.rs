//! Swaps that let fewer tokens cross racks, with every rank below a limit on its load.
//!
//! The cost is counted on a sample of tokens. Each pass works out what it would cost to move each replica to each other rack,
//! pairs moves up into swaps of two replicas, or of all that two ranks hold, and makes those that turn out to help.

mod swaps;

use super::COSTS;
use super::pack::Packing;
use super::routes::Routes;
use crate::placement::demand::Sample;
use crate::placement::span;
use std::ops::Range;
use topology::Cluster;

/// A pass that gains less than this part of the cost is the last.
const LEAST_GAIN: f64 = 3e-3;

pub(super) struct Search {
    packing: Packing,
    rack_of: Vec<usize>,
    racks: usize,
    /// By expert: what each rack wants of it, `[experts, racks]` by rows.
    wanted: Vec<f64>,
    /// Its sums by expert.
    total: Vec<f64>,
    /// Picks of the sample, by expert, then source rack, then point.
    picks: Vec<Pick>,
    /// The rack that serves each.
    served: Vec<u8>,
    /// Picks of one expert from one source rack.
    groups: Vec<Group>,
    /// Groups of expert e: `first[e]..first[e + 1]`.
    first: Vec<u32>,
    /// Picks of a token that a rack serves, `[tokens, racks]` by rows.
    visits: Vec<u8>,
    /// Replicas of an expert in a rack, `[experts, racks]` by rows.
    replicas: Vec<u16>,
    count: Vec<u16>,
    cost: i64,
    /// Room for the routes of the expert in hand.
    routes: Routes,
}

/// A token's pick of an expert.
#[derive(Clone, Copy)]
struct Pick {
    /// Where the token's row of `visits` begins.
    row: u32,
    /// The token's point of the replica choice, in 0..1.
    point: f64,
}

struct Group {
    source: u8,
    picks: Range<usize>,
}

/// Racks beyond this are not searched: the start is kept.
const MAX_RACKS: usize = 256;

type Slot = (usize, usize);

impl Search {
    pub(super) fn new(cluster: &Cluster, by_rack: &[Vec<f64>], sample: &Sample, packing: Packing) -> Self {
        let racks = cluster.num_racks() as usize;
        let experts = packing.load.len();
        let rack_of: Vec<usize> = cluster.ranks().map(|rank| cluster.rack_of(rank).0 as usize).collect();
        let (mut replicas, mut count) = (vec![0; experts * racks], vec![0; experts]);
        for (rank, held) in packing.held.iter().enumerate() {
            for &expert in held {
                replicas[expert as usize * racks + rack_of[rank]] += 1;
                count[expert as usize] += 1;
            }
        }
        let wanted: Vec<f64> =
            (0..experts).flat_map(|expert| by_rack.iter().map(move |row| row[expert])).collect();
        let mut search = Self {
            packing,
            rack_of,
            racks,
            total: wanted.chunks(racks).map(|wanted| wanted.iter().sum()).collect(),
            wanted,
            picks: Vec::new(),
            served: Vec::new(),
            groups: Vec::new(),
            first: vec![0],
            visits: Vec::new(),
            replicas,
            count,
            cost: 0,
            routes: Routes::default(),
        };
        if (2..=MAX_RACKS).contains(&racks) {
            search.take_picks(sample);
            for expert in 0..experts {
                search.serve(expert, false);
            }
        }
        search
    }

    /// Puts the sample's picks in order.
    fn take_picks(&mut self, sample: &Sample) {
        // Tokens of a rack take points in turn; the golden ratio spreads any few of them.
        let golden = |at: usize| (at as f64 * 0.618_033_988_749_894_9).fract();
        let mut by_expert = vec![Vec::new(); self.count.len()];
        for (token, picked) in sample.experts.chunks(sample.top_k).enumerate() {
            for &expert in picked {
                let pick = Pick { row: (token * self.racks) as u32, point: golden(token) };
                by_expert[expert as usize].push((sample.racks[token].0 as u8, pick));
            }
        }
        for mut picked in by_expert {
            picked.sort_by(|(a, first), (b, second)| a.cmp(b).then(first.point.total_cmp(&second.point)));
            for (source, pick) in picked {
                let at = self.picks.len();
                self.picks.push(pick);
                let begun = self.groups.len() > self.first[self.first.len() - 1] as usize;
                match self.groups.last_mut().filter(|group| begun && group.source == source) {
                    Some(group) => group.picks.end = at + 1,
                    None => self.groups.push(Group { source, picks: at..at + 1 }),
                }
            }
            self.first.push(self.groups.len() as u32);
        }
        self.served = vec![0; self.picks.len()];
        self.visits = vec![0; sample.racks.len() * self.racks];
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

    /// All slots, by rank.
    fn slots(&self) -> Vec<Slot> {
        let held = self.packing.held.iter().enumerate();
        held.flat_map(|(rank, held)| (0..held.len()).map(move |at| (rank, at))).collect()
    }

    /// What each replica's move to each rack would add to the cost, `[slots, racks]` by rows.
    fn moves(&mut self) -> Vec<i64> {
        // Replicas of an expert in one rack are alike: the row of the first.
        let mut known: Vec<Option<usize>> = vec![None; self.count.len() * self.racks];
        let slots = self.slots();
        let mut all = vec![0; slots.len() * self.racks];
        let mut scratch = Scratch::default();
        for (begin, (rank, at)) in (0..).step_by(self.racks).zip(slots) {
            let (expert, from) = (self.packing.held[rank][at] as usize, self.rack_of[rank]);
            let first = *known[expert * self.racks + from].get_or_insert(begin);
            if first < begin {
                all.copy_within(first..first + self.racks, begin);
            } else if self.count[expert] == 1 {
                self.moves_of_only(expert, from, &mut all[begin..][..self.racks]);
            } else {
                self.moves_of_replica(expert, from, &mut all[begin..][..self.racks], &mut scratch);
            }
        }
        all
    }

    fn groups(&self, expert: usize) -> &[Group] {
        &self.groups[span(&self.first, expert as u32)]
    }

    /// Moves of an expert that has one replica: all its picks go along.
    fn moves_of_only(&self, expert: usize, from: usize, added: &mut [i64]) {
        let [visit, copy] = COSTS;
        // A rack that a token does not visit yet costs a visit more.
        let (mut leaving, mut picks, mut unvisited) = (0, 0, [0_u32; MAX_RACKS]);
        for group in self.groups(expert) {
            let source = usize::from(group.source);
            for pick in &self.picks[group.picks.clone()] {
                let visits = &self.visits[pick.row as usize..][..self.racks];
                if source != from {
                    leaving -= copy + if visits[from] == 1 { visit } else { 0 };
                }
                for (unvisited, &visits) in unvisited.iter_mut().zip(visits) {
                    *unvisited += u32::from(visits == 0);
                }
                added[source] -= copy + if visits[source] == 0 { visit } else { 0 };
                picks += 1;
            }
        }
        for (added, unvisited) in added.iter_mut().zip(unvisited) {
            *added += leaving + picks * copy + i64::from(unvisited) * visit;
        }
        added[from] = 0;
    }

    /// Moves of one of several replicas: for each rack, its picks are shared out anew.
    fn moves_of_replica(&mut self, expert: usize, from: usize, added: &mut [i64], scratch: &mut Scratch) {
        let [visit, copy] = COSTS;
        let Scratch { routes, moved, leaving } = scratch;
        self.routes(expert, routes);
        leaving.clear();
        for group in self.groups(expert) {
            let picks = &self.picks[group.picks.clone()];
            leaving.extend(picks.iter().zip(&self.served[group.picks.clone()]).map(|(pick, &served)| {
                let last = self.visits[pick.row as usize + usize::from(served)] == 1;
                if served == group.source { 0 } else { copy + if last { visit } else { 0 } }
            }));
        }
        for to in (0..self.racks).filter(|&to| to != from) {
            self.replicas[expert * self.racks + from] -= 1;
            self.replicas[expert * self.racks + to] += 1;
            self.routes(expert, moved);
            self.replicas[expert * self.racks + from] += 1;
            self.replicas[expert * self.racks + to] -= 1;
            let groups = self.groups(expert);
            let begin = groups.first().map_or(0, |group| group.picks.start);
            // Where a source's tokens go as before, nothing is added.
            for group in groups.iter().filter(|group| routes.of(group.source) != moved.of(group.source)) {
                let mut way = moved.way(group.source);
                for at in group.picks.clone() {
                    let Pick { row, point } = self.picks[at];
                    let new = way.to(point);
                    if new == self.served[at] {
                        continue;
                    }
                    added[to] -= leaving[at - begin];
                    if new != group.source {
                        let first = self.visits[row as usize + usize::from(new)] == 0;
                        added[to] += copy + if first { visit } else { 0 };
                    }
                }
            }
        }
    }

    /// Moves one replica from rack to rack, with the cost.
    fn relocate(&mut self, expert: usize, from: usize, to: usize) {
        self.replicas[expert * self.racks + from] -= 1;
        self.replicas[expert * self.racks + to] += 1;
        self.serve(expert, true);
    }

    /// Decides which racks serve the picks of `expert`; `again` if it was decided before.
    fn serve(&mut self, expert: usize, again: bool) {
        let [visit, copy] = COSTS;
        let mut routes = std::mem::take(&mut self.routes);
        self.routes(expert, &mut routes);
        for group in &self.groups[span(&self.first, expert as u32)] {
            let mut way = routes.way(group.source);
            for at in group.picks.clone() {
                let Pick { row, point } = self.picks[at];
                let (from, to) = (self.served[at], way.to(point));
                let visits = &mut self.visits[row as usize..][..self.racks];
                if again {
                    if from == to {
                        continue;
                    }
                    visits[usize::from(from)] -= 1;
                    if from != group.source {
                        self.cost -= copy + if visits[usize::from(from)] == 0 { visit } else { 0 };
                    }
                }
                if to != group.source {
                    self.cost += copy + if visits[usize::from(to)] == 0 { visit } else { 0 };
                }
                visits[usize::from(to)] += 1;
                self.served[at] = to;
            }
        }
        self.routes = routes;
    }

    /// Where the tokens of each rack go for `expert`.
    fn routes(&self, expert: usize, routes: &mut Routes) {
        let row = expert * self.racks..(expert + 1) * self.racks;
        let each = self.total[expert] / f64::from(self.count[expert]);
        routes.fill(&self.wanted[row.clone()], &self.replicas[row], each);
    }
}

/// What is used again from one expert to the next.
#[derive(Default)]
struct Scratch {
    /// Of the expert as it is.
    routes: Routes,
    /// With a replica moved.
    moved: Routes,
    /// By pick: what its leaving the rack that serves it takes off the cost.
    leaving: Vec<i64>,
}

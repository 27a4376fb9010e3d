//! Crossings counted on recorded tokens, which experts are picked together included.

use super::super::COSTS;
use super::super::routes::Routes;
use super::places::Places;
use super::{Crossings, MAX_RACKS};
use crate::placement::demand::Sample;
use crate::placement::span;
use std::ops::Range;

/// The tokens, and which racks serve them.
pub(super) struct Sampled {
    racks: usize,
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
    cost: i64,
    /// Room for the routes of the expert in hand, as it is and with a replica moved.
    routes: Routes,
    moved: Routes,
    /// By pick: what its leaving the rack that serves it takes off the cost.
    leaving: Vec<i64>,
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

impl Sampled {
    /// The picks of `sample`, each served by the first rack until it is decided.
    pub(super) fn new(places: &Places, sample: &Sample) -> Self {
        let mut sampled = Self {
            racks: places.racks,
            picks: Vec::new(),
            served: Vec::new(),
            groups: Vec::new(),
            first: vec![0],
            visits: Vec::new(),
            cost: 0,
            routes: Routes::default(),
            moved: Routes::default(),
            leaving: Vec::new(),
        };
        sampled.take_picks(places.count.len(), sample);
        for expert in 0..places.count.len() {
            sampled.decide(places, expert, false);
        }
        sampled
    }

    /// Puts the sample's picks in order.
    fn take_picks(&mut self, experts: usize, sample: &Sample) {
        // Tokens of a rack take points in turn; the golden ratio spreads any few of them.
        let golden = |at: usize| (at as f64 * 0.618_033_988_749_894_9).fract();
        let mut by_expert = vec![Vec::new(); experts];
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
    fn moves_of_replica(&mut self, places: &Places, expert: usize, from: usize, added: &mut [i64]) {
        let [visit, copy] = COSTS;
        let (mut routes, mut moved) = (std::mem::take(&mut self.routes), std::mem::take(&mut self.moved));
        let mut leaving = std::mem::take(&mut self.leaving);
        places.routes(expert, &mut routes);
        leaving.clear();
        for group in self.groups(expert) {
            let picks = &self.picks[group.picks.clone()];
            leaving.extend(picks.iter().zip(&self.served[group.picks.clone()]).map(|(pick, &served)| {
                let last = self.visits[pick.row as usize + usize::from(served)] == 1;
                if served == group.source { 0 } else { copy + if last { visit } else { 0 } }
            }));
        }
        for to in (0..self.racks).filter(|&to| to != from) {
            places.routes_moved(expert, [from, to], &mut moved);
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
        (self.routes, self.moved, self.leaving) = (routes, moved, leaving);
    }

    /// Decides which racks serve the picks of `expert`; `again` if it was decided before.
    fn decide(&mut self, places: &Places, expert: usize, again: bool) {
        let [visit, copy] = COSTS;
        let mut routes = std::mem::take(&mut self.routes);
        places.routes(expert, &mut routes);
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
}

impl Crossings for Sampled {
    fn cost(&mut self) -> i64 {
        self.cost
    }

    fn serve(&mut self, places: &Places, expert: usize) {
        self.decide(places, expert, true);
    }

    fn moves_of(&mut self, places: &Places, expert: usize, from: usize, added: &mut [i64]) {
        if places.count[expert] == 1 {
            self.moves_of_only(expert, from, added);
        } else {
            self.moves_of_replica(places, expert, from, added);
        }
    }
}

//! Crossings expected of tokens whose picks a gate draws: of each token it is known how many experts it picks of each group, not which.
//!
//! A rack that has the experts e of group g, each with the odds `a_e` to be among the n picks that a token has there on average, is
//! missed by a token with `n_g` picks of each group with the probability `exp(-sum n_g X_g)`, `X_g = sum -ln(1 - a_e) / n`. So
//! nothing is made of what only a few tokens happen to pick together.

use super::super::COSTS;
use super::super::routes::Routes;
use super::Crossings;
use super::places::Places;
use crate::placement::demand::Sample;
use std::collections::BTreeMap;

/// Units of cost in one copy.
const UNIT: f64 = 256.0;
/// The most that an expert can be a token's.
const MOST: f64 = 0.999;

/// What a source's tokens have of one rack for one expert.
struct Served {
    source: u8,
    rack: u8,
    /// Odds that such a token goes there for the expert.
    odds: f64,
    /// What that adds to `X`.
    reach: f64,
}

/// Tokens of a source, by the picks that they have of each group.
struct Tokens {
    /// How many are alike.
    count: Vec<f64>,
    /// What each kind has: `wide` places in the table of powers, `group * (top_k + 1) + picks`; 0 for nothing more.
    of_group: Vec<u32>,
    wide: usize,
}

pub(super) struct Expected {
    racks: usize,
    groups: usize,
    size: usize,
    /// By source: how its tokens spread over the groups.
    tokens: Vec<Tokens>,
    /// Tokens by source.
    sent: Vec<f64>,
    /// Odds that a token of a source which has picks in the expert's group has it, `[experts, racks]` by rows.
    odds: Vec<f64>,
    /// Part of the tokens that have picks in a group, and how many on average.
    kept: Vec<f64>,
    picks: Vec<f64>,
    /// By expert.
    served: Vec<Vec<Served>>,
    /// `X` of (source, rack, group), by rows.
    reach: Vec<f64>,
    /// Tokens of a source that visit a rack, `[racks, racks]`.
    visits: Vec<f64>,
    /// Pairs of racks whose visits are not counted again yet.
    unvisited: Vec<usize>,
    /// What more odds of an expert add to the cost, by visits of (group, rack, source), but for pairs that are stale; 0 from a rack to
    /// itself.
    slope: Vec<f64>,
    stale: Vec<usize>,
    /// The same by copies.
    fare: Vec<f64>,
    /// Powers of the odds to miss a rack, of the pair in hand.
    powers: Vec<f64>,
    copies: f64,
    routes: Routes,
    moved: Routes,
}

impl Tokens {
    /// Of the number of tokens with so many picks of each group, (group, picks) pairs.
    fn new(seen: &BTreeMap<Vec<(u16, u16)>, f64>, top_k: usize) -> Self {
        let wide = seen.keys().map(Vec::len).max().unwrap_or(0).max(1);
        let place = |&(group, picks): &(u16, u16)| u32::from(group) * (top_k as u32 + 1) + u32::from(picks);
        let of = |of: &Vec<(u16, u16)>| {
            let none = std::iter::repeat_n(0, wide - of.len());
            of.iter().map(place).chain(none).collect::<Vec<u32>>()
        };
        Self { count: seen.values().copied().collect(), of_group: seen.keys().flat_map(of).collect(), wide }
    }
}

impl Expected {
    /// Of the tokens of `sample`, whose gate has `groups` groups, 1 for none.
    pub(super) fn new(places: &Places, sample: &Sample, groups: usize) -> Self {
        let (racks, experts) = (places.racks, places.count.len());
        let size = experts / groups;
        let mut seen: Vec<BTreeMap<Vec<(u16, u16)>, f64>> = vec![BTreeMap::new(); racks];
        let (mut with, mut picks) = (vec![0.0; groups], vec![0.0; groups]);
        for (picked, rack) in sample.experts.chunks(sample.top_k).zip(&sample.racks) {
            let mut of_group: BTreeMap<u16, u16> = BTreeMap::new();
            picked
                .iter()
                .for_each(|&expert| *of_group.entry((expert as usize / size) as u16).or_default() += 1);
            for (&group, &count) in &of_group {
                with[usize::from(group)] += 1.0;
                picks[usize::from(group)] += f64::from(count);
            }
            *seen[rack.0 as usize].entry(of_group.into_iter().collect()).or_default() += 1.0;
        }
        let all = sample.racks.len() as f64;
        for (with, picks) in with.iter_mut().zip(&mut picks) {
            *picks = if *with > 0.0 { *picks / *with } else { 1.0 };
            *with /= all;
        }
        let tokens: Vec<Tokens> = seen.iter().map(|seen| Tokens::new(seen, sample.top_k)).collect();
        let wants: Vec<f64> =
            (0..racks).map(|rack| places.wanted.iter().skip(rack).step_by(racks).sum()).collect();
        let odds = (0..experts * racks).map(|at| {
            let (expert, rack) = (at / racks, at % racks);
            let part = if wants[rack] > 0.0 { places.wanted[at] / wants[rack] } else { 1.0 / experts as f64 };
            (part * sample.top_k as f64 / with[expert / size].max(1e-9)).min(MOST)
        });
        let mut expected = Self {
            racks,
            groups,
            size,
            sent: tokens.iter().map(|tokens| tokens.count.iter().sum()).collect(),
            odds: odds.collect(),
            tokens,
            kept: with,
            picks,
            served: (0..experts).map(|_| Vec::new()).collect(),
            reach: vec![0.0; racks * racks * groups],
            visits: vec![0.0; racks * racks],
            unvisited: (0..racks * racks).collect(),
            slope: vec![0.0; racks * racks * groups],
            stale: (0..racks * racks).collect(),
            fare: vec![0.0; racks * racks * groups],
            powers: vec![1.0; groups * (sample.top_k + 1)],
            copies: 0.0,
            routes: Routes::default(),
            moved: Routes::default(),
        };
        for expert in 0..experts {
            expected.decide(places, expert, |_, _| ());
        }
        for at in 0..groups * racks * racks {
            let (group, rack, source) = (at / racks / racks, at / racks % racks, at % racks);
            if rack != source {
                expected.fare[at] = COSTS[1] as f64 * expected.kept[group] * expected.sent[source];
            }
        }
        expected
    }

    fn log_miss(&self, expert: usize, odds: f64) -> f64 {
        -(1.0 - odds).ln() / self.picks[expert / self.size]
    }

    /// Serves `expert` as its replicas are now, and says which racks' tokens go otherwise to which racks.
    fn decide(&mut self, places: &Places, expert: usize, mut changed: impl FnMut(usize, usize)) {
        let mut routes = std::mem::take(&mut self.routes);
        places.routes(expert, &mut routes);
        let group = expert / self.size;
        let mut served = std::mem::take(&mut self.served[expert]);
        let mut put = |expected: &mut Self, served: &Served, sign: f64| {
            let (source, rack) = (usize::from(served.source), usize::from(served.rack));
            if source != rack {
                expected.copies += sign * served.odds * expected.kept[group] * expected.sent[source];
                expected.reach[(source * expected.racks + rack) * expected.groups + group] +=
                    sign * served.reach;
                changed(source, rack);
            }
        };
        served.iter().for_each(|served| put(self, served, -1.0));
        served.clear();
        for source in 0..self.racks {
            let odds = self.odds[expert * self.racks + source];
            served.extend(parts(&routes, source).map(|(rack, part)| Served {
                source: source as u8,
                rack,
                odds: odds * part,
                reach: if usize::from(rack) == source { 0.0 } else { self.log_miss(expert, odds * part) },
            }));
        }
        served.iter().for_each(|served| put(self, served, 1.0));
        self.served[expert] = served;
        self.routes = routes;
    }

    /// Odds to miss a rack by picks of a group, for the pair of a source and a rack.
    fn fill_powers(&mut self, pair: usize) {
        let reach = &self.reach[pair * self.groups..][..self.groups];
        let picks = self.powers.len() / self.groups;
        for (powers, reach) in self.powers.chunks_exact_mut(picks).zip(reach) {
            let miss = (-reach).exp();
            let mut power = 1.0;
            for at in powers {
                *at = power;
                power *= miss;
            }
        }
    }

    /// Counts the tokens of a source that visit a rack.
    fn visit(&mut self, pair: usize) {
        let source = pair / self.racks;
        if source == pair % self.racks {
            return;
        }
        self.fill_powers(pair);
        let tokens = &self.tokens[source];
        let kinds = tokens.count.iter().zip(tokens.of_group.chunks_exact(tokens.wide));
        let missed: f64 = kinds
            .map(|(count, of)| of.iter().fold(*count, |miss, &at| miss * self.powers[at as usize]))
            .sum();
        self.visits[pair] = self.sent[source] - missed;
    }

    /// Brings slopes up to date.
    fn renew(&mut self) {
        let mut stale = std::mem::take(&mut self.stale);
        stale.sort_unstable();
        stale.dedup();
        let picks = self.powers.len() / self.groups;
        let mut slopes = vec![0.0; self.powers.len()];
        for pair in stale.drain(..) {
            let (source, rack) = (pair / self.racks, pair % self.racks);
            if source == rack {
                continue;
            }
            self.fill_powers(pair);
            slopes.fill(0.0);
            let tokens = &self.tokens[source];
            for (count, of) in tokens.count.iter().zip(tokens.of_group.chunks_exact(tokens.wide)) {
                let miss = of.iter().fold(*count, |miss, &at| miss * self.powers[at as usize]);
                of.iter().for_each(|&at| slopes[at as usize] += miss);
            }
            for (group, slopes) in slopes.chunks_exact(picks).enumerate() {
                let missed: f64 = (0..).zip(slopes).map(|(picks, missed)| f64::from(picks) * missed).sum();
                self.slope[(group * self.racks + rack) * self.racks + source] =
                    COSTS[0] as f64 * missed / self.picks[group];
            }
        }
        self.stale = stale;
    }

    /// What a change of the odds with which `source` needs `rack` for `expert` adds to the cost, about.
    fn change(&self, expert: usize, source: usize, rack: usize, [before, after]: [f64; 2]) -> f64 {
        let at = (expert / self.size * self.racks + rack) * self.racks + source;
        (after - before) * (self.slope[at] / (1.0 - before) + self.fare[at])
    }

    /// The same for all sources of an expert of which none of them has anything in `rack`.
    fn coming(&self, expert: usize, rack: usize) -> f64 {
        let at = expert / self.size * self.racks + rack;
        let row = |of: usize| of * self.racks..(of + 1) * self.racks;
        let prices = self.slope[row(at)].iter().zip(&self.fare[row(at)]);
        let odds = &self.odds[row(expert)];
        prices.zip(odds).map(|((slope, fare), odds)| odds * (slope + fare)).sum()
    }
}

/// The racks that serve a source, each with its part.
fn parts(routes: &Routes, source: usize) -> impl Iterator<Item = (u8, f64)> {
    let mut begin = 0.0;
    routes.of(source as u8).iter().map(move |&(end, rack)| {
        let end = end.min(1.0);
        (rack, end - std::mem::replace(&mut begin, end))
    })
}

impl Crossings for Expected {
    fn cost(&mut self) -> i64 {
        let mut unvisited = std::mem::take(&mut self.unvisited);
        unvisited.sort_unstable();
        unvisited.dedup();
        unvisited.drain(..).for_each(|pair| self.visit(pair));
        self.unvisited = unvisited;
        let [visit, copy] = COSTS.map(|cost| cost as f64);
        ((visit * self.visits.iter().sum::<f64>() + copy * self.copies) * UNIT) as i64
    }

    fn serve(&mut self, places: &Places, expert: usize) {
        let racks = self.racks;
        let mut changed = Vec::new();
        self.decide(places, expert, |source, rack| changed.push(source * racks + rack));
        changed.sort_unstable();
        changed.dedup();
        self.unvisited.extend(&changed);
        self.stale.extend(changed);
    }

    fn moves_of(&mut self, places: &Places, expert: usize, from: usize, added: &mut [i64]) {
        let racks = self.racks;
        self.renew();
        if places.count[expert] == 1 {
            let odds = |source: usize| self.odds[expert * racks + source];
            let leaving: f64 =
                (0..racks).map(|source| self.change(expert, source, from, [odds(source), 0.0])).sum();
            for (to, added) in added.iter_mut().enumerate().filter(|&(to, _)| to != from) {
                *added = ((leaving + self.coming(expert, to)) * UNIT) as i64;
            }
            return;
        }
        let mut moved = std::mem::take(&mut self.moved);
        for (to, added) in added.iter_mut().enumerate().filter(|&(to, _)| to != from) {
            places.routes_moved(expert, [from, to], &mut moved);
            let (mut sum, mut before) = (0.0, self.served[expert].as_slice());
            for source in 0..racks {
                let own = before.iter().take_while(|served| usize::from(served.source) == source).count();
                let served;
                (served, before) = before.split_at(own);
                let odds = self.odds[expert * racks + source];
                let odds_of = |rack: u8| {
                    parts(&moved, source)
                        .filter(|&(to, _)| to == rack)
                        .map(|(_, part)| part * odds)
                        .sum::<f64>()
                };
                for served in served {
                    let change = [served.odds, odds_of(served.rack)];
                    sum += self.change(expert, source, usize::from(served.rack), change);
                }
                for (rack, part) in parts(&moved, source) {
                    if served.iter().all(|served| served.rack != rack) {
                        sum += self.change(expert, source, usize::from(rack), [0.0, part * odds]);
                    }
                }
            }
            *added = (sum * UNIT) as i64;
        }
        self.moved = moved;
    }
}

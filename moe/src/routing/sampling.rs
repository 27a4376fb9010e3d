//! Routing from a distribution: experts drawn without replacement, all alike or by popularity, or by a gate on drawn scores.

use std::borrow::Cow;

use rand::RngExt;
use rand_distr::{Exp1, StandardNormal};
use rand_pcg::Pcg64;

use super::Workload;
use super::shuffle::{draw_distinct, partial_shuffle, unshuffle};

use crate::gate::{DrawnGate, Scratch as GateScratch};
use crate::seed::{Purpose, derived_seed, generator};
use crate::topk::Routing;

/// Draws the experts of each token; a limited token first draws its groups, all alike.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Experts that can be picked, ascending; from [`Self::weighted`] on those that pass a token on.
    pub(super) experts: Vec<u32>,
    /// Experts with weights.
    pub(super) weighted: u32,
    pub(super) top_k: u32,
    pub(super) popularity: Popularity,
    /// Experts of each group, and the groups a token may use.
    pub(super) groups: Option<(Vec<Vec<u32>>, u32)>,
    /// What takes experts by their scores, in place of `groups`; then all experts can be picked.
    pub(super) gate: Option<DrawnGate>,
}

/// How often experts are picked, as `1 / popularity` of each.
#[derive(Debug)]
pub(super) enum Popularity {
    /// All alike.
    Even,
    /// The same at every step.
    Fixed(Vec<f64>),
    /// Another at every step, see [`super::RoutingSpec::Drifting`].
    Drifting { num_experts: u32, exponent: f64, period: u32 },
    /// As the workload has it.
    Workload { num_experts: u32, workload: Workload, ranks: u32 },
}

impl Popularity {
    /// `1 / popularity` of each expert at a step; `None` where all are alike.
    fn rarity(&self, seed: u64, layer: u32, step: u32) -> Option<Cow<'_, [f64]>> {
        match self {
            Self::Even => None,
            Self::Fixed(rarity) => Some(Cow::Borrowed(rarity)),
            &Self::Drifting { num_experts, exponent, period } => {
                Some(Cow::Owned(drifting_rarity(num_experts, exponent, period, seed, layer, step)))
            }
            &Self::Workload { num_experts, workload, ranks } => {
                workload.rarity(num_experts, ranks, seed, layer, step).map(Cow::Owned)
            }
        }
    }

    /// Purpose and seed of the picks at a step: those of all steps where picks don't depend on it.
    fn stream(&self, seed: u64, step: u32) -> (Purpose, u64) {
        match self {
            Self::Even | Self::Fixed(_) => (Purpose::Routing, seed),
            Self::Drifting { .. } => {
                (Purpose::SteppedRouting, derived_seed(Purpose::DriftStep, seed, [step.into(), 0, 0]))
            }
            Self::Workload { workload, .. } => (Purpose::SteppedRouting, workload.step_seed(seed, step)),
        }
    }
}

/// Buffers of one pass over tokens.
struct Scratch {
    /// A permutation of the groups, restored after each token.
    groups: Vec<u32>,
    /// The experts to draw from; a permutation of all of them, restored after each token, where there is no limit.
    pool: Vec<u32>,
    /// The swaps to undo.
    swaps: Vec<u32>,
    /// The race of the experts: arrival time and id, earliest first.
    race: Vec<(f64, u32)>,
    gate: GateScratch,
}

impl Sampler {
    /// Routes tokens named by two numbers each: (rank, token), or (sequence, position).
    pub(super) fn route(
        &self,
        seed: u64,
        layer: u32,
        step: u32,
        tokens: impl ExactSizeIterator<Item = [u64; 2]>,
    ) -> Routing {
        let num_groups = self.groups.as_ref().map_or(0, |(members, _)| members.len() as u32);
        let mut scratch = Scratch {
            groups: (0..num_groups).collect(),
            pool: self.experts.clone(),
            swaps: Vec::new(),
            race: Vec::new(),
            gate: GateScratch::default(),
        };
        let rarity = self.popularity.rarity(seed, layer, step);
        let (purpose, seed) = self.popularity.stream(seed, step);
        let mut routing = Routing::with_capacity(self.top_k, tokens.len());
        for [a, b] in tokens {
            let mut rng = generator(purpose, seed, [layer.into(), a, b]);
            self.draw(&mut rng, rarity.as_deref(), &mut scratch, &mut routing);
            draw_weights(&mut rng, self.top_k, &mut routing.topk_weights);
        }
        routing
    }

    fn draw(&self, rng: &mut Pcg64, rarity: Option<&[f64]>, scratch: &mut Scratch, routing: &mut Routing) {
        if let Some((members, limit)) = &self.groups {
            partial_shuffle(rng, &mut scratch.groups, *limit, &mut scratch.swaps);
            scratch.pool.clear();
            for &group in &scratch.groups[..*limit as usize] {
                scratch.pool.extend_from_slice(&members[group as usize]);
            }
            unshuffle(&mut scratch.groups, &scratch.swaps);
        }
        match (rarity, &self.gate) {
            (rarity, Some(gate)) => gate.draw(rng, rarity, &mut scratch.gate, &mut routing.topk_idx),
            (None, _) => {
                partial_shuffle(rng, &mut scratch.pool, self.top_k, &mut scratch.swaps);
                let picked = scratch.pool[..self.top_k as usize].iter();
                let known = |&expert: &u32| if expert < self.weighted { expert } else { Routing::NOWHERE };
                routing.topk_idx.extend(picked.map(known));
                unshuffle(&mut scratch.pool, &scratch.swaps);
            }
            (Some(rarity), None) => {
                run_race(rng, &scratch.pool, rarity, self.top_k as usize, &mut scratch.race);
                routing.topk_idx.extend(scratch.race.iter().map(|&(_, expert)| expert));
            }
        }
    }
}

/// Draws by popularity without replacement: every expert arrives after an exponential time of mean `rarity`, and
/// the first `n` are taken. By the memorylessness of the exponential this is one draw after the other, each in
/// proportion to the popularity of the experts that are left.
fn run_race(rng: &mut Pcg64, pool: &[u32], rarity: &[f64], n: usize, race: &mut Vec<(f64, u32)>) {
    race.clear();
    for &expert in pool {
        let arrival = rng.sample::<f64, _>(Exp1) * rarity[expert as usize];
        if race.len() == n && race.last().is_none_or(|&(last, _)| arrival >= last) {
            continue;
        }
        let at = race.partition_point(|&(other, _)| other <= arrival);
        race.truncate(n - 1);
        race.insert(at, (arrival, expert));
    }
}

/// Positive weights with sum 1, each in proportion to a uniform number in (0, 1].
fn draw_weights(rng: &mut Pcg64, n: u32, weights: &mut Vec<f32>) {
    let first = weights.len();
    weights.extend((0..n).map(|_| 1.0 - rng.random::<f32>()));
    let sum: f32 = weights[first..].iter().sum();
    for weight in &mut weights[first..] {
        *weight /= sum;
    }
}

/// `1 / popularity` for the Zipf distribution: the r-th most popular expert has `r^exponent`. Which expert is the
/// r-th is drawn by (seed, layer), so that popular experts do not sit on the first ranks.
pub(super) fn zipf_rarity(num_experts: u32, exponent: f64, seed: u64, layer: u32) -> Vec<f64> {
    let rng = generator(Purpose::Popularity, seed, [layer.into(), 0, 0]);
    places(rng, num_experts).into_iter().map(|place| f64::from(place).powf(exponent)).collect()
}

/// The place of each expert in a drawn order, from 1.
fn places(mut rng: Pcg64, num_experts: u32) -> Vec<u32> {
    let mut places = vec![0; num_experts as usize];
    for (place, expert) in (1_u32..).zip(draw_distinct(&mut rng, num_experts, num_experts)) {
        places[expert as usize] = place;
    }
    places
}

/// `1 / popularity` for popularities `exp(sigma * z)`, `z` standard normal, drawn by (seed, layer).
pub(super) fn log_normal_rarity(num_experts: u32, sigma: f64, seed: u64, layer: u32) -> Vec<f64> {
    let mut rng = generator(Purpose::Popularity, seed, [layer.into(), 0, 0]);
    (0..num_experts).map(|_| (-sigma * rng.sample::<f64, _>(StandardNormal)).exp()).collect()
}

/// `1 / popularity` for popularities of a Pareto distribution, `P(popularity > x) = x^-alpha` from 1 on, drawn by
/// (seed, layer): `u^(1 / alpha)`, `u` uniform in (0, 1].
pub(super) fn power_law_rarity(num_experts: u32, alpha: f64, seed: u64, layer: u32) -> Vec<f64> {
    let mut rng = generator(Purpose::Popularity, seed, [layer.into(), 0, 0]);
    (0..num_experts).map(|_| (1.0 - rng.random::<f64>()).powf(1.0 / alpha)).collect()
}

/// `1 / popularity` at a step of drifting routing: Zipf in an order of the experts that is drawn anew for every period
/// of `period` steps, from one to the next by geometric means.
fn drifting_rarity(
    num_experts: u32,
    exponent: f64,
    period: u32,
    seed: u64,
    layer: u32,
    step: u32,
) -> Vec<f64> {
    let (from, share) = (u64::from(step / period), f64::from(step % period) / f64::from(period));
    let places_in = |at: u64| places(generator(Purpose::Drift, seed, [layer.into(), at, 0]), num_experts);
    let pairs = places_in(from).into_iter().zip(places_in(from + 1));
    let mean = |(here, there): (u32, u32)| {
        f64::from(here).powf(exponent * (1.0 - share)) * f64::from(there).powf(exponent * share)
    };
    pairs.map(mean).collect()
}

//! Routing from a distribution: experts drawn without replacement, all alike or by popularity.

use rand::RngExt;
use rand_distr::{Exp1, StandardNormal};
use rand_pcg::Pcg64;
use topology::RankId;

use super::Routing;
use crate::seed::{Purpose, generator};

/// Draws the experts of each token; a limited token first draws its groups, all alike.
#[derive(Debug)]
pub(super) struct Sampler {
    num_experts: u32,
    top_k: u32,
    /// `1 / popularity` of each expert; `None` where all are alike.
    rarity: Option<Vec<f64>>,
    /// Experts of each group, and the groups a token may use.
    groups: Option<(Vec<Vec<u32>>, u32)>,
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
}

impl Sampler {
    pub(super) fn new(
        num_experts: u32,
        top_k: u32,
        rarity: Option<Vec<f64>>,
        groups: Option<(Vec<Vec<u32>>, u32)>,
    ) -> Self {
        Self { num_experts, top_k, rarity, groups }
    }

    pub(super) fn route(&self, seed: u64, layer: u32, rank: RankId, tokens: u32) -> Routing {
        let num_groups = self.groups.as_ref().map_or(0, |(members, _)| members.len() as u32);
        let mut scratch = Scratch {
            groups: (0..num_groups).collect(),
            pool: (0..self.num_experts).collect(),
            swaps: Vec::new(),
            race: Vec::new(),
        };
        let mut routing = Routing::with_capacity(self.top_k, tokens as usize);
        for token in 0..tokens {
            let mut rng = generator(Purpose::Routing, seed, [layer.into(), rank.0.into(), token.into()]);
            self.draw(&mut rng, &mut scratch, &mut routing);
            draw_weights(&mut rng, self.top_k, &mut routing.topk_weights);
        }
        routing
    }

    fn draw(&self, rng: &mut Pcg64, scratch: &mut Scratch, routing: &mut Routing) {
        if let Some((members, limit)) = &self.groups {
            partial_shuffle(rng, &mut scratch.groups, *limit, &mut scratch.swaps);
            scratch.pool.clear();
            for &group in &scratch.groups[..*limit as usize] {
                scratch.pool.extend_from_slice(&members[group as usize]);
            }
            unshuffle(&mut scratch.groups, &scratch.swaps);
        }
        match &self.rarity {
            None => {
                partial_shuffle(rng, &mut scratch.pool, self.top_k, &mut scratch.swaps);
                routing.topk_idx.extend_from_slice(&scratch.pool[..self.top_k as usize]);
                unshuffle(&mut scratch.pool, &scratch.swaps);
            }
            Some(rarity) => {
                run_race(rng, &scratch.pool, rarity, self.top_k as usize, &mut scratch.race);
                routing.topk_idx.extend(scratch.race.iter().map(|&(_, expert)| expert));
            }
        }
    }
}

/// Fisher-Yates, stopped after `n` draws: `values[..n]` is a uniform draw without replacement. `swaps` says how to
/// undo it, so that the next token starts from the same order whatever came before.
fn partial_shuffle(rng: &mut Pcg64, values: &mut [u32], n: u32, swaps: &mut Vec<u32>) {
    swaps.clear();
    let len = values.len() as u32;
    for i in 0..n {
        let j = rng.random_range(i..len);
        values.swap(i as usize, j as usize);
        swaps.push(j);
    }
}

fn unshuffle(values: &mut [u32], swaps: &[u32]) {
    for (i, &j) in swaps.iter().enumerate().rev() {
        values.swap(i, j as usize);
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
    let mut order: Vec<u32> = (0..num_experts).collect();
    let mut rng = generator(Purpose::Popularity, seed, [layer.into(), 0, 0]);
    partial_shuffle(&mut rng, &mut order, num_experts, &mut Vec::new());
    let mut rarity = vec![0.0; num_experts as usize];
    for (place, &expert) in (1_u32..).zip(&order) {
        rarity[expert as usize] = f64::from(place).powf(exponent);
    }
    rarity
}

/// `1 / popularity` for popularities `exp(sigma * z)`, `z` standard normal, drawn by (seed, layer).
pub(super) fn log_normal_rarity(num_experts: u32, sigma: f64, seed: u64, layer: u32) -> Vec<f64> {
    let mut rng = generator(Purpose::Popularity, seed, [layer.into(), 0, 0]);
    (0..num_experts).map(|_| (-sigma * rng.sample::<f64, _>(StandardNormal)).exp()).collect()
}

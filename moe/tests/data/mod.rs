//! Made-up demand of many kinds: independent, correlated and local picks, all from one small generator.

use moe::placement::{Demand, Picks};
use topology::{Cluster, RankId};

/// What the picks are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Popularity of the r-th expert, from 0.
    pub(crate) popularity: fn(usize) -> f64,
    /// Tokens have topics, whose experts they prefer.
    pub(crate) topics: bool,
    /// Racks have experts that their tokens prefer.
    pub(crate) local: bool,
}

const fn kind(name: &'static str, popularity: fn(usize) -> f64, topics: bool, local: bool) -> Kind {
    Kind { name, popularity, topics, local }
}

fn zipf(exponent: f64, rank: usize) -> f64 {
    ((rank + 1) as f64).powf(-exponent)
}

/// Quantiles of a standard log-normal, by a logistic approximation of the normal.
fn log_normal(rank: usize) -> f64 {
    let u = (rank % 61) as f64 / 61.0 + 0.008;
    ((u / (1.0 - u)).ln() / 1.702).exp()
}

pub(crate) const KINDS: [Kind; 10] = [
    kind("uniform", |_| 1.0, false, false),
    kind("zipf 0.5", |rank| zipf(0.5, rank), false, false),
    kind("zipf 1", |rank| zipf(1.0, rank), false, false),
    kind("zipf 1.5", |rank| zipf(1.5, rank), false, false),
    kind("log-normal", log_normal, false, false),
    kind("one hot", |rank| if rank == 0 { 64.0 } else { 1.0 }, false, false),
    kind("topics", |_| 1.0, true, false),
    kind("topics, log-normal", log_normal, true, false),
    kind("local", |_| 1.0, false, true),
    kind("local topics, log-normal", log_normal, true, true),
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Two demands of one kind: one to place by, and another of the same distribution that the placement hasn't seen.
pub(crate) fn demands(
    kind: Kind,
    cluster: &Cluster,
    experts: usize,
    top_k: usize,
    seed: u64,
    tokens: usize,
) -> [Demand; 2] {
    let mut random = Random(seed);
    let mut order: Vec<usize> = (0..experts).collect();
    for at in 0..experts {
        order.swap(at, at + (random.next() * (experts - at) as f64) as usize);
    }
    let racks = cluster.num_racks() as usize;
    let topics = racks.max(8);
    let mut once = || {
        let (mut picks, mut from, mut by_rack) = (Vec::new(), Vec::new(), vec![vec![0; experts]; racks]);
        for token in 0..tokens {
            let rack = cluster.rack_of(RankId(token as u32 % cluster.num_ranks())).0 as usize;
            let topic = (random.next() * topics as f64) as usize;
            // The largest of keys with exponential odds: a draw without replacement.
            let mut keys: Vec<(f64, u32)> = (0..experts)
                .map(|rank| {
                    let liked = if kind.topics && rank % topics == topic { 12.0 } else { 1.0 };
                    let near = if kind.local && rank / topics % racks == rack { 6.0 } else { 1.0 };
                    let weight = (kind.popularity)(rank) * liked * near;
                    (-random.next().max(1e-300).ln() / weight, order[rank] as u32)
                })
                .collect();
            keys.select_nth_unstable_by(top_k - 1, |a, b| a.0.total_cmp(&b.0));
            for &(_, expert) in &keys[..top_k] {
                picks.push(expert);
                by_rack[rack][expert as usize] += 1;
            }
            from.push(rack as u32);
        }
        let mut load = vec![0; experts];
        picks.iter().for_each(|&expert| load[expert as usize] += 1);
        let mut demand = Demand::new(load, top_k as u32);
        if kind.local {
            demand = demand.from_racks(by_rack).expect("valid");
        }
        if kind.topics || kind.local {
            let racks = kind.local.then_some(from);
            demand = demand.with_picks(Picks { top_k: top_k as u32, experts: picks, racks }).expect("valid");
        }
        demand
    };
    [once(), once()]
}

//! Tokens that stand for a demand: recorded ones, or drawn by its gate, or independently with each expert's load.

use super::Demand;
use crate::gate::Race;
use crate::seed::{Purpose, generator};
use rand::RngExt;
use rand_pcg::Pcg64;
use topology::{Cluster, RackId, RankId};

/// Least number of tokens that copies are counted on.
const TOKENS: usize = 4096;
/// Tokens that the layers of one record share where a gate is drawn, and the most of one layer.
const DRAWN_TOKENS: [usize; 2] = [1 << 17, 1 << 15];
/// Most tokens that copies are counted on.
const MAX_TOKENS: usize = 1 << 16;
/// Seed of the tokens that copies are counted on.
const JUDGES: u64 = 1;

/// Tokens of a demand, each with its rack.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) top_k: usize,
    /// `[tokens, top_k]` by rows.
    pub(crate) experts: Vec<u32>,
    /// `[tokens]`
    pub(crate) racks: Vec<RackId>,
}

impl Demand {
    /// `tokens` tokens, the same for a `seed`; recorded ones evenly over the record, or all of it more than once.
    pub(crate) fn sample(&self, cluster: &Cluster, tokens: usize, seed: u64) -> Sample {
        let top_k = self.top_k() as usize;
        let mut sample = Sample { top_k, experts: Vec::with_capacity(tokens * top_k), racks: Vec::new() };
        let mut rng = generator(Purpose::Demand, seed, [0, 0, 0]);
        let turn = |at: usize, round: usize| {
            cluster.rack_of(RankId(((at + round) % cluster.num_ranks() as usize) as u32))
        };
        if let Some(picks) = &self.picks {
            let rows = picks.experts.len() / top_k;
            for at in 0..tokens {
                let row = if rows > tokens { at * rows / tokens } else { at % rows };
                let experts = &picks.experts[row * top_k..][..top_k];
                sample.experts.extend(experts);
                sample.racks.push(match (&picks.racks, &self.by_rack) {
                    (Some(racks), _) => RackId(racks[row]),
                    (None, Some(by_rack)) => self.origin(by_rack, experts, &mut rng),
                    (None, None) => turn(at, at / rows),
                });
            }
            return sample;
        }
        if let Some((rule, rarity)) = &self.gate {
            let mut race = Race::new(rule, rarity);
            for at in 0..tokens {
                let mut rng = generator(Purpose::Demand, seed, [self.layer.into(), at as u64, 1]);
                race.draw(&mut rng, &mut sample.experts);
                sample.racks.push(match &self.by_rack {
                    Some(by_rack) => self.origin(by_rack, &sample.experts[at * top_k..], &mut rng),
                    None => turn(at, 0),
                });
            }
            return sample;
        }
        let by_rack = self.by_rack.as_deref();
        let all: Vec<f64> = self.load.iter().map(|&tokens| tokens as f64).collect();
        let of_rack = by_rack.map(|rows| {
            let row = |row: &Vec<u64>| row.iter().map(|&tokens| tokens as f64).collect::<Vec<f64>>();
            rows.iter().map(row).collect::<Vec<_>>()
        });
        let weights = of_rack.unwrap_or_else(|| vec![all]);
        let sent: Vec<f64> = weights.iter().map(|row| row.iter().sum()).collect();
        let mut draws: Vec<Draw> = weights.iter().map(|row| Draw::new(row, top_k)).collect();
        for at in 0..tokens {
            let rack = match by_rack {
                Some(_) => RackId(pick(&sent, &mut rng) as u32),
                None => turn(at, 0),
            };
            let draw = if by_rack.is_some() { &mut draws[rack.0 as usize] } else { &mut draws[0] };
            draw.token(&mut rng, &mut sample.experts);
            sample.racks.push(rack);
        }
        sample
    }

    /// A rack that sends such tokens: in proportion to its part of the demand for each of their experts.
    fn origin(&self, by_rack: &[Vec<u64>], experts: &[u32], rng: &mut Pcg64) -> RackId {
        let part = |row: &Vec<u64>, expert: u32| {
            row[expert as usize] as f64 / self.load[expert as usize].max(1) as f64
        };
        let weights: Vec<f64> =
            by_rack.iter().map(|row| experts.iter().map(|&expert| part(row, expert)).sum()).collect();
        RackId(pick(&weights, rng) as u32)
    }

    /// The tokens on which copies of its placements are counted, others than those that placements are made with: recorded ones where there are
    /// any, each at least once up to [`MAX_TOKENS`].
    pub(crate) fn judges(&self, cluster: &Cluster) -> Sample {
        let [of_all, most] = DRAWN_TOKENS;
        let least =
            if self.is_gated() { (of_all / self.layers.max(1)).clamp(TOKENS / 4, most) } else { TOKENS };
        self.sample(cluster, self.recorded().clamp(least, MAX_TOKENS), JUDGES)
    }
}

/// An index in proportion to `weights`; the first where all are 0.
fn pick(weights: &[f64], rng: &mut Pcg64) -> usize {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index;
        }
    }
    weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0)
}

/// Draws `top_k` distinct experts, each with a probability in proportion to its load (systematic sampling in random order).
struct Draw {
    /// Probability that a token has the expert; the sum is `top_k`.
    odds: Vec<f64>,
    order: Vec<u32>,
    top_k: usize,
}

impl Draw {
    fn new(load: &[f64], top_k: usize) -> Self {
        let total: f64 = load.iter().sum();
        // Experts without load may be needed to fill a token up.
        let floor = if total > 0.0 { total * 1e-9 } else { 1.0 };
        let weights: Vec<f64> = load.iter().map(|weight| weight + floor).collect();
        let mut odds = vec![0.0; load.len()];
        // An expert can't be picked twice: what is above 1 goes to the others.
        loop {
            let certain = odds.iter().filter(|&&p| p >= 1.0).count();
            let free: f64 =
                weights.iter().zip(&odds).filter(|&(_, &p)| p < 1.0).map(|(weight, _)| weight).sum();
            let mut more = false;
            for (p, weight) in odds.iter_mut().zip(&weights).filter(|(p, _)| **p < 1.0) {
                *p = ((top_k - certain) as f64 * weight / free).min(1.0);
                more |= *p >= 1.0;
            }
            if !more {
                break;
            }
        }
        Self { odds, order: (0..load.len() as u32).collect(), top_k }
    }

    fn token(&mut self, rng: &mut Pcg64, experts: &mut Vec<u32>) {
        let first = experts.len();
        let (mut sum, mut next) = (0.0, rng.random::<f64>());
        for at in 0..self.order.len() {
            let other = rng.random_range(at..self.order.len());
            self.order.swap(at, other);
            sum += self.odds[self.order[at] as usize];
            if sum > next {
                experts.push(self.order[at]);
                next += 1.0;
            }
        }
        experts.truncate(first + self.top_k);
        // Rounding may leave the last one out.
        let mut others = self.order.iter();
        while experts.len() - first < self.top_k {
            let Some(&expert) = others.next() else { break };
            if !experts[first..].contains(&expert) {
                experts.push(expert);
            }
        }
    }
}

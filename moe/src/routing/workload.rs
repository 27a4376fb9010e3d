//! The named imbalance workloads W0 to W7: which experts are popular, and how many tokens each rank has, step by step.
//!
//! Everything is drawn from (workload, seed, step): the picks anew at every step, what is hot once for all steps
//! unless the workload says that it moves.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use rand::RngExt;
use rand_distr::Exp1;
use serde::{Deserialize, Serialize};

use super::shuffle::draw_distinct;
use crate::seed::{Purpose, derived_seed, generator};

/// Probability that a pick is of a hot expert while all experts are still to be had (W1, W2, W3, W6). A token's later
/// picks are among fewer hot experts and so less often of one.
pub const HOT_SHARE: f64 = 0.5;
/// One of so many experts is hot in W1, at least one.
pub const HOT_SET_DIVISOR: u32 = 16;
/// One of so many ranks has no tokens in W4, at least one where there are two.
pub const IDLE_DIVISOR: u32 = 4;
/// Steps from burst to burst in W7.
pub const BURST_PERIOD: u32 = 4;
/// Tokens of a burst over those of the other steps in W7.
pub const BURST_FACTOR: u32 = 4;

/// A named way for load to be uneven. "The experts of a rank" are those it hosts under the linear placement on the
/// workload's number of ranks, whatever placement is run: a placement that knows better shows it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Workload {
    /// Balanced: every set of experts equally likely, as many tokens on each rank.
    W0,
    /// Hot expert set: one expert in [`HOT_SET_DIVISOR`], drawn by layer, has [`HOT_SHARE`] of the popularity.
    W1,
    /// Hot rank: the experts of one rank, the same in all layers, have [`HOT_SHARE`] of the popularity.
    W2,
    /// Spread hot experts: as many hot experts as W2 has, but on as many ranks as possible, one a rank.
    W3,
    /// Ragged sources: experts as in W0; one rank in [`IDLE_DIVISOR`] has no tokens, the others have exponentially
    /// distributed shares of the same total. Which rank has how many is the same in all steps.
    W4,
    /// Zero-expert rank: the experts of one rank are never picked, the others all alike.
    W5,
    /// Rotating hotspot: W2, but the hot rank is the next one at each step.
    W6,
    /// Burst: experts as in W0; every [`BURST_PERIOD`] steps all ranks have [`BURST_FACTOR`] times the tokens.
    W7,
}

impl Workload {
    /// All of them, in order.
    pub const ALL: [Self; 8] =
        [Self::W0, Self::W1, Self::W2, Self::W3, Self::W4, Self::W5, Self::W6, Self::W7];

    /// What is uneven, in a few words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::W0 => "balanced",
            Self::W1 => "hot expert set",
            Self::W2 => "hot rank",
            Self::W3 => "spread hot experts",
            Self::W4 => "ragged sources",
            Self::W5 => "zero-expert rank",
            Self::W6 => "rotating hotspot",
            Self::W7 => "burst",
        }
    }

    /// True if the number of tokens of a rank changes from step to step.
    #[must_use]
    pub const fn tokens_vary(self) -> bool {
        matches!(self, Self::W7)
    }

    /// Tokens of each of `ranks` ranks at `step`, where a balanced step has `base` on each: `[ranks]`.
    ///
    /// All but W4 and W7 have `base` on each; W4 shares out the same total of `base * ranks`.
    #[must_use]
    pub fn tokens(self, ranks: u32, base: u32, seed: u64, step: u32) -> Vec<u32> {
        match self {
            Self::W4 => self.ragged(ranks, base, seed),
            Self::W7 => {
                let first: u32 =
                    generator(Purpose::WorkloadTokens, seed, self.at(0)).random_range(0..BURST_PERIOD);
                let burst = step % BURST_PERIOD == first;
                vec![if burst { base.saturating_mul(BURST_FACTOR) } else { base }; ranks as usize]
            }
            _ => vec![base; ranks as usize],
        }
    }

    /// Exponentially distributed shares of `base * ranks`, none for the idle ranks; by largest remainder, so that the total
    /// is kept.
    fn ragged(self, ranks: u32, base: u32, seed: u64) -> Vec<u32> {
        let mut rng = generator(Purpose::WorkloadTokens, seed, self.at(0));
        let idle = if ranks < 2 { 0 } else { (ranks / IDLE_DIVISOR).max(1) };
        let mut shares: Vec<f64> = (0..ranks).map(|_| rng.sample::<f64, _>(Exp1)).collect();
        for rank in draw_distinct(&mut rng, ranks, idle) {
            shares[rank as usize] = 0.0;
        }
        let (sum, total) = (shares.iter().sum::<f64>(), u64::from(base) * u64::from(ranks));
        let exact: Vec<f64> = shares.iter().map(|share| total as f64 * share / sum).collect();
        let mut tokens: Vec<u32> = exact.iter().map(|tokens| tokens.floor() as u32).collect();
        let mut order: Vec<usize> = (0..exact.len()).filter(|&rank| shares[rank] > 0.0).collect();
        order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
        let given: u64 = tokens.iter().map(|&tokens| u64::from(tokens)).sum();
        for &rank in order.iter().take(total.saturating_sub(given) as usize) {
            tokens[rank] += 1;
        }
        tokens
    }

    /// The seed of the picks of one step.
    pub(super) fn step_seed(self, seed: u64, step: u32) -> u64 {
        derived_seed(Purpose::WorkloadStep, seed, self.at(step))
    }

    /// Coordinates of the workload at a step.
    const fn at(self, step: u32) -> [u64; 3] {
        [self as u64, step as u64, 0]
    }

    /// The rank that is hot or left out at `step`, one that hosts experts.
    fn rank(self, num_experts: u32, ranks: u32, seed: u64, step: u32) -> u32 {
        let hosting = ranks.min(num_experts);
        let first: u32 = generator(Purpose::WorkloadHot, seed, self.at(0)).random_range(0..hosting);
        if self == Self::W6 { (first + step % hosting) % hosting } else { first }
    }

    /// Experts that are never picked; the same in all layers and steps.
    pub(super) fn excluded(self, num_experts: u32, ranks: u32, seed: u64) -> Range<u32> {
        match self {
            Self::W5 => experts_of(self.rank(num_experts, ranks, seed, 0), num_experts, ranks),
            _ => 0..0,
        }
    }

    /// `1 / popularity` of each expert at `step`; `None` where all that can be picked are alike.
    pub(super) fn rarity(
        self,
        num_experts: u32,
        ranks: u32,
        seed: u64,
        layer: u32,
        step: u32,
    ) -> Option<Vec<f64>> {
        let hot: Vec<u32> = match self {
            Self::W0 | Self::W4 | Self::W5 | Self::W7 => return None,
            Self::W1 => {
                let mut rng = generator(Purpose::WorkloadHot, seed, [self as u64, 0, layer.into()]);
                draw_distinct(&mut rng, num_experts, (num_experts / HOT_SET_DIVISOR).max(1))
            }
            Self::W2 | Self::W6 => {
                experts_of(self.rank(num_experts, ranks, seed, step), num_experts, ranks).collect()
            }
            Self::W3 => {
                let hosting = ranks.min(num_experts);
                let first = self.rank(num_experts, ranks, seed, step);
                // There are E / n of them, so that the place on the rank, below E / n / n, exists on every rank.
                let spread = |i: u32| {
                    experts_of((first + i % hosting) % hosting, num_experts, ranks).start + i / hosting
                };
                (0..num_experts / hosting).map(spread).collect()
            }
        };
        let cold = num_experts - hot.len() as u32;
        if cold == 0 {
            return None;
        }
        let mut rarity = vec![f64::from(cold) / (1.0 - HOT_SHARE); num_experts as usize];
        for &expert in &hot {
            rarity[expert as usize] = hot.len() as f64 / HOT_SHARE;
        }
        Some(rarity)
    }
}

/// The experts of a rank under the linear placement: with E experts on n ranks, the first E mod n ranks host one more.
fn experts_of(rank: u32, num_experts: u32, ranks: u32) -> Range<u32> {
    let (each, more) = (num_experts / ranks, num_experts % ranks);
    let first = rank * each + rank.min(more);
    first..first + each + u32::from(rank < more)
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |workload: &Self| workload.to_string().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            let all = Self::ALL.map(|workload| format!("{workload} ({})", workload.describe()));
            format!("`{text}` is no workload; give {}", all.join(", "))
        })
    }
}

#[cfg(test)]
mod tests;

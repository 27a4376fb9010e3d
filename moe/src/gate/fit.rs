//! Popularities of experts from recorded loads: those with which a gate on drawn scores gives each expert its share.
//!
//! An expert is picked if it arrives before a threshold that only the others' arrivals decide: soon enough for its group to be
//! kept, and among the first k of what is kept. So its share is the mean of `1 - exp(-t / rarity)` over thresholds t, and
//! this is estimated from a few thousand tokens, the same ones in every round: all experts of a group have the same
//! threshold but for those that decided it. In each round a rarity goes by how far the share is off, a group's as a whole
//! by half, for its experts help each other into the groups that are kept.

use std::fmt;

use rand::RngExt;
use rand_distr::Exp1;

use super::SelectionRule;
use crate::seed::{Purpose, generator};
use thresholds::Thresholds;

mod thresholds;

/// Most tokens; each is used once for every way round the groups and in them.
const MAX_TOKENS: usize = 4096;
/// The first rounds have this part of the tokens.
const FIRST_PART: usize = 8;
/// Rounds of each kind at most.
const ROUNDS: usize = 40;
/// How far off a share may be.
const TOLERANCE: f64 = 0.01;
/// Picks of a token, at least and at most, that an expert is fitted to: one without load could fill a token up, and one that
/// every token picks has no rarity.
const SHARES: [f64; 2] = [1e-7, 0.9995];

/// Loads that no popularity gives under a gate: what can't be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(String);

fn unreachable<T>(problem: impl fmt::Display) -> Result<T, Unreachable> {
    Err(Unreachable(problem.to_string()))
}

/// How well rarities are to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Each expert has its share within 1%.
    Close,
    /// Within some 3%, a third of that on average, in a tenth of the time: for counting what crosses.
    Rough,
}

impl Fit {
    /// Arrivals that are drawn.
    const fn arrivals(self) -> usize {
        match self {
            Self::Close => 1 << 18,
            Self::Rough => 1 << 14,
        }
    }

    /// How far the worst share may be off, by the tokens in use, when the first rounds end, and when the last do.
    const fn near(self) -> [f64; 2] {
        match self {
            Self::Close => [0.02, 0.002],
            Self::Rough => [0.04, 0.008],
        }
    }

    /// How far off, by all tokens, a share may be in the end.
    const fn tolerance(self) -> f64 {
        match self {
            Self::Close => TOLERANCE,
            Self::Rough => 3.0 * TOLERANCE,
        }
    }
}

/// The rarity of each expert with which a gate of `rule` on drawn scores gives it its part of `loads`; `[experts]` both.
///
/// # Errors
/// [`Unreachable`] names the expert or the limit by which the gate can't have such loads.
///
/// # Panics
/// If there is not a finite load of at least 0 for each expert.
pub fn rarities(rule: &SelectionRule, loads: &[f64], fit: Fit) -> Result<Vec<f64>, Unreachable> {
    assert_eq!(loads.len(), rule.experts as usize, "a load for each expert");
    let total: f64 = loads.iter().sum();
    let all_alike = loads.iter().all(|&load| load == loads[0]);
    if all_alike || total <= 0.0 || rule.top_k >= rule.experts {
        return Ok(vec![1.0; loads.len()]);
    }
    let shares: Vec<f64> = loads.iter().map(|load| load / total * f64::from(rule.top_k)).collect();
    check(rule, &shares)?;
    let mut wanted: Vec<f64> = shares.iter().map(|share| share.clamp(SHARES[0], SHARES[1])).collect();
    if rule.equal {
        for group in groups_mut(rule, &mut wanted) {
            let whole = f64::from(rule.top_k) / f64::from(rule.groups) / group.iter().sum::<f64>();
            group.iter_mut().for_each(|share| *share = (*share * whole).min(SHARES[1]));
        }
    }
    Fitting::new(rule, wanted, fit).fitted()
}

/// Whether a gate of `rule` can give `shares`, picks of each expert a token.
fn check(rule: &SelectionRule, shares: &[f64]) -> Result<(), Unreachable> {
    let k = f64::from(rule.top_k);
    if let Some(expert) = shares.iter().position(|&share| share > 1.0 + 1e-9) {
        return unreachable(format!(
            "expert {expert} has {:.2}% of the picks; with {} experts a token none has more than {:.2}%",
            shares[expert] / k * 100.0,
            rule.top_k,
            100.0 / k
        ));
    }
    if rule.equal {
        let even = k / f64::from(rule.groups);
        let sums = groups(rule, shares).map(|group| group.iter().sum::<f64>());
        return match sums.enumerate().find(|(_, sum)| (sum / even - 1.0).abs() > TOLERANCE) {
            Some((group, sum)) => unreachable(format!(
                "group {group} has {:.2}% of the picks; a token takes as many of each of {} groups",
                sum / k * 100.0,
                rule.groups
            )),
            None => Ok(()),
        };
    }
    // A group is used by as many tokens as its most used expert, and by as many as its picks take.
    let most = f64::from(rule.top_k.min(rule.group_size()));
    let used = |group: &[f64]| group.iter().copied().fold(group.iter().sum::<f64>() / most, f64::max);
    let used: f64 = shares.chunks(rule.group_size() as usize).map(used).sum();
    if used > f64::from(rule.kept) + 1e-9 {
        return unreachable(format!(
            "a token would use {used:.2} groups at least, and the gate keeps {}",
            rule.kept
        ));
    }
    Ok(())
}

/// A fit on its way.
struct Fitting<'a> {
    rule: &'a SelectionRule,
    /// Picks of each expert a token.
    wanted: Vec<f64>,
    /// `1 / rarity`
    weight: Vec<f64>,
    /// Arrivals of mean 1, `[tokens][experts]`.
    arrivals: Vec<f32>,
    fit: Fit,
}

impl<'a> Fitting<'a> {
    fn new(rule: &'a SelectionRule, wanted: Vec<f64>, fit: Fit) -> Self {
        let mut weight: Vec<f64> = wanted.iter().map(|share| -(-share).ln_1p()).collect();
        for (weight, wanted) in groups_mut(rule, &mut weight).zip(groups(rule, &wanted)) {
            let even = f64::from(rule.top_k) / f64::from(rule.groups);
            let whole = (even / wanted.iter().sum::<f64>()).sqrt();
            weight.iter_mut().for_each(|weight| *weight *= whole);
        }
        let token = |token: usize| {
            let mut rng = generator(Purpose::Fit, 0, [token as u64, 0, 0]);
            (0..wanted.len()).map(move |_| rng.sample::<f32, _>(Exp1))
        };
        let tokens = (fit.arrivals() / wanted.len()).clamp(FIRST_PART, MAX_TOKENS);
        let arrivals = (0..tokens).flat_map(token).collect();
        Self { rule, wanted, weight, arrivals, fit }
    }

    fn fitted(mut self) -> Result<Vec<f64>, Unreachable> {
        let mut worst = (0, 0.0);
        let all = self.arrivals.len() / self.wanted.len();
        for (tokens, near) in [all / FIRST_PART, all].into_iter().zip(self.fit.near()) {
            for _ in 0..ROUNDS {
                let shares =
                    Thresholds::of(self.rule, &self.weight, &self.arrivals, tokens).shares(&self.weight);
                worst = self.worst(&shares);
                if worst.1.abs() < near {
                    break;
                }
                self.correct(&shares);
            }
        }
        let (expert, off) = worst;
        if off.abs() > self.fit.tolerance() {
            let part = self.wanted[expert] / f64::from(self.rule.top_k) * 100.0;
            return unreachable(format!(
                "expert {expert} has {part:.3}% of the picks, and {:.3}% is as near as the gate comes",
                part * (1.0 + off)
            ));
        }
        Ok(self.weight.into_iter().map(f64::recip).collect())
    }

    /// The expert that is furthest off, and by how much of what is wanted.
    fn worst(&self, shares: &[f64]) -> (usize, f64) {
        let off = shares.iter().zip(&self.wanted).map(|(share, wanted)| share / wanted - 1.0).enumerate();
        off.max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs())).unwrap_or_default()
    }

    fn correct(&mut self, shares: &[f64]) {
        let each = groups(self.rule, shares).zip(groups(self.rule, &self.wanted));
        for ((shares, wanted), weight) in each.zip(groups_mut(self.rule, &mut self.weight)) {
            let whole = (shares.iter().sum::<f64>() / wanted.iter().sum::<f64>()).sqrt();
            for ((share, wanted), weight) in shares.iter().zip(wanted).zip(weight) {
                *weight *= whole * (-wanted).ln_1p() / (-share.clamp(1e-12, 1.0 - 1e-9)).ln_1p();
            }
        }
    }
}

fn groups<'a>(rule: &SelectionRule, values: &'a [f64]) -> impl Iterator<Item = &'a [f64]> {
    values.chunks(rule.group_size() as usize)
}

fn groups_mut<'a>(rule: &SelectionRule, values: &'a mut [f64]) -> impl Iterator<Item = &'a mut [f64]> {
    values.chunks_mut(rule.group_size() as usize)
}

#[cfg(test)]
mod tests;

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
/// Ways round the experts of a gate without groups.
const TURNS: usize = 8;

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
                let shares = Thresholds::of(&self, tokens).shares(&self.weight);
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

/// An arrival and its expert as one number, in the order of arrivals: an f32 above 0 is ordered as its bits are.
type Key = u64;

fn time(key: Key) -> f32 {
    f32::from_bits((key >> 32) as u32)
}

fn expert(key: Key) -> usize {
    key as u32 as usize
}

/// Time of the `at`-th of `keys`; never if there are fewer.
fn end(keys: &[Key], at: usize) -> f32 {
    keys.get(at).map_or(f32::INFINITY, |&key| time(key))
}

/// Adds `keys` to `earliest`, which is ascending and keeps its first `n`.
fn keep(earliest: &mut Vec<Key>, n: usize, keys: &[Key]) {
    for &key in keys {
        if earliest.len() == n {
            if earliest.last().is_none_or(|&last| key >= last) {
                continue;
            }
            earliest.pop();
        }
        let mut at = earliest.len();
        earliest.push(key);
        while at > 0 && earliest[at - 1] > key {
            earliest[at] = earliest[at - 1];
            at -= 1;
        }
        earliest[at] = key;
    }
}

/// The thresholds of all experts over some tokens.
struct Thresholds<'a> {
    rule: &'a SelectionRule,
    /// Of each group: number and sum of the thresholds of an expert that decided none, by their leading bits.
    common: Vec<Vec<(f64, f64)>>,
    /// Of each expert: tokens that its own thresholds have it miss, beyond the common ones.
    own: Vec<f64>,
    tokens: f64,
}

/// Leaves exponent and three bits of the mantissa of a positive f32: the thresholds of a bin are within an eighth.
const BIN_SHIFT: u32 = 20;

impl<'a> Thresholds<'a> {
    fn of(fit: &Fitting<'a>, tokens: usize) -> Self {
        let rule = fit.rule;
        let turns = if rule.groups > 1 { rule.groups as usize } else { TURNS };
        let (experts, size) = (fit.wanted.len(), rule.group_size() as usize);
        let common = vec![vec![(0.0, 0.0); 1 << (31 - BIN_SHIFT)]; rule.groups as usize];
        let mut all = Self { rule, common, own: vec![0.0; experts], tokens: (tokens * turns) as f64 };
        let rarity: Vec<f32> = fit.weight.iter().map(|weight| weight.recip() as f32).collect();
        let (mut race, mut token) = (vec![0; experts], Token::new(rule));
        for drawn in fit.arrivals.chunks(experts).take(tokens) {
            for turn in 0..turns {
                // Each group has the arrivals of another, and there each expert those of another.
                let within = (turn + turn * size / turns) % size;
                for (group, (rarity, race)) in
                    rarity.chunks_exact(size).zip(race.chunks_exact_mut(size)).enumerate()
                {
                    let (after, before) = drawn[(group + turn) * size % experts..][..size].split_at(within);
                    let ids = (group * size) as u64..;
                    let mut racers = race.iter_mut().zip(rarity).zip(ids);
                    for part in [before, after] {
                        for (time, ((key, rarity), id)) in part.iter().zip(&mut racers) {
                            *key = u64::from((time * rarity).to_bits()) << 32 | id;
                        }
                    }
                }
                token.add(&race, &fit.weight, &mut all);
            }
        }
        all
    }

    /// Picks of each expert a token; all together they are what a token takes, whatever the sample.
    fn shares(&self, weight: &[f64]) -> Vec<f64> {
        let bins = |bins: &Vec<(f64, f64)>| -> Vec<(f64, f64)> {
            bins.iter().filter(|(count, _)| *count > 0.0).map(|&(count, sum)| (count, sum / count)).collect()
        };
        let common: Vec<Vec<(f64, f64)>> = self.common.iter().map(bins).collect();
        let share = |(at, weight): (usize, &f64)| {
            let bins = common[at / self.rule.group_size() as usize].iter();
            let missed: f64 = bins.map(|(count, mean)| count * (-weight * mean).exp()).sum();
            1.0 - (missed + self.own[at]) / self.tokens
        };
        let mut shares: Vec<f64> = weight.iter().enumerate().map(share).collect();
        let whole = f64::from(self.rule.top_k) / shares.iter().sum::<f64>();
        shares.iter_mut().for_each(|share| *share = (*share * whole).min(1.0));
        shares
    }
}

/// One token, and buffers.
struct Token<'a> {
    rule: &'a SelectionRule,
    /// The first arrivals of each group, one more than are summed.
    firsts: Vec<Vec<Key>>,
    /// Groups, best first, by the product of their first arrivals.
    order: Vec<(f32, usize)>,
    /// The first k + 1 of all kept groups but the last.
    sure: Vec<Key>,
    /// With one more group.
    union: Vec<Key>,
}

impl<'a> Token<'a> {
    fn new(rule: &'a SelectionRule) -> Self {
        let firsts = vec![Vec::new(); rule.groups as usize];
        Self { rule, firsts, order: Vec::new(), sure: Vec::new(), union: Vec::new() }
    }

    fn add(&mut self, race: &[Key], weight: &[f64], all: &mut Thresholds<'_>) {
        let (size, kept) = (self.rule.group_size() as usize, self.rule.kept as usize);
        let (taken, summed) = (self.rule.top_k as usize + 1, self.rule.summed as usize);
        let members = |group: usize| &race[group * size..][..size];
        if self.rule.equal {
            for group in 0..self.firsts.len() {
                self.union.clear();
                keep(&mut self.union, self.rule.top_k as usize / self.firsts.len() + 1, members(group));
                self.group(group, f32::INFINITY, weight, all);
            }
            return;
        }
        self.order.clear();
        for (group, firsts) in self.firsts.iter_mut().enumerate() {
            firsts.clear();
            keep(firsts, summed + 1, members(group));
            self.order.push((firsts.iter().take(summed).map(|&key| time(key)).product(), group));
        }
        self.order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.sure.clear();
        for &(_, group) in &self.order[..kept - 1] {
            keep(&mut self.sure, taken, members(group));
        }
        let merit = |at: usize| self.order.get(at).map_or(f32::INFINITY, |&(merit, _)| merit);
        let (first_out, last_in) = (merit(kept), merit(kept - 1));
        for last in kept - 1..self.order.len() {
            self.union.clone_from(&self.sure);
            keep(&mut self.union, taken, members(self.order[last].1));
            if last >= kept {
                self.group(self.order[last].1, last_in, weight, all);
                continue;
            }
            for at in 0..kept {
                self.group(self.order[at].1, first_out, weight, all);
            }
        }
    }

    /// Adds the thresholds of the experts of `group`, which is kept as long as its product is below `rival`, and then among `union`.
    fn group(&self, group: usize, rival: f32, weight: &[f64], all: &mut Thresholds<'_>) {
        let summed = self.rule.summed as usize;
        let k = if self.rule.equal { self.rule.top_k / self.rule.groups } else { self.rule.top_k } as usize;
        let (firsts, size) = (&self.firsts[group], self.rule.group_size() as usize);
        // As late as this an expert has its group kept, where the one at `without` is left out.
        let soon = |without: usize| {
            let others =
                firsts.iter().enumerate().filter(|&(at, _)| at != without).map(|(_, &key)| time(key));
            let mut others = others.chain(std::iter::repeat(f32::INFINITY));
            let before: f32 = others.by_ref().take(summed - 1).product();
            let next = others.next().unwrap_or(f32::INFINITY);
            if before * next < rival { f32::INFINITY } else { rival / before }
        };
        let nobody = soon(usize::MAX);
        let common = nobody.min(end(&self.union, k - 1)).clamp(f32::MIN_POSITIVE, f32::MAX);
        let bin = &mut all.common[group][(common.to_bits() >> BIN_SHIFT) as usize];
        *bin = (bin.0 + 1.0, bin.1 + f64::from(common));
        let mut decided = |key: Key, own: f32| {
            let weight = weight[expert(key)];
            all.own[expert(key)] += (-weight * f64::from(own)).exp() - (-weight * f64::from(common)).exp();
        };
        let union = &self.union[..k.min(self.union.len())];
        for (at, &key) in firsts.iter().take(summed).enumerate() {
            let place = if union.contains(&key) { k } else { k - 1 };
            decided(key, soon(at).min(end(&self.union, place)));
        }
        for &key in union.iter().filter(|&&key| expert(key) / size == group) {
            if !firsts[..summed.min(firsts.len())].contains(&key) {
                decided(key, nobody.min(end(&self.union, k)));
            }
        }
    }
}

#[cfg(test)]
mod tests;

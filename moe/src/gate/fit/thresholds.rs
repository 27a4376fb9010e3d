//! How soon each expert has to arrive to be picked, token by token, and the shares that follow.

use crate::gate::SelectionRule;

/// Ways round the experts of a gate without groups.
const TURNS: usize = 8;
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
pub(super) struct Thresholds<'a> {
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
    /// Those in the first `tokens` of `arrivals`, `[tokens][experts]`, where each expert has a weight, `1 / rarity`.
    pub(super) fn of(rule: &'a SelectionRule, weight: &[f64], arrivals: &[f32], tokens: usize) -> Self {
        let turns = if rule.groups > 1 { rule.groups as usize } else { TURNS };
        let (experts, size) = (weight.len(), rule.group_size() as usize);
        let common = vec![vec![(0.0, 0.0); 1 << (31 - BIN_SHIFT)]; rule.groups as usize];
        let mut all = Self { rule, common, own: vec![0.0; experts], tokens: (tokens * turns) as f64 };
        let rarity: Vec<f32> = weight.iter().map(|weight| weight.recip() as f32).collect();
        let (mut race, mut token) = (vec![0; experts], Token::new(rule));
        for drawn in arrivals.chunks(experts).take(tokens) {
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
                token.add(&race, weight, &mut all);
            }
        }
        all
    }

    /// Picks of each expert a token; all together they are what a token takes, whatever the sample.
    pub(super) fn shares(&self, weight: &[f64]) -> Vec<f64> {
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

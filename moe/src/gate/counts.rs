//! How a token's picks spread over the groups of a gate whose experts are all alike.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{SelectionRule, race};
use crate::seed::{Purpose, generator};

/// Tokens that are drawn for a gate that ranks groups: the standard error of what is expected of a token is below 0.2% then.
const TOKENS: u32 = 1 << 16;
/// Rules whose counts are remembered.
const KNOWN_MAX: usize = 64;

/// Numbers of picks, each with the number of groups that have so many; over all groups.
type Spread = Vec<(u32, u32)>;

/// The picks of each group, in any order of the groups: all orders are alike, and so are the experts of a group.
#[derive(Debug)]
pub struct GroupCounts {
    size: u32,
    groups: u32,
    /// Each with its probability.
    spreads: Vec<(Spread, f64)>,
    tokens: Option<u32>,
}

impl GroupCounts {
    /// Of a gate of `rule`: exactly where groups are not ranked, else from tokens that are drawn once for a rule.
    #[must_use]
    pub fn of(rule: &SelectionRule) -> Arc<Self> {
        static KNOWN: Mutex<BTreeMap<SelectionRule, Arc<GroupCounts>>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX && !known.contains_key(rule) {
            known.pop_first();
        }
        Arc::clone(known.entry(*rule).or_insert_with(|| Arc::new(Self::new(rule))))
    }

    fn new(rule: &SelectionRule) -> Self {
        if rule.is_plain() {
            let spreads = vec![(vec![(rule.top_k, 1)], 1.0)];
            return Self { size: rule.experts, groups: 1, spreads, tokens: None };
        }
        let mut seen: BTreeMap<Spread, u32> = BTreeMap::new();
        // Equal shares are the same for every token.
        let tokens = if rule.equal { 1 } else { TOKENS };
        for token in 0..tokens {
            let mut rng = generator(Purpose::Fit, 1, [token.into(), 0, 0]);
            *seen.entry(spread(rule.groups, &race::alike(rule, &mut rng))).or_default() += 1;
        }
        let part = |(spread, count)| (spread, f64::from(count) / f64::from(tokens));
        let spreads = seen.into_iter().map(part).collect();
        Self {
            size: rule.group_size(),
            groups: rule.groups,
            spreads,
            tokens: (!rule.equal).then_some(tokens),
        }
    }

    /// Tokens that were drawn; `None` where it is exact.
    #[must_use]
    pub fn tokens(&self) -> Option<u32> {
        self.tokens
    }

    /// Experts of a group; all of them where the gate has no groups.
    #[must_use]
    pub fn group_size(&self) -> u32 {
        self.size
    }

    /// The probability that none of a token's picks is of a set that has `held` of the experts of some groups, and none of the others.
    #[must_use]
    pub fn miss(&self, held: &[u32]) -> f64 {
        let miss =
            |(spread, odds): &(Spread, f64)| odds * self.missed(&mut spread.clone(), self.groups, held);
        self.spreads.iter().map(miss).sum()
    }

    /// The same where `spread` is what is left for `groups` groups, the first of which have `held` experts of the set.
    fn missed(&self, spread: &mut Spread, groups: u32, held: &[u32]) -> f64 {
        let Some((&held, rest)) = held.split_first() else { return 1.0 };
        let mut sum = 0.0;
        for at in 0..spread.len() {
            let (picks, count) = spread[at];
            let free = self.size - held;
            if count == 0 || picks > free {
                continue;
            }
            let beside: f64 = (0..picks).map(|n| f64::from(free - n) / f64::from(self.size - n)).product();
            spread[at].1 -= 1;
            let others = self.missed(spread, groups - 1, rest);
            spread[at].1 += 1;
            sum += f64::from(count) / f64::from(groups) * beside * others;
        }
        sum
    }
}

/// How `picks` of groups, of which there are `groups`, spread over them.
fn spread(groups: u32, picks: &[u32]) -> Spread {
    let mut of_group = vec![0; groups as usize];
    picks.iter().for_each(|&group| of_group[group as usize] += 1);
    let mut counts = BTreeMap::new();
    of_group.into_iter().for_each(|picks| *counts.entry(picks).or_default() += 1);
    counts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_limits_it_is_drawing_without_replacement() {
        let counts = GroupCounts::of(&SelectionRule::plain(256, 8));
        let miss: f64 = (0..8).map(|n| f64::from(128 - n) / f64::from(256 - n)).product();
        assert_eq!((counts.tokens(), counts.group_size()), (None, 256));
        assert!((counts.miss(&[128]) - miss).abs() < 1e-15);
        assert_eq!((counts.miss(&[]), counts.miss(&[256])), (1.0, 0.0));
    }

    #[test]
    fn four_of_eight_groups_are_missed_as_often_as_they_are_not_kept() {
        let rule =
            SelectionRule { experts: 256, zero: 0, top_k: 8, groups: 8, kept: 4, summed: 2, equal: false };
        let counts = GroupCounts::of(&rule);
        // A kept group may have no pick, so that more than half of the tokens miss a group, but not many more.
        let group = counts.miss(&[32]);
        assert!((0.5..0.6).contains(&group), "{group}");
        // Five groups are never missed by all picks of a token that keeps four of eight.
        assert_eq!(counts.miss(&[32; 8]), 0.0);
        assert!(counts.miss(&[32; 5]) < counts.miss(&[32; 4]));
        // One expert of 256 has 8 of 256 picks, wherever it is.
        assert!((counts.miss(&[1]) - (1.0 - 8.0 / 256.0)).abs() < 1e-12);
    }
}

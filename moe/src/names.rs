//! Under whose name a rank's tokens are drawn: its own, or, where it has taken tokens over, those of ranks that are gone.

use serde::{Deserialize, Serialize};
use std::ops::Range;
use topology::{MAX_RANKS, RankId};

/// Most tokens of all ranks whose names a rank uses: what it routes to find its own among them.
const NAMED_MAX: u64 = 1 << 22;

/// Some tokens of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenShare {
    /// The rank whose tokens they were; it need not be one of the cluster.
    pub name: RankId,
    /// How many tokens that rank had in all.
    pub of: u32,
    /// Which of them these are, within `0..of`.
    pub tokens: Range<u32>,
}

/// What the tokens of all ranks are called. A token's state and its routing depend on its name alone, so that it is the same token
/// on whatever rank it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenNames {
    /// By rank; without ranks each has its own.
    shares: Vec<Vec<TokenShare>>,
}

impl TokenNames {
    /// The tokens of `survivors`, `tokens[r]` of each rank `r` that there was, when all others are gone: the tokens of those who are gone are
    /// dealt to the survivors in order, to each as many as any other or one more.
    ///
    /// # Panics
    /// If nobody survives, or a survivor has no entry in `tokens`.
    #[must_use]
    pub fn taken_over(tokens: &[u32], survivors: &[RankId]) -> Self {
        let mut shares: Vec<Vec<TokenShare>> = survivors
            .iter()
            .map(|&name| {
                let of = tokens[name.0 as usize];
                vec![TokenShare { name, of, tokens: 0..of }]
            })
            .collect();
        let gone = || (0..).map(RankId).zip(tokens).filter(|(rank, _)| !survivors.contains(rank));
        let orphans: u64 = gone().map(|(_, &tokens)| u64::from(tokens)).sum();
        let parts = survivors.len() as u64;
        // The i-th orphan goes to the rank in whose part it falls.
        let end_of = |rank: u64| orphans * (rank + 1) / parts;
        let (mut at, mut rank) = (0, 0);
        for (name, &of) in gone() {
            let mut first = 0;
            while first < of {
                while end_of(rank) <= at {
                    rank += 1;
                }
                let room = u32::try_from(end_of(rank) - at).unwrap_or(u32::MAX);
                let last = of.min(first.saturating_add(room));
                shares[rank as usize].push(TokenShare { name, of, tokens: first..last });
                at += u64::from(last - first);
                first = last;
            }
        }
        Self { shares }
    }

    /// The names of a rank's tokens, in the order of its batch; `tokens` is how many it has.
    #[must_use]
    pub fn of(&self, rank: RankId, tokens: u32) -> Vec<TokenShare> {
        match self.shares.get(rank.0 as usize) {
            Some(shares) => shares.clone(),
            None => vec![TokenShare { name: rank, of: tokens, tokens: 0..tokens }],
        }
    }

    /// The name of one of a rank's tokens, and which of that name's it is.
    #[must_use]
    pub fn name(&self, rank: RankId, token: u32) -> (RankId, u32) {
        let mut before = 0;
        for share in self.shares.get(rank.0 as usize).into_iter().flatten() {
            let here = share.tokens.end - share.tokens.start;
            if token - before < here {
                return (share.name, share.tokens.start + token - before);
            }
            before += here;
        }
        (rank, token)
    }

    /// Tokens of each rank, `[ranks]`; `None` where each has its own.
    #[must_use]
    pub fn tokens(&self) -> Option<Vec<u32>> {
        let count =
            |shares: &Vec<TokenShare>| shares.iter().map(|share| share.tokens.end - share.tokens.start).sum();
        (!self.shares.is_empty()).then(|| self.shares.iter().map(count).collect())
    }

    /// What is wrong with names that came from elsewhere, for ranks with so many `tokens`.
    #[must_use]
    pub fn problem(&self, tokens: &[u32]) -> Option<String> {
        if self.shares.is_empty() {
            return None;
        }
        if self.shares.len() != tokens.len() {
            return Some(format!("names of the tokens of {} ranks for {}", self.shares.len(), tokens.len()));
        }
        for (rank, (shares, &tokens)) in self.shares.iter().zip(tokens).enumerate() {
            let (mut named, mut of_all) = (0, 0);
            for TokenShare { name, of, tokens: Range { start, end } } in shares {
                if name.0 >= MAX_RANKS || start > end || end > of {
                    return Some(format!(
                        "rank {rank}: tokens {start} to {end} of {of} of a rank {}",
                        name.0
                    ));
                }
                named += u64::from(end - start);
                of_all += u64::from(*of);
            }
            if of_all > NAMED_MAX {
                return Some(format!(
                    "rank {rank}: {of_all} tokens of the ranks that it stands in for, at most {NAMED_MAX}"
                ));
            }
            if named != u64::from(tokens) {
                return Some(format!("rank {rank}: names of {named} tokens for {tokens}"));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn without_losses_everyone_has_its_own() {
        let names = TokenNames::default();
        assert_eq!(names.name(RankId(3), 5), (RankId(3), 5));
        assert_eq!(names.of(RankId(1), 4), [TokenShare { name: RankId(1), of: 4, tokens: 0..4 }]);
        assert_eq!((names.tokens(), names.problem(&[9, 9])), (None, None));
    }

    #[test]
    fn names_from_elsewhere_are_checked() {
        let share = |name, of, tokens| vec![TokenShare { name: RankId(name), of, tokens }];
        let problem = |shares| TokenNames { shares }.problem(&[4]);
        assert_eq!(problem(vec![share(9, 4, 0..4)]), None);
        for wrong in [share(9, 3, 0..4), share(9, 4, 0..3), share(MAX_RANKS, 4, 0..4)] {
            assert!(problem(vec![wrong]).is_some());
        }
        assert!(problem(vec![share(0, 4, 0..4), share(0, 4, 0..4)]).is_some());
        #[expect(clippy::reversed_empty_ranges, reason = "as a liar sends it")]
        let reversed = share(0, 4, 4..0);
        assert!(problem(vec![reversed]).is_some());
    }

    proptest! {
        #[test]
        fn every_token_is_on_one_rank(tokens in proptest::collection::vec(0u32..20, 1..9), alive in 1u32..256) {
            let survivors: Vec<_> =
                (0..tokens.len() as u32).filter(|rank| alive & (1 << rank) > 0).map(RankId).collect();
            prop_assume!(!survivors.is_empty());
            let names = TokenNames::taken_over(&tokens, &survivors);
            let counts = names.tokens().unwrap();
            prop_assert_eq!(names.problem(&counts), None);
            let mut seen = BTreeSet::new();
            for (rank, &count) in (0..).map(RankId).zip(&counts) {
                for token in 0..count {
                    let (name, of) = names.name(rank, token);
                    prop_assert!(of < tokens[name.0 as usize]);
                    prop_assert!(seen.insert((name, of)));
                }
            }
            prop_assert_eq!(seen.len() as u32, tokens.iter().sum::<u32>());
            let more: Vec<_> = survivors.iter().zip(&counts).map(|(rank, count)| count - tokens[rank.0 as usize]).collect();
            prop_assert!(more.iter().max().unwrap() - more.iter().min().unwrap() <= 1);
        }
    }
}

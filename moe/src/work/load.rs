//! How far the tokens of a step look back: entries of caches and pairs of tokens, by each way in which a model's layers do.

use crate::model::{MAX_REACHES, Reach, Seen};
use std::ops::{Add, AddAssign};

/// The ways in which the layers of a model look back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaches([Option<Reach>; MAX_REACHES]);

impl Reaches {
    /// Of `ways`, which are all different.
    ///
    /// # Panics
    /// If there are more than [`MAX_REACHES`]: `Model::validate` refuses such a model.
    #[must_use]
    pub fn of(ways: impl Iterator<Item = Reach>) -> Self {
        let mut known = [None; MAX_REACHES];
        for (place, reach) in ways.enumerate() {
            known[place] = Some(reach);
        }
        Self(known)
    }

    /// `tokens` new ones after `context` cached ones of one sequence: each looks at the context and at the new ones up to itself.
    #[must_use]
    pub fn of_sequence(&self, context: u64, tokens: u64) -> TokenLoad {
        let seen = self.0.map(|reach| reach.map_or_else(Seen::default, |reach| reach.seen(context, tokens)));
        TokenLoad { sequences: 1, tokens, seen }
    }

    /// What `load`, made by this, has to look at in one of these ways; nothing in others.
    pub(super) fn seen(&self, load: &TokenLoad, reach: Reach) -> Seen {
        let place = self.0.iter().position(|known| *known == Some(reach));
        place.map_or_else(Seen::default, |place| load.seen[place])
    }
}

/// What attention has to look at for some tokens of one rank. Loads of several sequences add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenLoad {
    /// Sequences with new tokens.
    pub sequences: u64,
    /// New tokens, whose cache entries are written.
    pub tokens: u64,
    /// By each way of looking back that the model has, in the order of its [`Reaches`].
    pub seen: [Seen; MAX_REACHES],
}

impl Add for TokenLoad {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for TokenLoad {
    fn add_assign(&mut self, other: Self) {
        self.sequences += other.sequences;
        self.tokens += other.tokens;
        for (sum, more) in self.seen.iter_mut().zip(other.seen) {
            sum.entries += more.entries;
            sum.pairs += more.pairs;
        }
    }
}

impl TokenLoad {
    /// Every number of it by `of`, such as a half.
    #[must_use]
    pub fn map(self, of: impl Fn(u64) -> u64) -> Self {
        let seen = self.seen.map(|seen| Seen { entries: of(seen.entries), pairs: of(seen.pairs) });
        Self { sequences: of(self.sequences), tokens: of(self.tokens), seen }
    }
}

/// The tokens of one rank in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RankLoad {
    /// Of sequences that decode: one token each.
    pub decode: TokenLoad,
    /// Of prompts, in chunks.
    pub prefill: TokenLoad,
}

impl RankLoad {
    /// New tokens of both kinds.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.decode.tokens + self.prefill.tokens
    }
}

impl AddAssign for RankLoad {
    fn add_assign(&mut self, other: Self) {
        self.decode += other.decode;
        self.prefill += other.prefill;
    }
}

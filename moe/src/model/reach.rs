//! How far tokens look back: entries of caches and pairs of tokens, by each way in which layers do.

use super::{Mixer, Model, Span};

/// A way of looking back. `p + 1` tokens are there when the token at place p is computed, itself included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At all of them.
    Full,
    /// At the last so many.
    Window(u32),
    /// At those of its own chunk of so many.
    Chunk(u32),
    /// At so many that an index chooses.
    Top(u32),
    /// At one entry for so many tokens.
    Groups(u32),
    /// At so many (the second) of such entries that an index chooses.
    TopGroups(u32, u32),
}

/// What attention has to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seen {
    /// Entries of the cache that are read, once for all new tokens of a sequence, and those that are written.
    pub entries: u64,
    /// Pairs of a new token and an entry that it looks at, its own included.
    pub pairs: u64,
}

impl Reach {
    /// Of `tokens` new ones after `context` cached ones of one sequence.
    #[must_use]
    pub fn seen(self, context: u64, tokens: u64) -> Seen {
        let end = context + tokens;
        match self {
            Self::Full => Seen { entries: end, pairs: tokens * context + tokens * (tokens + 1) / 2 },
            Self::Window(most) => Seen {
                entries: context.min(u64::from(most) - 1) + tokens,
                pairs: capped(end, 1, most.into()) - capped(context, 1, most.into()),
            },
            Self::Chunk(chunk) => {
                let chunk = u64::from(chunk);
                let before =
                    |n: u64| n / chunk * (chunk * (chunk + 1) / 2) + (n % chunk) * (n % chunk + 1) / 2;
                Seen { entries: context % chunk + tokens, pairs: before(end) - before(context) }
            }
            // Each new token may choose others.
            Self::Top(most) => {
                let chosen = (u64::from(most) - 1).saturating_mul(tokens);
                Seen { entries: context.min(chosen) + tokens, ..Self::Window(most).seen(context, tokens) }
            }
            Self::Groups(each) => Self::TopGroups(each, u32::MAX).seen(context, tokens),
            Self::TopGroups(each, most) => {
                let (each, most) = (u64::from(each), u64::from(most));
                let pairs = capped(end, each, most) - capped(context, each, most);
                Seen { entries: (end / each).min(tokens.saturating_mul(most)), pairs }
            }
        }
    }
}

/// The sum of `min(floor(i / each), most)` over i from 1 to n.
fn capped(n: u64, each: u64, most: u64) -> u64 {
    let groups = |n: u64| {
        let (whole, left) = (n / each, n % each);
        each * (whole * whole.saturating_sub(1) / 2) + whole * (left + 1)
    };
    match each.saturating_mul(most) {
        full if n < full => groups(n),
        full => groups(full - 1) + (n - full + 1) * most,
    }
}

/// Ways of looking back that one model's layers may have beside each other: any kind known has at most four.
pub const MAX_REACHES: usize = 6;

impl Mixer {
    /// The ways in which it looks back: at its entries, then at the keys of its index.
    #[must_use]
    pub fn reaches(&self) -> Vec<Reach> {
        match *self {
            Self::Grouped { span, .. } => vec![match span {
                Span::Full => Reach::Full,
                Span::Window(tokens) => Reach::Window(tokens),
                Span::Chunk(tokens) => Reach::Chunk(tokens),
            }],
            Self::Latent { index: None, .. } => vec![Reach::Full],
            Self::Latent { index: Some(index), .. } => vec![Reach::Top(index.topk), Reach::Full],
            Self::Compressed { window, ratio: 0, .. } => vec![Reach::Window(window)],
            Self::Compressed { window, ratio, index: None, .. } => {
                vec![Reach::Window(window), Reach::Groups(ratio)]
            }
            Self::Compressed { window, ratio, index: Some(index), .. } => {
                vec![Reach::Window(window), Reach::TopGroups(ratio, index.topk), Reach::Groups(ratio)]
            }
            Self::State { .. } => Vec::new(),
        }
    }
}

impl Model {
    /// The ways in which its layers look back, each once.
    pub(crate) fn ways(&self) -> Vec<Reach> {
        let mixers = self.kinds.iter().flat_map(|kind| &kind.mixers);
        let mut ways = Vec::new();
        for reach in mixers.flat_map(Mixer::reaches) {
            if !ways.contains(&reach) {
                ways.push(reach);
            }
        }
        ways
    }
}

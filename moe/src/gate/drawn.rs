//! A gate on drawn scores: popularity and noise in place of hidden states, then the gate's own selection.
//!
//! The score of expert e is `b_e + g`, g standard Gumbel noise. As `-ln(x)` is such noise for x exponentially distributed of
//! mean 1, the scores are those of a race in which e arrives after `x exp(-b_e)`: the earlier, the better. `exp(-b_e)` is
//! its *rarity*. Without limits the first k of the race are one draw after the other, each in proportion to `exp(b)`.

use rand::RngExt;
use rand_distr::Exp1;
use rand_pcg::Pcg64;

use super::{GroupLimiter, Scratch};

/// How many of the scored experts a token takes, and from how many groups of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SelectionRule {
    /// Experts that are scored.
    pub experts: u32,
    /// Experts that are taken.
    pub top_k: u32,
    /// Groups of experts, runs of equal length; 1 for none.
    pub groups: u32,
    /// Groups that a token may use.
    pub kept: u32,
    /// Best scores of a group that are summed to rank it.
    pub summed: u32,
}

impl SelectionRule {
    /// Whether the best experts are taken, wherever they are.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.kept >= self.groups
    }

    /// Experts of a group.
    #[must_use]
    pub const fn group_size(&self) -> u32 {
        self.experts / self.groups
    }

    /// The limit to the groups that are kept, if that is one.
    pub(super) fn limit(&self) -> Option<GroupLimiter> {
        let Self { experts, top_k, groups, kept, summed } = *self;
        (!self.is_plain()).then(|| GroupLimiter::even(experts, groups, kept, summed, top_k))
    }
}

/// A gate whose scores are drawn.
#[derive(Debug)]
pub(crate) struct DrawnGate {
    limits: Vec<GroupLimiter>,
    top_k: usize,
}

impl DrawnGate {
    /// The gate of `rule` under an optional further limit, which is applied first.
    pub(crate) fn new(rule: &SelectionRule, outer: Option<GroupLimiter>) -> Self {
        Self { limits: outer.into_iter().chain(rule.limit()).collect(), top_k: rule.top_k as usize }
    }

    /// Adds the experts of one token, best first, to `experts`: of all, `rarity` apart, those that the gate takes by what `rng` draws.
    pub(crate) fn draw(
        &self,
        rng: &mut Pcg64,
        rarity: &[f64],
        scratch: &mut Scratch,
        experts: &mut Vec<u32>,
    ) {
        scratch.selection.clear();
        let race = rarity.iter().map(|rarity| -(rng.sample::<f64, _>(Exp1) * rarity) as f32);
        scratch.selection.extend(race);
        let best = scratch.choose(&self.limits, self.top_k, |arrival| -(-arrival).ln());
        experts.extend(best.iter().map(|&(_, expert)| expert));
    }
}

//! A gate on drawn scores: popularity and noise in place of hidden states, then the gate's own selection.
//!
//! The score of expert e is `b_e + g`, g standard Gumbel noise. As `-ln(x)` is such noise for x exponentially distributed of
//! mean 1, the scores are those of a race in which e arrives after `x exp(-b_e)`: the earlier, the better. `exp(-b_e)` is
//! its *rarity*. Without limits the first k of the race are one draw after the other, each in proportion to `exp(b)`.

use rand::RngExt;
use rand_distr::Exp1;
use rand_pcg::Pcg64;

use super::{GroupLimiter, Scratch, SelectionRule, race};

/// A gate whose scores are drawn.
#[derive(Debug)]
pub(crate) struct DrawnGate {
    rule: SelectionRule,
    limits: Vec<GroupLimiter>,
}

impl DrawnGate {
    /// The gate of `rule` under an optional further limit, which is applied first.
    pub(crate) fn new(rule: &SelectionRule, outer: Option<GroupLimiter>) -> Self {
        Self { rule: *rule, limits: outer.into_iter().chain(GroupLimiter::of(rule)).collect() }
    }

    /// Adds the experts of one token, best first, to `experts`: of all, each with its `rarity` (none: all alike), those that the gate
    /// takes by what `rng` draws.
    pub(crate) fn draw(
        &self,
        rng: &mut Pcg64,
        rarity: Option<&[f64]>,
        scratch: &mut Scratch,
        experts: &mut Vec<u32>,
    ) {
        let first = experts.len();
        // Where all are alike it is enough to know how soon the next one of a group comes, and it may be any.
        if rarity.is_none() && self.limits.len() == 1 {
            for group in race::alike(&self.rule, rng) {
                let (size, from) = (self.rule.group_size(), experts.len());
                experts.push(group * size + rng.random_range(0..size));
                while experts[first..from].contains(&experts[from]) {
                    experts[from] = group * size + rng.random_range(0..size);
                }
            }
            return;
        }
        scratch.selection.clear();
        let rarity =
            (0..self.rule.experts as usize).map(|expert| rarity.map_or(1.0, |rarity| rarity[expert]));
        scratch.selection.extend(rarity.map(|rarity| -(rng.sample::<f64, _>(Exp1) * rarity) as f32));
        let best = scratch.choose(&self.limits, self.rule.top_k as usize, |arrival| -(-arrival).ln());
        experts.extend(best.iter().map(|&(_, expert)| expert));
    }
}

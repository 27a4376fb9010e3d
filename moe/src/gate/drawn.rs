//! A gate on drawn scores: popularity and noise in place of hidden states, then the gate's own selection.
//!
//! The score of expert e is `b_e + g`, g standard Gumbel noise. As `-ln(x)` is such noise for x exponentially distributed of
//! mean 1, the scores are those of a race in which e arrives after `x exp(-b_e)`: the earlier, the better. `exp(-b_e)` is
//! its *rarity*. Without limits the first k of the race are one draw after the other, each in proportion to `exp(b)`.

use rand::RngExt;
use rand_distr::Exp1;
use rand_pcg::Pcg64;

use super::{GroupLimiter, Scratch, SelectionRule};

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
            for group in group_picks(&self.rule, rng) {
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

/// The groups of a token's picks, best first, where all experts are alike: the first arrivals of each group rank it, the first k of
/// the groups that are kept are picks. Of n experts that have not arrived the first comes after a time of mean 1 / n.
pub(super) fn group_picks(rule: &SelectionRule, rng: &mut Pcg64) -> Vec<u32> {
    let size = f64::from(rule.group_size());
    // A time, and how many have arrived by then.
    let next = |(last, arrived): (f64, f64), rng: &mut Pcg64| {
        let left = size - arrived;
        let after = if left > 0.0 { rng.sample::<f64, _>(Exp1) / left } else { f64::INFINITY };
        (last + after, arrived + 1.0)
    };
    if rule.equal {
        let each = rule.top_k / rule.groups;
        return (0..rule.groups).flat_map(|group| std::iter::repeat_n(group, each as usize)).collect();
    }
    let mut groups = Vec::with_capacity(rule.groups as usize);
    for group in 0..rule.groups {
        let earliest = next((0.0, 0.0), rng);
        let second = if rule.summed > 1 && size > 1.0 { next(earliest, rng) } else { (1.0, 0.0) };
        let merit: f64 = earliest.0 * second.0;
        groups.push((group, merit, [earliest, second]));
    }
    groups.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
    groups.truncate(rule.kept as usize);
    (0..rule.top_k)
        .map(|_| {
            let at = (0..groups.len()).min_by(|&a, &b| groups[a].2[0].0.total_cmp(&groups[b].2[0].0));
            let (group, _, [head, known]) = &mut groups[at.expect("a group is kept")];
            // The second arrival is known until it has been the next one.
            let after = if known.1 > head.1 { *known } else { next(*head, rng) };
            *head = after;
            *group
        })
        .collect()
}

//! Group limits: a token's experts lie in at most so many groups, be they the model's own or racks.
//!
//! DeepSeek-V3 scores a group by the sum of its two best biased scores, V2 (which has no bias) by its best one;
//! Megatron-LM generalises to the sum of `top_k / topk_group` scores, which is the rule for racks here.

use super::SelectionRule;

/// Keeps the best groups of experts and masks the others with minus infinity.
#[derive(Debug, Clone)]
pub struct GroupLimiter {
    /// Experts of each group, ascending; no group is empty.
    members: Vec<Vec<u32>>,
    /// Groups that are kept.
    keep: usize,
    /// Scores per group that are summed to rank it.
    summed: usize,
    /// Experts that the kept groups must offer together.
    top_k: usize,
    /// Experts of each group that stay, where all have equal shares.
    each: Option<usize>,
}

impl GroupLimiter {
    /// A limit to `keep` of the groups `members`, each ranked by the sum of its `summed` largest scores.
    pub fn new(members: Vec<Vec<u32>>, keep: u32, summed: u32, top_k: u32) -> Self {
        Self {
            members,
            keep: keep as usize,
            summed: summed.max(1) as usize,
            top_k: top_k as usize,
            each: None,
        }
    }

    /// What `rule` says of its groups, which are runs of equal length; `None` where that is nothing.
    pub(super) fn of(rule: &SelectionRule) -> Option<Self> {
        let size = rule.group_size();
        let members = (0..rule.groups).map(|group| (group * size..(group + 1) * size).collect()).collect();
        let each = rule.equal.then_some((rule.top_k / rule.groups) as usize);
        let limit = Self { each, ..Self::new(members, rule.kept, rule.summed, rule.top_k) };
        (!rule.is_plain()).then_some(limit)
    }

    /// Masks the experts outside the best groups; a group counts with the sum of what `score` makes of its best selection values.
    ///
    /// Experts that an earlier limit masked count for nothing. Should they leave the best groups with fewer than
    /// `top_k` experts, the next best group is kept as well; without an earlier limit that cannot happen.
    pub(super) fn mask(
        &self,
        selection: &mut [f32],
        score: impl Fn(f32) -> f32,
        best: &mut Vec<(f32, u32)>,
        groups: &mut Vec<(f32, u32, u32)>,
    ) {
        groups.clear();
        if let Some(each) = self.each {
            for members in &self.members {
                largest(members.iter().map(|&expert| (selection[expert as usize], expert)), each, best);
                for &expert in
                    members.iter().filter(|&&expert| best.iter().all(|&(_, stays)| stays != expert))
                {
                    selection[expert as usize] = f32::NEG_INFINITY;
                }
            }
            return;
        }
        for (group, members) in (0_u32..).zip(&self.members) {
            let values = members.iter().map(|&e| selection[e as usize]).filter(|&s| s > f32::NEG_INFINITY);
            if self.summed > 2 {
                let mut open = 0;
                largest(values.inspect(|_| open += 1).zip(0..), self.summed, best);
                groups.push((best.iter().map(|&(value, _)| score(value)).sum(), group, open));
                continue;
            }
            // The usual case without a list.
            let (mut first, mut second, mut open) = (f32::NEG_INFINITY, f32::NEG_INFINITY, 0);
            for value in values {
                open += 1;
                second = second.max(first.min(value));
                first = first.max(value);
            }
            let counted = [first, second].into_iter().take(self.summed.min(open as usize));
            groups.push((counted.map(&score).sum(), group, open));
        }
        groups.sort_by(|a, b| (b.2 > 0).cmp(&(a.2 > 0)).then(b.0.total_cmp(&a.0)).then(a.1.cmp(&b.1)));
        let mut offered = 0;
        for (position, &(_, group, open)) in groups.iter().enumerate() {
            if position < self.keep || offered < self.top_k {
                offered += open as usize;
                continue;
            }
            for &expert in &self.members[group as usize] {
                selection[expert as usize] = f32::NEG_INFINITY;
            }
        }
    }
}

/// Leaves in `best` the `n` largest of `candidates` in descending order; of equals, the earlier ones.
pub(super) fn largest(candidates: impl Iterator<Item = (f32, u32)>, n: usize, best: &mut Vec<(f32, u32)>) {
    best.clear();
    for (value, id) in candidates {
        if best.len() == n {
            if best.last().is_none_or(|&(last, _)| value <= last) {
                continue;
            }
            best.pop();
        }
        let mut at = best.len();
        best.push((value, id));
        while at > 0 && best[at - 1].0 < value {
            best[at] = best[at - 1];
            at -= 1;
        }
        best[at] = (value, id);
    }
}

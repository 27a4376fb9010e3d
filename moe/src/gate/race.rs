//! The race of a drawn gate, told by its first arrivals alone: how soon the next expert of a group comes, and which one, until a token's
//! experts are known.
//!
//! Of experts that have not arrived, with weights `w` (`1 / rarity`), the first comes after a time of mean `1 / sum w`, and is each
//! of them with odds in proportion to its weight. Some two dozen arrivals stand for those of all experts.

use rand::RngExt;
use rand_distr::Exp1;
use rand_pcg::Pcg64;
use smallvec::SmallVec;

use super::SelectionRule;

/// The groups of a token's picks, best first, where `next` tells when a group's next expert arrives, after its last and by how many have
/// arrived: the first arrivals of each group rank it, the first k of the groups that are kept are picks.
pub(super) fn group_picks(rule: &SelectionRule, mut next: impl FnMut(u32, f64, u32) -> f64) -> Vec<u32> {
    let mut next = |group: u32, (last, arrived): (f64, u32)| (next(group, last, arrived), arrived + 1);
    if rule.equal {
        let each = rule.top_k / rule.groups;
        return (0..rule.groups).flat_map(|group| std::iter::repeat_n(group, each as usize)).collect();
    }
    let mut groups = Vec::with_capacity(rule.groups as usize);
    for group in 0..rule.groups {
        let earliest = next(group, (0.0, 0));
        let two = rule.summed > 1 && rule.group_size() > 1;
        let second = if two { next(group, earliest) } else { (1.0, 0) };
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
            let after = if known.1 > head.1 { *known } else { next(*group, *head) };
            *head = after;
            *group
        })
        .collect()
}

/// [`group_picks`] of a gate whose experts are all alike.
pub(super) fn alike(rule: &SelectionRule, rng: &mut Pcg64) -> Vec<u32> {
    let size = f64::from(rule.group_size());
    group_picks(rule, |_, last, arrived| {
        let left = size - f64::from(arrived);
        let after = if left > 0.0 { rng.sample::<f64, _>(Exp1) / left } else { f64::INFINITY };
        last + after
    })
}

/// Tokens of a gate on drawn scores, drawn by their first arrivals.
#[derive(Debug)]
pub(crate) struct Race<'a> {
    rule: &'a SelectionRule,
    /// Of each expert.
    weight: Vec<f64>,
    /// Sums of the weights of a group's experts up to each.
    sums: Vec<f64>,
    /// Experts of each group that have arrived, in order.
    arrived: Vec<Vec<u32>>,
}

impl<'a> Race<'a> {
    /// Of a gate of `rule`, each expert with its rarity.
    pub(crate) fn new(rule: &'a SelectionRule, rarity: &[f64]) -> Self {
        let weight: Vec<f64> = rarity.iter().map(|rarity| rarity.recip()).collect();
        let sums = weight.chunks(rule.group_size() as usize).flat_map(|group| {
            group.iter().scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
        });
        let sums = sums.collect();
        Self { rule, weight, sums, arrived: vec![Vec::new(); rule.groups as usize] }
    }

    /// Adds the experts of one token, best first, to `experts`.
    pub(crate) fn draw(&mut self, rng: &mut Pcg64, experts: &mut Vec<u32>) {
        self.arrived.iter_mut().for_each(Vec::clear);
        let (rule, first) = (self.rule, experts.len());
        for group in group_picks(rule, |group, last, _| self.arrive(group, last, rng)) {
            let own = experts[first..].iter().filter(|&&expert| expert / rule.group_size() == group);
            let at = own.count();
            // Equal shares rank no groups: nobody has arrived yet.
            if self.arrived[group as usize].len() == at {
                self.arrive(group, 0.0, rng);
            }
            experts.push(self.arrived[group as usize][at]);
        }
    }

    /// When the next expert of `group` comes, after `last`; never if there is none.
    fn arrive(&mut self, group: u32, last: f64, rng: &mut Pcg64) -> f64 {
        let (size, arrived) = (self.rule.group_size() as usize, &mut self.arrived[group as usize]);
        if arrived.len() == size {
            return f64::INFINITY;
        }
        let first = group as usize * size;
        let sums = &self.sums[first..][..size];
        let mut gone: SmallVec<[usize; 16]> = arrived.iter().map(|&expert| expert as usize - first).collect();
        gone.sort_unstable();
        let open = sums[size - 1] - gone.iter().map(|&at| self.weight[first + at]).sum::<f64>();
        // A point of what is open, those that have arrived left out.
        let mut point = rng.random::<f64>() * open;
        for &at in &gone {
            let weight = self.weight[first + at];
            if point >= sums[at] - weight {
                point += weight;
            }
        }
        let at = sums.partition_point(|&sum| sum <= point);
        // Rounding may hit one that has arrived.
        let is_open = |at: &usize| *at < size && gone.binary_search(at).is_err();
        let at = Some(at).filter(is_open).or_else(|| (0..size).find(is_open));
        arrived.extend(at.map(|at| (first + at) as u32));
        last + rng.sample::<f64, _>(Exp1) / open
    }
}

//! Expected copies where experts are spread as evenly as they can be, whether or not they divide.

use super::{CopiesPerToken, hit, hit_probability};
use crate::BlackboardError;
use moe::DispatchScheme;
use moe::gate::{GroupCounts, SelectionRule};
use std::collections::BTreeMap;

/// Expected copies a token whose picks `rule` takes, experts all alike: they are split in order over `racks` racks of `ranks_per_rack`
/// ranks, each rack's over its ranks, the first of them with one more where they don't divide, none where there are fewer experts
/// than ranks.
///
/// With q(s) the probability that a token has one of a set s of experts ([`hit_probability`] without limits, else by
/// [`GroupCounts`]), k the experts with weights that a token has on the mean, s_i the experts of rank i and S_r those of rack r, and sums over all ranks: flat `k (G-1)/n` and
/// `k (n-G)/n`; dedup `(G-1)/n sum q` and `(n-G)/n sum q`; hierarchical `(1-1/G) sum q` inside and `(R-1)/R sum q(S_r)` across. Equal to
/// [`gate_copies`](crate::scale_up::gate_copies) on that placement, in time that doesn't grow with the ranks.
///
/// ```
/// # use blackboard::deployment::even_copies;
/// # use moe::DispatchScheme;
/// # use moe::gate::SelectionRule;
/// let copies = even_copies(DispatchScheme::Dedup, 1, 72, &SelectionRule::plain(256, 8))?; // 4 experts on 40 ranks, 3 on 32
/// assert_eq!(format!("{:.3}", copies.intra), "7.608");
/// # Ok::<(), blackboard::BlackboardError>(())
/// ```
///
/// # Errors
/// [`BlackboardError::TopK`] if more experts are chosen than there are, or none.
pub fn even_copies(
    scheme: DispatchScheme,
    racks: u32,
    ranks_per_rack: u32,
    rule: &SelectionRule,
) -> Result<CopiesPerToken, BlackboardError> {
    let SelectionRule { experts, zero, top_k, .. } = *rule;
    if top_k == 0 || top_k > experts + zero {
        return Err(BlackboardError::TopK { top_k, experts });
    }
    let (r, g) = (f64::from(racks), f64::from(ranks_per_rack));
    let n = r * g;
    let (rank_hits, rack_hits) = if rule.is_plain() {
        plain_hits(racks, ranks_per_rack, rule)
    } else {
        group_hits(racks, ranks_per_rack, rule)
    };
    Ok(match scheme {
        DispatchScheme::Flat => {
            // Each choice leaves the rank unless its expert is there, which for an even source has probability 1/n.
            let k = rule.odds() * f64::from(experts);
            CopiesPerToken { intra: k * (g - 1.0) / n, inter: k * (n - g) / n }
        }
        DispatchScheme::Dedup => {
            CopiesPerToken { intra: (g - 1.0) / n * rank_hits, inter: (n - g) / n * rank_hits }
        }
        DispatchScheme::Hierarchical => {
            CopiesPerToken { intra: (1.0 - 1.0 / g) * rank_hits, inter: (r - 1.0) / r * rack_hits }
        }
    })
}

/// Ranks and racks that a token has an expert on, where all sets of experts of one size are alike.
fn plain_hits(racks: u32, ranks_per_rack: u32, rule: &SelectionRule) -> (f64, f64) {
    let hit = |reached: u32| hit_probability(rule.experts + rule.zero, rule.top_k, reached);
    // Two kinds of racks: the first few with one expert more than the rest.
    let fuller = rule.experts % racks;
    let kinds = [(fuller, rule.experts / racks + 1), (racks - fuller, rule.experts / racks)];
    let (mut rank_hits, mut rack_hits) = (0.0, 0.0);
    for (count, of_rack) in kinds {
        let (least, more) = (of_rack / ranks_per_rack, of_rack % ranks_per_rack);
        let ranks = f64::from(more) * hit(least + 1) + f64::from(ranks_per_rack - more) * hit(least);
        rank_hits += f64::from(count) * ranks;
        rack_hits += f64::from(count) * hit(of_rack);
    }
    (rank_hits, rack_hits)
}

/// The same where experts are alike within a group: rank by rank, as far as there are experts.
fn group_hits(racks: u32, ranks_per_rack: u32, rule: &SelectionRule) -> (f64, f64) {
    let (counts, mut known) = (GroupCounts::of(rule), BTreeMap::new());
    let size = rule.group_size();
    let mut hit_of = |first: u32, end: u32| {
        let held: Vec<u32> = (first / size..end.div_ceil(size))
            .map(|group| end.min((group + 1) * size) - first.max(group * size))
            .collect();
        hit(&counts, &held, &mut known)
    };
    let share = |whole: u32, parts: u32, part: u32| whole / parts + u32::from(part < whole % parts);
    let (mut rank_hits, mut rack_hits, mut first) = (0.0, 0.0, 0);
    for rack in 0..racks.min(rule.experts) {
        let of_rack = share(rule.experts, racks, rack);
        rack_hits += hit_of(first, first + of_rack);
        for rank in 0..ranks_per_rack.min(of_rack) {
            let of_rank = share(of_rack, ranks_per_rack, rank);
            rank_hits += hit_of(first, first + of_rank);
            first += of_rank;
        }
    }
    (rank_hits, rack_hits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale_up::gate_copies;
    use moe::Placement;
    use proptest::prelude::*;
    use topology::Cluster;

    proptest! {
        #[test]
        fn it_is_the_general_form_on_that_placement(
            racks in 1u32..6, size in 1u32..9, experts in 1u32..80, k in 1u32..9, zero in 0u32..20, grouped: bool,
        ) {
            let cluster = Cluster::uniform(racks, size).expect("small");
            let four = SelectionRule {
                experts: [4, 8, 32][experts as usize % 3],
                zero: 0,
                top_k: 1 + k % 2,
                groups: 4,
                kept: 2,
                summed: 1,
                equal: false,
            };
            let plain = SelectionRule { zero, ..SelectionRule::plain(experts, k.min(experts)) };
            let rule = if grouped { four } else { plain };
            let experts = rule.experts;
            let share = |whole: u32, parts: u32, part: u32| whole / parts + u32::from(part < whole % parts);
            let slots: Vec<u32> = (0..racks * size)
                .map(|rank| share(share(experts, racks, rank / size), size, rank % size))
                .collect();
            let map: Vec<u32> = (0..experts).collect();
            let file = format!(r#"{{"physical_to_logical_map": {map:?}, "slots_per_rank": {slots:?}}}"#);
            let placement = Placement::from_json(&file, "test", &cluster, experts).expect("valid");
            let tokens = vec![1; cluster.num_ranks() as usize];
            for scheme in DispatchScheme::ALL {
                let even = even_copies(scheme, racks, size, &rule).expect("valid");
                let general = gate_copies(scheme, &cluster, &placement, &rule, &tokens).expect("valid");
                prop_assert!((even.intra - general.intra).abs() < 1e-9, "{scheme}: {even:?} {general:?}");
                prop_assert!((even.inter - general.inter).abs() < 1e-9, "{scheme}: {even:?} {general:?}");
            }
        }
    }

    #[test]
    fn more_choices_than_experts_are_refused() {
        let error =
            even_copies(DispatchScheme::Flat, 1, 8, &SelectionRule::plain(8, 9)).expect_err("too many");
        assert_eq!(error, BlackboardError::TopK { top_k: 9, experts: 8 });
    }
}

//! Expected copies where experts are spread as evenly as they can be, whether or not they divide.

use crate::BlackboardError;
use crate::scale_up::{CopiesPerToken, hit_probability};
use moe::DispatchScheme;

/// Expected copies a token of uniform routing: `experts` split over `racks` racks of `ranks_per_rack` ranks, each rack's over its
/// ranks, the first of them with one more where they don't divide, none where there are fewer experts than ranks.
///
/// With q(m) as in [`hit_probability`], M_r experts in rack r and sums over all ranks: flat `k (G-1)/n` and `k (n-G)/n`; dedup
/// `(G-1)/n sum q` and `(n-G)/n sum q`; hierarchical `(1-1/G) sum q` inside and `(R-1)/R sum q(M_r)` across. Equal to
/// [`expected_copies`](crate::scale_up::expected_copies) on that placement, in time that doesn't grow with the ranks.
///
/// ```
/// # use blackboard::deployment::even_copies;
/// # use moe::DispatchScheme;
/// let copies = even_copies(DispatchScheme::Dedup, 1, 72, 256, 8)?; // 4 experts on 40 ranks, 3 on 32
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
    experts: u32,
    top_k: u32,
) -> Result<CopiesPerToken, BlackboardError> {
    if top_k == 0 || top_k > experts {
        return Err(BlackboardError::TopK { top_k, experts });
    }
    let (r, g) = (f64::from(racks), f64::from(ranks_per_rack));
    let n = r * g;
    let hit = |reached: u32| hit_probability(experts, top_k, reached);
    // Two kinds of racks: the first few with one expert more than the rest.
    let fuller = experts % racks;
    let kinds = [(fuller, experts / racks + 1), (racks - fuller, experts / racks)];
    let (mut rank_hits, mut rack_hits) = (0.0, 0.0);
    for (count, of_rack) in kinds {
        let (least, more) = (of_rack / ranks_per_rack, of_rack % ranks_per_rack);
        let ranks = f64::from(more) * hit(least + 1) + f64::from(ranks_per_rack - more) * hit(least);
        rank_hits += f64::from(count) * ranks;
        rack_hits += f64::from(count) * hit(of_rack);
    }
    Ok(match scheme {
        DispatchScheme::Flat => {
            // Each choice leaves the rank unless its expert is there, which for an even source has probability 1/n.
            let k = f64::from(top_k);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale_up::expected_copies;
    use moe::Placement;
    use proptest::prelude::*;
    use topology::Cluster;

    proptest! {
        #[test]
        fn it_is_the_general_form_on_that_placement(
            racks in 1u32..6, size in 1u32..9, experts in 1u32..80, k in 1u32..9,
        ) {
            let cluster = Cluster::uniform(racks, size).expect("small");
            let k = k.min(experts);
            let share = |whole: u32, parts: u32, part: u32| whole / parts + u32::from(part < whole % parts);
            let slots: Vec<u32> = (0..racks * size)
                .map(|rank| share(share(experts, racks, rank / size), size, rank % size))
                .collect();
            let map: Vec<u32> = (0..experts).collect();
            let file = format!(r#"{{"physical_to_logical_map": {map:?}, "slots_per_rank": {slots:?}}}"#);
            let placement = Placement::from_json(&file, "test", &cluster, experts).expect("valid");
            let tokens = vec![1; cluster.num_ranks() as usize];
            for scheme in DispatchScheme::ALL {
                let even = even_copies(scheme, racks, size, experts, k).expect("valid");
                let general = expected_copies(scheme, &cluster, &placement, k, None, &tokens).expect("valid");
                prop_assert!((even.intra - general.intra).abs() < 1e-9, "{scheme}: {even:?} {general:?}");
                prop_assert!((even.inter - general.inter).abs() < 1e-9, "{scheme}: {even:?} {general:?}");
            }
        }
    }

    #[test]
    fn more_choices_than_experts_are_refused() {
        let error = even_copies(DispatchScheme::Flat, 1, 8, 8, 9).expect_err("too many");
        assert_eq!(error, BlackboardError::TopK { top_k: 9, experts: 8 });
    }
}

//! Closed forms of the expected copies where all racks are alike.

use moe::DispatchScheme;

use super::{CopiesPerToken, hit_probability};
use crate::BlackboardError;

/// Expected copies for `racks` racks that all hold `experts_by_rank` (its length is G, its sum E/R), with
/// routing that is uniform, or uniform within `limit` racks chosen uniformly.
///
/// Let M be the limit (R without one), E_M = M E/R the experts in reach and q the hit probability among
/// those. A given rack is chosen with probability M/R; by symmetry that factor multiplies every hit.
///
/// - Flat: each of k copies goes to a uniform rank: G-1 of R G ranks are peers in the rack, (R-1) G outside.
/// - Dedup: a rank with m experts gets a copy with probability (M/R) q(m); summed over the other ranks of the
///   own rack (all but the source: 1-1/G of them on average), and over the R-1 other racks.
/// - Hierarchical: each of the R-1 other racks gets one copy with probability (M/R) q(E/R); in every
///   rack, its own included, the rank with the source's index passes it on to the others.
///
/// Sources: T and S2 for flat ("half the tokens cross"), V3 section 3.2.2 for hierarchical and limited gates.
///
/// ```
/// # use blackboard::scale_up::uniform_copies;
/// # use moe::DispatchScheme;
/// // Two racks of 8, 8 of 256 experts: flat crosses with half of its copies, hierarchical with one.
/// let flat = uniform_copies(DispatchScheme::Flat, 2, &[16; 8], 8, None)?;
/// assert_eq!((flat.intra, flat.inter), (3.5, 4.0));
/// let hierarchical = uniform_copies(DispatchScheme::Hierarchical, 2, &[16; 8], 8, None)?;
/// assert_eq!(format!("{:.3} {:.4}", hierarchical.intra, hierarchical.inter), "5.708 0.9965");
/// # Ok::<(), blackboard::BlackboardError>(())
/// ```
///
/// # Errors
/// [`BlackboardError::TopK`] if k is 0 or exceeds the experts in reach; [`BlackboardError::Limit`] if there
/// is no rack or rank, or the limit isn't between 1 and R.
pub fn uniform_copies(
    scheme: DispatchScheme,
    racks: u32,
    experts_by_rank: &[u32],
    top_k: u32,
    limit: Option<u32>,
) -> Result<CopiesPerToken, BlackboardError> {
    let limit = limit.unwrap_or(racks);
    if racks == 0 || experts_by_rank.is_empty() || limit == 0 || limit > racks {
        let ranks = experts_by_rank.len();
        let message =
            format!("{limit} of {racks} racks of {ranks} ranks; the limit lies between 1 and the racks");
        return Err(BlackboardError::Limit(message));
    }
    let by_rack: u64 = experts_by_rank.iter().map(|&m| u64::from(m)).sum();
    let reach = u32::try_from(by_rack * u64::from(limit)).unwrap_or(u32::MAX);
    if top_k == 0 || top_k > reach {
        return Err(BlackboardError::TopK { top_k, experts: reach });
    }
    let (r, k, g) = (f64::from(racks), f64::from(top_k), experts_by_rank.len() as f64);
    let chosen = f64::from(limit) / r;
    let rank_hits: f64 = experts_by_rank.iter().map(|&m| chosen * hit_probability(reach, top_k, m)).sum();
    let not_self = (g - 1.0) / g;
    Ok(match scheme {
        DispatchScheme::Flat => CopiesPerToken { intra: k / r * not_self, inter: k * (r - 1.0) / r },
        DispatchScheme::Dedup => CopiesPerToken { intra: not_self * rank_hits, inter: (r - 1.0) * rank_hits },
        DispatchScheme::Hierarchical => CopiesPerToken {
            intra: r * not_self * rank_hits,
            inter: (r - 1.0) * chosen * hit_probability(reach, top_k, by_rack as u32),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn impossible_inputs_are_named() {
        let copies = |racks, by_rank: &[u32], k, limit| {
            uniform_copies(DispatchScheme::Flat, racks, by_rank, k, limit)
                .expect_err("impossible")
                .to_string()
        };
        assert!(copies(2, &[4, 4], 0, None).starts_with("top_k = 0 of 16"));
        assert!(copies(2, &[4, 4], 9, Some(1)).starts_with("top_k = 9 of 8"));
        assert!(copies(2, &[4, 4], 1, Some(3)).starts_with("gate limit: 3 of 2 racks"));
        assert!(copies(0, &[4, 4], 1, None).starts_with("gate limit: 0 of 0 racks"));
        assert!(copies(1, &[], 1, None).starts_with("gate limit: 1 of 1 racks of 0 ranks"));
    }

    proptest! {
        #[test]
        fn one_rack_sends_nothing_outside(by_rank in prop::collection::vec(1u32..8, 1..9), k in 1u32..9) {
            let k = k.min(by_rank.iter().sum());
            for scheme in DispatchScheme::ALL {
                prop_assert_eq!(uniform_copies(scheme, 1, &by_rank, k, None).expect("valid").inter, 0.0);
            }
        }

        #[test]
        fn one_expert_a_token_crosses_alike_under_every_scheme(
            racks in 1u32..6, by_rank in prop::collection::vec(1u32..8, 1..9),
        ) {
            let inter = |scheme| uniform_copies(scheme, racks, &by_rank, 1, None).expect("valid").inter;
            prop_assert!((inter(DispatchScheme::Flat) - inter(DispatchScheme::Dedup)).abs() < 1e-12);
            prop_assert!((inter(DispatchScheme::Flat) - inter(DispatchScheme::Hierarchical)).abs() < 1e-12);
        }

        #[test]
        fn merging_copies_never_adds_crossings(
            racks in 1u32..6, by_rank in prop::collection::vec(1u32..8, 1..9), k in 1u32..9,
        ) {
            let k = k.min(by_rank.iter().sum());
            let inter = |scheme| uniform_copies(scheme, racks, &by_rank, k, None).expect("valid").inter;
            prop_assert!(inter(DispatchScheme::Dedup) <= inter(DispatchScheme::Flat) + 1e-12);
            prop_assert!(inter(DispatchScheme::Hierarchical) <= inter(DispatchScheme::Dedup) + 1e-12);
        }
    }
}

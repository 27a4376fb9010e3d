//! Scale-up domains that are no switch: how much longer an all-to-all takes on a torus or in a full mesh.

use topology::DomainTopology;

/// How many times longer a uniform all-to-all among `ranks` ranks of a domain takes than its ports' injection rate says, when
/// `domain_ranks` make the whole domain.
///
/// - A switch: 1.
/// - A full mesh: each rank has one link to each of the G-1 others, and n ranks use n-1 of them: `(G-1)/(n-1)`.
/// - A d-dimensional torus of side X: a row travels d X/4 hops on average, and each hop takes a link's time, of which the
///   injection rate counts all 2 d of a chip: `d X/4`, with `X = n^(1/d)`; never below 1.
///
/// The port model of this chapter is exact for a switch; times this factor it holds for the others. Source: SB (an all-to-all is
/// a quarter of an all-gather on a bidirectional ring); checks against the bisection of a TPU v5e pod, 1.6 TB/s for 16 by 16.
///
/// ```
/// # use blackboard::scale_up::domain_factor;
/// # use topology::DomainTopology;
/// assert_eq!(domain_factor(DomainTopology::Torus2d, 256, 256), 8.0); // TPU v5e, 16 by 16
/// assert_eq!(domain_factor(DomainTopology::FullMesh, 8, 8), 1.0);
/// assert_eq!(domain_factor(DomainTopology::FullMesh, 2, 8), 7.0); // a pair has one link of seven
/// ```
#[must_use]
pub fn domain_factor(topology: DomainTopology, ranks: u32, domain_ranks: u32) -> f64 {
    let n = f64::from(ranks.max(1));
    match topology {
        DomainTopology::Crossbar => 1.0,
        DomainTopology::FullMesh if ranks < 2 => 1.0,
        DomainTopology::FullMesh => (f64::from(domain_ranks.max(ranks)) - 1.0) / (n - 1.0),
        DomainTopology::Torus2d => (2.0 * n.sqrt() / 4.0).max(1.0),
        DomainTopology::Torus3d => (3.0 * n.cbrt() / 4.0).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pod_of_v5e_takes_40_picoseconds_a_byte() {
        // V X / (8 W_link) with 16 by 16 chips and 50 GB/s one way: 40 ps a byte; here through the injection rate.
        let (injection, factor) = (200e9, domain_factor(DomainTopology::Torus2d, 256, 256));
        assert_eq!((factor / injection * 1e12).round(), 40.0);
    }

    proptest! {
        #[test]
        fn no_domain_is_faster_than_a_switch_and_larger_tori_are_slower(n in 1u32..10_000, more in 0u32..10_000) {
            for topology in [DomainTopology::Torus2d, DomainTopology::Torus3d] {
                let small = domain_factor(topology, n, n);
                prop_assert!(small >= 1.0);
                prop_assert!(domain_factor(topology, n + more, n + more) >= small);
            }
            prop_assert!(domain_factor(DomainTopology::FullMesh, n, n + more) >= 1.0);
        }
    }
}

//! Chapter "scale-up against scale-out": one MoE layer's dispatch and combine, in one rack and across racks.
//!
//! Every rank has one full-duplex scale-up port and one scale-out port, both behind switches that never
//! block. Tokens choose k distinct experts of E uniformly. How many copies of a token's row leave its rank
//! decides the time, and the dispatch scheme decides the copies:
//!
//! | scheme | copies inside racks | copies between racks |
//! | --- | --- | --- |
//! | flat: one per (token, expert) | k (G-1)/(R G) | k (R-1)/R |
//! | dedup: one per destination rank | (1-1/G) sum q(m) over one rack | (R-1) sum q(m) over one rack |
//! | hierarchical: one per rack, then forwarded | R (1-1/G) sum q(m) over one rack | (R-1) q(E/R) |
//!
//! with q(m) from [`hit_probability`]. [`uniform_copies`] is this table; [`expected_copies`] is the same for
//! any placement, replicas and ragged racks included; [`a2a_time`] turns copies into time. The combine makes
//! the same copies in reverse: dedup adds up on the expert's rank, hierarchical inside the rack before it
//! crosses.

mod bottleneck;
mod copies;
mod domain;
mod even;
mod measured;
mod times;
mod uniform;

pub use self::bottleneck::{FP8_OUT_BF16_BACK, expert_inter_min, port_load, weight_load_batch};
pub(crate) use self::copies::hit;
pub use self::copies::{MAX_GROUP_SETS, expected_copies, gate_copies};
pub use self::domain::domain_factor;
pub use self::even::even_copies;
pub use self::measured::A2aGroup;
pub use self::times::{
    A2aTime, a2a_time, a2a_time_on, a2a_time_through, break_even_throttle, slowdown_flat,
    slowdown_flat_serial,
};
pub use self::uniform::uniform_copies;

/// Expected copies of one token's row that leave a rank, forwarded hops included (as [`moe::Copies`], by
/// token).
///
/// Tokens are spread evenly over ranks, so this times T is also the copies that one port sends, and receives.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CopiesPerToken {
    /// Between two ranks of one rack.
    pub intra: f64,
    /// From one rack to another.
    pub inter: f64,
}

/// q(m): the probability that k of E experts, drawn without replacement, hit a given set of m.
///
/// They miss it if all k lie among the other E-m: P0 = C(E-m, k) / C(E, k). Going from m to m+1 multiplies P0
/// by (E-m-k)/(E-m), which needs neither factorials nor logarithms. (V3 routes 8 of 256.)
///
/// ```
/// # use blackboard::scale_up::hit_probability;
/// // Half of 256 experts are in the other rack: 99.65% of the tokens have one of their 8 there.
/// assert_eq!(format!("{:.4}", hit_probability(256, 8, 128)), "0.9965");
/// assert_eq!(hit_probability(256, 1, 128), 0.5);
/// ```
///
/// A `reached` above `experts` counts as all of them; a `top_k` above `experts` as choosing all.
pub fn hit_probability(experts: u32, top_k: u32, reached: u32) -> f64 {
    1.0 - misses(experts, top_k).nth(reached.min(experts) as usize).unwrap_or(0.0)
}

/// P0(m) for m = 0, 1, ..., E.
fn misses(experts: u32, top_k: u32) -> impl Iterator<Item = f64> {
    let mut miss = 1.0;
    std::iter::once(miss).chain((0..experts).map(move |m| {
        miss *= f64::from((experts - m).saturating_sub(top_k)) / f64::from(experts - m);
        miss
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn choosing_every_expert_hits_every_set() {
        for reached in 1..=16 {
            assert_eq!(hit_probability(16, 16, reached), 1.0);
        }
        assert_eq!(hit_probability(16, 16, 0), 0.0);
    }

    proptest! {
        #[test]
        fn the_probability_is_that_of_the_product(experts in 1u32..300, k in 0u32..300, m in 0u32..300) {
            let (k, m) = (k.min(experts), m.min(experts));
            let miss: f64 = (0..k)
                .map(|j| f64::from((experts - m).saturating_sub(j)) / f64::from(experts - j))
                .product();
            prop_assert!((hit_probability(experts, k, m) - (1.0 - miss)).abs() < 1e-12);
        }

        #[test]
        fn more_reach_and_more_choices_hit_more(experts in 2u32..300, k in 1u32..300, m in 0u32..300) {
            let (k, m) = (k.min(experts - 1), m.min(experts - 1));
            let q = hit_probability(experts, k, m);
            prop_assert!((0.0..=1.0).contains(&q));
            prop_assert!(hit_probability(experts, k, m + 1) >= q);
            prop_assert!(hit_probability(experts, k + 1, m) >= q);
        }
    }
}

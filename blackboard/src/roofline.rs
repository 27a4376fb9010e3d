//! Chapter "roofline": how long one step takes when arithmetic and memory traffic overlap, and what that makes of batch
//! and price.
//!
//! Three times share n ranks: arithmetic t_c, reading the weights t_w and reading the KV cache t_kv. Two
//! units trip people up: T counts multiplies where datasheets count a multiply and an add as two, hence the 2
//! in t_c; and weights are bytes, not parameters, hence w in t_w.

mod cost;
mod experts;
mod train;

pub use self::cost::{
    FastMode, fast_mode, optimal_share_with_kv, relative_cost, relative_time, slow_mode_saving,
    unbatched_cost, utilisation,
};
pub use self::experts::expert_time;
pub use self::train::{drain_time, mean_wait, worst_wait};

use crate::units::{Bytes, BytesPerParam, BytesPerS, BytesPerToken, FlopPerS, Params, Seconds, Tokens};

/// t_c, t_w and t_kv of one forward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTimes {
    /// t_c, multiplying the active parameters.
    pub compute: Seconds,
    /// t_w, reading the weights once.
    pub weights: Seconds,
    /// Reading the KV cache.
    pub kv: Seconds,
}

impl StepTimes {
    /// `max(t_c, t_w + t_kv)`: all arithmetic overlaps all memory traffic, the lecture's roofline (T). A lower bound.
    #[must_use]
    pub fn max(&self) -> Seconds {
        self.compute.max(self.weights + self.kv)
    }

    /// `t_kv + max(t_c, t_w)`: attention reads its cache while no matrix product can overlap (SB, inference).
    /// Never less than [`StepTimes::max`]: an upper bound of the two.
    #[must_use]
    pub fn sum(&self) -> Seconds {
        self.kv + self.compute.max(self.weights)
    }
}

/// What a forward pass is made of, and the ranks that work on it in parallel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// B, sequences in the pass, a token each.
    pub batch: Tokens,
    /// N_act, parameters that a token uses.
    pub active: Params,
    /// N_tot w, all weights.
    pub weights: Bytes,
    /// L, tokens of context a sequence.
    pub context: Tokens,
    /// kappa, KV cache read per token of context.
    pub kv: BytesPerToken,
    /// n, ranks that share the work evenly.
    pub ranks: f64,
    /// F, of a rank in the weights' dtype.
    pub flops: FlopPerS,
    /// BW, of a rank's memory.
    pub bandwidth: BytesPerS,
}

impl Step {
    /// `t_c = 2 B N_act / (n F)`, `t_w = N_tot w / (n BW)`, `t_kv = B L kappa / (n BW)`.
    ///
    /// A token multiplies and adds every active parameter once; a pass reads all weights once, whatever the
    /// batch, and each sequence's own cache. Source: T, S1; SB.
    ///
    /// ```
    /// # use blackboard::{roofline::Step, units::*};
    /// // DeepSeek-V3 in FP8 on 8 H200: reading 671 GB takes 17.5 ms, the least time for a token (T).
    /// let step = Step {
    ///     batch: Tokens(1.0), active: Params(37e9), weights: Bytes(671e9), context: Tokens::ZERO,
    ///     kv: BytesPerToken(35_136.0), ranks: 8.0, flops: FlopPerS(1979e12), bandwidth: BytesPerS(4.8e12),
    /// };
    /// assert_eq!(format!("{:.1}", step.times().max().as_millis()), "17.5");
    /// ```
    #[must_use]
    pub fn times(&self) -> StepTimes {
        StepTimes {
            compute: self.batch.0 * self.active.flop_per_token() / (self.ranks * self.flops),
            weights: self.weights / (self.ranks * self.bandwidth),
            kv: self.kv_cache() / (self.ranks * self.bandwidth),
        }
    }

    /// `B L kappa`: the caches of all sequences.
    #[must_use]
    pub fn kv_cache(&self) -> Bytes {
        self.batch.0 * (self.context * self.kv)
    }
}

/// rho, the lecture's dimensionless "300": tokens per weight at which arithmetic takes as long as memory,
/// `(F/2) w / BW`. `flops` are those of the weights' dtype. Source: T, S1.
///
/// ```
/// # use blackboard::{roofline::balance, units::*};
/// let h100 = balance(FlopPerS(989.5e12), BytesPerParam(2.0), BytesPerS(3.35e12));
/// assert_eq!(h100.round(), 295.0); // bf16
/// ```
#[must_use]
pub fn balance(flops: FlopPerS, per_param: BytesPerParam, bandwidth: BytesPerS) -> f64 {
    flops.0 / 2.0 * per_param.0 / bandwidth.0
}

/// B*, the batch at which t_c = t_w: `rho N_tot / N_act`. Source: T, S1, S2.
///
/// ```
/// # use blackboard::{roofline::critical_batch, units::*};
/// assert_eq!(critical_batch(300.0, Params(8.0), Params(1.0)), Tokens(2400.0)); // the lecture's sparsity of 8
/// assert_eq!(critical_batch(300.0, Params(671e9), Params(37e9)).0.round(), 5441.0); // DeepSeek-V3's own
/// ```
#[must_use]
pub fn critical_batch(balance: f64, total: Params, active: Params) -> Tokens {
    Tokens(balance * (total / active))
}

/// The sequences whose caches fit beside the weights: `(n C - N_tot w) / (L kappa)`, 0 where the weights alone don't fit, infinite
/// without a cache. Source: T's memory equation, solved for B.
///
/// ```
/// # use blackboard::{roofline::capacity_batch, units::*};
/// // DeepSeek-V3 in FP8 on 64 GB200 with 32,768 tokens of 35,136 B each.
/// let cache = Tokens(32_768.0) * BytesPerToken(35_136.0);
/// assert_eq!(capacity_batch(64.0 * Bytes(186e9), Bytes(671e9), cache).0.round(), 9756.0);
/// ```
#[must_use]
pub fn capacity_batch(memory: Bytes, weights: Bytes, cache_per_sequence: Bytes) -> Tokens {
    let left = (memory - weights).max(Bytes::ZERO);
    if left == Bytes::ZERO { Tokens::ZERO } else { Tokens(left / cache_per_sequence) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_cache_limits_the_batch_of_a_rack() {
        let batch = |context: f64, kv: f64| {
            let cache = Tokens(context) * BytesPerToken(kv);
            capacity_batch(64.0 * Bytes(186e9), Bytes(671e9), cache).0.round()
        };
        assert_eq!(batch(200e3, 35_136.0), 1599.0);
        // "2 KB" is the lecture's own 2048 bytes.
        assert_eq!(batch(200e3, 2048.0), 27_424.0);
        assert_eq!(batch(0.0, 2048.0), f64::INFINITY);
        assert_eq!(capacity_batch(Bytes(640e9), Bytes(671e9), Bytes(1.0)), Tokens::ZERO);
    }

    proptest! {
        #[test]
        fn the_mode_without_overlap_of_the_cache_is_never_faster(
            compute in 0.0f64..10.0, weights in 0.0f64..10.0, kv in 0.0f64..10.0,
        ) {
            let times = StepTimes { compute: Seconds(compute), weights: Seconds(weights), kv: Seconds(kv) };
            prop_assert!(times.sum() >= times.max());
            prop_assert!(times.sum().0 <= 2.0 * times.max().0 + 1e-12);
        }

        #[test]
        fn at_the_critical_batch_arithmetic_takes_as_long_as_the_weights(
            total in 1e9f64..1e13, share in 0.01f64..1.0, flops in 1e12f64..1e16, bandwidth in 1e11f64..1e14,
        ) {
            let (flops, bandwidth) = (FlopPerS(flops), BytesPerS(bandwidth));
            let active = Params(share * total);
            let batch = critical_batch(balance(flops, BytesPerParam(1.0), bandwidth), Params(total), active);
            let times = Step {
                batch, active, weights: Bytes(total), context: Tokens::ZERO,
                kv: BytesPerToken::ZERO, ranks: 64.0, flops, bandwidth,
            }.times();
            prop_assert!((times.compute / times.weights - 1.0).abs() < 1e-9);
        }
    }
}

//! Chapter "roofline": how long one step takes when arithmetic and memory traffic overlap.
//!
//! Three times share n ranks: arithmetic t_c, reading the weights t_w and reading the KV cache t_kv. Two
//! units trip people up: T counts multiplies where datasheets count a multiply and an add as two, hence the 2
//! in t_c; and weights are bytes, not parameters, hence w in t_w.

mod experts;
mod pipeline;

pub use self::experts::{expert_compute_time, expert_time};
pub use self::pipeline::{Pipeline, PipelineRow, training_bubble};

/// t_c, t_w and t_kv of one forward pass, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTimes {
    /// Arithmetic.
    pub compute_s: f64,
    /// Reading the weights.
    pub weights_s: f64,
    /// Reading the KV cache.
    pub kv_s: f64,
}

impl StepTimes {
    /// `max(t_c, t_w + t_kv)`: all arithmetic overlaps all memory traffic, the lecture's roofline (T).
    pub fn max_s(&self) -> f64 {
        self.compute_s.max(self.weights_s + self.kv_s)
    }

    /// `t_kv + max(t_c, t_w)`: attention reads its cache while no matrix product can overlap (SB, inference).
    /// Never less than [`StepTimes::max_s`].
    pub fn sum_s(&self) -> f64 {
        self.kv_s + self.compute_s.max(self.weights_s)
    }
}

/// What a forward pass is made of, and the ranks that work on it in parallel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// B, sequences in the pass.
    pub batch: f64,
    /// N_act, parameters that a token uses.
    pub active_params: f64,
    /// N_tot w, bytes of all weights.
    pub weight_bytes: f64,
    /// L, tokens of context a sequence.
    pub context_tokens: f64,
    /// kappa, bytes of KV cache read per token of context.
    pub kv_bytes_per_token: f64,
    /// n, ranks that share the work evenly.
    pub ranks: f64,
    /// F, dense FLOP/s of a rank in the weights' dtype.
    pub flops: f64,
    /// BW, bytes/s of a rank's memory.
    pub mem_bytes_per_s: f64,
}

impl Step {
    /// `t_c = 2 B N_act / (n F)`, `t_w = N_tot w / (n BW)`, `t_kv = B L kappa / (n BW)`.
    ///
    /// A token multiplies and adds every active parameter once; a pass reads all weights once, whatever the
    /// batch, and each sequence's own cache. Source: T, S1; SB.
    ///
    /// ```
    /// # use blackboard::roofline::Step;
    /// // DeepSeek-V3 in FP8 on 8 H200: reading 671 GB takes 17.5 ms, the least time for a token (T).
    /// let step = Step {
    ///     batch: 1.0, active_params: 37e9, weight_bytes: 671e9, context_tokens: 0.0,
    ///     kv_bytes_per_token: 35_136.0, ranks: 8.0, flops: 1979e12, mem_bytes_per_s: 4.8e12,
    /// };
    /// assert_eq!(format!("{:.1}", step.times().max_s() * 1e3), "17.5");
    /// ```
    pub fn times(&self) -> StepTimes {
        StepTimes {
            compute_s: 2.0 * self.batch * self.active_params / (self.ranks * self.flops),
            weights_s: self.weight_bytes / (self.ranks * self.mem_bytes_per_s),
            kv_s: self.batch * self.context_tokens * self.kv_bytes_per_token
                / (self.ranks * self.mem_bytes_per_s),
        }
    }
}

/// rho, the lecture's dimensionless "300": tokens per weight at which arithmetic takes as long as memory,
/// `(F/2) w / BW`. `flops` are those of the weights' dtype, `bytes_per_param` is w. Source: T, S1.
///
/// ```
/// # use blackboard::roofline::balance;
/// assert_eq!(balance(989.5e12, 2.0, 3.35e12).round(), 295.0); // H100, bf16
/// ```
pub fn balance(flops: f64, bytes_per_param: f64, mem_bytes_per_s: f64) -> f64 {
    flops / 2.0 * bytes_per_param / mem_bytes_per_s
}

/// B*, the batch at which t_c = t_w: `rho N_tot / N_act`. Source: T, S1, S2.
///
/// ```
/// # use blackboard::roofline::critical_batch;
/// assert_eq!(critical_batch(300.0, 8.0, 1.0), 2400.0); // the lecture's sparsity of 8
/// assert_eq!(critical_batch(300.0, 671e9, 37e9).round(), 5441.0); // DeepSeek-V3's own
/// ```
pub fn critical_batch(balance: f64, total_params: f64, active_params: f64) -> f64 {
    balance * total_params / active_params
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_mode_without_overlap_of_the_cache_is_never_faster(
            compute_s in 0.0f64..10.0, weights_s in 0.0f64..10.0, kv_s in 0.0f64..10.0,
        ) {
            let times = StepTimes { compute_s, weights_s, kv_s };
            prop_assert!(times.sum_s() >= times.max_s());
            prop_assert!(times.sum_s() <= 2.0 * times.max_s() + 1e-12);
        }

        #[test]
        fn at_the_critical_batch_arithmetic_takes_as_long_as_the_weights(
            total in 1e9f64..1e13, share in 0.01f64..1.0, flops in 1e12f64..1e16, bandwidth in 1e11f64..1e14,
        ) {
            let active = share * total;
            let batch = critical_batch(balance(flops, 1.0, bandwidth), total, active);
            let times = Step {
                batch, active_params: active, weight_bytes: total, context_tokens: 0.0,
                kv_bytes_per_token: 0.0, ranks: 64.0, flops, mem_bytes_per_s: bandwidth,
            }.times();
            prop_assert!((times.compute_s / times.weights_s - 1.0).abs() < 1e-9);
        }
    }
}

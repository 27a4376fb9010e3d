//! How long the stages of a training pipeline wait, and when handing rows on costs more than the experts' all-to-all.

use crate::units::Seconds;

/// The idle share of a training pipeline that fills and drains once a step: `(P-1) / (m+P-1)`.
///
/// m micro-batches take m + P - 1 turns, of which each stage works m. Source: T; V3 table 2 (1F1B).
///
/// ```
/// # use blackboard::pipeline::training_bubble;
/// assert_eq!(format!("{:.3}", training_bubble(4.0, 8.0)), "0.273");
/// ```
#[must_use]
pub fn training_bubble(stages: f64, micro_batches: f64) -> f64 {
    interleaved_bubble(stages, micro_batches, 1.0)
}

/// As [`training_bubble`] where every rank has `chunks` = v parts of the model that take turns: filling and draining shrink to
/// `(P-1)/v` turns, so that the idle share is `(P-1) / (v m + P-1)`. Source: T (interleaved 1F1B).
///
/// ```
/// # use blackboard::pipeline::interleaved_bubble;
/// assert_eq!(format!("{:.3}", interleaved_bubble(4.0, 8.0, 2.0)), "0.158");
/// ```
#[must_use]
pub fn interleaved_bubble(stages: f64, micro_batches: f64, chunks: f64) -> f64 {
    (stages - 1.0) / (chunks * micro_batches + stages - 1.0)
}

/// Schedules of a training pipeline whose idle time has a closed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// One forward, one backward.
    OneForwardOneBackward,
    /// Zero-bubble 1P: the weights' half of the backward pass fills gaps.
    ZeroBubble1P,
    /// DualPipe: micro-batches from both ends, forward and backward overlapped.
    DualPipe,
}

impl Schedule {
    /// Idle time of a rank in one step, with the times of one stage: `forward` F, `backward` B (both halves), `weights` W (the
    /// half of B for the weights) and `overlapped` F&B, a forward and a backward pass that overlap:
    ///
    /// - 1F1B `(P-1) (F+B)`
    /// - ZB1P `(P-1) (F+B-2W)`
    /// - DualPipe `(P/2-1) (F&B + B - 3W)`
    ///
    /// Source: V3 table 2; DualPipe's own README.
    ///
    /// ```
    /// # use blackboard::{pipeline::Schedule, units::Seconds};
    /// // 8 stages; F = 1, B = 2, W = 1, F&B = 3.
    /// let idle = |schedule: Schedule| schedule.idle(8.0, Seconds(1.0), Seconds(2.0), Seconds(1.0), Seconds(3.0)).0;
    /// assert_eq!(idle(Schedule::OneForwardOneBackward), 21.0);
    /// assert_eq!((idle(Schedule::ZeroBubble1P), idle(Schedule::DualPipe)), (7.0, 6.0));
    /// ```
    #[must_use]
    pub fn idle(
        self,
        stages: f64,
        forward: Seconds,
        backward: Seconds,
        weights: Seconds,
        overlapped: Seconds,
    ) -> Seconds {
        match self {
            Self::OneForwardOneBackward => (stages - 1.0) * (forward + backward),
            Self::ZeroBubble1P => (stages - 1.0) * (forward + backward - 2.0 * weights),
            Self::DualPipe => (stages / 2.0 - 1.0) * (overlapped + backward - 3.0 * weights),
        }
    }
}

/// Scale-up time of a stage's all-to-alls over the scale-out time of handing its tokens on: `k l (b_d + b_c) / (beta b_pp)`
/// for k experts a token and l layers a stage. From 1 on the boundary is hidden behind the experts.
///
/// A token's row goes to k experts and back in each of l layers on a port beta times faster than the one on which it
/// crosses once. T counts rows alike, `(b_d + b_c) / b_pp = 2`. Source: T; bytes as in V3.
///
/// ```
/// # use blackboard::pipeline::crossing_ratio;
/// assert_eq!((crossing_ratio(8.0, 1.0, 8.0, 2.0), crossing_ratio(32.0, 1.0, 8.0, 2.0)), (2.0, 8.0));
/// assert_eq!(crossing_ratio(8.0, 1.0, 8.0, 1.5), 1.5); // FP8 out, BF16 back and across
/// ```
#[must_use]
pub fn crossing_ratio(experts_per_token: f64, layers_per_stage: f64, throttle: f64, bytes_ratio: f64) -> f64 {
    experts_per_token * layers_per_stage * bytes_ratio / throttle
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_training_bubble_shrinks_with_micro_batches() {
        let check = |stages, expect: [&str; 5]| {
            let bubbles = [4.0, 8.0, 16.0, 32.0, 64.0].map(|m| format!("{:.3}", training_bubble(stages, m)));
            assert_eq!(bubbles, expect);
        };
        check(4.0, ["0.429", "0.273", "0.158", "0.086", "0.045"]);
        check(8.0, ["0.636", "0.467", "0.304", "0.179", "0.099"]);
        assert_eq!(format!("{:.3}", interleaved_bubble(4.0, 32.0, 2.0)), "0.045");
        assert_eq!(training_bubble(1.0, 1.0), 0.0, "one stage never waits");
    }

    #[test]
    fn the_boundary_hides_behind_enough_experts() {
        let two_bytes = [8.0, 9.0, 16.0, 32.0].map(|k| crossing_ratio(k, 1.0, 8.0, 2.0));
        assert_eq!(two_bytes, [2.0, 2.25, 4.0, 8.0]);
        let by_bytes = [8.0, 9.0, 16.0, 32.0].map(|k| crossing_ratio(k, 1.0, 8.0, 1.5));
        assert_eq!(by_bytes, [1.5, 1.6875, 3.0, 6.0]);
        assert_eq!(format!("{:.2}", crossing_ratio(8.0, 1.0, 18.0, 2.0)), "0.89");
        assert!(crossing_ratio(8.0, 2.0, 18.0, 2.0) > 1.0);
    }

    proptest! {
        #[test]
        fn newer_schedules_wait_less(p in 1u32..20, f in 0.1f64..10.0, w in 0.1f64..10.0, i in 0.1f64..10.0) {
            let stages = 2.0 * f64::from(p);
            let (forward, backward, weights) = (Seconds(f), Seconds(w + i), Seconds(w));
            let overlapped = forward + backward;
            let idle = |schedule: Schedule| schedule.idle(stages, forward, backward, weights, overlapped);
            prop_assert!(idle(Schedule::ZeroBubble1P) <= idle(Schedule::OneForwardOneBackward));
        }
    }
}

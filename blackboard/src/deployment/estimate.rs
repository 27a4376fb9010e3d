//! What one decode step takes, holds and costs, as numbers with units in their names.

use crate::roofline::StepTimes;
use crate::units::{Bytes, Seconds};
use serde::Serialize;
use std::str::FromStr;
use topology::{Hardware, named};

/// Whether arithmetic hides the reading of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `max(t_c, t_w + t_kv)`: everything overlaps; the lower bound (T).
    Max,
    /// `t_kv + max(t_c, t_w)`: attention overlaps with nothing (SB).
    Sum,
    /// One product after the other, each `max(t_c, t_w + t_kv)` of its own, then communication, but what a fused layer was measured to hide.
    Serial,
}

impl Mode {
    /// What a step of `hardware` is if nothing is said: where layers or servers were measured nothing overlaps, else everything.
    #[must_use]
    pub const fn of(hardware: &Hardware) -> Self {
        if hardware.layer.is_some() || hardware.serving.is_some() { Self::Serial } else { Self::Max }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &[("max", Self::Max), ("sum", Self::Sum), ("serial", Self::Serial)])
    }
}

/// What decides a step's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Multiplying the active parameters.
    Compute,
    /// Memory, most of it for weights.
    Weights,
    /// Memory, most of it for caches.
    Kv,
    /// Dispatch and combine between ranks.
    A2a,
    /// Bringing the parts of tensor parallelism together.
    Tp,
}

impl Bound {
    /// What decides a step of `times` and communication, all-to-all and tensor parallelism, that pass in `pass`.
    pub(super) fn of(times: StepTimes, (a2a, tp): (Seconds, Seconds), pass: Seconds, mode: Mode) -> Self {
        let StepTimes { compute, weights, kv } = times;
        if a2a + tp >= pass && a2a + tp > Seconds::ZERO {
            if tp > a2a { Self::Tp } else { Self::A2a }
        } else if compute >= weights + kv || (mode != Mode::Max && compute > weights && compute > kv) {
            Self::Compute
        } else if kv > weights {
            Self::Kv
        } else {
            Self::Weights
        }
    }
}

/// One decode step of a deployment. Times are of one micro-batch through all stages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Ranks in all.
    pub ranks: u32,
    /// Sequences in flight.
    pub batch: f64,
    /// Sequences of a micro-batch.
    pub micro_batch: f64,
    /// Tokens of context a sequence.
    pub context: f64,
    /// t_c, arithmetic of a step, attention to the context included.
    pub t_compute_ms: f64,
    /// t_w, reading the weights that the step touches.
    pub t_weights_ms: f64,
    /// t_kv, reading the caches of all sequences.
    pub t_kv_ms: f64,
    /// Dispatch and combine of all layers with experts, mean port.
    pub t_a2a_ms: f64,
    /// Bringing the parts of tensor parallelism together, all layers; 0 without it.
    pub t_tp_ms: f64,
    /// Time from one token of a sequence to its next, in the mode asked for, the all-to-all overlapped with the rest.
    pub step_ms: f64,
    /// As `step_ms` with `t_kv + max(t_c, t_w)`, whatever the mode.
    pub step_sum_ms: f64,
    /// As `step_sum_ms` with nothing overlapping the all-to-all but what a fused layer was measured to hide.
    pub step_serial_ms: f64,
    /// What decides `step_ms`.
    pub bound_by: Bound,
    /// Time of one stage.
    pub stage_ms: f64,
    /// Handing a micro-batch to the next stage; 0 with one stage.
    pub hop_ms: f64,
    /// Share of the time that a stage waits.
    pub bubble: f64,
    /// Tokens per second, all ranks.
    pub tokens_per_s: f64,
    /// Tokens a second, divided by all ranks.
    pub tokens_per_s_per_rank: f64,
    /// Tokens a second that one sequence gets.
    pub tokens_per_s_per_user: f64,
    /// Price of a million tokens.
    pub usd_per_mtok: f64,
    /// B*: where arithmetic takes as long as the weights, sequences of a micro-batch.
    pub optimal_batch: f64,
    /// The same with this context's cache and attention; `None` where arithmetic never catches up.
    pub optimal_batch_with_kv: Option<f64>,
    /// The sequences in flight that memory holds; `None` without a cache, when no number of them is too many.
    pub capacity_batch: Option<f64>,
    /// K: t_kv over t_c.
    pub kv_over_compute: f64,
    /// The all-to-all's time over that of the routed experts' arithmetic.
    pub a2a_over_expert_compute: f64,
    /// Copies of a token's row that leave a rank inside racks, by layer.
    pub intra_copies_per_token: f64,
    /// The same between racks.
    pub inter_copies_per_token: f64,
    /// Share of a layer's experts that the tokens of a micro-batch are expected to go to.
    pub experts_touched: f64,
    /// Weights on a rank, the mean over the stages.
    pub weights_gb_per_rank: f64,
    /// KV cache on a rank, the mean over the stages.
    pub kv_gb_per_rank: f64,
    /// Rows under way and activations on a rank.
    pub buffers_gb_per_rank: f64,
    /// Memory of a rank without the reserve.
    pub capacity_gb_per_rank: f64,
    /// All three on the fullest stage over the capacity.
    pub memory_use: f64,
    /// `fits`, or by how much it does not.
    pub verdict: String,
}

/// `fits`, or by how much it does not.
pub(super) fn verdict(needed: Bytes, capacity: Bytes) -> String {
    if needed <= capacity {
        return "fits".to_owned();
    }
    format!(
        "over capacity: {:.1} GB a rank of {:.1} GB usable; give more ranks, stages or racks, a smaller batch or context, or a smaller dtype",
        needed.as_gb(),
        capacity.as_gb()
    )
}

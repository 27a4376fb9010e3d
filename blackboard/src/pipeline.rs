//! Chapter "pipelines": a model in stages, a rack each. What a stage holds, how long it takes, how long it waits.
//!
//! Weights split over stages, caches don't: each stage holds 1/P of the layers, of P times as many sequences.

mod bubbles;

pub use self::bubbles::{Schedule, crossing_ratio, interleaved_bubble, training_bubble};

use crate::roofline::Step;
use crate::units::{Bytes, BytesPerS, BytesPerToken, Seconds, Tokens, TokensPerS};

/// Decoding in P stages of one rack each, with m micro-batches in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pipeline {
    /// The whole model's pass with one micro-batch on one rack; `ranks` are those of a rack, `batch` is b.
    pub step: Step,
    /// P, stages, that is racks.
    pub stages: f64,
    /// m, micro-batches in flight; P fills the pipeline.
    pub micro_batches: f64,
    /// Time to hand activations to the next stage.
    pub hop: Seconds,
}

/// What follows for a stage and for the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PipelineRow {
    /// B = m b, sequences in flight.
    pub sequences: Tokens,
    /// Weights in a rack.
    pub weights_per_rack: Bytes,
    /// Weights on a rank.
    pub weights_per_rank: Bytes,
    /// KV cache on a rank.
    pub kv_per_rank: Bytes,
    /// KV cache in a rack.
    pub kv_per_rack: Bytes,
    /// Time of a stage.
    pub stage: Seconds,
    /// Time of a token through all stages.
    pub token_latency: Seconds,
    /// Tokens per second, divided by the racks.
    pub throughput_per_rack: TokensPerS,
    /// Share of the time that a stage waits.
    pub bubble: f64,
}

impl Pipeline {
    /// With m = P,
    ///
    /// - weights/rank = N/(n P), KV/rank = P b L kappa / (n P) = b L kappa / n: P cancels;
    /// - a stage takes t_1/P with t_1 the pass of one micro-batch ([`Step::times`], overlapped), and a token
    ///   P (t_1/P + hop), a lower bound;
    /// - decode needs m >= P to keep every stage busy: otherwise it waits for 1 - m/P of the time.
    ///
    /// Source: T, S1 on pipelining in decode.
    ///
    /// ```
    /// # use blackboard::{pipeline::Pipeline, roofline::Step, units::*};
    /// // DeepSeek-V3 on racks of 64 GB200, FP8, 2400 sequences of 4989 tokens a micro-batch, 4 stages.
    /// let step = Step {
    ///     batch: Tokens(2400.0), active: Params(37e9), weights: Bytes(671e9), context: Tokens(4989.0),
    ///     kv: BytesPerToken(35_136.0), ranks: 64.0, flops: FlopPerS(5e15), bandwidth: BytesPerS(8e12),
    /// };
    /// let row = Pipeline { step, stages: 4.0, micro_batches: 4.0, hop: Seconds(20e-6) }.row();
    /// assert_eq!(format!("{:.3} ms", row.stage.as_millis()), "0.533 ms");
    /// assert_eq!(format!("{:.3} ms", row.token_latency.as_millis()), "2.212 ms");
    /// ```
    #[must_use]
    pub fn row(&self) -> PipelineRow {
        let Self { step, stages, micro_batches, hop } = *self;
        let pass = step.times().max();
        let kv = micro_batches * step.kv_cache() / stages;
        let bubble = decode_bubble(stages, micro_batches);
        PipelineRow {
            sequences: micro_batches * step.batch,
            weights_per_rack: step.weights / stages,
            weights_per_rank: step.weights / (step.ranks * stages),
            kv_per_rank: kv / step.ranks,
            kv_per_rack: kv,
            stage: pass / stages,
            token_latency: pass + stages * hop,
            throughput_per_rack: (1.0 - bubble) * (step.batch / pass),
            bubble,
        }
    }
}

/// The idle share of a decode loop with m micro-batches in P stages: `max(0, 1 - m/P)`. Every token of a micro-batch waits for
/// the one before it, so that m micro-batches keep m stages busy. Source: T.
///
/// ```
/// # use blackboard::pipeline::decode_bubble;
/// assert_eq!((decode_bubble(4.0, 1.0), decode_bubble(4.0, 4.0)), (0.75, 0.0));
/// ```
#[must_use]
pub fn decode_bubble(stages: f64, micro_batches: f64) -> f64 {
    (1.0 - micro_batches / stages).max(0.0)
}

/// Handing a micro-batch's activations to the next stage: `b h w / (n W_o)`, every rank its share through its own port. A lower
/// bound, without latency. Source: T's "a few ms" against arithmetic.
///
/// ```
/// # use blackboard::{pipeline::boundary_transfer, units::*};
/// // 2400 sequences of BF16 rows at hidden 7168, 64 cards of 50 GB/s.
/// let hop = boundary_transfer(Tokens(2400.0), BytesPerToken(2.0 * 7168.0), 64.0, BytesPerS(50e9));
/// assert_eq!(format!("{:.1}", hop.as_micros()), "10.8");
/// let hop = boundary_transfer(Tokens(2400.0), BytesPerToken(2.0 * 7168.0), 64.0, BytesPerS(112.5e9));
/// assert_eq!(format!("{:.1}", hop.as_micros()), "4.8");
/// ```
#[must_use]
pub fn boundary_transfer(batch: Tokens, row: BytesPerToken, ranks: f64, scale_out: BytesPerS) -> Seconds {
    batch * row / (ranks * scale_out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::{FlopPerS, Params};

    fn pipeline(context_tokens: f64, batch: f64, stages: f64, micro_batches: f64) -> Pipeline {
        let step = Step {
            batch: Tokens(batch),
            active: Params(37e9),
            weights: Bytes(671e9),
            context: Tokens(context_tokens),
            kv: BytesPerToken(35_136.0),
            ranks: 64.0,
            flops: FlopPerS(5e15),
            bandwidth: BytesPerS(8e12),
        };
        Pipeline { step, stages, micro_batches, hop: Seconds(20e-6) }
    }

    /// Whether `value` reads as `text` at the number of decimals that `text` has.
    #[track_caller]
    fn check(value: f64, text: &str) {
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        assert_eq!(format!("{value:.decimals$}"), text);
    }

    #[test]
    fn a_short_and_a_long_context_in_one_to_eight_stages() {
        // Weights by rack and by rank in GB; stage and token in ms.
        let short = [
            (1.0, ["671.0", "10.48", "2.132", "2.152"]),
            (2.0, ["335.5", "5.24", "1.066", "2.172"]),
            (4.0, ["167.8", "2.62", "0.533", "2.212"]),
            (8.0, ["83.9", "1.31", "0.267", "2.292"]),
        ];
        let long = [
            (1.0, ["671.0", "10.48", "13.54", "13.56"]),
            (2.0, ["335.5", "5.24", "6.772", "13.58"]),
            (4.0, ["167.8", "2.62", "3.386", "13.62"]),
            (8.0, ["83.9", "1.31", "1.693", "13.70"]),
        ];
        // Context, micro-batch; KV by rank in GB and by rack in TB; million tokens/s of a rack.
        let tables = [
            ((4989.0, 2400.0), ["6.57", "0.42", "1.126"], short),
            ((32_768.0, 5440.0), ["97.86", "6.26", "0.402"], long),
        ];
        for ((context, batch), [kv_rank, kv_rack, tokens_per_s], rows) in tables {
            for (stages, [rack, rank, stage, token]) in rows {
                let row = pipeline(context, batch, stages, stages).row();
                check(row.weights_per_rack.as_gb(), rack);
                check(row.weights_per_rank.as_gb(), rank);
                check(row.stage.as_millis(), stage);
                check(row.token_latency.as_millis(), token);
                check(row.kv_per_rank.as_gb(), kv_rank);
                check(row.kv_per_rack.as_gb() / 1e3, kv_rack);
                check(row.throughput_per_rack.0 / 1e6, tokens_per_s);
                assert_eq!((row.sequences.0, row.bubble), (stages * batch, 0.0));
            }
        }
    }

    #[test]
    fn too_few_micro_batches_leave_stages_idle() {
        let bubbles = [1.0, 2.0, 3.0, 4.0, 5.0].map(|m| pipeline(4989.0, 2400.0, 4.0, m).row().bubble);
        assert_eq!(bubbles, [0.75, 0.5, 0.25, 0.0, 0.0]);
    }

    #[test]
    fn a_fixed_global_batch_loses_throughput() {
        let row = pipeline(32_768.0, 5440.0 / 4.0, 4.0, 4.0).row();
        assert_eq!(format!("{:.1}", row.kv_per_rank.as_gb()), "24.5");
        assert_eq!(format!("{:.2}", 4.0 * row.stage.as_millis()), "4.37");
        assert_eq!((row.throughput_per_rack.0 / 1e3).round(), 311.0);
    }

    proptest! {
        #[test]
        fn the_cache_of_a_rank_does_not_depend_on_the_stages(
            context in 1.0f64..1e6, batch in 1.0f64..1e4, stages in 1u32..64,
        ) {
            let kv = |stages| pipeline(context, batch, stages, stages).row().kv_per_rank;
            prop_assert!((kv(f64::from(stages)) / kv(1.0) - 1.0).abs() < 1e-12);
        }
    }
}

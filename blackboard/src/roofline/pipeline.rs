//! A model in pipeline stages, a rack each: what a stage holds and how long it takes.

use super::Step;

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
    pub hop_s: f64,
}

/// What follows for a stage and for the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PipelineRow {
    /// B = m b, sequences in flight.
    pub sequences: f64,
    /// Bytes of weights in a rack.
    pub weight_bytes_per_rack: f64,
    /// Bytes of weights on a rank.
    pub weight_bytes_per_rank: f64,
    /// Bytes of KV cache on a rank.
    pub kv_bytes_per_rank: f64,
    /// Bytes of KV cache in a rack.
    pub kv_bytes_per_rack: f64,
    /// Time of a stage.
    pub stage_s: f64,
    /// Time of a token through all stages.
    pub token_latency_s: f64,
    /// Tokens per second, divided by the racks.
    pub tokens_per_s_per_rack: f64,
    /// Share of the time that a stage waits.
    pub bubble: f64,
}

impl Pipeline {
    /// Weights split over stages, caches don't shrink: each stage holds 1/P of the layers, of P times as many
    /// sequences. So with m = P
    ///
    /// - weights/rank = N/(n P), KV/rank = P b L kappa / (n P) = b L kappa / n: P cancels;
    /// - a stage takes t_1/P with t_1 the pass of one micro-batch ([`Step::times`], overlapped), and a token
    ///   P (t_1/P + hop);
    /// - decode needs m >= P to keep every stage busy: otherwise it waits for 1 - m/P of the time.
    ///
    /// Source: T, S1 on pipelining in decode.
    ///
    /// ```
    /// # use blackboard::roofline::{Pipeline, Step};
    /// // DeepSeek-V3 on racks of 64 GB200, FP8, 2400 sequences of 4989 tokens a micro-batch, 4 stages.
    /// let step = Step {
    ///     batch: 2400.0, active_params: 37e9, weight_bytes: 671e9, context_tokens: 4989.0,
    ///     kv_bytes_per_token: 35_136.0, ranks: 64.0, flops: 5e15, mem_bytes_per_s: 8e12,
    /// };
    /// let row = Pipeline { step, stages: 4.0, micro_batches: 4.0, hop_s: 20e-6 }.row();
    /// assert_eq!(format!("{:.3} ms", row.stage_s * 1e3), "0.533 ms");
    /// assert_eq!(format!("{:.3} ms", row.token_latency_s * 1e3), "2.212 ms");
    /// ```
    pub fn row(&self) -> PipelineRow {
        let Self { step, stages, micro_batches, hop_s } = self;
        let pass_s = step.times().max_s();
        let kv_bytes = micro_batches * step.batch * step.context_tokens * step.kv_bytes_per_token / stages;
        let bubble = (1.0 - micro_batches / stages).max(0.0);
        PipelineRow {
            sequences: micro_batches * step.batch,
            weight_bytes_per_rack: step.weight_bytes / stages,
            weight_bytes_per_rank: step.weight_bytes / (step.ranks * stages),
            kv_bytes_per_rank: kv_bytes / step.ranks,
            kv_bytes_per_rack: kv_bytes,
            stage_s: pass_s / stages,
            token_latency_s: pass_s + stages * hop_s,
            tokens_per_s_per_rack: (1.0 - bubble) * step.batch / pass_s,
            bubble,
        }
    }
}

/// The idle share of a training pipeline that fills and drains once a step: `(P-1) / (m+P-1)`.
///
/// m micro-batches take m + P - 1 turns, of which each stage works m. Source: T; V3 table 2 (1F1B).
///
/// ```
/// # use blackboard::roofline::training_bubble;
/// assert_eq!(format!("{:.3}", training_bubble(4.0, 8.0)), "0.273");
/// ```
pub fn training_bubble(stages: f64, micro_batches: f64) -> f64 {
    (stages - 1.0) / (micro_batches + stages - 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pipeline(context_tokens: f64, batch: f64, stages: f64, micro_batches: f64) -> Pipeline {
        let step = Step {
            batch,
            active_params: 37e9,
            weight_bytes: 671e9,
            context_tokens,
            kv_bytes_per_token: 35_136.0,
            ranks: 64.0,
            flops: 5e15,
            mem_bytes_per_s: 8e12,
        };
        Pipeline { step, stages, micro_batches, hop_s: 20e-6 }
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
                check(row.weight_bytes_per_rack / 1e9, rack);
                check(row.weight_bytes_per_rank / 1e9, rank);
                check(row.stage_s * 1e3, stage);
                check(row.token_latency_s * 1e3, token);
                check(row.kv_bytes_per_rank / 1e9, kv_rank);
                check(row.kv_bytes_per_rack / 1e12, kv_rack);
                check(row.tokens_per_s_per_rack / 1e6, tokens_per_s);
                assert_eq!((row.sequences, row.bubble), (stages * batch, 0.0));
            }
        }
    }

    #[test]
    fn too_few_micro_batches_leave_stages_idle() {
        let bubbles = [1.0, 2.0, 3.0, 4.0, 5.0].map(|m| pipeline(4989.0, 2400.0, 4.0, m).row().bubble);
        assert_eq!(bubbles, [0.75, 0.5, 0.25, 0.0, 0.0]);
        let check = |stages, expect: [&str; 5]| {
            let bubbles = [4.0, 8.0, 16.0, 32.0, 64.0].map(|m| format!("{:.3}", training_bubble(stages, m)));
            assert_eq!(bubbles, expect);
        };
        check(4.0, ["0.429", "0.273", "0.158", "0.086", "0.045"]);
        check(8.0, ["0.636", "0.467", "0.304", "0.179", "0.099"]);
    }

    #[test]
    fn a_fixed_global_batch_loses_throughput() {
        let row = pipeline(32_768.0, 5440.0 / 4.0, 4.0, 4.0).row();
        assert_eq!(format!("{:.1}", row.kv_bytes_per_rank / 1e9), "24.5");
        assert_eq!(format!("{:.2}", row.stage_s * 4.0 * 1e3), "4.37");
        assert_eq!((row.tokens_per_s_per_rack / 1e3).round(), 311.0);
    }

    proptest! {
        #[test]
        fn the_cache_of_a_rank_does_not_depend_on_the_stages(
            context in 1.0f64..1e6, batch in 1.0f64..1e4, stages in 1u32..64,
        ) {
            let kv = |stages| pipeline(context, batch, stages, stages).row().kv_bytes_per_rank;
            prop_assert!((kv(f64::from(stages)) / kv(1.0) - 1.0).abs() < 1e-12);
        }
    }
}

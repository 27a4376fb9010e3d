//! A model on hardware, whole: the times of one step of decoding or of prompts, what binds, memory a rank, throughput and price.
//!
//! Everything is even: sequences, caches and experts are spread equally over the ranks of a stage, stages have equal
//! shares of the layers, all experts are alike to the model's gate. A step reads the experts that its tokens are expected to go to. Times are
//! roofline times and so lower bounds of what real kernels take.

mod estimate;
mod inputs;
mod load;
mod network;

pub use self::estimate::{Bound, Estimate, Mode};
pub use self::inputs::INPUTS;
pub use crate::scale_up::even_copies;

use self::estimate::verdict;
use crate::BlackboardError;
use crate::pipeline::decode_bubble;
use crate::roofline::StepTimes;
use crate::units::{Bytes, BytesPerS, DollarsPerS, Flop, FlopPerS, Seconds, Tokens};
use moe::work::{CommonWeights, Drafts, Work};
use moe::{DispatchScheme, Model};
use topology::{Dtype, Hardware};

/// A model on ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Layers, widths and experts; parameters follow from them.
    pub model: Model,
    /// Every rank's accelerator; its rates of scale-up and scale-out ports count too.
    pub hardware: Hardware,
    /// Format of the arithmetic, and of the weights where the model says none.
    pub dtype: Dtype,
    /// Format of the KV cache.
    pub kv_dtype: Dtype,
    /// Ranks in all.
    pub ranks: u32,
    /// Racks in all; `None`: one a stage. With more stages than racks a rack has several.
    pub racks: Option<u32>,
    /// P, pipeline stages.
    pub stages: u32,
    /// Ranks that share out heads and inner widths and work on the same sequences; 1: each has its own.
    pub tp: u32,
    /// Where the weights lie that every token uses.
    pub common: CommonWeights,
    /// Tokens drafted a step, and how many hold.
    pub drafts: Drafts,
    /// Share of a rank's memory that weights, caches and buffers may take; the rest is a reserve.
    pub memory_share: f64,
    /// m, micro-batches in flight; `None`: as many as stages.
    pub micro_batches: Option<u32>,
    /// B, sequences in flight, over all micro-batches.
    pub batch: Tokens,
    /// L, tokens of context a sequence; of prompts, those before the step.
    pub context: Tokens,
    /// New tokens of each sequence's prompt that the step computes; 0: it decodes.
    pub prompt: Tokens,
    /// How rows travel between ranks.
    pub scheme: DispatchScheme,
    /// T, tokens a rank sends in one all-to-all; `None`: those of its share of a micro-batch.
    pub tokens_per_rank: Option<Tokens>,
    /// Whether links have their latencies.
    pub latency: bool,
    /// What a rank costs.
    pub price: DollarsPerS,
    /// How times add up.
    pub mode: Mode,
}

impl Deployment {
    /// Checks that numbers fit each other.
    ///
    /// # Errors
    /// [`BlackboardError::Input`] names the number and the remedy.
    pub fn validate(&self) -> Result<(), BlackboardError> {
        let refuse = |name, value: f64, must: String| Err(BlackboardError::Input { name, value, must });
        for (name, value) in
            [("ranks", self.ranks), ("pp", self.stages), ("racks", self.racks()), ("tp", self.tp)]
        {
            if value == 0 {
                return refuse(name, 0.0, "give at least 1".to_owned());
            }
        }
        self.validate_inputs()?;
        let drafting = self
            .drafts
            .validate()
            .and_then(|()| self.model.draft_layers(self.drafts.depth).map_err(|error| error.to_string()));
        if let Err(must) = drafting {
            return refuse("mtp-depth", self.drafts.depth.into(), must);
        }
        let layers = self.model.num_layers();
        if self.stages > layers {
            return refuse(
                "pp",
                self.stages.into(),
                format!("{} has {layers} layers; give at most as many stages", self.model.name),
            );
        }
        if !self.ranks.is_multiple_of(self.stages) {
            return refuse(
                "ranks",
                self.ranks.into(),
                format!("give a multiple of the {} stages", self.stages),
            );
        }
        let (group, racks) = (self.ranks / self.stages, self.racks());
        if !racks.is_multiple_of(self.stages) && !self.stages.is_multiple_of(racks) {
            let must = format!("give a multiple or a divisor of the {} stages", self.stages);
            return refuse("racks", racks.into(), must);
        }
        if !group.is_multiple_of(self.racks_of_stage()) {
            let must =
                format!("{} of them can't share the {group} ranks of a stage evenly", self.racks_of_stage());
            return refuse("racks", racks.into(), must);
        }
        let in_rack = group / self.racks_of_stage();
        if !in_rack.is_multiple_of(self.tp) {
            let must = format!("give a divisor of the {in_rack} ranks that a stage has in a rack");
            return refuse("tp", self.tp.into(), must);
        }
        if self.micro_batches() == 0 || f64::from(self.micro_batches()) > self.batch.0.max(1.0) {
            return refuse(
                "micro-batches",
                self.micro_batches().into(),
                format!("give at least 1, and at most the {} sequences in flight", self.batch.0),
            );
        }
        Ok(())
    }

    /// Checks the inputs that are mere numbers.
    fn validate_inputs(&self) -> Result<(), BlackboardError> {
        let refuse = |name, value: f64, must: String| Err(BlackboardError::Input { name, value, must });
        let most = f64::from(u32::MAX);
        for (name, value, least) in [
            ("batch", self.batch.0, f64::MIN_POSITIVE),
            ("context", self.context.0, 0.0),
            ("prompt", self.prompt.0, 0.0),
            ("tokens-per-rank", self.tokens_per_rank.map_or(1.0, |tokens| tokens.0), 0.0),
            ("price", self.price.0 * 3600.0, 0.0),
        ] {
            if !(least..=most * 1e6).contains(&value) {
                return refuse(
                    name,
                    value,
                    format!(
                        "give a finite number {}, at most {:e}",
                        if least > 0.0 { "above 0" } else { "of at least 0" },
                        most * 1e6
                    ),
                );
            }
        }
        if self.prompt > Tokens::ZERO && self.drafts.depth > 0 {
            return refuse(
                "mtp-depth",
                self.drafts.depth.into(),
                "a step of prompts drafts nothing; give 0".to_owned(),
            );
        }
        if !(self.memory_share > 0.0 && self.memory_share <= 1.0) {
            return refuse(
                "memory-share",
                self.memory_share,
                "give a share above 0, and at most 1".to_owned(),
            );
        }
        Ok(())
    }

    /// Racks in all.
    #[must_use]
    pub fn racks(&self) -> u32 {
        self.racks.unwrap_or(self.stages)
    }

    /// m, micro-batches in flight.
    #[must_use]
    pub fn micro_batches(&self) -> u32 {
        self.micro_batches.unwrap_or(self.stages)
    }

    /// Racks that the ranks of one stage are spread over, at least 1.
    #[must_use]
    pub fn racks_of_stage(&self) -> u32 {
        (self.racks() / self.stages.max(1)).max(1)
    }

    /// What one step takes, holds and costs.
    ///
    /// With P stages of n ranks each, b = B/m sequences a micro-batch and t_1 its time through all stages: a stage takes t_1/P,
    /// a token `max(t_1 + P hop, m t_1/P)`, and the whole makes `min(m, P) b / t_1` tokens a second. t_1 is that of the rank's
    /// [`Work`] and no less than its communication.
    ///
    /// # Errors
    /// As [`Self::validate`]; [`BlackboardError::Hardware`] if the hardware can't compute in the format.
    pub fn estimate(&self) -> Result<Estimate, BlackboardError> {
        self.validate()?;
        let (stages, micro_batches) = (f64::from(self.stages), f64::from(self.micro_batches()));
        let micro_batch = self.batch / micro_batches;
        let (flops, bandwidth) =
            (FlopPerS(self.hardware.flops(self.dtype)?), BytesPerS(self.hardware.hbm_bytes_per_s as f64));
        let work = self.step_work(micro_batch);
        let times = StepTimes {
            compute: Flop(work.flops) / flops,
            weights: Bytes(work.weights) / bandwidth,
            kv: Bytes(work.cache) / bandwidth,
        };
        let a2a = self.a2a(micro_batch)?;
        let exchange = self.exchange_time(micro_batch);
        let network = a2a.time + exchange;
        let (start, hidden) = self.measured_layers(micro_batch, network, (flops, bandwidth));
        let (max, sum) = (times.max().max(network) + start, times.sum().max(network) + start);
        let in_turn = self.in_turn(micro_batch, (flops, bandwidth)) + network + start - hidden;
        let pass = match self.mode {
            Mode::Max => max,
            Mode::Sum => sum,
            Mode::Serial => in_turn,
        };
        let hop = self.hop(micro_batch);
        let between_tokens = |pass: Seconds| (pass + stages * hop).max(micro_batches * pass / stages);
        let gained = if self.prompt > Tokens::ZERO { self.prompt.0 } else { self.drafts.gained() };
        let rate = gained * (micro_batches.min(stages) * (micro_batch / pass));
        let kv_ratio = times.kv / times.compute;
        let optimal = self.with_context(0.0).optimal_batch(flops, bandwidth);
        let (held, sequences) = (self.held(), self.of_group(self.batch).0);
        let mean = |of: &dyn Fn(&(Bytes, Bytes)) -> Bytes| {
            Bytes(held.iter().map(|stage| of(stage).0).sum::<f64>() / stages)
        };
        let (weights, kv) = (mean(&|stage| stage.0), sequences * mean(&|stage| stage.1));
        let expert_compute = Flop(self.expert_flops(a2a.tokens_per_rank)) / flops;
        let capacity = Bytes(self.hardware.hbm_bytes as f64 * self.memory_share);
        // The fullest stage decides.
        let stages_need = held.iter().map(|&(weights, cache)| weights + sequences * cache + a2a.buffers);
        let needed = stages_need.fold(Bytes::ZERO, Bytes::max);
        Ok(Estimate {
            ranks: self.ranks,
            batch: self.batch.0,
            micro_batch: micro_batch.0,
            context: self.context.0,
            t_compute_ms: times.compute.as_millis(),
            t_weights_ms: times.weights.as_millis(),
            t_kv_ms: times.kv.as_millis(),
            t_a2a_ms: a2a.time.as_millis(),
            t_tp_ms: exchange.as_millis(),
            step_ms: between_tokens(pass).as_millis(),
            step_sum_ms: between_tokens(sum).as_millis(),
            step_serial_ms: between_tokens(times.sum() + network + start - hidden).as_millis(),
            bound_by: Bound::of(times, (a2a.time, exchange), pass.min(max), self.mode),
            stage_ms: (pass / stages).as_millis(),
            hop_ms: hop.as_millis(),
            bubble: decode_bubble(stages, micro_batches),
            tokens_per_s: rate.0,
            tokens_per_s_per_rank: rate.0 / f64::from(self.ranks),
            tokens_per_s_per_user: gained / between_tokens(pass).0,
            usd_per_mtok: (f64::from(self.ranks) * self.price / rate).per_mtok(),
            optimal_batch: optimal.map_or(f64::INFINITY, |batch| batch.0),
            optimal_batch_with_kv: self.optimal_batch(flops, bandwidth).map(|batch| batch.0),
            capacity_batch: Some(self.capacity_batch(capacity, &held).0).filter(|batch| batch.is_finite()),
            kv_over_compute: kv_ratio,
            a2a_over_expert_compute: if expert_compute > Seconds::ZERO {
                a2a.time / expert_compute
            } else {
                0.0
            },
            intra_copies_per_token: a2a.copies.intra,
            inter_copies_per_token: a2a.copies.inter,
            experts_touched: self.touched(self.computed(micro_batch)),
            weights_gb_per_rank: weights.as_gb(),
            kv_gb_per_rank: kv.as_gb(),
            buffers_gb_per_rank: a2a.buffers.as_gb(),
            capacity_gb_per_rank: capacity.as_gb(),
            memory_use: needed / capacity,
            verdict: verdict(needed, capacity),
        })
    }

    /// A busy rank's own work, one product after the other, each the larger of its arithmetic and its memory traffic: what `serving::cost::StackCost`
    /// has of alike ranks.
    fn in_turn(&self, micro_batch: Tokens, (flops, bandwidth): (FlopPerS, BytesPerS)) -> Seconds {
        let time = |work: &Work| (Flop(work.flops) / flops).max(Bytes(work.bytes()) / bandwidth);
        self.products(micro_batch).map(|(work, times)| times * time(&work)).sum()
    }

    /// Of layers that were measured: the starts of their kernels, and what fused ones hide, over all layers.
    fn measured_layers(
        &self,
        micro_batch: Tokens,
        network: Seconds,
        (flops, bandwidth): (FlopPerS, BytesPerS),
    ) -> (Seconds, Seconds) {
        if self.hardware.layer.is_none() {
            return (Seconds::ZERO, Seconds::ZERO);
        }
        let (work, layers) = self.routed_work(micro_batch);
        let start = layers * Seconds(self.hardware.experts_start().as_micros_f64() * 1e-6);
        let experts = (Flop(work.flops) / flops).max(Bytes(work.weights) / bandwidth) + start;
        let both = Seconds(self.hardware.layer_time(network.0, experts.0));
        (start, network + experts - both)
    }
}

#[cfg(test)]
mod tests;

//! A model on hardware, whole: one decode step's times, what binds, memory a rank, throughput and price.
//!
//! Everything is even: sequences, weights, caches and experts are spread equally over the ranks of a stage, stages have equal
//! shares of the layers, all experts are alike to the model's gate. Times are roofline times and so lower bounds of what real kernels take.

mod copies;
mod estimate;
mod inputs;

pub use self::copies::even_copies;
pub use self::estimate::{Bound, Estimate, Mode};
pub use self::inputs::INPUTS;

use self::estimate::verdict;
use crate::BlackboardError;
use crate::pipeline::{boundary_transfer, decode_bubble};
use crate::roofline::{Step, balance, capacity_batch, critical_batch, optimal_share_with_kv};
use crate::scale_up::{a2a_time_on, domain_factor};
use crate::units::{
    Bytes, BytesPerParam, BytesPerS, BytesPerToken, DollarsPerS, FlopPerS, Params, Seconds, Tokens,
};
use moe::{DispatchScheme, Model, RowBytes};
use topology::{A2aLinks, Dtype, Hardware, LinkSpec, Rate};

/// A model on ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Layers, widths and experts; parameters follow from them.
    pub model: Model,
    /// Every rank's accelerator; its rates of scale-up and scale-out ports count too.
    pub hardware: Hardware,
    /// Format of the weights and of the arithmetic.
    pub dtype: Dtype,
    /// Format of the KV cache.
    pub kv_dtype: Dtype,
    /// Ranks in all.
    pub ranks: u32,
    /// Racks in all; `None`: one a stage. With more stages than racks a rack has several.
    pub racks: Option<u32>,
    /// P, pipeline stages.
    pub stages: u32,
    /// m, micro-batches in flight; `None`: as many as stages.
    pub micro_batches: Option<u32>,
    /// B, sequences in flight, over all micro-batches.
    pub batch: Tokens,
    /// L, tokens of context a sequence.
    pub context: Tokens,
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
        for (name, value) in [("ranks", self.ranks), ("pp", self.stages), ("racks", self.racks())] {
            if value == 0 {
                return refuse(name, 0.0, "give at least 1".to_owned());
            }
        }
        let most = f64::from(u32::MAX);
        for (name, value, least) in [
            ("batch", self.batch.0, f64::MIN_POSITIVE),
            ("context", self.context.0, 0.0),
            ("tokens-per-rank", self.tokens_per_rank.map_or(1.0, |tokens| tokens.0), 0.0),
            ("price", self.price.0 * 3600.0, 0.0),
        ] {
            if !(least..=most * 1e6).contains(&value) {
                return refuse(
                    name,
                    value,
                    format!("give a finite number {}", if least > 0.0 { "above 0" } else { "of at least 0" }),
                );
            }
        }
        if self.stages > self.model.num_layers {
            let layers = self.model.num_layers;
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
        if self.micro_batches() == 0 || f64::from(self.micro_batches()) > self.batch.0.max(1.0) {
            return refuse(
                "micro-batches",
                self.micro_batches().into(),
                format!("give at least 1, and at most the {} sequences in flight", self.batch.0),
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
    fn racks_of_stage(&self) -> u32 {
        (self.racks() / self.stages.max(1)).max(1)
    }

    /// N_tot, as published if it was, else as the shape adds up.
    #[must_use]
    pub fn total_params(&self) -> Params {
        Params(self.model.published_total.unwrap_or_else(|| self.model.total_params()))
    }

    /// N_act, as published if it was, else as the shape adds up.
    #[must_use]
    pub fn active_params(&self) -> Params {
        Params(self.model.published_active.unwrap_or_else(|| self.model.active_params()))
    }

    /// kappa: the cache of one token of context, all layers.
    #[must_use]
    pub fn kv_per_token(&self) -> BytesPerToken {
        let elements = self.model.attention.kv_elements() as f64 * f64::from(self.model.num_layers);
        BytesPerToken(elements * self.kv_dtype.bytes())
    }

    /// What one step takes, holds and costs.
    ///
    /// With P stages of n ranks each, b = B/m sequences a micro-batch and t_1 its time through all stages: a stage takes t_1/P,
    /// a token `max(t_1 + P hop, m t_1/P)`, and the whole makes `min(m, P) b / t_1` tokens a second. The all-to-all of a layer
    /// is [`a2a_time_on`] of [`even_copies`], its scale-up part times [`domain_factor`].
    ///
    /// # Errors
    /// As [`Self::validate`]; [`BlackboardError::Hardware`] if the hardware can't compute in the format.
    pub fn estimate(&self) -> Result<Estimate, BlackboardError> {
        self.validate()?;
        let (stages, micro_batches) = (f64::from(self.stages), f64::from(self.micro_batches()));
        let ranks = f64::from(self.ranks / self.stages);
        let micro_batch = self.batch / micro_batches;
        let (total, active) = (self.total_params(), self.active_params());
        let (flops, bandwidth) =
            (FlopPerS(self.hardware.flops(self.dtype)?), BytesPerS(self.hardware.hbm_bytes_per_s as f64));
        let width = BytesPerParam(self.dtype.bytes());
        let step = Step {
            batch: micro_batch,
            active,
            weights: total * width,
            context: self.context,
            kv: self.kv_per_token(),
            ranks,
            flops,
            bandwidth,
        };
        let times = step.times();
        let a2a = self.a2a(micro_batch / ranks)?;
        let (max, sum) = (times.max().max(a2a.time), times.sum().max(a2a.time));
        let pass = if self.mode == Mode::Max { max } else { sum };
        let hop = self.hop(micro_batch, ranks);
        let between_tokens = |pass: Seconds| (pass + stages * hop).max(micro_batches * pass / stages);
        let rate = micro_batches.min(stages) * (micro_batch / pass);
        let kv_ratio = times.kv / times.compute;
        let optimal = critical_batch(balance(flops, width, bandwidth), total, active);
        let (weights, kv) =
            (step.weights / (ranks * stages), micro_batches * step.kv_cache() / (ranks * stages));
        let expert_compute = self.expert_compute(a2a.tokens_per_rank, flops);
        let capacity = Bytes(self.hardware.hbm_bytes as f64);
        let needed = weights + kv + a2a.buffers;
        Ok(Estimate {
            ranks: self.ranks,
            batch: self.batch.0,
            micro_batch: micro_batch.0,
            context: self.context.0,
            t_compute_ms: times.compute.as_millis(),
            t_weights_ms: times.weights.as_millis(),
            t_kv_ms: times.kv.as_millis(),
            t_a2a_ms: a2a.time.as_millis(),
            step_ms: between_tokens(pass).as_millis(),
            step_sum_ms: between_tokens(sum).as_millis(),
            step_serial_ms: between_tokens(times.sum() + a2a.time).as_millis(),
            bound_by: Bound::of(times, a2a.time, pass, self.mode),
            stage_ms: (pass / stages).as_millis(),
            hop_ms: hop.as_millis(),
            bubble: decode_bubble(stages, micro_batches),
            tokens_per_s: rate.0,
            tokens_per_s_per_rank: rate.0 / f64::from(self.ranks),
            tokens_per_s_per_user: 1.0 / between_tokens(pass).0,
            usd_per_mtok: (f64::from(self.ranks) * self.price / rate).per_mtok(),
            optimal_batch: optimal.0,
            optimal_batch_with_kv: optimal_share_with_kv(kv_ratio).map(|share| share * optimal.0),
            capacity_batch: Some(self.capacity_batch(&step, stages).0).filter(|batch| batch.is_finite()),
            kv_over_compute: kv_ratio,
            a2a_over_expert_compute: if expert_compute > Seconds::ZERO {
                a2a.time / expert_compute
            } else {
                0.0
            },
            intra_copies_per_token: a2a.copies.intra,
            inter_copies_per_token: a2a.copies.inter,
            weights_gb_per_rank: weights.as_gb(),
            kv_gb_per_rank: kv.as_gb(),
            buffers_gb_per_rank: a2a.buffers.as_gb(),
            capacity_gb_per_rank: capacity.as_gb(),
            memory_use: needed / capacity,
            verdict: verdict(needed, capacity),
        })
    }

    /// The sequences whose caches fit in the memory of all stages; buffers are left out.
    fn capacity_batch(&self, step: &Step, stages: f64) -> Tokens {
        let memory = step.ranks * stages * Bytes(self.hardware.hbm_bytes as f64);
        capacity_batch(memory, step.weights, step.context * step.kv)
    }

    /// All layers' all-to-alls of `share` tokens a rank.
    fn a2a(&self, share: Tokens) -> Result<A2a, BlackboardError> {
        let group = self.ranks / self.stages;
        if self.model.moe_layers == 0 {
            return Ok(A2a::default());
        }
        let copies = even_copies(
            self.scheme,
            self.racks_of_stage(),
            group / self.racks_of_stage(),
            &self.model.layer().selection(),
        )?;
        let row_bytes = RowBytes::new(self.model.hidden);
        let tokens_per_rank = self.tokens_per_rank.unwrap_or(share);
        let time = a2a_time_on(self.scheme, copies, tokens_per_rank, row_bytes, &self.links(group));
        let rows = f64::from(self.model.top_k) * (row_bytes.dispatch + row_bytes.combine) as f64;
        let buffers = tokens_per_rank * BytesPerToken(rows + 2.0 * f64::from(self.model.hidden));
        Ok(A2a { time: f64::from(self.model.moe_layers) * time.total(), copies, tokens_per_rank, buffers })
    }

    /// The links of a stage's ranks, the scale-up rates as their domain's topology leaves them.
    fn links(&self, group: u32) -> A2aLinks {
        let Hardware { domain_topology, domain_ranks, .. } = self.hardware;
        let factor = domain_factor(domain_topology, group / self.racks_of_stage(), domain_ranks);
        let mut links = self.hardware.links();
        for phase in [&mut links.dispatch, &mut links.combine] {
            let scale_up = &mut phase.fabric.scale_up;
            let rate = (scale_up.rate.bytes_per_s() as f64 / factor) as u64;
            scale_up.rate = Rate::new(rate.max(1)).unwrap_or(scale_up.rate);
        }
        if self.latency { links } else { links.without_latency() }
    }

    /// Routed experts' arithmetic on a rank, all layers: `k T 6 h f / F` each.
    fn expert_compute(&self, tokens: Tokens, flops: FlopPerS) -> Seconds {
        let rows = tokens.0 * f64::from(self.model.top_k) * f64::from(self.model.moe_layers);
        rows * crate::units::Flop(self.model.layer().expert_flops(1)) / flops
    }

    /// Handing on BF16 rows, on average over the stages: of P hops as many cross as there are racks, the others stay in one.
    fn hop(&self, micro_batch: Tokens, ranks: f64) -> Seconds {
        if self.stages == 1 {
            return Seconds::ZERO;
        }
        let row = BytesPerToken(2.0 * f64::from(self.model.hidden));
        let hop = |link: LinkSpec| {
            let transfer =
                boundary_transfer(micro_batch, row, ranks, BytesPerS(link.rate.bytes_per_s() as f64));
            transfer + Seconds(if self.latency { link.latency.as_micros_f64() * 1e-6 } else { 0.0 })
        };
        let crossing = if self.racks() == 1 { 0 } else { self.racks().min(self.stages) };
        let fabric = self.hardware.fabric();
        let all = f64::from(crossing) * hop(fabric.scale_out)
            + f64::from(self.stages - crossing) * hop(fabric.scale_up);
        all / f64::from(self.stages)
    }
}

#[derive(Default)]
struct A2a {
    time: Seconds,
    copies: crate::CopiesPerToken,
    tokens_per_rank: Tokens,
    buffers: Bytes,
}

#[cfg(test)]
mod tests;

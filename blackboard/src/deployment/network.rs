//! What crosses between the ranks of a deployment: rows of experts, parts of tensor parallelism, states from stage to stage.

use super::{Deployment, even_copies};
use crate::pipeline::boundary_transfer;
use crate::scale_up::{A2aGroup, a2a_time_on, domain_factor};
use crate::units::{Bytes, BytesPerS, BytesPerToken, Seconds, Tokens};
use crate::{BlackboardError, CopiesPerToken};
use moe::RowBytes;
use topology::{A2aLinks, Hardware, LinkSpec, Picos, Rate};

/// All layers' all-to-alls.
#[derive(Default)]
pub(super) struct A2a {
    pub(super) time: Seconds,
    pub(super) copies: CopiesPerToken,
    pub(super) tokens_per_rank: Tokens,
    pub(super) buffers: Bytes,
}

impl Deployment {
    /// Tokens that a rank sends in one all-to-all of `micro_batch`.
    #[must_use]
    pub fn tokens_of_rank(&self, micro_batch: Tokens) -> Tokens {
        let own = self.of_group(micro_batch) / f64::from(self.tp);
        self.tokens_per_rank.unwrap_or_else(|| self.computed(own))
    }

    /// All layers' all-to-alls for a micro-batch: [`a2a_time_on`] of [`even_copies`], its scale-up part times [`domain_factor`].
    pub(super) fn a2a(&self, micro_batch: Tokens) -> Result<A2a, BlackboardError> {
        let moe_layers = self.model.moe_layers();
        let Some(block) = self.model.routed().filter(|_| moe_layers > 0) else {
            return Ok(A2a::default());
        };
        let group = self.group();
        let in_rack = group / self.racks_of_stage();
        let copies =
            even_copies(self.scheme, self.racks_of_stage(), in_rack, &self.model.layer().selection())?;
        let row_bytes = RowBytes::new(self.model.row_width());
        let own = self.of_group(micro_batch) / f64::from(self.tp);
        let tokens_per_rank = self.tokens_of_rank(micro_batch);
        let of = |tokens| {
            let links = self.links(group, tokens)?;
            Ok::<_, BlackboardError>(a2a_time_on(self.scheme, copies, tokens, row_bytes, &links).total())
        };
        let drafting = self.drafting().into_iter().filter(|&layer| self.model.is_moe_layer(layer)).count();
        let time = f64::from(moe_layers) * of(tokens_per_rank)? + drafting as f64 * of(own)?;
        let rows = block.active_experts() * (row_bytes.dispatch + row_bytes.combine) as f64;
        let buffers = tokens_per_rank * BytesPerToken(rows + 2.0 * f64::from(self.model.hidden));
        Ok(A2a { time, copies, tokens_per_rank, buffers })
    }

    /// The links of a stage's ranks with `tokens` each, the scale-up rates as their domain's topology leaves them.
    fn links(&self, group: u32, tokens: Tokens) -> Result<A2aLinks, BlackboardError> {
        let Hardware { domain_topology, domain_ranks, .. } = self.hardware;
        let factor = domain_factor(domain_topology, group / self.racks_of_stage(), domain_ranks);
        let (racks, layer) = (self.racks_of_stage(), self.model.layer());
        let ranks = A2aGroup {
            racks,
            ranks_per_rack: group / racks,
            scheme: self.scheme,
            rule: &layer.selection(),
            hidden: self.model.row_width(),
        };
        let mut links = ranks.links(&self.hardware, &self.hardware.fabric(), tokens)?;
        for phase in [&mut links.dispatch, &mut links.combine] {
            let scale_up = &mut phase.fabric.scale_up;
            let rate = (scale_up.rate.bytes_per_s() as f64 / factor) as u64;
            scale_up.rate = Rate::new(rate.max(1)).unwrap_or(scale_up.rate);
        }
        Ok(if self.latency { links } else { links.without_latency() })
    }

    /// The scale-up port as the domain's topology leaves it: tensor parallelism has kernels of its own, which were not measured.
    fn scale_up(&self, group: u32) -> LinkSpec {
        let Hardware { domain_topology, domain_ranks, .. } = self.hardware;
        let factor = domain_factor(domain_topology, group / self.racks_of_stage(), domain_ranks);
        let link = self.hardware.fabric().scale_up;
        let rate = Rate::new(((link.rate.bytes_per_s() as f64 / factor) as u64).max(1));
        let latency = if self.latency { link.latency } else { Picos::ZERO };
        LinkSpec { rate: rate.unwrap_or(link.rate), latency }
    }

    /// What bringing the parts of tensor parallelism together takes, all layers: after each mixer, dense block and shared expert each rank sends the
    /// others of its group the sums of their tokens, and then its own tokens' results (a reduce-scatter and an all-gather):
    /// `2 (t-1) T 2h` bytes over its scale-up port, T the tokens of one rank.
    pub(super) fn exchange_time(&self, micro_batch: Tokens) -> Seconds {
        if self.tp == 1 {
            return Seconds::ZERO;
        }
        let link = self.scale_up(self.group());
        let own = self.of_group(micro_batch) / f64::from(self.tp);
        let once = |tokens: Tokens| {
            let bytes = f64::from(self.tp - 1) * (tokens * BytesPerToken(2.0 * f64::from(self.model.hidden)));
            bytes / BytesPerS(link.rate.bytes_per_s() as f64) + latency_of(link)
        };
        let times = |layers: &mut dyn Iterator<Item = u32>| {
            f64::from(layers.map(|layer| self.model.exchanges(layer)).sum::<u32>())
        };
        let all = times(&mut (0..self.model.num_layers())) * once(self.computed(own));
        2.0 * (all + times(&mut self.drafting().into_iter()) * once(own))
    }

    /// Handing on BF16 rows, on average over the stages: of P hops as many cross as there are racks, the others stay in one. All ranks
    /// of a stage hop at once, each with its part of its rack's uplink.
    pub(super) fn hop(&self, micro_batch: Tokens) -> Seconds {
        if self.stages == 1 {
            return Seconds::ZERO;
        }
        let (row, ranks) = (BytesPerToken(2.0 * f64::from(self.model.hidden)), f64::from(self.group()));
        let hop = |link: LinkSpec| {
            let transfer =
                boundary_transfer(micro_batch, row, ranks, BytesPerS(link.rate.bytes_per_s() as f64));
            transfer + if self.latency { latency_of(link) } else { Seconds::ZERO }
        };
        let crossing = if self.racks() == 1 { 0 } else { self.racks().min(self.stages) };
        let fabric = self.hardware.fabric();
        let all = f64::from(crossing) * hop(fabric.scale_out_share())
            + f64::from(self.stages - crossing) * hop(fabric.scale_up);
        all / f64::from(self.stages)
    }
}

fn latency_of(link: LinkSpec) -> Seconds {
    Seconds(link.latency.as_micros_f64() * 1e-6)
}

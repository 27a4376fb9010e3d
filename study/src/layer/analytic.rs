//! The closed forms: expected copies over link rates and experts on the roofline, no straggler.

use super::expected::reachable_tokens;
use super::{CompareError, CompareSpec, Configuration, Expected};
use blackboard::CopiesPerToken;
use blackboard::pipeline::Pipeline;
use blackboard::roofline::Step;
use blackboard::scale_up::a2a_time_through;
use blackboard::units::{Bytes, BytesPerS, BytesPerToken, FlopPerS, Params, Seconds, Tokens};
use moe::{DispatchScheme, RowBytes};
use serde::{Deserialize, Serialize};
use topology::A2aLinks;

/// Times of one configuration by the closed forms, microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClosedForm {
    pub(super) dispatch_us: f64,
    pub(super) combine_us: f64,
    pub(super) compute_us: f64,
}

/// Times of `row` on `links`.
///
/// The all-to-all is that of the mean port where experts are alike. Where only some ranks host experts, their ports share what all ranks
/// send: with all experts in one of two racks, twice the mean. Where experts are popular it is that of the port that is expected to
/// carry most. Uplinks are those of the racks whose ports share what crosses.
///
/// # Errors
/// When the hardware has no rate for the layer's dtype.
pub(super) fn closed_form(
    spec: &CompareSpec,
    row: &Configuration,
    expected: &Expected,
    links: &A2aLinks,
) -> Result<ClosedForm, CompareError> {
    let (ranks, cluster) = (f64::from(row.cluster.num_ranks()), &row.cluster);
    let hosts = |rank| !row.placement.slots_of(rank).is_empty();
    let hosting = cluster.ranks().filter(|&rank| hosts(rank)).count() as f64;
    let hosting_racks = cluster.racks().filter(|&rack| cluster.ranks_in(rack).any(hosts));
    let ranks_of_hosting_racks: u32 = hosting_racks.map(|rack| cluster.rack_size(rack)).sum();
    let crossing_ports =
        if row.scheme == DispatchScheme::Hierarchical { f64::from(ranks_of_hosting_racks) } else { hosting };
    let busy = expected.busiest.unwrap_or(CopiesPerToken {
        intra: expected.copies.intra * ranks / hosting,
        inter: expected.copies.inter * ranks / crossing_ports,
    });
    let crossing = expected.copies.inter * ranks / f64::from(ranks_of_hosting_racks);
    let uplink = expected.uplink.unwrap_or(crossing);
    let (row_bytes, tokens) = (RowBytes::new(spec.shape.hidden), Tokens(f64::from(spec.tokens)));
    let time = a2a_time_through(row.scheme, busy, uplink, tokens, row_bytes, links);
    Ok(ClosedForm {
        dispatch_us: time.dispatch.as_micros(),
        combine_us: time.combine.as_micros(),
        compute_us: compute_us(spec, row, expected)?,
    })
}

/// Expected compute time of the busiest rank: each of its experts is read with the probability that any token comes.
fn compute_us(spec: &CompareSpec, row: &Configuration, expected: &Expected) -> Result<f64, CompareError> {
    let shape = &spec.shape;
    let (flops_of_row, bytes) = (shape.expert_flops(1), shape.expert_weight_bytes() as f64);
    let reachable = reachable_tokens(spec, row);
    let mut busiest = 0.0_f64;
    for rank in row.cluster.ranks() {
        let mut sum = 0.0;
        for slot in row.placement.slots_of(rank) {
            let (rows, tokens) = (expected.rows_per_slot[slot.0 as usize], reachable[slot.0 as usize]);
            if rows <= 0.0 || tokens <= 0.0 {
                continue;
            }
            let touched = 1.0 - (1.0 - (rows / tokens).min(1.0)).powf(tokens);
            let flops = flops_of_row * rows / touched;
            let time = spec.hardware.expert_time(flops, flops_of_row, bytes, shape.dtype)?;
            sum += touched * time.as_micros_f64();
        }
        let start = if sum > 0.0 { spec.hardware.experts_start().as_micros_f64() } else { 0.0 };
        busiest = busiest.max(sum + start);
    }
    Ok(busiest)
}

/// The same model with its layers cut into stages, one rack a stage: a token crosses once a stage, not once a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineRow {
    /// Stages, as many as racks.
    pub stages: u32,
    /// Ranks of a stage.
    pub ranks_per_stage: u32,
    /// Sequences of one micro-batch: tokens a rank times ranks of a stage.
    pub micro_batch: u64,
    /// Handing a micro-batch to the next stage, BF16 rows on the scale-out ports, with the link's latency, microseconds.
    pub hop_us: f64,
    /// Time of a stage by weights and arithmetic (no communication, no KV cache), microseconds.
    pub stage_us: f64,
    /// Time of a token through all stages and hops, microseconds.
    pub token_latency_us: f64,
    /// Weights on a rank, bytes.
    pub weight_bytes_per_rank: f64,
}

/// The pipeline of a comparison's racks, `None` for a single rack or no tokens.
#[must_use]
pub fn pipeline_row(spec: &CompareSpec) -> Option<PipelineRow> {
    let stages = u32::try_from(spec.rack_sizes.len()).ok().filter(|&stages| stages > 1)?;
    let ranks = spec.rack_sizes.iter().copied().min().filter(|_| spec.tokens > 0)?;
    let flops = spec.hardware.flops(spec.shape.dtype).ok()?;
    let out = spec.fabric.scale_out_share();
    let row_bytes = RowBytes::new(spec.state_width()).combine;
    let hop = out.rate.transfer(u64::from(spec.tokens) * row_bytes).saturating_add(out.latency);
    let step = Step {
        batch: Tokens(f64::from(spec.tokens) * f64::from(ranks)),
        active: Params(spec.model.active_params()),
        weights: Bytes(spec.model.total_params() * spec.shape.dtype.bytes()),
        context: Tokens::ZERO,
        kv: BytesPerToken::ZERO,
        ranks: f64::from(ranks),
        flops: FlopPerS(flops),
        bandwidth: BytesPerS(spec.hardware.hbm_bytes_per_s as f64),
    };
    let (count, hop) = (f64::from(stages), Seconds(hop.as_micros_f64() * 1e-6));
    let row = Pipeline { step, stages: count, micro_batches: count, hop }.row();
    Some(PipelineRow {
        stages,
        ranks_per_stage: ranks,
        micro_batch: u64::from(spec.tokens) * u64::from(ranks),
        hop_us: hop.as_micros(),
        stage_us: row.stage.as_micros(),
        token_latency_us: row.token_latency.as_micros(),
        weight_bytes_per_rank: row.weights_per_rank.0,
    })
}

//! How much memory a comparison will need, estimated and refused before anything large is allocated.

use super::headroom::{MemoryLimit, for_people};
use super::{BackendKind, CompareError, CompareSpec, Configuration};
use moe::experts::WEIGHT_CACHE_BYTES;
use moe::{ExpertKind, RoutingSpec, RowBytes};

/// A worker process at rest: code, runtime, connections to its peers.
pub(crate) const WORKER_BYTES: u64 = 32 << 20;
/// Buffers of a worker for one peer.
pub(crate) const PEER_BYTES: u64 = 256 << 10;
/// What the references work on at a time (`moe::reference`), input, output and results.
const REFERENCE_BYTES: u64 = 4 * (64 << 20);
/// Bookkeeping of one token copy on its way.
const COPY_BYTES: u64 = 256;

/// The memory that a comparison needs at its peak, bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The row and backend that need most.
    pub what: String,
    /// The estimate.
    pub bytes: u64,
}

/// The largest of the rows and backends of `spec`; `quic_here` if workers run on this machine.
#[must_use]
pub fn estimate(spec: &CompareSpec, rows: &[Configuration], quic_here: bool) -> Estimate {
    let kept: u64 = rows.iter().map(|row| kept_bytes(spec, row)).sum();
    let mut most = Estimate { what: "the comparison".to_owned(), bytes: kept };
    for row in rows {
        for &backend in &spec.backends {
            let bytes = kept.saturating_add(match backend {
                BackendKind::Analytic => expectation_bytes(spec, row),
                BackendKind::Sim => reference_bytes(spec, row).max(step_bytes(spec, row)),
                BackendKind::Quic if quic_here => reference_bytes(spec, row)
                    .max(step_bytes(spec, row))
                    .saturating_add(worker_bytes(spec, row)),
                BackendKind::Quic => reference_bytes(spec, row),
            });
            if bytes > most.bytes {
                most = Estimate { what: format!("{} ({backend})", row.title), bytes };
            }
        }
    }
    most
}

/// Refuses a comparison that needs more than its limit.
///
/// # Errors
/// [`CompareError::Memory`] with both numbers.
pub(super) fn check(spec: &CompareSpec, rows: &[Configuration], quic_here: bool) -> Result<(), CompareError> {
    let Some(limit) = MemoryLimit::new(spec.memory_limit_bytes) else { return Ok(()) };
    let Estimate { what, bytes } = estimate(spec, rows, quic_here);
    if bytes <= limit.bytes {
        return Ok(());
    }
    Err(CompareError::Memory { what, needed: for_people(bytes), limit: Box::new(limit) })
}

fn tokens(spec: &CompareSpec, row: &Configuration) -> u64 {
    u64::from(spec.tokens) * u64::from(row.cluster.num_ranks())
}

/// What is kept of a row for all seeds and steps that differ: two traffic matrices, digests, rows a slot, the placement.
fn kept_bytes(spec: &CompareSpec, row: &Configuration) -> u64 {
    let ranks = u64::from(row.cluster.num_ranks());
    let of_seed = 16 * ranks * ranks + 8 * tokens(spec, row) + 8 * u64::from(row.placement.num_slots());
    let runs = spec.seeds.len() as u64 * u64::from(spec.distinct_steps());
    of_seed.saturating_mul(runs).saturating_add(64 * u64::from(row.placement.num_slots()))
}

/// Routings, outputs in f32 and float64, and scratch.
fn reference_bytes(spec: &CompareSpec, row: &Configuration) -> u64 {
    let routing = 8 * u64::from(spec.shape.top_k);
    let outputs = if spec.payload { 12 * u64::from(spec.shape.hidden) } else { 0 };
    let scratch = if spec.payload { REFERENCE_BYTES } else { 0 };
    tokens(spec, row)
        .saturating_mul(routing + outputs)
        .saturating_add(scratch)
        .saturating_add(weights(spec, row, 1))
}

/// Rows on their way in one step.
fn step_bytes(spec: &CompareSpec, row: &Configuration) -> u64 {
    let rows = RowBytes::new(spec.shape.hidden);
    let values =
        if spec.payload { rows.dispatch + rows.combine + 4 * u64::from(spec.shape.hidden) } else { 0 };
    let copies = tokens(spec, row).saturating_mul(u64::from(spec.shape.top_k));
    copies.saturating_mul(values + COPY_BYTES).saturating_add(weights(spec, row, 1))
}

/// All workers at rest, with their weights and connections.
fn worker_bytes(spec: &CompareSpec, row: &Configuration) -> u64 {
    let ranks = u64::from(row.cluster.num_ranks());
    (ranks * (WORKER_BYTES + ranks * PEER_BYTES)).saturating_add(weights(spec, row, ranks))
}

/// Weights of gates and of real experts in `processes` processes that share out the experts.
fn weights(spec: &CompareSpec, row: &Configuration, processes: u64) -> u64 {
    let hidden = u64::from(spec.shape.hidden);
    let gate = match spec.routing {
        RoutingSpec::Gate => 4 * hidden * u64::from(spec.shape.num_experts),
        _ => 0,
    };
    let experts = match spec.experts {
        ExpertKind::Modelled => 0,
        ExpertKind::Gemm => {
            let slots = u64::from(row.placement.num_slots()).div_ceil(processes);
            (12 * hidden * u64::from(spec.shape.expert_inter) * slots).min(WEIGHT_CACHE_BYTES as u64)
        }
    };
    processes.saturating_mul(gate + experts)
}

/// Sampled tokens and, for a gate, the hidden states of one rank's share of them.
fn expectation_bytes(spec: &CompareSpec, row: &Configuration) -> u64 {
    match spec.routing {
        RoutingSpec::Uniform => 0,
        _ => {
            20_000 * 8 * u64::from(spec.shape.top_k)
                + 20_000 * 4 * u64::from(spec.shape.hidden)
                + weights(spec, row, 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{configurations, testing};

    #[test]
    fn the_default_comparison_takes_less_than_two_gigabytes() {
        let spec = testing::default_spec();
        let rows = configurations(&spec, &mut Vec::new()).expect("valid");
        let bytes = estimate(&spec, &rows, true).bytes;
        assert!((200_000_000..2_000_000_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn too_much_is_refused_before_it_is_allocated() {
        let spec = CompareSpec { tokens: 1 << 20, ..testing::default_spec() };
        let rows = configurations(&spec, &mut Vec::new()).expect("valid");
        let limited = CompareSpec { memory_limit_bytes: Some(1 << 30), ..spec };
        let error = check(&limited, &rows, false).expect_err("too much").to_string();
        assert!(error.contains("the limit is 1.1 GB"), "{error}");
    }
}

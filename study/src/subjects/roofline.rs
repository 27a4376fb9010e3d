//! A roofline step as a subject of experiments: a deployment's closed forms.

use crate::experiment::{Column, Failed, Fault, Note, Record, Resolved, Work};
use crate::layer::{BackendKind, Verification};
use blackboard::deployment::Deployment;
use blackboard::published::{Asked, trust};

/// The numbers of a roofline step's records.
pub const COLUMNS: [Column; 23] = [
    Column::kept("t_compute_ms", "arithmetic", "ms"),
    Column::kept("t_weights_ms", "reading weights", "ms"),
    Column::kept("t_kv_ms", "reading caches", "ms"),
    Column::kept("t_a2a_ms", "all-to-all", "ms"),
    Column::kept("t_tp_ms", "tensor parallelism", "ms"),
    Column::shown("step_ms", "step", "ms"),
    Column::kept("step_sum_ms", "step, attention alone", "ms"),
    Column::kept("step_serial_ms", "step, nothing overlaps", "ms"),
    Column::kept("stage_ms", "stage", "ms"),
    Column::kept("hop_ms", "hop", "ms"),
    Column::kept("bubble", "stages idle, share", ""),
    Column::shown("tokens_per_s", "output", "tok/s"),
    Column::kept("tokens_per_s_per_rank", "output of a rank", "tok/s"),
    Column::shown("tokens_per_s_per_user", "output for a user", "tok/s"),
    Column::shown("usd_per_mtok", "price", "$/Mtok"),
    Column::kept("optimal_batch", "optimal batch", "sequences"),
    Column::kept("kv_over_compute", "caches over arithmetic", ""),
    Column::kept("a2a_over_expert_compute", "all-to-all over experts' arithmetic", ""),
    Column::kept("experts_touched", "experts touched, share", ""),
    Column::kept("weights_gb_per_rank", "weights of a rank", "GB"),
    Column::kept("kv_gb_per_rank", "caches of a rank", "GB"),
    Column::kept("buffers_gb_per_rank", "buffers of a rank", "GB"),
    Column::shown("memory_use", "memory in use, share", ""),
];

/// Words for settings of a roofline step.
pub const WORDS: [Column; 13] = [
    Column::kept("top_k", "experts a token", ""),
    Column::kept("ranks_per_rack", "ranks in a rack", ""),
    Column::kept("kv_dtype", "caches in", ""),
    Column::kept("pp", "pipeline stages", ""),
    Column::kept("tp", "tensor parallelism, ranks", ""),
    Column::kept("common_weights", "weights of all tokens", ""),
    Column::kept("memory_share", "memory in use, share", ""),
    Column::kept("mtp_depth", "drafts a step", ""),
    Column::kept("mtp_acceptance", "drafts that hold, share", ""),
    Column::kept("micro_batches", "micro-batches", ""),
    Column::kept("tokens_per_rank", "tokens a rank", ""),
    Column::kept("batch", "sequences in flight", ""),
    Column::kept("price", "price of a rank", "$/h"),
];

/// What a step takes, bytes: next to nothing.
const STEP_BYTES: u64 = 1 << 16;

/// A point of one deployment.
///
/// # Errors
/// [`Fault`] where numbers don't fit each other.
pub fn resolved<'a>(deployment: Deployment, command: String) -> Result<Resolved<'a>, Fault> {
    deployment.validate().map_err(|error| error.to_string())?;
    Ok(Resolved {
        backends: vec![BackendKind::Analytic],
        identity: format!("{deployment:?}").into_bytes(),
        memory_bytes: STEP_BYTES,
        ranks: deployment.ranks,
        command,
        work: Box::new(Step(deployment)),
    })
}

/// One decode step.
#[derive(Debug)]
struct Step(Deployment);

impl Work for Step {
    fn run(&self, _: Note<'_>) -> Result<Vec<Record>, Failed> {
        let estimate =
            self.0.estimate().map_err(|error| Failed { usage: true, problem: error.to_string() })?;
        let trust = trust(&self.0.hardware, &[Asked::step(&self.0)]);
        let record = Record::sound(BackendKind::Analytic, Verification::NothingRan, &estimate)?;
        Ok(vec![record.with_trust(&trust)?])
    }
}

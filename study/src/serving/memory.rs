//! What a serving run takes of this machine's memory, bounded from above before anything is allocated.
//!
//! Counted are the process at rest; requests that wait or are under way; the frames of one layer's step with as many tokens as it can carry,
//! since replicas, stages and layers are simulated one after the other; and what is kept of each flow between two ranks. On workers: each at rest with its
//! connections. Not counted: what caches of ended requests know of their blocks, and the values that workers hold.

use super::deploy::Deployment;
use super::spec::{Prefill, ServeSpec};
use crate::layer::{BackendKind, PEER_BYTES, WORKER_BYTES};
use serving::arrivals::{LengthSpec, LengthTable};

/// The process at rest: code, presets, placements of a whole model (measured: 15 MB to 27 MB).
const REST_BYTES: u64 = 32 << 20;
/// A request that waits or is under way (measured: 90).
const REQUEST_BYTES: u64 = 160;
/// A token of a step on its way to one expert (measured: 240 to 270).
const COPY_BYTES: u64 = 384;
/// A flow between two ranks (measured: 60).
const FLOW_BYTES: u64 = 128;
/// Remembered steps lie on a grid with three lines an octave: the next one up has so many times the tokens at most.
const GRID_STEP: f64 = 1.26;

impl Deployment {
    /// The most bytes of memory that a run of `spec` takes on `backend`.
    #[must_use]
    pub fn memory_bytes(&self, spec: &ServeSpec, backend: BackendKind) -> u64 {
        let arrivals = &spec.arrivals;
        let policy = &spec.scheduler;
        let most = u64::from(policy.queue_max);
        let requests = match (arrivals.users, arrivals.num_prompts) {
            (Some(users), _) => u64::from(users),
            (None, given) => given.unwrap_or(most).min(most),
        };
        let ranks = u64::from(self.cluster.num_ranks());
        let columns = u64::from(self.stack.columns());
        let seats = requests.min(columns * u64::from(policy.max_num_seqs));
        let new_tokens = match (spec.serve.prefill, &spec.prefill) {
            (Prefill::Here, None) => {
                let prefix = arrivals.prefixes.as_ref().map_or(0, |prefixes| prefixes.prefix_len.into());
                longest(arrivals.input_len.as_ref()).saturating_add(prefix)
            }
            // The last token of a prompt, or the next of an answer.
            _ => 1,
        };
        let tokens = seats.saturating_mul(new_tokens).min(columns * u64::from(policy.max_num_batched_tokens));
        let copies = (tokens as f64 * GRID_STEP) as u64 * u64::from(self.stack.shape().top_k);
        let frames = copies.saturating_mul(COPY_BYTES) + columns * columns * FLOW_BYTES;
        let of_backend = match backend {
            BackendKind::Analytic => 0,
            BackendKind::Sim => frames,
            BackendKind::Quic => frames + ranks * (WORKER_BYTES + ranks * PEER_BYTES),
        };
        REST_BYTES + requests * REQUEST_BYTES + of_backend
    }
}

/// Most tokens of a prompt; without limit where a trace says.
fn longest(lengths: Option<&LengthSpec>) -> u64 {
    match lengths {
        Some(&LengthSpec::Fixed(tokens)) => tokens.into(),
        Some(LengthSpec::Drawn(LengthTable::Uniform { max, .. } | LengthTable::LogNormal { max, .. })) => {
            (*max).into()
        }
        None => u64::MAX,
    }
}

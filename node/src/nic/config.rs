//! What a card is told before a phase: its ports, its limits, and whom it has flows with.

use crate::wire::TrafficClass;
use topology::{Fabric, LinkSpec, Picos, RankId};

/// Settings of a card, equal on every rank and every backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NicConfig {
    /// Rates and latencies of the two ports.
    pub fabric: Fabric,
    /// Class of the rows that are sent.
    pub class: TrafficClass,
    /// Most rows in one frame.
    pub chunk_rows: u32,
    /// Bytes that may be on the way to one peer before it grants more.
    pub credit_bytes: u64,
    /// Bytes of a full frame of `chunk_rows` rows. A port is reserved at most two such frames ahead of the clock ...
    pub chunk_bytes: u64,
    /// ... or this long, where that is more: what a shell with coarse timers needs. Zero on a virtual clock.
    pub horizon: Picos,
    /// The shell's resolution: a frame that comes this much after its turn, or less, merely swaps turns with those that went
    /// before it, and the port carries as much as ever. Zero on a virtual clock.
    pub resolution: Picos,
}

impl NicConfig {
    /// How far ahead of the clock the port of `link` may be reserved.
    pub(crate) fn lookahead(&self, link: LinkSpec) -> Picos {
        Picos(link.rate.transfer(self.chunk_bytes).0.saturating_mul(2)).max(self.horizon)
    }
}

/// Chunks of credit that a pair has beyond what the link's delay holds.
///
/// The formula of [`credit_window`] asks for two; sixteen lets a rank fall behind by several frames on a busy machine before its peers
/// wait.
const CREDIT_CHUNKS: u64 = 16;

/// Bytes that may be on the way to one peer: `2 * (rate * latency + 2 chunks)` or sixteen chunks, whichever is more.
#[must_use]
pub fn credit_window(fabric: &Fabric, chunk_bytes: u64) -> u64 {
    let delay =
        |link: LinkSpec| u128::from(link.rate.bytes_per_s()) * u128::from(link.latency.0) / 1_000_000_000_000;
    let delay_bytes = delay(fabric.scale_up).max(delay(fabric.scale_out));
    let delay_bytes = u64::try_from(delay_bytes).unwrap_or(u64::MAX / 8);
    let two_chunks = delay_bytes.saturating_add(2 * chunk_bytes).saturating_mul(2);
    two_chunks.max(CREDIT_CHUNKS * chunk_bytes)
}

/// The ranks that a card has flows with in a phase, each list ascending.
#[derive(Clone, Copy, Debug)]
pub struct FlowPeers<'a> {
    /// Those it sends to.
    pub to: &'a [RankId],
    /// Those it hears from.
    pub from: &'a [RankId],
}

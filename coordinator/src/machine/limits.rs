//! How long the coordinator waits for what, and how often it tries again.

pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// Waits and retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For missing nodes, since the cluster's last change: a cluster that has been complete for longer is not waited for.
    pub forming_ns: u64,
    /// For seats to connect with each other.
    pub configure_ns: u64,
    /// For gate and quantisation.
    pub prepare_ns: u64,
    /// For a phase, beyond ten times its expected length.
    pub phase_ns: u64,
    /// From the command to open a phase until its common start.
    pub lead_ns: u64,
    /// The same, added for each rank: commands go out one after the other.
    pub lead_per_rank_ns: u64,
    /// After a node's complaint, for the loss of another node that explains it; where the complaint names a link, a node's silence is
    /// waited for as well.
    pub blame_ns: u64,
    /// How much longer than the coordinator has waited a phase may be reported to have lasted: clocks of one machine, read one after the
    /// other. `u64::MAX` where the coordinator's time stands still.
    pub slack_ns: u64,
    /// How often nodes and the coordinator say that they are alive, ms; 0 for never, QUIC's idle timeout then decides.
    pub beat_ms: u32,
    /// Beats after which a silent node is suspected: no new run is seated on it.
    pub suspected_beats: u32,
    /// Beats after which it is lost.
    pub lost_beats: u32,
    /// How long a run that has lost a seat waits for a node to take it.
    pub return_ns: u64,
    /// Steps in succession after which a slow node is left out, if there is a spare; 0 for never.
    pub slow_steps: u32,
    /// How often a step may be begun anew because a seat was lost, before the run fails.
    pub replays_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            forming_ns: 60 * SECOND_NS,
            configure_ns: 60 * SECOND_NS,
            prepare_ns: 120 * SECOND_NS,
            phase_ns: 30 * SECOND_NS,
            lead_ns: 10_000_000,
            lead_per_rank_ns: 500_000,
            blame_ns: SECOND_NS / 4,
            slack_ns: 5_000_000,
            beat_ms: 250,
            suspected_beats: 3,
            lost_beats: 4,
            return_ns: 20 * SECOND_NS,
            slow_steps: 0,
            replays_max: 8,
        }
    }
}

//! The one schema behind table and JSON: a report with a record for each configuration, latency and backend.

use super::{
    BackendKind, Bandwidth, CompareSpec, Detail, ExpectedKind, FaultCost, PipelineRow, pipeline_row,
};
use crate::scenario::distinct;
use moe::DispatchScheme;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of [`Report`]'s JSON: raised when a key changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// What was checked about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verification {
    /// Every token bit for bit against the quantised reference, that against float64, and the bytes of every pair of ranks
    /// against the plan.
    OutputsAndTraffic,
    /// Every token bit for bit against a reference.
    Outputs,
    /// The bytes of every pair of ranks against the plan; rows had no values.
    Traffic,
    /// A closed form: nothing ran.
    NothingRan,
}

/// An attempt at a configuration that the host disturbed: why, and what it would have yielded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Discarded {
    /// Wall time over emulated time in dispatch and combine.
    pub network_dilation: u64,
    /// The same for the experts.
    pub compute_dilation: u64,
    /// Rounds until that was clear.
    pub samples: u32,
    /// Their median of dispatch and that of combine together, emulated microseconds.
    pub a2a_us: f64,
    /// What disturbed it.
    pub problem: String,
}

/// One configuration at one latency on one backend. Times are emulated microseconds, the largest over ranks; over rounds
/// and seeds, the median.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Racks.
    pub racks: u32,
    /// Ranks.
    pub ranks: u32,
    /// Dispatch scheme.
    pub scheme: DispatchScheme,
    /// Where the experts are: `linear`, `round-robin`, `replicated`, `one-rack`, `eplb`, `eplb-global`,
    /// `rack-aware`, or a file.
    pub placement: String,
    /// Where routing comes from: `uniform`, `gate`, `zipf:S`, `trace:FILE`.
    pub gate: String,
    /// Most racks that a token's experts lie in; `None` if unlimited. In a base row, racks of the rows that it is the base of.
    pub gate_rack_limit: Option<u32>,
    /// How the numbers came about.
    pub backend: BackendKind,
    /// `zero`, `preset`, or the two latencies in microseconds.
    pub latency: String,
    /// Dispatch copies a token that stayed in a rack but left their rank, counted (analytic: expected).
    pub intra_copies_per_token: f64,
    /// Dispatch copies a token between racks, counted (analytic: expected).
    pub inter_copies_per_token: f64,
    /// What the gate in use leads one to expect of the first.
    pub expected_intra: f64,
    /// What the gate in use leads one to expect of the second.
    pub expected_inter: f64,
    /// Standard error of `expected_intra`; `None` where no tokens were drawn, or too many ranks drew them.
    pub expected_intra_error: Option<f64>,
    /// The same of `expected_inter`.
    pub expected_inter_error: Option<f64>,
    /// Dispatch time.
    pub dispatch_us: f64,
    /// Combine time.
    pub combine_us: f64,
    /// `dispatch_us + combine_us`.
    pub a2a_us: f64,
    /// Time of the experts.
    pub compute_us: f64,
    /// `a2a_us + compute_us`: nothing overlaps, but in a layer that was measured as one fused kernel.
    pub layer_us: f64,
    /// Lower bound of `a2a_us`: the fluid bound of the bytes that each port and oversubscribed uplink had to carry; for analytic, the closed form itself.
    pub bound_us: f64,
    /// `a2a_us` over that of the base row with the same gate, backend and latency; `None` if that is 0.
    pub a2a_slowdown: Option<f64>,
    /// The same for `layer_us`.
    pub layer_slowdown: Option<f64>,
    /// p99 of how late deliveries were, emulated microseconds; quic only.
    pub lateness_p99_us: Option<f64>,
    /// False if any check failed; see [`Record::verification`] for which were made.
    pub verified: bool,
    /// False if not verified, or if the host could not follow the clock.
    pub valid: bool,

    /// What the row is, for people.
    pub title: String,
    /// Number of the configuration in the report.
    pub configuration: usize,
    /// Number of the configuration that the slowdowns are against.
    pub base_configuration: usize,
    /// How the expectation was computed.
    pub expected_kind: ExpectedKind,
    /// Tokens of a step, over all ranks.
    pub tokens: u64,
    /// Of them, those with an expert outside their rack, a seed's mean; `None` for analytic.
    pub tokens_crossing: Option<f64>,
    /// Expert weights on the fullest rank, bytes.
    pub weight_bytes_per_rank: u64,
    /// Samples behind the medians: rounds times seeds.
    pub samples: u32,
    /// Nearest-rank 10th percentile of the all-to-all over samples.
    pub a2a_p10_us: f64,
    /// Its 90th percentile.
    pub a2a_p90_us: f64,
    /// 10th percentile of compute.
    pub compute_p10_us: f64,
    /// 90th percentile of compute.
    pub compute_p90_us: f64,
    /// 10th percentile of the layer.
    pub layer_p10_us: f64,
    /// 90th percentile of the layer.
    pub layer_p90_us: f64,
    /// The all-to-all by stamps instead of clocks; equal to `a2a_us` in sim.
    pub a2a_stamped_us: f64,
    /// Measured over simulated all-to-all; quic only, and only beside sim.
    pub measured_over_sim: Option<f64>,
    /// What was checked.
    pub verification: Verification,
    /// Relative RMS error of the outputs against float64, the largest over seeds; `None` without outputs.
    pub error_rms: Option<f64>,
    /// Wall time over emulated time in dispatch and combine; quic only.
    pub network_dilation: Option<u64>,
    /// The same for the experts.
    pub compute_dilation: Option<u64>,
    /// CPU time of all workers over wall time and cores, the worst phase; quic only.
    pub cpu_share: Option<f64>,
    /// Frames that were later than their turn over all frames, the worst phase; quic only.
    pub overtaken_share: Option<f64>,
    /// p99 of lateness over the phase's wall time, the worst phase; quic only.
    pub lateness_share: Option<f64>,
    /// Bytes that QUIC put on the network in a step's dispatch and combine, headers and acknowledgements included; quic only.
    pub udp_bytes: Option<f64>,
    /// Times that the row was repeated, each at twice the dilation of the time before or more.
    pub retries: u32,
    /// Those attempts that were not the last, in order. Left out where there were none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discarded: Vec<Discarded>,
    /// Times that a measured step was begun anew, since a rank or a link was lost in it. Left out where it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replays: u32,
    /// What the faults that were asked for have cost. Left out where none were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultCost>,
    /// The first thing that was wrong.
    pub problem: Option<String>,
    /// What the ports carried, in GB/s; `None` for closed forms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Bytes of every pair, times and rows of every rank, every round. Left out where it was not asked for, and for closed forms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

/// A comparison's results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// False where the comparison ended early: rows are missing. Left out where it is true.
    #[serde(default = "complete", skip_serializing_if = "is_complete")]
    pub complete: bool,
    /// Rows that were asked for; only where some are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_asked: Option<usize>,
    /// Seeds that were run.
    pub seeds: Vec<u64>,
    /// All resolved options ([`CompareSpec::config`](super::CompareSpec::config)).
    pub config: Value,
    /// The command that repeats it, if one does.
    #[serde(default)]
    pub command: Option<String>,
    /// By configuration, then latency, then backend.
    pub rows: Vec<Record>,
    /// The same model as a pipeline with a rack a stage; closed form.
    pub pipeline: Option<PipelineRow>,
    /// The resolved options as lines for people.
    pub header: String,
}

fn complete() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_complete(complete: &bool) -> bool {
    *complete
}

impl Report {
    /// The report of `spec` with all its rows.
    pub(super) fn new(spec: &CompareSpec, records: Vec<Record>) -> Self {
        let mut report = Self {
            schema_version: SCHEMA_VERSION,
            complete: true,
            rows_asked: None,
            seeds: spec.seeds.clone(),
            config: spec.config(),
            command: spec.command.clone(),
            rows: records,
            pipeline: pipeline_row(spec),
            header: spec.header(),
        };
        report.relate();
        report
    }

    /// The first record that failed its checks or did not keep up.
    #[must_use]
    pub fn first_failure(&self) -> Option<&Record> {
        self.rows.iter().find(|record| !record.verified || !record.valid)
    }

    /// The latencies of the report, in order.
    #[must_use]
    pub fn latencies(&self) -> Vec<&str> {
        distinct(self.rows.iter().map(|record| record.latency.as_str()))
    }

    /// The backends of the report, ascending.
    #[must_use]
    pub fn backends(&self) -> Vec<BackendKind> {
        let present = |kind: &BackendKind| self.rows.iter().any(|record| record.backend == *kind);
        BackendKind::ALL.into_iter().filter(present).collect()
    }

    /// The record of a configuration.
    #[must_use]
    pub fn find(&self, configuration: usize, latency: &str, backend: BackendKind) -> Option<&Record> {
        self.rows.iter().find(|record| {
            record.configuration == configuration && record.latency == latency && record.backend == backend
        })
    }

    /// Fills in what relates records to each other: slowdowns and measured over simulated.
    fn relate(&mut self) {
        let ratio = |over: f64, under: f64| (under > 0.0).then_some(over / under);
        for at in 0..self.rows.len() {
            let record = &self.rows[at];
            let base = self.find(record.base_configuration, &record.latency, record.backend);
            let a2a = base.and_then(|base| ratio(record.a2a_us, base.a2a_us));
            let layer = base.and_then(|base| ratio(record.layer_us, base.layer_us));
            let sim = self.find(record.configuration, &record.latency, BackendKind::Sim);
            let over_sim = sim.filter(|_| record.backend == BackendKind::Quic);
            let over_sim = over_sim.and_then(|sim| ratio(record.a2a_us, sim.a2a_us));
            let record = &mut self.rows[at];
            (record.a2a_slowdown, record.layer_slowdown, record.measured_over_sim) = (a2a, layer, over_sim);
        }
    }
}

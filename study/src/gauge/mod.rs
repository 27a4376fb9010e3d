//! What this host carries, measured on the data plane that rows take: the same workers, frames and QUIC, with ports out of the way.
//!
//! Four short runs: large frames and small ones between all ranks at once, large ones between two ranks alone, and a few small ones a good
//! while apart. Of several steps the one that was disturbed least counts: rows ask for less than that, and adapt to what else goes on.

mod kept;

pub use kept::Kept;

use coordinator::RunError;
use coordinator::judge::judge;
use coordinator::pace::{Figures, Host};
use coordinator::run::{Leads, RunRequest, Runner, StepRecord, run_steps};
use moe::gate::{GateKind, GateSpec, Softmax};
use moe::placement::Placement;
use moe::{DispatchScheme, LayerShape, RowBytes};
use node::control::{Pacing, PhaseReport};
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::wire::Phase;
use std::time::{SystemTime, UNIX_EPOCH};
use topology::{Cluster, Dtype, Fabric, Hardware, LinkSpec, Picos, Rate};

/// Whether a host is measured before rows are paced for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Gauging {
    /// Measured, unless what was measured here within a day is kept.
    #[default]
    Auto,
    /// Measured again.
    New,
    /// Not measured: constants for two cores.
    Assumed,
}

/// Most ranks that take part: more are like these.
const RANKS_MAX: u32 = 64;
/// Bytes a second of a port that never holds anything back: a megabyte takes a nanosecond.
const NO_THROTTLE: u64 = 1_000_000_000_000_000;
/// Delay of its link: at that rate a pair's credit, which is for what a link holds, then holds nothing back.
const DELAY: Picos = Picos(1_000_000);
/// Width of large rows and of small ones.
const HIDDEN: [u32; 2] = [7_168, 512];
/// Rows of a frame.
const CHUNK_ROWS: [u32; 2] = [4, 1];
/// Rows that all ranks together send out in a phase.
const ROWS: [u32; 2] = [3_840, 15_360];
/// Most rows of a pair: fewer frames than a worker takes before it is told of a phase.
const PAIR_ROWS_MAX: u32 = 512;
/// Steps of each run; the first warms up.
const STEPS: u32 = 3;
/// How long the rows of a rank take that are to be waited for.
const APART: Picos = Picos(30_000_000_000);
/// How long before them ranks are told.
const APART_LEAD_NS: u64 = 10_000_000;

/// `host` with its figures: those that are kept of a host like this with `ranks` ranks, or measured now on `runner` and kept.
///
/// # Errors
/// As a run. A cache that can't be read or written is none.
pub async fn gauged<R: Runner + Send>(
    runner: &mut R,
    host: Host,
    ranks: u32,
    gauging: Gauging,
    kept: &Kept,
) -> Result<Host, RunError> {
    if gauging == Gauging::Assumed || ranks < 2 {
        return Ok(host);
    }
    let found = kept.find(host, ranks, now_s()).filter(|_| gauging == Gauging::Auto);
    let figures = match found {
        Some(figures) => figures,
        None => {
            let figures = measure(runner, host, ranks.min(RANKS_MAX)).await?;
            if let Err(error) = kept.keep(host, ranks, figures) {
                tracing::info!("what this host carries is not kept: {error}");
            }
            figures
        }
    };
    Ok(Host { figures, ..host })
}

/// Measures on `ranks` ranks.
async fn measure<R: Runner + Send>(runner: &mut R, host: Host, ranks: u32) -> Result<Figures, RunError> {
    let link = |rate: u64, latency| LinkSpec { rate: Rate::new(rate.max(1)).expect("a rate"), latency };
    let unthrottled = link(NO_THROTTLE, DELAY);
    let rows = |at: usize, ranks: u32| (ROWS[at] / (ranks * (ranks - 1))).clamp(1, PAIR_ROWS_MAX);
    let large = measured(runner, &request(ranks, 0, rows(0, ranks), unthrottled, 0)).await?;
    let small = measured(runner, &request(ranks, 1, rows(1, ranks), unthrottled, 0)).await?;
    let pair = measured(runner, &request(2, 0, rows(0, 2), unthrottled, 0)).await?;
    let bytes_apart = RowBytes::new(HIDDEN[1]).dispatch * u64::from(ranks - 1);
    let slow = link(bytes_apart * 1_000_000_000_000 / APART.0, Picos::ZERO);
    let apart = measured(runner, &request(ranks, 1, 1, slow, APART_LEAD_NS)).await?;
    let wake_us = judge(&apart, Pacing::default(), host).lateness_p99_us;
    let most = |rates: &[f64]| rates.iter().copied().fold(1.0, f64::max) as u64;
    let of = |steps: &[StepRecord], phase, what: fn(&PhaseReport) -> u64| {
        most(&steps.iter().map(|step| rate_of(step, phase, what)).collect::<Vec<_>>())
    };
    Ok(Figures {
        bytes_per_s: of(&large, Phase::Combine, sent),
        frames_per_s: of(&small, Phase::Dispatch, |report| report.frames),
        rank_bytes_per_s: of(&pair, Phase::Combine, sent) / 2,
        wake_ns: (wake_us * 1e3) as u64,
        element_fs: large.iter().map(|step| element_fs(step, host, ranks, rows(0, ranks))).min().unwrap_or(1),
        measured_unix_s: Some(now_s()),
    })
}

/// The steps after the first.
async fn measured<R: Runner + Send>(
    runner: &mut R,
    request: &RunRequest,
) -> Result<Vec<StepRecord>, RunError> {
    let mut steps = run_steps(runner, request, STEPS).await?;
    Ok(steps.split_off(1))
}

/// Every rank has `rows` rows for every other one, and an expert that all of them go to. `at` 0 is large, 1 small.
fn request(ranks: u32, at: usize, rows: u32, link: LinkSpec, lead_ns: u64) -> RunRequest {
    let shape = LayerShape {
        hidden: HIDDEN[at],
        num_experts: ranks,
        top_k: ranks,
        expert_inter: 16,
        gate: GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true)),
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    };
    let cluster = Cluster::new(&[ranks]).expect("a rack of a few ranks");
    let placement = Placement::linear(&cluster, ranks).expect("an expert a rank");
    let layer = LayerProgram::new(shape, placement, vec![rows; ranks as usize]);
    // Its experts take no time that counts.
    let hardware = Hardware::preset("gb200").expect("a preset");
    let setup = Setup {
        scheme: DispatchScheme::Flat,
        chunk_rows: CHUNK_ROWS[at],
        fabric: Fabric::new(link, link),
        ..Setup::new(cluster, hardware, Program::Layer(layer))
    };
    let leads = Some(Leads { network_ns: lead_ns, compute_ns: 0 });
    RunRequest { leads, expected_phase_ns: 1_000_000_000, ..RunRequest::new(setup) }
}

fn sent(report: &PhaseReport) -> u64 {
    report.sent_bytes.iter().map(|(_, bytes)| bytes).sum()
}

/// What all ranks did in a phase, a second of the wall.
fn rate_of(step: &StepRecord, phase: Phase, what: fn(&PhaseReport) -> u64) -> f64 {
    let reports = step.reports(phase);
    let seconds = PhaseReport::slowest(reports).0 as f64 * 1e-12;
    reports.iter().map(what).sum::<u64>() as f64 / seconds.max(1e-6)
}

/// CPU time of the experts for one element, femtoseconds.
fn element_fs(step: &StepRecord, host: Host, ranks: u32, rows: u32) -> u64 {
    let cpu = step.reports(Phase::Expert).iter().map(|report| report.cpu_ns);
    let cpu_ns = if host.one_process { cpu.max().unwrap_or(0) } else { cpu.sum() };
    let elements = u64::from(ranks) * u64::from(ranks) * u64::from(rows) * u64::from(HIDDEN[0]);
    (cpu_ns.saturating_mul(1_000_000) / elements.max(1)).max(1)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Figures in a line, and where they are from.
#[must_use]
pub fn told(figures: &Figures) -> String {
    let giga = |rate: u64| rate as f64 / 1e9;
    let carried =
        format!("{:.2} GB/s and {} small frames/s", giga(figures.bytes_per_s), figures.frames_per_s);
    let Some(measured_s) = figures.measured_unix_s else { return format!("{carried}, assumed") };
    let ago = match now_s().saturating_sub(measured_s) {
        seconds if seconds < 120 => "now".to_owned(),
        seconds if seconds < 7_200 => format!("{} minutes ago", seconds / 60),
        seconds => format!("{} hours ago", seconds / 3_600),
    };
    format!(
        "{carried}, {:.2} GB/s a rank, timers {:.2} ms late, measured {ago}",
        giga(figures.rank_bytes_per_s),
        figures.wake_ns as f64 * 1e-6
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use coordinator::SimRunner;

    #[tokio::test]
    async fn a_host_is_measured_once_and_then_known() {
        let place = tempfile::tempdir().expect("a directory");
        let kept = Kept::in_folder(Some(place.path().join("railyard")));
        let (mut runner, host) = (SimRunner::default(), Host::this(true));
        let mut gauged_as =
            async |gauging| gauged(&mut runner, host, 3, gauging, &kept).await.expect("a run");
        assert_eq!(gauged_as(Gauging::Assumed).await, host);
        let first = gauged_as(Gauging::Auto).await;
        // In the simulator ports alone take time, a rank's all by itself: in a combine each sends two others 512 rows in 4,096 bytes a nanosecond.
        assert!(first.figures.are_measured() && first.figures.bytes_per_s > 1_000_000_000_000);
        assert_eq!(gauged_as(Gauging::Auto).await, first);
        assert!(told(&first.figures).ends_with("measured now"));
        assert!(told(&Figures::ASSUMED).ends_with("1.00 GB/s and 14000 small frames/s, assumed"));
    }
}

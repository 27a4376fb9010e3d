//! Paces a row on the wall clock so that this machine can follow.

use super::truth::Truth;
use super::{CompareSpec, Configuration, Dilation, LatencyChoice};
use coordinator::pace::{
    BYTES_PER_S, COMPUTE_HEADROOM, FRAMES_PER_S, GEMM_FLOPS, Host, MODELLED_S_PER_ELEMENT,
    NETWORK_WALL_S_MIN, RATED_CORES,
};
use coordinator::run::RunRequest;
use moe::plan::Flows;
use moe::{DispatchScheme, ExpertKind, RowBytes};
use node::control::Pacing;
use node::program::{LayerProgram, Program};
use node::setup::{Setup, chunk_rows};
use topology::{A2aLinks, Fabric, LinkClass, PhaseLinks, Picos, TrafficMatrix, fluid_bound};

/// Bytes that all ports together may inject in a second while all of them are busy. A throttled pair of racks sends all its
/// scale-up rows in the first fraction of a phase: without this limit that burst would come late and in the wrong order.
const PEAK_BYTES_PER_S: f64 = 600e6;
/// Share of a phase within which frames may swap turns at a port: less than the 3% to which measured times are held.
const RESOLUTION_SHARE: f64 = 0.02;
/// How much slower still a row is paced whose rows are forwarded over links without latency: what a gateway gets late it passes on
/// late, and no latency hides it. Without it nearly every such row is disturbed and repeated.
const FORWARDED_WITHOUT_LATENCY: u64 = 2;
/// Shortest wall time of the expert phase.
const COMPUTE_WALL_S_MIN: f64 = 0.060;
/// Dilation of a phase in which nothing moves: what the host takes for it then doesn't show.
const EMPTY_DILATION: u64 = 1_000_000;

/// Lower bounds of dispatch and combine on `links`.
pub(super) fn bounds(row: &Configuration, truth: &Truth, links: &A2aLinks) -> [Picos; 2] {
    let phases = [(&truth.traffic.dispatch, links.dispatch), (&truth.traffic.combine, links.combine)];
    phases.map(|(matrix, links)| match fluid_bound(matrix, &row.cluster, &links.fabric) {
        Picos::ZERO => Picos::ZERO,
        bound => bound.max(links.floor),
    })
}

/// How a run maps emulated time to the wall clock, and how long a step then takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) pacing: Pacing,
    /// Wall time of the longest phase.
    pub(super) longest_ns: u64,
    /// Wall time of all phases.
    pub(super) step_ns: u64,
}

/// The pace at which the slowest of a run's steps is kept up with.
pub(super) fn slowest_pace(
    spec: &CompareSpec,
    row: &Configuration,
    truths: &[Truth],
    setup: &Setup,
    host: Host,
    retries: u32,
) -> Pace {
    let paces = truths.iter().map(|truth| pace(spec, row, truth, setup, host, retries));
    let slower = |a: Pace, b: Pace| Pace {
        pacing: Pacing {
            network_dilation: a.pacing.network_dilation.max(b.pacing.network_dilation),
            compute_dilation: a.pacing.compute_dilation.max(b.pacing.compute_dilation),
            resolution_ns: a.pacing.resolution_ns.min(b.pacing.resolution_ns),
        },
        longest_ns: a.longest_ns.max(b.longest_ns),
        step_ns: a.step_ns.max(b.step_ns),
    };
    paces.reduce(slower).unwrap_or_default()
}

/// The pace of one step.
fn pace(
    spec: &CompareSpec,
    row: &Configuration,
    truth: &Truth,
    setup: &Setup,
    host: Host,
    retries: u32,
) -> Pace {
    let flows = Flows::new(row.scheme, &row.cluster, &row.placement);
    let links = setup.links();
    let [dispatch, combine] = bounds(row, truth, &links);
    let bounds = [
        dispatch.max(slowest_mark(&flows, links.dispatch)),
        combine.max(slowest_mark(&flows, links.combine)),
    ];
    let bytes = RowBytes::new(spec.shape.hidden);
    // A rank works on one thread.
    let scale = f64::from(host.cores.min(row.cluster.num_ranks()))
        / RATED_CORES.min(f64::from(row.cluster.num_ranks()));
    let phases = [(&truth.traffic.dispatch, bytes.dispatch), (&truth.traffic.combine, bytes.combine)];
    let charge = busiest_compute(row, truth, setup);
    let (network, compute) = match spec.dilation {
        Dilation::Fixed(factor) => (factor, factor),
        Dilation::Auto => {
            let mut network = 1;
            let fabrics = [links.dispatch.fabric, links.combine.fabric];
            for (((matrix, row_bytes), bound), fabric) in phases.into_iter().zip(bounds).zip(fabrics) {
                let frames = frames(&flows, matrix, row_bytes, chunk_rows(spec.tokens)) as f64;
                let busy_s = (matrix.total() as f64 / BYTES_PER_S).max(frames / FRAMES_PER_S) / scale;
                network = network.max(stretch(busy_s.max(NETWORK_WALL_S_MIN), bound));
                let peak = peak_bytes_per_s(row, matrix, &fabric) / (PEAK_BYTES_PER_S * scale);
                network = network.max(peak.ceil() as u64);
            }
            let no_slack = row.cluster.num_racks() > 1 && setup.fabric.scale_up.latency == Picos::ZERO;
            if no_slack && row.scheme == DispatchScheme::Hierarchical {
                network = network.saturating_mul(FORWARDED_WITHOUT_LATENCY);
            }
            network = network.saturating_mul(host.pace);
            let cpu_s = compute_cpu_s(spec, row, truth, host);
            (network, stretch((COMPUTE_HEADROOM * cpu_s).max(COMPUTE_WALL_S_MIN), charge))
        }
    };
    let wall_ns = |emulated: Picos, dilation: u64| emulated.0.div_ceil(1_000).saturating_mul(dilation);
    let [dispatch, combine] = bounds;
    let network = network.saturating_mul(1 << retries.min(16));
    let shortest_ns = wall_ns(dispatch.min(combine), network) as f64;
    let pacing = Pacing {
        network_dilation: network,
        compute_dilation: compute.saturating_mul(1 << retries.min(16)),
        resolution_ns: Pacing::default().resolution_ns.max((RESOLUTION_SHARE * shortest_ns) as u64),
    };
    let walls = [dispatch, combine].map(|bound| wall_ns(bound, pacing.network_dilation));
    let compute_ns = wall_ns(charge, pacing.compute_dilation);
    Pace {
        pacing,
        longest_ns: walls[0].max(walls[1]).max(compute_ns),
        step_ns: walls[0].saturating_add(walls[1]).saturating_add(compute_ns),
    }
}

/// Emulated bytes per second that all ports in use inject together.
fn peak_bytes_per_s(row: &Configuration, matrix: &TrafficMatrix, fabric: &Fabric) -> f64 {
    let ports = LinkClass::ALL.into_iter().flat_map(|class| {
        let busy =
            row.cluster.ranks().filter(move |&rank| matrix.egress_bytes(&row.cluster, rank, class) > 0);
        busy.map(move |_| fabric.link(class).rate.bytes_per_s() as f64)
    });
    ports.sum()
}

/// How long the mark that ends a flow without rows is on its way at most.
fn slowest_mark(flows: &Flows, links: PhaseLinks) -> Picos {
    let cluster = flows.cluster();
    let pairs = cluster.ranks().flat_map(|from| flows.downstream(from).iter().map(move |&to| (from, to)));
    let slowest = pairs.map(|(from, to)| links.fabric.link(cluster.link_class(from, to)).latency).max();
    slowest.map_or(Picos::ZERO, |latency| latency.max(links.floor))
}

/// The whole factor that makes `emulated` last `wall_s`; [`EMPTY_DILATION`] for nothing.
fn stretch(wall_s: f64, emulated: Picos) -> u64 {
    if emulated == Picos::ZERO {
        EMPTY_DILATION
    } else {
        (wall_s * 1e12 / emulated.0 as f64).ceil().max(1.0) as u64
    }
}

/// Data frames of a phase: chunks, the last of which closes its flow, and one for each flow without rows.
fn frames(flows: &Flows, matrix: &TrafficMatrix, row_bytes: u64, chunk_rows: u32) -> u64 {
    let of_rank = |from| {
        let rows = matrix.sent(from).map(move |(_, bytes)| bytes / row_bytes);
        let full: u64 = rows.map(|rows| rows.div_ceil(u64::from(chunk_rows))).sum();
        // A mark may find its last chunk gone and then needs a frame of its own.
        full + flows.downstream(from).len() as u64
    };
    flows.cluster().ranks().map(of_rank).sum()
}

/// Emulated compute time of the busiest rank.
fn busiest_compute(row: &Configuration, truth: &Truth, setup: &Setup) -> Picos {
    let times = row.cluster.ranks().filter_map(|rank| {
        let rows =
            row.placement.slots_of(rank).iter().map(|slot| truth.traffic.rows_per_slot[slot.0 as usize]);
        setup.compute_time(rows).ok()
    });
    times.max().unwrap_or(Picos::ZERO)
}

/// Estimate of the real time that the experts take: all work on all cores, or the busiest rank's on one.
fn compute_cpu_s(spec: &CompareSpec, row: &Configuration, truth: &Truth, host: Host) -> f64 {
    let seconds_of_row = match spec.experts {
        ExpertKind::Modelled => f64::from(spec.shape.hidden) * MODELLED_S_PER_ELEMENT,
        ExpertKind::Gemm => spec.shape.expert_flops(1) / GEMM_FLOPS,
    };
    let rows = &truth.traffic.rows_per_slot;
    let busiest = row
        .cluster
        .ranks()
        .map(|rank| row.placement.slots_of(rank).iter().map(|slot| rows[slot.0 as usize]).sum::<u64>());
    let (all, busiest) = (rows.iter().sum::<u64>() as f64, busiest.max().unwrap_or(0) as f64);
    seconds_of_row * (all / f64::from(host.cores)).max(busiest)
}

/// Warm-up steps and rounds that are simulated: steps that are alike need no more than one.
pub(super) fn simulated_steps(spec: &CompareSpec) -> (u32, u32) {
    if spec.distinct_steps() > 1 || !spec.faults.is_empty() { (spec.warmup, spec.rounds) } else { (0, 1) }
}

/// A request for `row` at `latency`.
pub(crate) fn request(
    spec: &CompareSpec,
    row: &Configuration,
    seed: u64,
    latency: LatencyChoice,
) -> RunRequest {
    let tokens = spec.rank_tokens(row.cluster.num_ranks(), seed);
    let layer = LayerProgram::new(spec.shape, row.placement.clone(), tokens);
    let layer = Program::Layer(LayerProgram { layer: super::configuration::LAYER, ..layer });
    RunRequest::new(Setup {
        fabric: latency.apply(spec.fabric),
        kernels: row.measured_links(spec, latency),
        scheme: row.scheme,
        routing: spec.routing.clone(),
        gate_limit: row.limit.clone(),
        seed,
        experts: spec.experts,
        chunk_rows: chunk_rows(spec.tokens),
        payload: spec.payload,
        faults: super::faults::plan_of(spec, row),
        ..Setup::new(row.cluster.clone(), spec.hardware.clone(), layer)
    })
}

//! Paces a row on the wall clock so that this machine can follow.

use super::burst::Burst;
use super::level::Level;
use super::truth::Truth;
use super::{CompareSpec, Configuration, Dilation, LatencyChoice};
use coordinator::pace::{
    CARRIED_HEADROOM, COMPUTE_HEADROOM, Figures, GEMM_FLOPS, Host, NETWORK_WALL_S_MIN, RATED_CORES,
};
use coordinator::run::Leads;
use coordinator::run::RunRequest;
use moe::plan::Flows;
use moe::{DispatchScheme, ExpertKind, RowBytes};
use node::control::Pacing;
use node::program::{LayerProgram, Program};
use node::setup::{Setup, chunk_rows};
use topology::{A2aLinks, PhaseLinks, Picos, TrafficMatrix, fluid_bound};

/// Bytes that all ports together may inject in a second while all of them are busy, on a host that was not measured. A throttled pair of
/// racks sends all its scale-up rows in the first fraction of a phase: without this limit that burst would come late and in the wrong order.
const PEAK_BYTES_PER_S: f64 = 600e6;
/// The longest lead that a burst is given.
const LEAD_S_MAX: f64 = 0.15;
/// Share of a phase within which frames may swap turns at a port: less than the 3% to which measured times are held.
const RESOLUTION_SHARE: f64 = 0.02;
/// How much slower still a row is paced whose rows are forwarded over links without latency: what a gateway gets late it passes on
/// late, and no latency hides it. Without it nearly every such row is disturbed and repeated.
const FORWARDED_WITHOUT_LATENCY: u64 = 2;
/// Shortest and longest least wall time of the expert phase: a hundred times what a timer wakes late, between these.
const COMPUTE_WALL_S: [f64; 2] = [0.020, 0.060];
/// Wall time in which commands reach all ranks: in any case, and for each rank.
const TOLD_S: [f64; 2] = [0.002, 0.000_25];
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
    /// How long before phases ranks are told of them.
    pub(super) leads: Option<Leads>,
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
    level: Level,
) -> Pace {
    let paces = truths.iter().map(|truth| pace(spec, row, truth, setup, host, level));
    let longer = |a: Leads, b: Leads| Leads {
        network_ns: a.network_ns.max(b.network_ns),
        compute_ns: a.compute_ns.max(b.compute_ns),
    };
    let slower = |a: Pace, b: Pace| Pace {
        pacing: Pacing {
            network_dilation: a.pacing.network_dilation.max(b.pacing.network_dilation),
            compute_dilation: a.pacing.compute_dilation.max(b.pacing.compute_dilation),
            resolution_ns: a.pacing.resolution_ns.min(b.pacing.resolution_ns),
        },
        leads: a.leads.zip(b.leads).map(|(a, b)| longer(a, b)),
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
    level: Level,
) -> Pace {
    let flows = Flows::new(row.scheme, &row.cluster, &row.placement);
    let links = setup.links();
    let [dispatch, combine] = bounds(row, truth, &links);
    let bounds = [
        dispatch.max(slowest_mark(&flows, links.dispatch)),
        combine.max(slowest_mark(&flows, links.combine)),
    ];
    let charge = busiest_compute(row, truth, setup);
    let (network, compute, leads) = match spec.dilation {
        Dilation::Fixed(factor) => {
            let network = (factor as f64 * level.network).ceil() as u64;
            (network, factor, None)
        }
        Dilation::Auto => {
            let bytes = RowBytes::new(spec.shape.hidden);
            let loads = [
                (&truth.traffic.dispatch, bytes.dispatch, links.dispatch.fabric, bounds[0]),
                (&truth.traffic.combine, bytes.combine, links.combine.fabric, bounds[1]),
            ]
            .map(|(matrix, row_bytes, fabric, bound)| Load {
                frames: frames(&flows, matrix, row_bytes, chunk_rows(spec.tokens)),
                fullest: fullest_port(row, matrix),
                burst: Burst::new(row, matrix, &fabric),
                bytes: matrix.total(),
                bound,
            });
            let (network, leads) = carried(&loads, row, host, level.network.min(1.0));
            let no_slack = row.cluster.num_racks() > 1 && setup.fabric.scale_up.latency == Picos::ZERO;
            let forwarded = no_slack && row.scheme == DispatchScheme::Hierarchical;
            let slower = if forwarded { FORWARDED_WITHOUT_LATENCY } else { 1 } * host.pace;
            let network = (network * slower) as f64 * level.network.max(1.0);
            let cpu_s = compute_cpu_s(spec, row, truth, host);
            let least_s = (host.figures.wake_ns as f64 * 1e-7).clamp(COMPUTE_WALL_S[0], COMPUTE_WALL_S[1]);
            let compute_s = (COMPUTE_HEADROOM * cpu_s * level.compute).max(least_s);
            (network.ceil() as u64, stretch(compute_s, charge), leads)
        }
    };
    let wall_ns = |emulated: Picos, dilation: u64| emulated.0.div_ceil(1_000).saturating_mul(dilation);
    let [dispatch, combine] = bounds;
    let shortest_ns = wall_ns(dispatch.min(combine), network) as f64;
    let pacing = Pacing {
        network_dilation: network,
        compute_dilation: compute,
        resolution_ns: Pacing::default().resolution_ns.max((RESOLUTION_SHARE * shortest_ns) as u64),
    };
    let walls = [dispatch, combine].map(|bound| wall_ns(bound, pacing.network_dilation));
    let compute_ns = wall_ns(charge, pacing.compute_dilation);
    Pace {
        pacing,
        leads,
        longest_ns: walls[0].max(walls[1]).max(compute_ns),
        step_ns: walls[0].saturating_add(walls[1]).saturating_add(compute_ns),
    }
}

/// What a phase asks of the host.
struct Load {
    bytes: u64,
    frames: u64,
    /// Bytes of the rank that sends or receives most.
    fullest: u64,
    burst: Burst,
    bound: Picos,
}

/// The least dilation at which `host` carries both phases of `row`, and the leads that it takes; `share` below 1 leaves it less room.
///
/// Bytes and frames are to take no more than what the host carries over [`CARRIED_HEADROOM`]. By each time at which a port of the row has
/// sent all that it has, the host must have carried what all ports have sent by then. Frames are handed to QUIC ahead of their stamps, from
/// the lead on: a burst is cheaper to wait for once, before the phase, than to slow the whole phase down for it.
fn carried(loads: &[Load; 2], row: &Configuration, host: Host, share: f64) -> (u64, Option<Leads>) {
    let ranks = row.cluster.num_ranks();
    let Figures { bytes_per_s, frames_per_s, rank_bytes_per_s, .. } = host.figures;
    let scale = match host.figures.are_measured() {
        true => 1.0,
        // A rank works on one thread.
        false => f64::from(host.cores.min(ranks)) / RATED_CORES.min(f64::from(ranks)),
    } / (CARRIED_HEADROOM * share);
    let mut network = 1;
    for load in loads {
        let busy_s = (load.bytes as f64 / bytes_per_s as f64).max(load.frames as f64 / frames_per_s as f64);
        let fullest_s = load.fullest as f64 / rank_bytes_per_s as f64;
        let busy_s = busy_s.max(fullest_s) / scale;
        network = network.max(stretch(busy_s.max(NETWORK_WALL_S_MIN), load.bound));
    }
    let burst = |bytes_per_s: f64, early_s: f64| {
        let burst = |load: &Load| load.burst.dilation(bytes_per_s * scale, early_s).ceil() as u64;
        loads.iter().map(burst).max().unwrap_or(1)
    };
    if !host.figures.are_measured() {
        return (network.max(burst(PEAK_BYTES_PER_S * CARRIED_HEADROOM, 0.0)), None);
    }
    // The time that commands take to reach all ranks leaves nothing to hand early.
    let told_s = TOLD_S[0] + TOLD_S[1] * f64::from(ranks);
    let early_s = loads.iter().map(|load| load.burst.early_s(bytes_per_s as f64 * scale, network));
    let early_s = early_s.fold(told_s, f64::max).min(LEAD_S_MAX);
    let network = network.max(burst(bytes_per_s as f64, early_s));
    let ns = |seconds: f64| (seconds * 1e9) as u64;
    (network, Some(Leads { network_ns: ns(told_s + early_s), compute_ns: ns(told_s) }))
}

/// Bytes of the rank that sends or receives most.
fn fullest_port(row: &Configuration, matrix: &TrafficMatrix) -> u64 {
    let (mut most, mut received) = (0, vec![0; row.cluster.num_ranks() as usize]);
    for from in row.cluster.ranks() {
        let mut sent = 0;
        for (to, bytes) in matrix.sent(from) {
            (sent, received[to.0 as usize]) = (sent + bytes, received[to.0 as usize] + bytes);
        }
        most = most.max(sent);
    }
    received.into_iter().fold(most, u64::max)
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
        ExpertKind::Modelled => f64::from(spec.shape.hidden) * host.figures.element_fs as f64 * 1e-15,
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

//! Every metric by name, in base units: what a coordinator counts, how the cluster is when it is asked, and what a node counts of itself.
//!
//! Labels have few values, known beforehand. Times are emulated where `clock="emulated"` says so, otherwise of the wall clock.

use coordinator::server::SeenStep;
use node::wire::Phase;
use node::worker::Counted;
use prometheus::{
    CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use study::service::{JobView, Status};
use topology::{Cluster, LinkClass};

/// Emulated seconds of a phase: microseconds on real links, milliseconds for large batches.
const PHASE_S: [f64; 12] = [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 1e-1];
/// Wall seconds of the same, slowed down.
const WALL_S: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of a coordinator.
#[derive(Debug)]
pub(crate) struct Counters {
    registry: Registry,
    nodes: IntGaugeVec,
    jobs: IntGaugeVec,
    cores: IntGauge,
    steps: IntCounter,
    replays: IntCounter,
    phase_s: HistogramVec,
    row_bytes: IntCounterVec,
    udp_bytes: IntCounter,
    frames: IntCounter,
    pub(crate) news: IntCounterVec,
    pub(crate) requests: IntCounterVec,
    pub(crate) refused_connections: IntCounter,
    pub(crate) missed: IntCounter,
}

impl Counters {
    pub(crate) fn new(version: &str) -> Self {
        let registry = Registry::new_custom(Some("railyard".to_owned()), None).expect("a plain prefix");
        let build = gauges(&registry, "build_info", "1, with the version of the program.", &["version"]);
        build.with_label_values(&[version]).set(1);
        let phases = HistogramOpts::new(
            "phase_duration_seconds",
            "From a phase's common start until its slowest rank had its last row; clock says emulated or wall.",
        );
        // One family has one set of buckets: from the shortest emulated phase to the longest on the wall.
        let phases =
            phases.buckets(PHASE_S.into_iter().chain(WALL_S.into_iter().filter(|&s| s > 0.1)).collect());
        let phase_s = HistogramVec::new(phases, &["clock", "phase"]).expect("named as they should be");
        registry.register(Box::new(phase_s.clone())).expect("once");
        Self {
            nodes: gauges(
                &registry,
                "nodes",
                "Nodes that are there, heard or silent for a while.",
                &["state"],
            ),
            jobs: gauges(&registry, "jobs", "Jobs that wait or are under way.", &["state"]),
            cores: gauge(&registry, "node_cores", "Cores of all machines that nodes run on."),
            steps: counter(&registry, "steps_total", "Steps that were complete on every rank."),
            replays: counter(
                &registry,
                "step_replays_total",
                "Times that a step was begun anew since a seat or link was lost.",
            ),
            row_bytes: counters(
                &registry,
                "row_bytes_total",
                "Bytes of rows that ranks sent each other.",
                &["link", "phase"],
            ),
            udp_bytes: counter(&registry, "udp_bytes_total", "Bytes that QUIC put on the network in steps."),
            frames: counter(&registry, "frames_total", "Data frames that ranks received."),
            news: counters(&registry, "news_total", "What happened to nodes, links and runs.", &["what"]),
            requests: counters(
                &registry,
                "http_requests_total",
                "Answers of this server, by the first digit of their status.",
                &["status"],
            ),
            refused_connections: counter(
                &registry,
                "http_refused_connections_total",
                "Connections beyond the limit.",
            ),
            missed: counter(
                &registry,
                "missed_steps_total",
                "Steps that came faster than they could be counted.",
            ),
            phase_s,
            registry,
        }
    }

    /// Counts a step.
    pub(crate) fn see(&self, step: &SeenStep) {
        self.steps.inc();
        self.replays.inc_by(step.replays.into());
        let Ok(cluster) = Cluster::new(&step.rack_sizes) else { return };
        for seen in &step.phases {
            let phase = word(seen.phase);
            let emulated_ps = seen.measured_ps.iter().max().copied().unwrap_or(0);
            self.phase_s.with_label_values(&["emulated", phase]).observe(emulated_ps as f64 / 1e12);
            self.phase_s.with_label_values(&["wall", phase]).observe(seen.wall_ns as f64 / 1e9);
            for &(from, to, bytes) in &seen.sent_bytes {
                let link = link_word(cluster.link_class(from, to));
                self.row_bytes.with_label_values(&[link, phase]).inc_by(bytes);
            }
            self.frames.inc_by(seen.frames);
            self.udp_bytes.inc_by(seen.udp_bytes);
        }
    }

    /// All of it as Prometheus reads it, with how the cluster is now.
    pub(crate) fn text(&self, status: &Status, cores: u32, jobs: &[JobView]) -> String {
        self.nodes.with_label_values(&["heard"]).set(status.nodes.len() as i64);
        self.nodes.with_label_values(&["silent"]).set(status.suspected.len() as i64);
        for state in ["waiting", "running"] {
            let there = jobs.iter().filter(|job| job.state == state).count();
            self.jobs.with_label_values(&[state]).set(there as i64);
        }
        self.cores.set(cores.into());
        encoded(&self.registry)
    }
}

/// What a node has counted of itself, as Prometheus reads it.
pub(crate) fn node_text(counted: &Counted, version: &str, refused_connections: u64) -> String {
    let registry = Registry::new_custom(Some("railyard".to_owned()), None).expect("a plain prefix");
    let build = gauges(&registry, "build_info", "1, with the version of the program.", &["version"]);
    build.with_label_values(&[version]).set(1);
    let registered = gauge(&registry, "node_registered", "1 while a coordinator has this node.");
    registered.set(counted.registered.into());
    gauge(&registry, "node_seats", "Seats in the run under way: one a half of a batch.")
        .set(i64::try_from(counted.seats).unwrap_or(i64::MAX));
    let total = |name: &str, help: &str, value: u64| counter(&registry, name, help).inc_by(value);
    total("node_failures_total", "Runs that could not go on here.", counted.failures);
    total("node_frames_total", "Data frames that this rank received.", counted.frames);
    total(
        "node_overtaken_frames_total",
        "Of them later than their turn at the port, by more than the clock's resolution.",
        counted.overtaken,
    );
    total("node_udp_bytes_total", "Bytes that QUIC put on the network in phases.", counted.udp_bytes);
    total(
        "node_http_refused_connections_total",
        "Connections to these metrics beyond the limit.",
        refused_connections,
    );
    let wall = |name: &str, help: &str| seconds(&registry, name, help, &["clock"]);
    wall("node_cpu_seconds_total", "CPU time that the process used in phases.")
        .with_label_values(&["wall"])
        .inc_by(counted.cpu_ns as f64 / 1e9);
    let lateness = GaugeVec::new(
        Opts::new("node_lateness_seconds", "How late the latest delivery of the phase was that closed last."),
        &["clock"],
    )
    .expect("named as it should be");
    registry.register(Box::new(lateness.clone())).expect("once");
    lateness.with_label_values(&["wall"]).set(counted.lateness_ns as f64 / 1e9);
    let phases = counters(&registry, "node_phases_total", "Phases that this rank has closed.", &["phase"]);
    let times = seconds(
        &registry,
        "node_phase_seconds_total",
        "From a phase's common start until this rank had its last row or had computed; clock says emulated or wall.",
        &["clock", "phase"],
    );
    let bytes =
        counters(&registry, "node_row_bytes_total", "Bytes of rows that this rank sent.", &["link", "phase"]);
    for own in &counted.phases {
        let phase = word(own.phase);
        phases.with_label_values(&[phase]).inc_by(own.closed);
        times.with_label_values(&["emulated", phase]).inc_by(own.emulated_ns as f64 / 1e9);
        times.with_label_values(&["wall", phase]).inc_by(own.wall_ns as f64 / 1e9);
        for (link, sent) in LinkClass::ALL.into_iter().zip(own.row_bytes) {
            bytes.with_label_values(&[link_word(link), phase]).inc_by(sent);
        }
    }
    encoded(&registry)
}

fn encoded(registry: &Registry) -> String {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).expect("a Vec takes all that is written to it");
    String::from_utf8(text).unwrap_or_default()
}

/// A link as a label.
const fn link_word(link: LinkClass) -> &'static str {
    match link {
        LinkClass::ScaleUp => "scale_up",
        LinkClass::ScaleOut => "scale_out",
    }
}

/// A phase as a label.
pub(crate) fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Dispatch => "dispatch",
        Phase::Expert => "expert",
        Phase::Combine => "combine",
        Phase::Local => "local",
        Phase::Hop => "hop",
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("named as they should be");
    registry.register(Box::new(counters.clone())).expect("once");
    counters
}

fn seconds(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> CounterVec {
    let seconds = CounterVec::new(Opts::new(name, help), labels).expect("named as they should be");
    registry.register(Box::new(seconds.clone())).expect("once");
    seconds
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let counter = IntCounter::new(name, help).expect("named as it should be");
    registry.register(Box::new(counter.clone())).expect("once");
    counter
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("named as they should be");
    registry.register(Box::new(gauges.clone())).expect("once");
    gauges
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect("named as it should be");
    registry.register(Box::new(gauge.clone())).expect("once");
    gauge
}

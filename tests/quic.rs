//! Whole small layers on real workers over QUIC, as processes and as tasks: the same bits as the simulator, the planned
//! bytes on every pair, and no disturbance unnoticed.

use ::coordinator::judge::judge;
use ::coordinator::pace::Host;
use coordinator::local::{LocalCluster, LocalConfig, WorkerKind, rack_names};
use coordinator::machine::{CoordinatorEvent, Limits};
use coordinator::{Leads, RunRequest, SimRunner, StepRecord, run_steps};
use moe::gate::{GateKind, GateSpec, Softmax};
use moe::model::LayerShape;
use moe::placement::{Placement, RackAware};
use moe::plan::{DispatchScheme, plan_traffic};
use moe::routing::{RecordedRows, Router, RoutingSpec, Workload};
use node::net::TransportOptions;
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::wire::Phase;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use study::rebalance::{Moved, Phase as Alive, Rebalancing, rebalance};
use topology::{Cluster, Dtype, Hardware, Oversubscription, RackId, RankId};

fn program() -> WorkerKind {
    WorkerKind::Processes { program: env!("CARGO_BIN_EXE_railyard").into() }
}

async fn start(workers: WorkerKind, nodes: u32) -> LocalCluster {
    let names = (0..nodes).map(|node| format!("node{node}")).collect();
    let config =
        LocalConfig { names, workers, transport: TransportOptions::default(), limits: Limits::default() };
    LocalCluster::start(config).await.unwrap()
}

/// A request that lasts about `wall_ms` a phase on the lab hardware.
fn request(racks: &[u32], shape: (u32, u32, u32), scheme: DispatchScheme, tokens: u32) -> RunRequest {
    let (hidden, num_experts, top_k) = shape;
    let gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true));
    let shape = LayerShape {
        hidden,
        num_experts,
        top_k,
        expert_inter: 16,
        gate,
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    };
    let cluster = Cluster::new(racks).unwrap();
    let hardware = Hardware::preset("lab").unwrap();
    let placement = Placement::linear(&cluster, num_experts).unwrap();
    let layer = LayerProgram::new(shape, placement, vec![tokens; cluster.num_ranks() as usize]);
    let setup =
        Setup { scheme, seed: 11, chunk_rows: 2, ..Setup::new(cluster, hardware, Program::Layer(layer)) };
    RunRequest { expected_phase_ns: 10_000_000, ..RunRequest::new(setup) }
}

fn own(request: &mut RunRequest) -> &mut LayerProgram {
    request.setup.layer_mut().unwrap()
}

fn sent(step: &StepRecord, phase: Phase) -> Vec<Vec<(RankId, u64)>> {
    step.reports(phase).iter().map(|report| report.sent_bytes.clone()).collect()
}

/// Runs on real workers and holds every round against the simulator and the plan.
async fn check(what: &str, workers: &mut LocalCluster, request: &RunRequest) {
    let real = run_steps(workers, request, 2).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let simulated = SimRunner::run_blocking(request, 2).unwrap();
    let setup = &request.setup;
    let layer = setup.layer().unwrap();
    let router = Router::new(&layer.shape, &setup.routing, None, setup.seed, layer.layer.into()).unwrap();
    let routings: Vec<_> =
        setup.cluster.ranks().map(|rank| router.route(0, rank, layer.tokens[rank.0 as usize])).collect();
    let plan = plan_traffic(setup.scheme, &setup.cluster, &layer.placement, &routings, setup.row_bytes());
    let planned = |matrix: &topology::TrafficMatrix| -> Vec<Vec<(RankId, u64)>> {
        setup.cluster.ranks().map(|rank| matrix.sent(rank).collect()).collect()
    };
    for (round, simulated) in real.iter().zip(&simulated) {
        assert_eq!(round.digests, simulated.digests, "{what}: outputs");
        for (phase, matrix) in [(Phase::Dispatch, &plan.dispatch), (Phase::Combine, &plan.combine)] {
            assert_eq!(sent(round, phase), planned(matrix), "{what}: bytes");
            assert_eq!(sent(simulated, phase), planned(matrix), "{what}: simulated bytes");
        }
    }
}

fn edges() -> Vec<(&'static str, RunRequest)> {
    let mut edges = Vec::new();
    for scheme in DispatchScheme::ALL {
        edges.push(("ragged racks", request(&[3, 1, 1], (200, 12, 3), scheme, 5)));
        edges.push(("one rank", request(&[1], (64, 4, 2), scheme, 3)));
        edges.push(("one rack", request(&[4], (128, 8, 4), scheme, 3)));
        edges.push(("one expert a rank", request(&[2, 2], (128, 4, 2), scheme, 3)));
        edges.push(("fewer experts than ranks", request(&[2, 3], (100, 3, 2), scheme, 4)));
        edges.push(("k = 1", request(&[2, 2], (128, 8, 1), scheme, 4)));
        edges.push(("k = all", request(&[2, 2], (130, 6, 6), scheme, 4)));
        edges.push(("hidden of one value", request(&[2, 2], (1, 6, 2), scheme, 4)));
        edges.push(("no tokens", request(&[2, 2], (64, 6, 2), scheme, 0)));
        let mut one = request(&[2, 2], (64, 6, 2), scheme, 0);
        own(&mut one).tokens[3] = 1;
        edges.push(("one token in all", one));
        let mut hot = request(&[2, 3], (300, 8, 1), scheme, 9);
        hot.setup.routing =
            RoutingSpec::Rows(RecordedRows { top_k: 1, idx: vec![7; 4], weights: vec![1.0; 4] });
        edges.push(("all tokens to one expert", hot));
        let mut away = request(&[2, 2], (128, 8, 3), scheme, 40);
        let placement = Placement::one_rack(&away.setup.cluster, 8, RackId(1)).unwrap();
        own(&mut away).placement = Arc::new(placement);
        edges.push(("experts in one rack", away));
        let mut twice = request(&[2, 2], (128, 8, 3), scheme, 6);
        let placement = Placement::replicated_per_rack(&twice.setup.cluster, 8).unwrap();
        own(&mut twice).placement = Arc::new(placement);
        edges.push(("replicas", twice));
        let mut uplinks = request(&[2, 3], (128, 8, 3), scheme, 6);
        uplinks.setup.fabric.oversubscription = Oversubscription::new(4.0).unwrap();
        edges.push(("oversubscribed uplinks", uplinks));
    }
    edges
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_and_tasks_agree_with_the_simulator_in_every_corner() {
    for workers in [program(), WorkerKind::Tasks] {
        let mut cluster = start(workers, 5).await;
        for (what, request) in edges() {
            check(what, &mut cluster, &request).await;
        }
        cluster.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_itself_counts_at_least_the_planned_bytes() {
    let mut cluster = start(program(), 4).await;
    let mut request = request(&[2, 2], (7168, 16, 4), DispatchScheme::Flat, 16);
    request.setup.hardware = Hardware::preset("gb200").unwrap();
    request.setup.fabric = request.setup.hardware.fabric();
    request.pacing.network_dilation = 20_000;
    let rounds = run_steps(&mut cluster, &request, 4).await.unwrap();
    for rank in 0..4 {
        let of = |get: fn(&node::control::PhaseReport) -> u64, rounds: &[StepRecord]| -> u64 {
            rounds.iter().flat_map(|round| &round.phases).map(|(_, reports)| get(&reports[rank])).sum()
        };
        // What QUIC still has to send when a step's last report leaves is counted in the next step.
        let udp = of(|report| report.udp_bytes, &rounds);
        let planned = of(|report| report.sent_bytes.iter().map(|(_, bytes)| bytes).sum(), &rounds[1..]);
        assert!(udp >= planned, "rank {rank}: {udp} bytes of UDP for {planned} of rows");
        assert!(planned > 0);
    }
    cluster.shutdown().await;
}

/// The end of a phase, emulated ps.
fn end(round: &StepRecord, phase: Phase) -> u64 {
    round.reports(phase).iter().map(|report| report.measured.0).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_have_equal_parts_of_their_racks_uplinks() {
    let mut cluster = start(program(), 4).await;
    let (mut request, _) = of_150_ms(None);
    request.setup.fabric.oversubscription = Oversubscription::new(4.0).unwrap();
    let simulate = |setup: Setup| SimRunner::run_blocking(&RunRequest::new(setup), 1).unwrap().remove(0);
    let parts = simulate(request.setup.clone().in_equal_shares());
    let queues = simulate(request.setup.clone());
    let round = run_steps(&mut cluster, &request, 1).await.unwrap().remove(0);
    for phase in [Phase::Dispatch, Phase::Combine] {
        let stamped = |round: &StepRecord| {
            round.reports(phase).iter().map(|report| report.stamped.0).max().unwrap() as f64
        };
        let [real, parts, queues] = [&round, &parts, &queues].map(stamped);
        assert!((real / parts - 1.0).abs() < 0.03, "{phase:?}: {real} for {parts}");
        // What all of a rack share is at work as long as anyone sends.
        assert!(queues < parts, "{phase:?}: {queues} in queues, {parts} in parts");
    }
    cluster.shutdown().await;
}

/// Four ranks in two racks whose dispatch lasts 150 ms of the wall; ranks have `lead_ms` to hand early what leaves first.
fn of_150_ms(lead_ms: Option<u64>) -> (RunRequest, StepRecord) {
    let mut request = request(&[2, 2], (7168, 16, 4), DispatchScheme::Flat, 16);
    request.setup.hardware = Hardware::preset("gb200").unwrap();
    request.setup.fabric = request.setup.hardware.fabric().without_latency();
    let simulated = SimRunner::run_blocking(&request, 1).unwrap().remove(0);
    request.pacing.network_dilation = 150_000_000_000 / end(&simulated, Phase::Dispatch);
    request.pacing.compute_dilation = 100_000_000_000 / end(&simulated, Phase::Expert);
    request.expected_phase_ns = 300_000_000;
    request.leads = lead_ms.map(|ms| Leads { network_ns: ms * 1_000_000, compute_ns: 5_000_000 });
    (request, simulated)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stands_still_for_200_ms_is_seen_and_invalidates_the_run() {
    let mut cluster = start(program(), 4).await;
    let victim = Pid::from_raw(i32::try_from(cluster.process_ids()[1]).unwrap()).unwrap();
    // With rows handed early too: what has been sent is delivered by a clock all the same.
    for lead_ms in [None, Some(60)] {
        // A stop of 200 ms that begins in a phase covers its end.
        let (request, simulated) = of_150_ms(lead_ms);
        let mut events = cluster.handle().subscribe();
        let (rounds, ()) = tokio::join!(run_steps(&mut cluster, &request, 8), async move {
            while !matches!(events.recv().await, Ok(CoordinatorEvent::StepDone { .. }) | Err(_)) {}
            // Neither sleep waits for something: the first aims at the middle of a phase, since between two steps nothing is
            // measured, and the second is what the test is about.
            tokio::time::sleep(Duration::from_millis(100 + lead_ms.unwrap_or(0))).await;
            kill_process(victim, Signal::STOP).unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            kill_process(victim, Signal::CONT).unwrap();
        });
        let rounds = rounds.unwrap();
        let stretch = rounds.iter().flat_map(|round| {
            [Phase::Dispatch, Phase::Combine]
                .map(|phase| end(round, phase) as f64 / end(&simulated, phase) as f64)
        });
        let stretch = stretch.fold(0.0, f64::max);
        assert!(stretch > 1.05, "no phase became longer: {stretch}");
        let verdict = judge(&rounds, request.pacing, Host::this(false));
        let problem = verdict.problem.expect("the run is invalid");
        assert!(problem.contains("lateness") || problem.contains("overtaken"), "{problem}");
    }
    cluster.shutdown().await;
}

/// Of each phase the fastest round, for a machine that does other work slows down the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_slow_by_a_tenth_shows_in_measured_times_and_on_the_coordinators_clock() {
    let mut cluster = start(program(), 4).await;
    let (healthy, _) = of_150_ms(Some(60));
    let mut slow = healthy.clone();
    for fault in ["slow rank=1 factor=1.1", "degrade rank=1 factor=1.1"] {
        slow.setup.faults.faults.push(fault.parse().unwrap());
    }
    let simulated = [&healthy, &slow].map(|request| SimRunner::run_blocking(request, 1).unwrap().remove(0));
    let mut measured = Vec::new();
    for request in [&healthy, &slow] {
        measured.push(run_steps(&mut cluster, request, 5).await.unwrap());
    }
    cluster.shutdown().await;
    for (at, phase) in [Phase::Dispatch, Phase::Expert, Phase::Combine].into_iter().enumerate() {
        let told = end(&simulated[1], phase) as f64 / end(&simulated[0], phase) as f64;
        // Another rank may have more to send.
        assert!((1.05..1.101).contains(&told), "{phase}: a tenth is {told}");
        let fastest = |of: &dyn Fn(&StepRecord) -> u64| {
            [0, 1].map(|slow: usize| measured[slow].iter().map(of).min().unwrap() as f64)
        };
        let [emulated, wall] = [fastest(&|round| end(round, phase)), fastest(&|round| round.wall_ns[at])];
        for (what, [healthy, slow]) in [("measured", emulated), ("on the coordinator's clock", wall)] {
            let shown = slow / healthy;
            assert!(shown > 1.0 + 0.75 * (told - 1.0), "{phase}, {what}: {shown}, simulated {told}");
        }
        // Nothing is delivered before its time, whenever it was sent.
        assert!(measured[1].iter().all(|round| end(round, phase) >= end(&simulated[1], phase)), "{phase}");
    }
}

/// A hot rank that moves every step, rebalanced every second: weights and tokens over QUIC, as in the simulator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebalancing_gives_the_same_tokens_and_moves_as_in_the_simulator() {
    let mut request = request(&[2, 2], (256, 16, 2), DispatchScheme::Hierarchical, 6);
    request.setup.routing = RoutingSpec::Workload { workload: Workload::W6, ranks: 4 };
    let phase = |ranks: &[u32], dying: &[u32]| {
        let [ranks, dying] = [ranks, dying].map(|ranks| ranks.iter().copied().map(RankId).collect());
        Alive { ranks, dying }
    };
    // All, of whom one dies; then two, of one rack each; then all again.
    let alive = vec![phase(&[0, 1, 2, 3], &[2]), phase(&[0, 3], &[]), phase(&[0, 1, 2, 3], &[])];
    let plan = Rebalancing { request, steps: 12, interval: Some(2), window: 2, alive };
    let simulated = rebalance(&mut SimRunner::default(), &plan, &RackAware::default()).await.unwrap();
    let mut cluster = start(program(), 4).await;
    let real = rebalance(&mut cluster, &plan, &RackAware::default()).await.unwrap();
    cluster.shutdown().await;
    assert_eq!(real.iter().map(|segment| segment.ranks.len()).collect::<Vec<_>>(), [4, 3, 2, 2, 4, 4]);
    assert!(real.iter().any(|segment| segment.moved.is_some_and(|moved| moved.read_again > 0)));
    for (real, simulated) in real.iter().zip(&simulated) {
        assert_eq!(real.placement, simulated.placement);
        assert_eq!(real.digests, simulated.digests);
        let moves = |moved: Option<Moved>| moved.map(|moved| (moved.experts, moved.rounds, moved.bytes));
        assert_eq!(moves(real.moved), moves(simulated.moved));
    }
}

/// What stands for `railyard`: rack 0 lives an hour from now, rack 1 eleven and a half days.
const ON_CLOCKS_OF_THEIR_OWN: &str = r#"#!/bin/sh
case "$*" in
*"--name rack0-"*) exec unshare --time --monotonic 3600 "$RAILYARD" "$@" ;;
*"--name rack1-"*) exec unshare --time --monotonic 1000000 "$RAILYARD" "$@" ;;
esac
exit 1
"#;

/// Other machines have other monotonic clocks; time namespaces have them too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racks_whose_clocks_are_hours_apart_begin_together() {
    let allowed = Command::new("unshare").args(["--time", "--monotonic", "1", "true"]).output();
    if !allowed.is_ok_and(|done| done.status.success()) {
        // Past the harness, which shows nothing of tests that pass.
        writeln!(std::io::stderr(), "SKIPPED: `unshare --time` is not allowed here").unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("railyard");
    let script = ON_CLOCKS_OF_THEIR_OWN.replace("$RAILYARD", env!("CARGO_BIN_EXE_railyard"));
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let request = request(&[2, 2], (256, 16, 4), DispatchScheme::Hierarchical, 16);
    let config = LocalConfig {
        names: rack_names(&request.setup.cluster),
        workers: WorkerKind::Processes { program },
        transport: TransportOptions::default(),
        limits: Limits::default(),
    };
    let mut cluster = LocalCluster::start(config).await.unwrap();
    check("clocks of their own", &mut cluster, &request).await;
    let rounds = run_steps(&mut cluster, &request, 3).await.unwrap();
    cluster.shutdown().await;
    for round in &rounds {
        // They are others, and known to some part of a second, however busy this machine is: how well is judged in every run. A start by
        // the coordinator's clock would be hours off, and the phases of `check` would never end.
        assert!(round.clock_error_ns.iter().all(|error| (1..1_000_000_000).contains(error)), "{round:?}");
    }
}

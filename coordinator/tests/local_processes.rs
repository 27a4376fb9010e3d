//! Real worker processes: they agree with the simulator, and none outlives its coordinator, however that ends.
//!
//! Without the usual harness, because this executable is its own worker: `local_processes node ...` is what the cluster starts, and
//! `local_processes yard` a coordinator that can be killed. To who runs tests it says what the usual harness says: `--list`, `--ignored`,
//! `--exact` and names are understood, as cargo-nextest needs.

use coordinator::local::{rack_names, stdin_closed};
use coordinator::machine::CoordinatorEvent;
use coordinator::{
    Limits, LocalCluster, LocalConfig, RunError, RunRequest, SimRunner, WorkerKind, run_steps,
};
use moe::experts::ExpertKind;
use moe::gate::{GateKind, GateSpec, Softmax};
use moe::placement::Placement;
use moe::shape::LayerShape;
use node::control::{Pacing, PhaseReport};
use node::net::{Identity, TransportOptions};
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::worker::{WorkerConfig, run_worker};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use topology::{Cluster, Dtype, Hardware};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments.get(1).map(String::as_str) {
        Some("node") => return runtime().block_on(worker(&arguments)),
        Some("yard") => return runtime().block_on(yard(arguments.get(2).is_some())),
        _ => {}
    }
    type Scenario = (&'static str, fn(&tokio::runtime::Runtime));
    let scenarios: [Scenario; 7] = [
        ("processes_agree_with_the_simulator_and_leave_when_told", |runtime| runtime.block_on(agreement())),
        ("a_killed_worker_is_started_anew_and_no_step_is_lost", |runtime| runtime.block_on(killed_worker())),
        ("faults_that_hold_give_the_times_and_bits_of_the_simulator", |runtime| {
            runtime.block_on(held_faults());
        }),
        ("faults_that_happen_are_survived_or_named_with_their_source", |runtime| {
            runtime.block_on(met_faults());
        }),
        ("a_killed_coordinator_leaves_no_worker", |_| ended_yard(false, Signal::KILL)),
        ("an_interrupted_coordinator_leaves_no_worker", |_| ended_yard(false, Signal::INT)),
        ("a_panic_leaves_no_worker", |_| ended_yard(true, Signal::INT)),
    ];
    let is_given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let names: Vec<&str> =
        arguments.iter().skip(1).map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    let is_meant = |scenario: &&Scenario| {
        let of =
            |name: &&str| if is_given("--exact") { *name == scenario.0 } else { scenario.0.contains(*name) };
        !is_given("--ignored") && (is_given("--list") || names.is_empty() || names.iter().any(of))
    };
    for (name, scenario) in scenarios.iter().filter(is_meant) {
        if is_given("--list") {
            writeln!(std::io::stdout().lock(), "{name}: test").unwrap();
            continue;
        }
        let begun = Instant::now();
        scenario(&runtime());
        let mut out = std::io::stdout().lock();
        writeln!(out, "test {name} ... ok ({:.1} s)", begun.elapsed().as_secs_f64()).unwrap();
    }
    ExitCode::SUCCESS
}

/// What `railyard node` does.
async fn worker(arguments: &[String]) -> ExitCode {
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag).unwrap();
        arguments[at + 1].clone()
    };
    assert!(arguments.iter().any(|argument| argument == "--leave-with-stdin"));
    let name = value("--name");
    let config = WorkerConfig {
        coordinator: value("--coordinator"),
        bind: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        identity: Identity::load(Path::new(&value("--certs")), &name).unwrap(),
        name,
        connect_timeout: Duration::from_secs(10),
        rejoin: None,
        transport: TransportOptions::default(),
        mortal: true,
        tally: std::sync::Arc::default(),
    };
    let closed = async {
        let _ = stdin_closed().await;
        "the coordinator is gone".to_owned()
    };
    match run_worker(config, closed).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// A coordinator that says its workers' ids and works until it is stopped, or panics.
async fn yard(panics: bool) -> ExitCode {
    let mut cluster = start().await;
    let ids: Vec<_> = cluster.process_ids().iter().map(u32::to_string).collect();
    let mut out = std::io::stdout();
    writeln!(out, "{}", ids.join(" ")).unwrap();
    assert!(!panics, "as told");
    let (long, stepped) = (request(&[2, 2]), first_step(&cluster));
    let (result, ()) = tokio::join!(run_steps(&mut cluster, &long, 5000), async move {
        stepped.await;
        writeln!(out, "at work").unwrap();
    });
    match result {
        Err(RunError::Interrupted) => ExitCode::from(130),
        _ => ExitCode::FAILURE,
    }
}

/// Ends when the run that comes next has done its first step.
fn first_step(cluster: &LocalCluster) -> impl Future<Output = ()> + Send + use<> {
    let mut events = cluster.handle().subscribe();
    async move { while !matches!(events.recv().await, Ok(CoordinatorEvent::StepDone { .. }) | Err(_)) {} }
}

async fn start() -> LocalCluster {
    let config = LocalConfig {
        names: rack_names(&Cluster::new(&[2, 2]).unwrap()),
        workers: WorkerKind::Processes { program: std::env::current_exe().unwrap() },
        transport: TransportOptions::default(),
        limits: Limits::default(),
    };
    LocalCluster::start(config).await.unwrap()
}

fn request(racks: &[u32]) -> RunRequest {
    let cluster = Cluster::new(racks).unwrap();
    let hardware = Hardware::preset("lab").unwrap();
    let gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true));
    let shape = LayerShape {
        hidden: 256,
        num_experts: 16,
        top_k: 2,
        expert_inter: 64,
        gate,
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    };
    let placement = Placement::linear(&cluster, shape.num_experts).unwrap();
    let layer = LayerProgram::new(shape, placement, vec![8; cluster.num_ranks() as usize]);
    let experts = ExpertKind::Gemm;
    let setup =
        Setup { seed: 1, chunk_rows: 4, experts, ..Setup::new(cluster, hardware, Program::Layer(layer)) };
    RunRequest { expected_phase_ns: 1_000_000, ..RunRequest::new(setup) }
}

async fn agreement() {
    let mut cluster = start().await;
    let ids = cluster.process_ids();
    assert_eq!(ids.len(), 4);
    for racks in [&[4][..], &[2, 2]] {
        let request = request(racks);
        let real = run_steps(&mut cluster, &request, 2).await.unwrap();
        let simulated = SimRunner::run_blocking(&request, 2).unwrap();
        for (real, simulated) in real.iter().zip(&simulated) {
            assert_eq!(real.digests, simulated.digests);
            assert!(real.phases.iter().flat_map(|(_, reports)| reports).all(|report| report.cpu_ns > 0));
        }
    }
    cluster.shutdown().await;
    assert_all_end(&ids);
}

async fn killed_worker() {
    let mut cluster = start().await;
    let ids = cluster.process_ids();
    let (long, stepped, victim) = (request(&[2, 2]), first_step(&cluster), pid(ids[2]));
    let (result, ()) = tokio::join!(run_steps(&mut cluster, &long, 50), async move {
        stepped.await;
        kill_process(victim, Signal::KILL).unwrap();
    });
    let (records, simulated) = (result.unwrap(), SimRunner::run_blocking(&long, 1).unwrap());
    assert_eq!(records.iter().map(|record| record.step).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.digests == simulated[0].digests));
    let replays: u32 = records.iter().map(|record| record.replays).sum();
    assert!(replays <= 1, "one kill costs one step at most: {replays}");
    let new = cluster.process_ids();
    assert!(new[2] != ids[2] && (new[0], new[1], new[3]) == (ids[0], ids[1], ids[3]));
    cluster.shutdown().await;
    assert_all_end(&ids);
    assert_all_end(&new);
}

/// A run with faults; phases of some tens of ms, so that what the host takes is little beside them.
fn hit(faults: &[&str]) -> RunRequest {
    let mut request = request(&[2, 2]);
    request.setup.faults.faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    request.pacing = Pacing { network_dilation: 40, compute_dilation: 40, ..Pacing::default() };
    request.expected_phase_ns = 100_000_000;
    request
}

async fn held_faults() {
    let mut cluster = start().await;
    for fault in [
        "slow rank=1 factor=4",
        "degrade rack=1 factor=6",
        "degrade from=0 to=2 factor=9",
        "delay by_us=900 phase=combine",
        "cut from=0 to=2 both=true for_us=1500 phase=dispatch",
        "freeze rank=2 phase=combine at_us=100 for_us=1500",
        "skew rank=3 by_us=800",
    ] {
        let request = hit(&[fault]);
        let simulated = SimRunner::run_blocking(&request, 2).unwrap();
        let real = run_steps(&mut cluster, &request, 2).await.unwrap();
        for (real, simulated) in real.iter().zip(&simulated) {
            assert_eq!(real.digests, simulated.digests, "{fault}");
            for ((stop, real), (_, simulated)) in real.phases.iter().zip(&simulated.phases) {
                let met =
                    |reports: &[PhaseReport]| reports.iter().map(|report| report.faults).collect::<Vec<_>>();
                assert_eq!(met(real), met(simulated), "{fault}: {stop:?}");
                let [real, simulated] = [real, simulated].map(|reports| PhaseReport::slowest(reports));
                // Never early; how late is the host's affair.
                assert!(
                    real.0 * 100 >= simulated.0 * 99,
                    "{fault}: {stop:?} took {real}, simulated {simulated}"
                );
            }
        }
    }
    cluster.shutdown().await;
}

async fn met_faults() {
    let mut cluster = start().await;
    let healthy = SimRunner::run_blocking(&hit(&[]), 1).unwrap();
    for fault in [
        "kill rank=2 step=1 phase=combine",
        "kill rack=1 step=1 phase=expert at_us=50",
        "freeze rank=1 step=1",
        "corrupt from=3 to=2 step=1 phase=combine",
    ] {
        let records = run_steps(&mut cluster, &hit(&[fault]), 3)
            .await
            .unwrap_or_else(|error| panic!("{fault}: {error}"));
        for (step, record) in (0..).zip(&records) {
            assert_eq!((record.step, &record.digests), (step, &healthy[0].digests), "{fault}");
            assert_eq!(
                record.replays > 0,
                step == 1,
                "{fault}: step {step} was begun anew {} times",
                record.replays
            );
            let outage = record.outage;
            assert_eq!(outage.noticed_ns + outage.resumed_ns > 0, step == 1, "{fault}: {outage:?}");
        }
    }
    for (fault, says) in [
        ("drop from=3 to=2 step=1 frame=0", "rank 3"),
        ("duplicate from=3 to=2 step=1 phase=combine", "from rank 3 where 1 was due"),
        ("reorder from=3 to=2 step=1", "from rank 3 where 0 was due"),
    ] {
        let error = run_steps(&mut cluster, &hit(&[fault]), 3).await.unwrap_err().to_string();
        assert!(error.contains(says), "{fault}: {error}");
    }
    cluster.shutdown().await;
}

fn ended_yard(panics: bool, signal: Signal) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("yard").args(panics.then_some("panic")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut yard = command.spawn().unwrap();
    let mut lines = BufReader::new(yard.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let ids: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 4, "{line:?}");
    if !panics {
        assert_eq!(lines.next().unwrap().unwrap(), "at work");
        kill_process(pid(yard.id()), signal).unwrap();
    }
    let status = yard.wait().unwrap();
    if signal == Signal::INT && !panics {
        assert_eq!(status.code(), Some(130), "Ctrl-C is an orderly end");
    }
    assert!(!status.success());
    assert_all_end(&ids);
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

fn assert_all_end(ids: &[u32]) {
    let limit = Instant::now() + Duration::from_secs(3);
    for &id in ids {
        while test_kill_process(pid(id)).is_ok() && !is_zombie(id) {
            assert!(Instant::now() < limit, "worker process {id} is left over");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Ended, but its parent has not asked for its status: where a test runs without an init process.
fn is_zombie(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

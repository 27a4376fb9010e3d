//! `railyard serve-bench` from outside: its tables, its JSON, its faults, and the same tokens on worker processes as in the simulator.

mod support;

use ::coordinator::pace::Host;
use coordinator::SimRunner;
use coordinator::local::{LocalCluster, LocalConfig, WorkerKind};
use coordinator::machine::Limits;
use node::net::TransportOptions;
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;
use study::experiment::parse_experiment;
use study::placing::Programs;
use study::scenario::{Scenario, ScenarioError, Studied};
use study::serving::{Live, Sources};
use study::subjects::{Serving, serve_spec};

fn railyard(args: &[&str]) -> Output {
    support::railyard(args).output().unwrap()
}

fn file(dir: &Path, text: &str) -> String {
    let path = dir.join("serve.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const SMALL: &str = r#"
name = "small"
claim = "more users wait longer"
[serve]
model = "qwen3-30b-a3b"
hardware = "h100"
ranks_per_rack = 8
[arrivals]
kind = "closed"
users = 4
num_prompts = 12
input_len = 32
output_len = 4
[sweep]
"arrivals.users" = [2, 4, 8]
[[plot]]
file = "small"
x = "arrivals.users"
y = ["mean_ttft_ms"]
"#;

#[test]
fn a_sweep_is_one_table_one_object_lines_and_a_plot() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), SMALL);
    let out = dir.path().join("out");
    let table = railyard(&["-q", "serve-bench", &path, "--out", out.to_str().unwrap()]);
    assert!(table.status.success(), "{}", String::from_utf8_lossy(&table.stderr));
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(
        text.contains("claim: more users wait longer\n") && text.contains("\nusers  backend  mean TTFT ms"),
        "{text}"
    );
    let lines = std::fs::read_to_string(out.join("small.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 4);
    let json = railyard(&["-q", "serve-bench", &path, "--json", "--jobs", "1"]);
    let object: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&object["schema_version"], &object["name"]), (&2.into(), &"small".into()));
    let points = object["points"].as_array().unwrap();
    // The same whatever the number of threads.
    let again = lines.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
    for (point, again) in points.iter().zip(again) {
        let record = again["records"][0].as_object().unwrap();
        assert!(
            record.iter().all(|(key, value)| point[key] == *value) && point["settings"] == again["settings"]
        );
    }
    assert!(points.iter().all(|point| point["completed"] == 12 && point["problem"].is_null()));
    if cfg!(feature = "plots") {
        assert!(
            std::fs::read_to_string(out.join("small.svg"))
                .unwrap()
                .contains("mean time to the first token, ms")
        );
    }
}

#[test]
fn one_run_is_the_block_that_vllm_prints() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), SMALL);
    let done = railyard(&["-q", "serve-bench", &path, "--set", "arrivals.users=4", "--backend", "analytic"]);
    let text = String::from_utf8(done.stdout).unwrap();
    for line in [
        "============ Serving Benchmark Result ============",
        "Successful requests:                     12        ",
        "Total input tokens:                      384       ",
        "Total generated tokens:                  48        ",
        "---------------Time to First Token----------------",
        "-----Time per Output Token (excl. 1st token)------",
        "---------------Inter-token Latency----------------",
        "Times:                                   computed, analytic",
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn what_layers_took_is_kept_and_changes_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (path, cache) = (file(dir.path(), SMALL), dir.path().join("cache"));
    let run = |cache: &Path| {
        let mut command = support::railyard(&["serve-bench", &path, "--json"]);
        let done = command.env("RAILYARD_CACHE", cache).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        (done.stdout, String::from_utf8(done.stderr).unwrap())
    };
    let (without, _) = run(Path::new(""));
    assert_eq!(run(&cache).0, without);
    let files = || std::fs::read_dir(cache.join("layers")).unwrap().map(|file| file.unwrap().path());
    let written: Vec<_> = files().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(written.len(), 1, "one deployment");
    assert_eq!(run(&cache).0, without);
    // A damaged file is written anew.
    files().for_each(|path| std::fs::write(path, "railyard-layers-1 0\n").unwrap());
    assert_eq!(run(&cache).0, without);
    assert!(files().map(|path| std::fs::read(path).unwrap()).eq(written));
    // One that can't be written is told.
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::write(&cache, "a file").unwrap();
    let (bytes, told) = run(&cache);
    assert_eq!(bytes, without);
    assert!(told.contains("not kept for the next run"), "{told}");
}

#[test]
fn faults_name_the_place_and_exit_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for (change, said) in [
        (
            ("users = 4", "user = 4"),
            "serve.toml:10: unknown key `arrivals.user`, did you mean `arrivals.users`?",
        ),
        (("[sweep]", "[scheduler]\nmax_num_seqs = 0\n[sweep]"), "scheduler: max_num_seqs = 0"),
        (
            ("users = 4", "users = 4\nfile = \"missing.csv\""),
            "serve.toml:11: point 0 (arrivals.users = 2, seed 1): arrivals.file: missing.csv: No such file",
        ),
        (
            ("x = \"arrivals.users\"", "x = \"arrivals.nobody\""),
            "serve.toml:18: plot: x: `arrivals.nobody` is neither swept nor a column",
        ),
    ] {
        let path = file(dir.path(), &SMALL.replacen(change.0, change.1, 1));
        let out = dir.path().join("out");
        let done = railyard(&["-q", "serve-bench", &path, "--out", out.to_str().unwrap()]);
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{error}");
        let last = error.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("railyard: ") && last.contains(said), "{error}");
    }
    let path = file(dir.path(), SMALL);
    let done = railyard(&["serve-bench", &path, "--set", "users"]);
    assert_eq!(done.status.code(), Some(2));
}

/// Presets, the model small enough for a reference.
#[derive(Debug, Default)]
struct Presets;

impl Sources for Presets {
    fn resolve(&self, scenario: &Scenario) -> Result<Studied, ScenarioError> {
        let mut studied = scenario.resolve(&Arc::new(Programs::new(Duration::from_secs(1))))?;
        studied.model.hidden = 64;
        Ok(studied)
    }
}

const LAB: &str = r#"
[serve]
model = "lab-moe"
hardware = "lab"
racks = 2
ranks_per_rack = 2
routing = "gate"
scheme = "flat"
[parallel]
pp = 2
[scheduler]
max_num_seqs = 2
max_num_batched_tokens = 8
[arrivals]
kind = "burst"
num_prompts = 6
input_len = 11
output_len = 3
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_processes_compute_the_tokens_that_the_simulator_computes() {
    let (_, experiment) = parse_experiment(LAB, "lab.toml", &[&Serving::<Presets>::default()]).unwrap();
    let spec = serve_spec(&experiment.fixed, None).unwrap();
    let live = Live::new(&spec, &Presets, Host::this(false), 0).unwrap();
    let (_, simulated) =
        live.serve(&mut SimRunner::default(), &Presets, "simulated", &mut |_| ()).await.unwrap();
    let config = LocalConfig {
        names: (0..4).map(|node| format!("node{node}")).collect(),
        workers: WorkerKind::Processes { program: env!("CARGO_BIN_EXE_railyard").into() },
        transport: TransportOptions::default(),
        limits: Limits::default(),
    };
    let mut cluster = LocalCluster::start(config).await.unwrap();
    let (record, measured) = live.serve(&mut cluster, &Presets, "measured", &mut |_| ()).await.unwrap();
    assert_eq!((record.completed, record.clock.as_str()), (6, "measured"));
    assert_eq!(measured, simulated);
    assert_eq!(measured.len(), 6 * (11 + 3 - 1));
    cluster.shutdown().await;
}

//! Every experiment file in `examples/` can be run: its keys are known, and each of its points resolves to a comparison or a deployment.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

/// A cluster file, not an experiment.
const CLUSTER: &str = "two-h100-nodes.toml";

fn experiments() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(folder).expect("the examples");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|is| is == "toml") && !path.ends_with(CLUSTER));
    files.sort();
    files
}

#[test]
fn every_experiment_resolves_and_has_its_command_in_the_readme() {
    let readme = include_str!("../examples/README.md");
    assert!(experiments().len() >= 6, "{:?}", experiments());
    for path in experiments() {
        let serving = fs::read_to_string(&path).expect("an example").contains("[arrivals]");
        let command = if serving { "serve-bench" } else { "run" };
        let shown = support::works(support::railyard(&[command, "--dry-run"]).arg(&path));
        let points = shown.lines().filter(|line| line.contains("  railyard ")).count();
        assert!(points > usize::from(!serving), "{}: {points} points", path.display());
        let name = path.file_name().expect("a file").to_string_lossy();
        assert!(
            readme.contains(&format!("railyard {command} examples/{name}")),
            "{name} has no command in examples/README.md"
        );
    }
}

/// Numbers of the records of an example, by point.
fn numbers(name: &str, key: &str) -> Vec<f64> {
    let out = tempfile::tempdir().expect("a directory");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let run = [Path::new("-q"), Path::new("run"), &file, Path::new("--out"), out.path()];
    support::works(support::railyard(&[]).args(run));
    let results = out.path().join(name.replace(".toml", ".jsonl"));
    let lines = fs::read_to_string(results).expect("results");
    let points =
        lines.lines().skip(1).map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let number = |point: serde_json::Value| {
        let record = &point["records"][0];
        assert!(record["verified"] == true && record["valid"] == true, "{name}: {record}");
        record
            .pointer(key)
            .and_then(serde_json::Value::as_f64)
            .unwrap_or_else(|| panic!("{name}: {key}: {record}"))
    };
    points.map(number).collect()
}

#[test]
fn examples_of_faults_cost_what_they_say() {
    let slow = numbers("faults-slow-rank.toml", "/faults/throughput");
    assert!(slow.windows(2).all(|pair| pair[0] > pair[1]) && slow[0] > 0.8, "{slow:?}");
    assert_eq!(numbers("faults-dead-rank.toml", "/faults/detected_ms"), [1000.0; 2]);
    assert_eq!(numbers("faults-dead-rank.toml", "/replays"), [1.0; 2]);
    let degraded = numbers("faults-degraded-rack.toml", "/faults/throughput");
    let [flat, dedup, hierarchical] = [0, 3, 6].map(|at| degraded[at + 2]);
    assert!(flat < dedup && dedup < hierarchical, "an eighth of the rate: {degraded:?}");
}

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

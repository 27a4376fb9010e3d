//! The policy and the gate of docs/extending.md, each a file and a line of a registry, found in everything that a built
//! binary does with its registries: `cargo test --features extending --test extending`.

mod support;

use moe::gate::GATES;
use moe::placement::POLICIES;
use std::fs;
use std::path::Path;

const INPUTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/inputs");

#[track_caller]
fn works(args: &[&str]) -> String {
    support::works(support::railyard(args).current_dir(INPUTS))
}

#[track_caller]
fn fails(args: &[&str]) -> String {
    support::fails(support::railyard(args).current_dir(INPUTS), 2)
}

fn written(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn the_policy_is_in_help_lists_errors_and_documentation() {
    for command in ["place", "compare", "coordinator"] {
        let help = works(&[command, "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("- snake: experts by load, hottest first"), "{command} --help");
    }
    assert!(works(&["completions", "bash"]).contains("snake"));
    assert!(works(&["policies"]).contains("\nsnake"));
    assert!(works(&["policies", "--json"]).contains("\"snake\""));
    let error = fails(&["compare", "--placement", "snaek", "--backend=analytic"]);
    let known = POLICIES.names().collect::<Vec<_>>().join(", ");
    assert!(error.contains("did you mean `snake`?") && error.contains(&known), "{error}");
    // What docs/placement.md is held to.
    assert!(POLICIES.markdown().contains("| `snake` | "));
}

#[test]
fn the_policy_places_in_every_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = ["place", "--loads", "loads-32.json", "--ranks=4", "--racks=2", "--json"];
    works(&[&place[..], &["--policy", "snake"]].concat());
    assert!(works(&[&place[..], &["--compare"]].concat()).contains("\"policy\": \"snake\""));
    let layer = ["--model=granite-1b", "--racks=2", "--ranks-per-rack=2", "--placement=snake"];
    works(&[&["compare", "--quiet", "--json", "--backend=sim", "--gate=unlimited"], &layer[..]].concat());
    let sweep = "[experiment]\nbackend = \"analytic\"\nmodel = \"granite-1b\"\nracks = 2\nranks_per_rack = 2\n\
                 placement = \"snake\"\n";
    works(&["run", &written(dir.path(), "sweep.toml", sweep), "--out", &dir.path().display().to_string()]);
    let serve = "[serve]\nmodel = \"granite-1b\"\nhardware = \"h100\"\nranks_per_rack = 4\nplacement = \"snake\"\n\
                 [arrivals]\nnum_prompts = 4\nkind = \"constant\"\nrequest_rate = 10.0\n\
                 input_len = 16\noutput_len = 4\n";
    works(&["serve-bench", &written(dir.path(), "serve.toml", serve), "--json"]);
}

#[test]
fn the_gate_is_in_lists_errors_and_documentation() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(works(&["policies"]).contains("\nsoftplus"));
    assert!(works(&["policies", "--json"]).contains("\"softplus\""));
    let preset = works(&["model", "lab-moe", "--toml"]);
    let misspelt = written(dir.path(), "misspelt.toml", &preset.replace("softmax", "softpluss"));
    let error = fails(&["compare", "--model", &misspelt, "--backend=analytic"]);
    assert!(error.contains("no gate is called `softpluss`, did you mean `softplus`?"), "{error}");
    // What docs/models.md is held to.
    assert!(GATES.markdown().contains("| `softplus` | "));
}

#[test]
fn the_gate_routes_in_every_command_that_takes_a_model() {
    let dir = tempfile::tempdir().expect("a directory");
    let preset = works(&["model", "lab-moe", "--toml"]);
    assert!(preset.contains("softmax"), "{preset}");
    let model = written(dir.path(), "own.toml", &preset.replace("softmax", "softplus"));
    assert!(works(&["model", &model]).contains("softplus"));
    let layer = ["--model", &model, "--racks=2", "--ranks-per-rack=2", "--tokens=4"];
    let compare = ["compare", "--quiet", "--json", "--backend=sim", "--routing=gate", "--gate=unlimited"];
    let rows: serde_json::Value =
        serde_json::from_str(&works(&[&compare, &layer[..]].concat())).expect("JSON");
    let rows = rows["rows"].as_array().expect("a list");
    // Bit for bit what the reference has, which uses the same gate.
    assert!(!rows.is_empty() && rows.iter().all(|row| row["verified"] == true), "{rows:?}");
    works(&["roofline", "--model", &model, "--json"]);
    let sweep = format!(
        "[experiment]\nbackend = \"sim\"\nrouting = \"gate\"\nmodel = {model:?}\nracks = 2\nranks_per_rack = 2\ntokens = 4\n"
    );
    works(&["run", &written(dir.path(), "sweep.toml", &sweep), "--out", &dir.path().display().to_string()]);
    let serve = format!(
        "[serve]\nmodel = {model:?}\nhardware = \"lab\"\nranks_per_rack = 4\n\
         [arrivals]\nnum_prompts = 4\nkind = \"constant\"\nrequest_rate = 10.0\n\
                 input_len = 16\noutput_len = 4\n"
    );
    works(&["serve-bench", &written(dir.path(), "serve.toml", &serve), "--json"]);
}

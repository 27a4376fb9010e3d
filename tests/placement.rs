//! One word for a placement in every command, and one answer to a word that is none.

mod support;

use moe::placement::POLICIES;
use std::fs;
use std::path::Path;

const INPUTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/inputs");

/// 32 experts in 4 layers.
const PLACE: [&str; 6] = ["place", "--loads", "loads-32.json", "--ranks=4", "--racks=2", "--json"];
const COMPARE: [&str; 8] = [
    "compare",
    "--quiet",
    "--json",
    "--backend=analytic",
    "--model=granite-1b",
    "--racks=2",
    "--ranks-per-rack=2",
    "--gate=unlimited",
];

#[track_caller]
fn works(args: &[&str]) -> String {
    support::works(support::railyard(args).current_dir(INPUTS))
}

#[track_caller]
fn fails(args: &[&str]) -> String {
    support::fails(support::railyard(args).current_dir(INPUTS), 2)
}

/// The commands that take a placement, with `word` as theirs.
fn commands(word: &str, dir: &Path) -> [Vec<String>; 4] {
    let written = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let sweep = format!(
        "[experiment]\nbackend = \"analytic\"\nmodel = \"granite-1b\"\nracks = 2\n\
         ranks_per_rack = 2\nplacement = {word:?}\n"
    );
    let serve = format!(
        "[serve]\nmodel = \"granite-1b\"\nhardware = \"h100\"\nracks = 1\nranks_per_rack = 4\nplacement = {word:?}\n\
         [arrivals]\nnum_prompts = 4\nkind = \"constant\"\nrequest_rate = 10.0\n"
    );
    [
        [&words(&PLACE)[..], &words(&["--policy", word])].concat(),
        [&words(&COMPARE)[..], &words(&["--placement", word])].concat(),
        words(&["run", &written("sweep.toml", sweep), "--dry-run"]),
        words(&["serve-bench", &written("serve.toml", serve), "--dry-run"]),
    ]
}

#[test]
fn every_command_takes_every_word() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = ["placement-32.json", "file:placement-32.json"];
    for word in POLICIES.names().chain(files) {
        for args in commands(word, dir.path()) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            works(&args);
        }
    }
}

#[test]
fn every_command_gives_the_same_answer_to_a_word_that_is_none() {
    let dir = tempfile::tempdir().expect("a directory");
    for args in commands("rack-awear", dir.path()) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let error = fails(&args);
        let answer = "placement: rack-awear: No such file or directory (os error 2), did you mean `rack-aware`?; give a policy (linear, ";
        assert!(error.contains(answer), "{args:?}: {error}");
    }
}

#[test]
fn a_program_that_fails_is_told_with_its_word() {
    for command in [&PLACE[..], &COMPARE[..]] {
        let word = ["--placement=exec:false"];
        let error = fails(&[command, &word].concat());
        assert!(error.contains("railyard: placement: exec:false: ended with exit status: 1"), "{error}");
    }
}

#[test]
fn the_comparison_of_policies_fits_80_columns() {
    let table = works(&["place", "--loads", "loads-32.json", "--ranks=4", "--racks=2", "--slots=40"]);
    let widths = table.lines().filter(|line| line.starts_with('─')).map(|line| line.chars().count());
    let widths: Vec<usize> = widths.collect();
    assert!(widths.len() > 1 && widths.iter().all(|&width| width <= 80), "{table}");
}

#[test]
fn every_policy_stands_in_help_and_in_the_comparison_of_policies() {
    let rows: serde_json::Value =
        serde_json::from_str(&works(&[&PLACE[..], &["--compare"]].concat())).expect("JSON");
    let rows = rows["policies"].as_array().expect("a list");
    // After them, the other end of the one that has two.
    let names: Vec<&str> = rows.iter().map(|row| row["policy"].as_str().expect("a name")).collect();
    let (registry, other_end) = names.split_at(POLICIES.names().count());
    assert!(registry.iter().copied().eq(POLICIES.names()) && other_end.len() == 1, "{names:?}");
    for command in ["place", "compare", "coordinator"] {
        let help = works(&[command, "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        for policy in POLICIES.iter() {
            let line = format!("- {}: {}", policy.name(), policy.help());
            assert!(help.contains(&line), "{command} --help: {line}");
        }
    }
}

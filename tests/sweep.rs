//! `railyard run` and `railyard report` from outside: killed and resumed, on any number of threads, in shards, replayed.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// 36 points of a few milliseconds each.
const SWEEP: &str = r#"name = "small"
[experiment]
model = "granite-1b"
racks = 2
ranks_per_rack = 4
latency = "zero"
base = "ranks"
[sweep]
throttle = [1, 8]
scheme = ["flat", "dedup", "hierarchical"]
tokens = { from = 8, to = 24, step = 8 }
seeds = "1-2"
"#;
const POINTS: usize = 36;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        place.write("small.toml", SWEEP);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_railyard"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        for variable in ["RUST_LOG", "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the command starts")
    }

    #[track_caller]
    fn succeeds(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs and expects `code` and one line on stderr with `message`.
    #[track_caller]
    fn fails(&self, code: i32, args: &[&str], message: &str) {
        let output = self.run(args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(message) && error.lines().count() == 1, "{args:?}: {error}");
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("results")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Whole lines of a file that may not be there yet.
fn lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}

#[test]
fn a_run_that_is_killed_anywhere_ends_with_the_same_bytes() {
    let place = Place::new();
    place.succeeds(&["run", "-q", "small.toml", "--out", "undisturbed"]);
    let undisturbed = place.bytes("undisturbed/small.jsonl");
    // Where to strike next: a step of a linear congruential generator.
    let mut state: u64 = 20_261_125;
    for round in 0..3 {
        let out = format!("killed-{round}");
        let file = place.path(&out).join("small.jsonl");
        let args = ["run", "-q", "small.toml", "--out", &out, "--jobs", "2"];
        let mut kills = 0;
        loop {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let victim = lines(&file) + 1 + (state >> 33) as usize % 12;
            let mut child = place.command(&args).stdout(Stdio::null()).spawn().expect("starts");
            let ended = loop {
                if lines(&file) >= victim {
                    child.kill().expect("killed");
                    kills += 1;
                    break child.wait().expect("ended");
                }
                if let Some(ended) = child.try_wait().expect("asked") {
                    break ended;
                }
                std::thread::yield_now();
            };
            if ended.success() {
                break;
            }
        }
        assert!(kills > 0, "round {round} was never disturbed");
        assert!(place.bytes(&format!("{out}/small.jsonl")) == undisturbed, "round {round}, {kills} kills");
    }
}

#[test]
fn an_interrupted_run_says_how_it_goes_on() {
    let place = Place::new();
    let file = place.path("results/small.jsonl");
    let child = place.command(&["run", "-q", "small.toml", "--jobs", "1"]).stderr(Stdio::piped()).spawn();
    let child = child.expect("starts");
    while lines(&file) < 3 {
        std::thread::yield_now();
    }
    kill_process(Pid::from_raw(child.id() as i32).expect("a process"), Signal::INT).expect("signalled");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the same command goes on from there"), "{}", text(&output.stderr));
    let before = lines(&file) - 1;
    assert!((2..POINTS).contains(&before));
    let resumed = place.run(&["run", "small.toml"]);
    assert!(resumed.status.success());
    assert!(text(&resumed.stderr).contains("points were finished before"), "{}", text(&resumed.stderr));
    assert_eq!(lines(&file), POINTS + 1);
}

#[test]
fn any_number_of_threads_and_any_shards_give_the_same_records() {
    let place = Place::new();
    for jobs in ["1", "2", "5"] {
        place.succeeds(&["run", "-q", "small.toml", "--jobs", jobs, "--out", &format!("jobs-{jobs}")]);
    }
    let one = place.bytes("jobs-1/small.jsonl");
    assert!(one == place.bytes("jobs-2/small.jsonl") && one == place.bytes("jobs-5/small.jsonl"));
    for shard in ["1/3", "3/3"] {
        place.succeeds(&["run", "-q", "small.toml", "--shard", shard, "--out", "parts"]);
    }
    let output = place.run(&["report", "parts"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("12 of 36 points are missing: 1, 4, 7,"),
        "{}",
        text(&output.stderr)
    );
    // The last part as the task of an array.
    let task = place
        .command(&["run", "-q", "small.toml", "--out", "parts", "--json"])
        .envs([("JOB_COMPLETION_INDEX", "1"), ("JOB_COMPLETIONS", "3")])
        .output();
    assert!(task.expect("starts").status.success());
    for format in [&["--csv"][..], &["--json"], &["--jsonl"], &[]] {
        let of = |from| place.succeeds(&[&["report", from], format].concat());
        assert_eq!(of("parts"), of("jobs-1"), "{format:?}");
    }
}

#[test]
fn a_point_is_a_row_of_the_command_that_it_names() {
    let place = Place::new();
    place.succeeds(&["run", "-q", "small.toml", "--shard", "5/12"]);
    let results = text(&place.bytes("results/small.5-of-12.jsonl"));
    for line in results.lines().skip(1) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let command = line["command"].as_str().expect("a command");
        let words: Vec<&str> = command.split(' ').skip(1).chain(["--json", "-q"]).collect();
        let report: Value = serde_json::from_str(&place.succeeds(&words)).expect("JSON");
        for record in line["records"].as_array().expect("records") {
            let same =
                |row: &&Value| ["title", "backend", "latency"].iter().all(|key| row[key] == record[key]);
            let row = report["rows"].as_array().expect("rows").iter().find(same).expect("the row");
            for (key, value) in record.as_object().expect("a record") {
                if !["configuration", "base_configuration"].contains(&key.as_str()) {
                    assert_eq!(&row[key], value, "{key} of {command}");
                }
            }
        }
    }
}

#[test]
fn faults_are_told_before_anything_runs() {
    let place = Place::new();
    place.write("typo.toml", "[experiment]\ntoken = 3\n");
    place.fails(2, &["run", "typo.toml"], "typo.toml:2: unknown key `token`, did you mean `tokens`?");
    place.write("type.toml", "[sweep]\ntokens = [3,\n'many']\n");
    place.fails(2, &["run", "type.toml"], "type.toml:3: tokens: invalid value 'many'");
    place.write("preset.toml", "[experiment]\nhardware = 'gb20'\n");
    place.fails(
        2,
        &["run", "preset.toml"],
        "preset.toml:2: hardware: no hardware preset `gb20`, did you mean `gb200`?",
    );
    place.write("machine.toml", "[experiment]\nmemory_limit = '3G'\n");
    place.fails(2, &["run", "machine.toml"], "machine.toml:2: unknown key `memory_limit`");
    place.write("two.toml", "[experiment]\nscheme = ['flat', 'dedup']\n");
    place.fails(2, &["run", "two.toml"], "point 0 (seed 1): one configuration has one scheme");
    place.write("gate.toml", "[sweep]\ngate = ['unlimited', 'limit:2']\n");
    place.fails(2, &["run", "gate.toml"], "point 1 (gate = limit:2, seed 1): a gate limited to 2 of 2 racks");
    place.fails(2, &["run", "none.toml"], "cannot open none.toml");
    place.fails(2, &["run", "small.toml", "--shard", "3/2"], "--shard 3/2: give I/N");
    place.fails(1, &["run", "small.toml", "--memory-limit", "1k"], "the largest point needs about");
    assert!(!place.path("results").exists());
    place.succeeds(&["run", "-q", "small.toml", "--backend", "analytic"]);
    place.fails(2, &["run", "-q", "small.toml"], "it was run with other backends; move it away");
    place.fails(2, &["report", "small.toml"], "small.toml: line 1: ");
}

#[test]
fn a_dry_run_prints_commands_and_leaves_nothing() {
    let place = Place::new();
    let shown = place.succeeds(&["run", "small.toml", "--dry-run", "--shard", "2/18"]);
    assert!(shown.contains("points         = 2 of 36, shard 2/18 (--shard)\n"), "{shown}");
    assert_eq!(
        shown.lines().filter(|line| line.contains("  railyard compare --model granite-1b ")).count(),
        2
    );
    assert!(!place.path("results").exists());
}

#[test]
fn values_are_there_where_something_needs_them() {
    let place = Place::new();
    let of = |settings: &str| {
        place.write(
            "one.toml",
            &format!("[experiment]\nmodel = 'granite-1b'\nranks_per_rack = 2\ntokens = 2\n{settings}"),
        );
        let _ = fs::remove_dir_all(place.path("results"));
        let report = place.succeeds(&["run", "-q", "one.toml", "--backend", "sim", "--json"]);
        let report: Value = serde_json::from_str(&report).expect("JSON");
        report["rows"][0]["verification"].as_str().map(str::to_owned)
    };
    assert_eq!(of("").as_deref(), Some("traffic"));
    assert_eq!(of("payload = true").as_deref(), Some("outputs-and-traffic"));
    assert_eq!(of("routing = 'gate'").as_deref(), Some("outputs-and-traffic"));
}

#[cfg(feature = "plots")]
#[test]
fn a_plot_has_a_line_for_each_series() {
    let place = Place::new();
    place.succeeds(&["run", "-q", "small.toml"]);
    let plot = ["report", "results", "--plot", "a.svg", "--x", "throttle", "--y", "a2a_slowdown"];
    place.succeeds(&plot);
    let svg = text(&place.bytes("a.svg"));
    assert!(svg.starts_with("<svg") && svg.contains("small: a2a_slowdown by throttle"));
    let with = |series: &str| {
        [&plot[..], &["--series", series]].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let fails = |args: Vec<String>, message: &str| {
        place.fails(2, &args.iter().map(String::as_str).collect::<Vec<_>>(), message);
    };
    fails(with("scheme"), "add tokens,backend to the series");
    fails(with("gate"), "`gate` is not swept here");
    fails(
        ["report", "results", "--plot", "a.svg", "--x", "throttle", "--y", "x"].map(str::to_owned).to_vec(),
        "no column `x`",
    );
}

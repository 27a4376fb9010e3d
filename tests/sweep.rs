//! `railyard run` and `railyard report` from outside: killed and resumed, on any number of threads, in shards, replayed.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::text;

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
        let mut command = support::railyard(args);
        command.current_dir(self.0.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the command starts")
    }

    #[track_caller]
    fn succeeds(&self, args: &[&str]) -> String {
        support::works(&mut self.command(args))
    }

    /// Runs and expects `code` and one line on stderr with `message`.
    #[track_caller]
    fn fails(&self, code: i32, args: &[&str], message: &str) {
        let error = support::fails(&mut self.command(args), code);
        assert!(error.contains(message) && error.lines().count() == 1, "{args:?}: {error}");
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("results")
    }
}

/// Whole lines of a file that may not be there yet.
fn lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}

/// Runs `args` in `environment` again and again, killed (SIGKILL) at random points of what it writes to `file`, until it ends by
/// itself; says how often it was killed.
fn killed_until_done(
    place: &Place,
    args: &[&str],
    environment: &[(&str, &str)],
    file: &Path,
    state: &mut u64,
) -> usize {
    let mut kills = 0;
    loop {
        // Where to strike next: a step of a linear congruential generator.
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let victim = lines(file) + 1 + (*state >> 33) as usize % 12;
        let mut command = place.command(args);
        let mut child =
            command.envs(environment.iter().copied()).stdout(Stdio::null()).spawn().expect("starts");
        let ended = loop {
            if lines(file) >= victim {
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
            return kills;
        }
    }
}

#[test]
fn a_run_that_is_killed_anywhere_ends_with_the_same_bytes() {
    let place = Place::new();
    place.succeeds(&["run", "-q", "small.toml", "--out", "undisturbed"]);
    let undisturbed = place.bytes("undisturbed/small.jsonl");
    let mut state: u64 = 20_261_125;
    for round in 0..3 {
        let out = format!("killed-{round}");
        let file = place.path(&out).join("small.jsonl");
        let args = ["run", "-q", "small.toml", "--out", &out, "--jobs", "2"];
        let kills = killed_until_done(&place, &args, &[], &file, &mut state);
        assert!(kills > 0, "round {round} was never disturbed");
        assert!(place.bytes(&format!("{out}/small.jsonl")) == undisturbed, "round {round}, {kills} kills");
    }
}

/// 48 serving runs of a few milliseconds each.
const SERVED: &str = r#"name = "served"
claim = "more users wait longer"
[serve]
model = "granite-1b"
hardware = "h100"
ranks_per_rack = 4
cost = "analytic"
[arrivals]
kind = "closed"
num_prompts = 400
input_len = { dist = "uniform", min = 16, max = 64 }
output_len = 8
[sweep]
"arrivals.users" = [2, 4, 8, 16]
"parallel.overlap" = ["none", "two_batch", "full"]
seeds = "1-4"
[[plot]]
file = "served"
x = "arrivals.users"
y = ["mean_ttft_ms"]
"#;

#[test]
fn a_serving_sweep_that_is_killed_anywhere_ends_with_the_same_records() {
    let place = Place::new();
    place.write("served.toml", SERVED);
    let array =
        |task| [("SLURM_ARRAY_TASK_ID", task), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_MAX", "2")];
    let mut state: u64 = 20_261_128;
    for (name, environment) in [("served", &[][..]), ("served.2-of-2", &array("2"))] {
        let mut undisturbed = place.command(&["serve-bench", "-q", "served.toml", "--out", "undisturbed"]);
        assert!(undisturbed.envs(environment.iter().copied()).output().expect("starts").status.success());
        let file = format!("killed/{name}.jsonl");
        let args = ["serve-bench", "-q", "served.toml", "--out", "killed", "--jobs", "1"];
        let kills = killed_until_done(&place, &args, environment, &place.path(&file), &mut state);
        assert!(kills > 0, "{name} was never disturbed");
        assert!(
            place.bytes(&file) == place.bytes(&format!("undisturbed/{name}.jsonl")),
            "{name}, {kills} kills"
        );
    }
    // The other task makes the array whole, and the whole is what one job has.
    let mut other = place.command(&["run", "-q", "served.toml", "--out", "killed"]);
    assert!(other.envs(array("1")).output().expect("starts").status.success());
    fs::remove_file(place.path("killed/served.jsonl")).expect("removed");
    for format in ["--csv", "--json"] {
        let whole = place.succeeds(&["report", "undisturbed/served.jsonl", format]);
        assert_eq!(place.succeeds(&["report", "killed", format]), whole);
    }
    let table = place.succeeds(&["report", "killed"]);
    assert!(table.contains("± ") && table.contains("mean TTFT ms"), "{table}");
}

#[test]
fn a_report_takes_any_mixture_of_results() {
    let place = Place::new();
    place.write("served.toml", SERVED);
    // The folder of the version before: a layer in two shards, lines of serving records.
    let before = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/results");
    fs::create_dir(place.path("results")).expect("a directory");
    for name in ["layers.1-of-2.jsonl", "layers.2-of-2.jsonl", "served.serve.jsonl"] {
        fs::copy(before.join(name), place.path("results").join(name)).expect("copied");
    }
    place.succeeds(&["serve-bench", "-q", "served.toml", "--out", "results"]);
    place.succeeds(&["run", "-q", "small.toml"]);
    place.write("results/notes.jsonl", "{\"when\": \"today\"}\n");
    let output = place.run(&["report", "results"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("skipped results/notes.jsonl: line 1: no results of"), "{said}");
    let shown = text(&output.stdout);
    for heading in
        ["layers (layer, ", "served (serving, of the version before)", "small (layer, ", "served (serving, "]
    {
        assert!(shown.contains(heading), "{heading} is not in\n{shown}");
    }
    let json: Value = serde_json::from_str(&place.succeeds(&["report", "results", "--json"])).expect("JSON");
    let experiments = json["experiments"].as_array().expect("a list");
    let rows = |at: usize| experiments[at]["rows"].as_array().expect("rows").len();
    let named: Vec<_> =
        (0..4).map(|at| (experiments[at]["name"].as_str().expect("a name"), rows(at))).collect();
    assert_eq!(named, [("layers", 4), ("served", 12), ("served", 2), ("small", 36)]);
    // What the version before put out of the same files.
    let layers = &experiments[0];
    assert_eq!((&layers["points"], layers["rows"][0]["a2a_us"]["mean"].is_number()), (&4.into(), true));
    assert_eq!(place.succeeds(&["report", "results", "--jsonl"]).lines().count(), 8 + 48 + 2 + 72);
    let two = ["report", "results/layers.1-of-2.jsonl", "results/small.jsonl", "--csv"];
    place.fails(
        2,
        &two,
        "--csv takes one experiment, here are layers (results/layers.1-of-2.jsonl), small (",
    );
    place.fails(2, &["report", "results/notes.jsonl"], "notes.jsonl: line 1: no results of");
    place.fails(2, &["report", "small.toml"], "small.toml: line 1: no results of");
    // What can't be read in a directory is no fault of the rest; experiments of one name are told apart.
    let gone = place.path("results/gone.jsonl");
    std::os::unix::fs::symlink(place.path("nowhere"), &gone).expect("a link");
    let said = text(&place.run(&["report", "results"]).stderr).to_owned();
    assert!(said.contains("skipped results/gone.jsonl: No such file"), "{said}");
    fs::remove_file(gone).expect("removed");
    for (dir, tokens) in [("part-1", "8"), ("part-2", "9")] {
        let set = format!("tokens={tokens}");
        place.succeeds(&["run", "-q", "small.toml", "--set", &set, "--shard", "1/2", "--out", dir]);
    }
    let output = place.run(&["report", "part-1", "part-2"]);
    let (said, count) = (text(&output.stderr), |dir: &str| text(&output.stderr).matches(dir).count());
    assert_eq!(
        (output.status.code(), count("small (part-1/"), count("small (part-2/")),
        (Some(1), 1, 1),
        "{said}"
    );
    // The heading of results that a newer program wrote, and of one that says it is older than it is.
    let older = fs::read_to_string(place.path("results/small.jsonl")).expect("results");
    place.write("older.jsonl", &older.replace("\"schema_version\":2", "\"schema_version\":1"));
    place.fails(
        2,
        &["report", "older.jsonl"],
        "line 1: it says version 1 and has a `subject`, as later ones do",
    );
    place.write("newer.jsonl", "{\"schema_version\":99}\n");
    place.fails(2, &["report", "newer.jsonl"], "results of version 99, this program has 2");
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
    assert_eq!(output.status.code(), Some(130));
    let said = text(&output.stderr);
    assert!(
        said.contains("interrupted; finished points are in results/small.jsonl, the same command goes on"),
        "{said}"
    );
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
                    let own = if key == "trust" { &report["config"][key] } else { &row[key] };
                    assert_eq!(own, value, "{key} of {command}");
                }
            }
        }
    }
}

/// Four points of six steps each, whose hot rank moves every step.
const REBALANCED: &str = r#"subject = "rebalance"
[experiment]
model = "granite-1b"
racks = 2
ranks_per_rack = 2
tokens = 8
slots = 40
placement = "rack-aware"
routing = "workload:W6"
payload = true
steps = 6
window = 2
[sweep]
interval = ["never", 2]
seeds = "1-2"
"#;

#[test]
fn a_rebalancing_is_run_and_repeated_as_any_other_point() {
    let place = Place::new();
    place.write("moving.toml", REBALANCED);
    place.succeeds(&["run", "-q", "moving.toml"]);
    let results = text(&place.bytes("results/moving.jsonl"));
    for line in results.lines().skip(1) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let record = &line["records"][0];
        let number = |key: &str| record[key].as_f64().unwrap_or_else(|| panic!("{key} of {record}"));
        let moves = line["settings"]["interval"] == 2;
        assert_eq!((&record["verified"], &record["verification"]), (&true.into(), &"outputs".into()));
        assert_eq!(
            (number("moved_gb") > 0.0, number("moves_ms") > 0.0, number("over_kept") == 1.0),
            (moves, moves, !moves)
        );
        assert!((number("total_ms") - number("steps_ms") - number("moves_ms")).abs() < 1e-9);
        let command = line["command"].as_str().expect("a command");
        let words: Vec<&str> = command.split(' ').skip(1).chain(["--json", "-q", "--out", "again"]).collect();
        let report: Value = serde_json::from_str(&place.succeeds(&words)).expect("JSON");
        assert_eq!(report["rows"][0]["total_ms"]["mean"], record["total_ms"], "{command}");
        fs::remove_dir_all(place.path("again")).expect("removed");
    }
    place.write("dying.toml", &REBALANCED.replace("window = 2", "window = 2\nalive = [[0, -1, -2, 3]]"));
    place.succeeds(&["run", "-q", "dying.toml"]);
    for line in text(&place.bytes("results/dying.jsonl")).lines().skip(1) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(
            (&line["records"][0]["deaths"], &line["records"][0]["ranks_least"]),
            (&2.into(), &2.into())
        );
    }
    let otherwise = |set: &'static str| ["run", "moving.toml", "--set", set];
    place.fails(2, &otherwise("placement=linear"), "placement: linear is the same for every load; give eplb");
    place.fails(2, &otherwise("detect_ms=5"), "detect_ms: nobody dies here; say who, as in alive");
    place.fails(2, &otherwise("interval=0"), "interval=0: `0`: give a whole number above 0, or never");
    place.fails(2, &["run", "moving.toml", "--backend", "quic"], "rebalancing is simulated");
    place.fails(2, &otherwise("gate=limit:1"), "unknown key `gate`");
}

#[test]
fn faults_are_told_before_anything_runs() {
    let place = Place::new();
    place.write("typo.toml", "[experiment]\ntoken = 3\n");
    place.fails(2, &["run", "typo.toml"], "typo.toml:2: unknown key `token`, did you mean `tokens`?");
    place.write("type.toml", "[sweep]\ntokens = [3,\n'many']\n");
    place.fails(2, &["run", "type.toml"], "type.toml:3: tokens: `many`: invalid digit found in string");
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
fn a_plot_has_a_line_for_each_series_in_the_format_of_its_ending() {
    let place = Place::new();
    place.succeeds(&["run", "-q", "small.toml", "--backend", "sim"]);
    let plot = ["report", "results", "--plot", "a.svg", "--x", "throttle", "--y", "a2a_slowdown"];
    place.succeeds(&plot);
    let svg = text(&place.bytes("a.svg"));
    assert!(svg.starts_with("<svg") && svg.contains("small: all-to-all slowdown by throttle"));
    let with = |series: &str| {
        [&plot[..], &["--series", series]].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let fails = |args: Vec<String>, message: &str| {
        place.fails(2, &args.iter().map(String::as_str).collect::<Vec<_>>(), message);
    };
    // What is not asked for has lines of its own all the same.
    place.succeeds(&with("scheme").iter().map(String::as_str).collect::<Vec<_>>());
    assert!(text(&place.bytes("a.svg")).contains("tokens a rank"));
    fails(with("gate"), "`gate` is not swept here");
    fails(
        ["report", "results", "--plot", "a.svg", "--x", "throttle", "--y", "x"].map(str::to_owned).to_vec(),
        "no column `x`",
    );
    for (file, message) in [("a.pdf", "`rsvg-convert -f pdf`"), ("a.gif", "pictures are .svg or .png")] {
        place.fails(2, &["report", "results", "--plot", file, "--x", "throttle", "--y", "a2a_us"], message);
    }
    let png = ["report", "results", "--plot", "a.png", "--x", "throttle", "--y", "a2a_us"];
    if cfg!(feature = "png") {
        place.succeeds(&png);
        assert!(place.bytes("a.png").starts_with(b"\x89PNG\r\n"));
    } else {
        place.fails(2, &png, "build it with `--features png`");
    }
}

//! One scenario for every command, from outside: naming a default changes no byte, and a printed command repeats its result.
//!
//! The words come from the commands' own help: a new one is tested by itself, once it says its default or stands in [`FOLLOWS`].

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

const INPUTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/inputs");

/// Words whose default follows from others, with what they are where nothing is said; of `place`, for loads of 64 experts.
const FOLLOWS: [(&str, &str, &str); 6] = [
    ("top_k", "8", "8"),
    ("ranks", "16", "16"),
    ("throttle", "8", "8"),
    ("slots", "256", "64"),
    ("micro_batches", "1", "1"),
    ("dtype", "fp8", "fp8"),
];

/// What is no word of the scenario but of the command.
const OTHERS: [&str; 37] = [
    "tokens",
    "experts",
    "base",
    "backend",
    "rounds",
    "warmup",
    "dilation",
    "gauge",
    "fault",
    "memory-limit",
    "cluster",
    "certs",
    "name",
    "datagram-bytes",
    "rejoin-limit",
    "batch",
    "context",
    "prompt",
    "tokens-per-rank",
    "mtp-acceptance",
    "price",
    "mode",
    "sweep",
    "loads",
    "groups",
    "from",
    "balance",
    "layer",
    "export",
    "out",
    "set",
    "timeline",
    "timeline-events",
    "ui",
    "ui-host",
    "ui-open-metrics",
    "ui-token",
];

fn railyard(words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_railyard"));
    command.arg("-q").args(words).current_dir(INPUTS).stdin(Stdio::null());
    for variable in ["RAILYARD_CLUSTER", "RAILYARD_CERTS", "RUST_LOG"] {
        command.env_remove(variable);
    }
    let done = command.output().expect("the command starts");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// Flags of a command that take a value, each with the default that its help tells.
fn flags(command: &str) -> Vec<(String, Option<String>)> {
    let help = railyard(&[command, "--help"]);
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in help.lines().map(str::trim) {
        match line.strip_prefix("--").filter(|_| line.contains(['<', '['])) {
            Some(flag) => {
                let name = flag.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next();
                flags.push((name.unwrap_or_default().to_owned(), format!("{flag} ")));
            }
            None => {
                if let Some((_, text)) = flags.last_mut() {
                    text.push_str(line);
                    text.push(' ');
                }
            }
        }
    }
    flags.retain(|(flag, _)| !OTHERS.contains(&flag.as_str()));
    let default = |text: String| {
        let (_, default) = text.split_once("[default: ")?;
        Some(default.split([';', ']']).next().unwrap_or_default().to_owned())
    };
    flags.into_iter().map(|(flag, text)| (flag, default(text))).collect()
}

/// How a default is given to `command`: of several values, those of all its configurations.
fn given(command: &str, flag: &str, told: Option<&str>) -> Vec<String> {
    let value = match (command, flag) {
        ("compare", "latency") => return ["zero", "preset"].map(|one| format!("--latency={one}")).to_vec(),
        ("compare", "scheme") => "flat,dedup,hierarchical".to_owned(),
        ("compare", "gate") => "unlimited,limit:1".to_owned(),
        // Loads don't say whose they are, and all placements are side by side: neither has a default.
        ("place", "model" | "placement") => return Vec::new(),
        _ => {
            let follows = FOLLOWS.iter().find(|(word, ..)| *word == flag.replace('-', "_"));
            match follows {
                Some((_, _, of_place)) if command == "place" => (*of_place).to_owned(),
                Some((_, value, _)) => (*value).to_owned(),
                None => {
                    let told =
                        told.unwrap_or_else(|| panic!("{command} --{flag}: its help tells no default"));
                    told.split(',').next().unwrap_or(told).to_owned()
                }
            }
        }
    };
    vec![format!("--{flag}={value}")]
}

#[test]
fn naming_a_default_changes_no_byte() {
    for (command, rest) in [
        ("compare", &["--backend=analytic", "--tokens=4"][..]),
        ("roofline", &["--batch=64", "--context=100"]),
        ("place", &["--loads=loads-64.json"]),
    ] {
        let outputs = |more: &[String]| {
            let words: Vec<&str> = [command]
                .into_iter()
                .chain(rest.iter().copied())
                .chain(more.iter().map(String::as_str))
                .collect();
            (railyard(&words), railyard(&[&words[..], &["--json"]].concat()))
        };
        let (bare, flags) = (outputs(&[]), flags(command));
        assert!(flags.len() >= 7, "{command}: {flags:?}");
        for (flag, told) in flags {
            let words = given(command, &flag, told.as_deref());
            assert!(outputs(&words) == bare, "{command} {words:?}");
        }
    }
}

const SERVED: &str = "[serve]\ncost = 'analytic'\nmodel = 'deepseek-v3'\n[parallel]\noverlap = 'full'\n[arrivals]\nkind = 'closed'\n\
                      users = 16\nduration_s = 1e-6\ninput_len = 32\noutput_len = 2\n";
const LAYER: &str = "[experiment]\nbackend = 'analytic'\ntokens = 4\n";

/// The records of an experiment that has `line` in its table.
fn records(table: &str, text: &str, line: &str) -> Value {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("one.toml");
    let text = if text.contains(table) {
        text.replacen(table, &format!("{table}\n{line}"), 1)
    } else {
        format!("{text}{table}\n{line}\n")
    };
    fs::write(&path, text).expect("written");
    let out = dir.path().join("out");
    let path = |path: &Path| path.to_str().expect("text").to_owned();
    railyard(&["run", &path(&dir.path().join("one.toml")), "--out", &path(&out)]);
    let lines = fs::read_to_string(out.join("one.jsonl")).expect("results");
    let point: Value = serde_json::from_str(lines.lines().nth(1).expect("a point")).expect("JSON");
    point["records"].clone()
}

#[test]
fn naming_a_default_in_a_file_changes_no_record() {
    let (served, layer) = (records("[serve]", SERVED, ""), records("[experiment]", LAYER, ""));
    for (flag, told) in flags("compare") {
        let value = match flag.as_str() {
            "scheme" => "dedup".to_owned(),
            "gate" => "unlimited".to_owned(),
            "latency" => "preset".to_owned(),
            "seeds" => continue,
            _ => given("run", &flag, told.as_deref())[0].split_once('=').expect("a value").1.to_owned(),
        };
        let line = format!("{} = {}", flag.replace('-', "_"), toml(&value));
        assert_eq!(records("[experiment]", LAYER, &line), layer, "{line}");
        if flag != "gate" && flag != "model" {
            assert_eq!(records("[serve]", SERVED, &line), served, "{line}");
        }
    }
    for line in ["kv_dtype = 'fp8'", "seed = 1"] {
        assert_eq!(records("[serve]", SERVED, line), served, "{line}");
    }
    for line in ["pp = 1", "micro_batches = 1"] {
        assert_eq!(records("[parallel]", SERVED, line), served, "{line}");
    }
}

fn toml(value: &str) -> String {
    if value.parse::<f64>().is_ok() { value.to_owned() } else { format!("'{value}'") }
}

#[test]
fn every_command_has_the_same_defaults() {
    let object = |words: &[&str]| -> Value { serde_json::from_str(&railyard(words)).expect("JSON") };
    let compare = object(&["compare", "--backend=analytic", "--json"])["config"].clone();
    let roofline = object(&["roofline", "--json"])["config"].clone();
    let place = object(&["place", "--loads=loads-64.json", "--json"]);
    for key in ["model", "hardware", "throttle"] {
        assert_eq!(compare[key], roofline[key], "{key}");
    }
    assert_eq!((&compare["rack_sizes"], &place["ranks_per_rack"]), (&json!([8, 8]), &json!([8, 8])));
    assert_eq!((&roofline["ranks"], &roofline["racks"]), (&json!(16), &json!(2)));
    assert_eq!((&roofline["scheme"], &roofline["latency"]), (&json!("dedup"), &json!("preset")));
    assert_eq!((&compare["weight_dtype"], &roofline["dtype"]), (&json!("fp8"), &json!("fp8")));
    assert_eq!(records("[serve]", SERVED, "")[0]["ranks"], json!(16));
}

/// Runs a printed command by a shell, as whoever copies it does.
fn repeated(command: &str, more: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_railyard"));
    let folder = program.parent().expect("a folder");
    let path = env::join_paths(
        [folder.to_owned()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    );
    let done = Command::new("sh")
        .args(["-c", &format!("{command} {more}")])
        .env("PATH", path.expect("a path"))
        .current_dir(INPUTS)
        .stdin(Stdio::null())
        .output()
        .expect("the shell starts");
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

#[test]
fn a_printed_command_repeats_its_result() {
    let dir = tempfile::tempdir().expect("a directory");
    let odd = dir.path().join("it's a model.json");
    fs::copy(Path::new(INPUTS).join("qwen-small.json"), &odd).expect("copied");
    let odd = odd.to_str().expect("text");
    for words in [
        &["compare", "--backend=analytic,sim", "--no-payload", "--model=granite-1b", "--tokens=4"][..],
        &[
            "compare",
            "--backend=sim",
            "--model",
            odd,
            "--ranks=6",
            "--scheme=dedup,flat",
            "--latency=1.5,12",
            "--tokens=4",
        ],
        &[
            "compare",
            "--backend=analytic",
            "--hardware=odd-racks.toml",
            "--racks=2",
            "--gate=unlimited",
            "--latency=zero",
        ],
        &[
            "compare",
            "--backend=sim",
            "--routing=trace:routing-32.jsonl",
            "--ranks-per-rack=3,2",
            "--tokens=4",
            "--seeds=2-3",
        ],
        &[
            "compare",
            "--backend=sim",
            "--placement=rack-aware",
            "--slots=40",
            "--model=granite-1b",
            "--routing=zipf:0.8",
            "--tokens=4",
        ],
        &["roofline", "--model", odd, "--batch=33", "--top-k=2", "--latency=1,5"],
        &[
            "roofline",
            "--latency",
            "--pp=2",
            "--micro-batches=4",
            "--batch=64",
            "--kv-dtype=bf16",
            "--mode=sum",
        ],
        &["roofline", "--sweep", "batch=1..64*2", "--racks=1", "--throttle=18"],
        &["roofline", "--sweep", "racks=1,2,4", "--ranks=32", "--batch=64"],
        &["place", "--loads=loads-64.json", "--racks=1", "--placement=rack-aware", "--slots=80"],
        &[
            "place",
            "--loads=loads-12.json",
            "--ranks=4",
            "--policy=exec:printf '%s' '{\"physical_to_logical_map\": [0,1,2,3,4,5,6,7,8,9,10,11]}'",
        ],
        &["place", "--loads=loads-64.json", "--model=olmoe-1b-7b"],
    ] {
        let was = railyard(&[words, &["--json"]].concat());
        let object: Value = serde_json::from_str(&was).expect("JSON");
        let command = object["command"].as_str().expect("a command");
        assert_eq!(repeated(command, "-q --json"), was, "{command}");
    }
}

#[test]
fn the_command_of_a_point_has_its_records() {
    for (file, more) in [
        ("throttle.toml", &["--backend=analytic"][..]),
        ("serve-closed.toml", &[]),
        ("serve-memoised.toml", &["--backend=analytic"]),
        ("serve-placement.toml", &[]),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().to_str().expect("text");
        let path = format!("inputs/{file}");
        let folder = Path::new(INPUTS).parent().expect("a folder");
        let run = |words: &[&str]| {
            let done = Command::new(env!("CARGO_BIN_EXE_railyard")).args(words).current_dir(folder).output();
            let done = done.expect("the command starts");
            assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run(&[&["-q", "run", &path, "--out", out], more].concat());
        let results = fs::read_dir(out).expect("a folder").map(|entry| entry.expect("an entry").path());
        let results = results.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
        let lines = fs::read_to_string(results.min().expect("results")).expect("text");
        let points: Vec<Value> =
            lines.lines().skip(1).map(|line| serde_json::from_str(line).expect("JSON")).collect();
        for point in [&points[0], &points[points.len() - 1]] {
            let command = point["command"].as_str().expect("a command");
            let text = repeated(&format!("cd .. && {command}"), "-q --json");
            let object: Value = serde_json::from_str(&text).expect("JSON");
            if command.starts_with("railyard compare") {
                let (was, rows) = (&point["records"][0], object["rows"].as_array().expect("rows"));
                let same = rows
                    .iter()
                    .any(|row| ["a2a_us", "layer_us", "title"].iter().all(|key| row[*key] == was[*key]));
                assert!(same, "{command}: {was}");
            } else {
                let (was, record) = (&point["records"][0], &object["points"][0]);
                for key in ["duration", "mean_tpot_ms", "steps", "output_throughput"] {
                    assert_eq!(record[key], was[key], "{command}: {key}");
                }
            }
        }
    }
}

#[test]
fn a_misspelt_word_is_told_the_nearest_and_none_says_its_name_twice() {
    for (words, said) in [
        (&["compare", "--experts=gem"][..], "did you mean `gemm`?"),
        (&["compare", "--dtype=fp9"], "did you mean `fp4`?"),
        (&["roofline", "--mode=summ"], "did you mean `sum`?"),
        (&["roofline", "--latency=presett"], "did you mean `preset`?"),
        (&["roofline", "--scheme=dedupe"], "did you mean `dedup`?"),
        (&["compare", "--gate=unlimted"], "did you mean `unlimited`?"),
        (&["compare", "--backend=simm"], "did you mean `sim`?"),
        (&["compare", "--base=rak"], "did you mean `rack`?"),
        (&["compare", "--routing=unifrom"], "did you mean `uniform`?"),
        (&["roofline", "--throttle=0"], "throttle: 0"),
        (&["place", "--loads=loads-64.json", "--throttle=2"], "unexpected argument '--throttle'"),
        (&["roofline", "--scheme=flat,dedup"], "scheme: 2 of them; give one"),
    ] {
        let done = Command::new(env!("CARGO_BIN_EXE_railyard")).args(words).current_dir(INPUTS).output();
        let done = done.expect("the command starts");
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{words:?}: {error}");
        assert!(error.contains(said) && !error.contains("throttle: throttle"), "{words:?}: {error}");
    }
}

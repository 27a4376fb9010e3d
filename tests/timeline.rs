//! Timelines as another program reads them: `timeline_check.py` holds a file against the format's rules and what a port can do, and what it
//! answers is what the records say.

mod support;

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{fails, railyard, text, works};

const SMALL: [&str; 6] =
    ["compare", "--model=granite-1b", "--tokens=12", "--racks=2", "--ranks-per-rack=2", "--json"];

/// Says what is not checked, past the harness that keeps what tests print.
fn skipped(why: &str) {
    // Nobody may listen.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// What the independent reader says of a file; `None`, and that it is skipped, without an interpreter.
#[track_caller]
fn read(path: &Path) -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/timeline_check.py");
    let Ok(output) = Command::new("python3").arg(script).arg(path).stdin(Stdio::null()).output() else {
        skipped("there is no python3 to read timelines with");
        return None;
    };
    assert!(output.status.success(), "{}: {}", path.display(), text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    if let Some(why) = told["perfetto"].as_str().and_then(|told| told.strip_prefix("skipped: ")) {
        skipped(why);
    }
    Some(told)
}

fn timeline(of: &[&str], more: &[&str], path: &Path) -> (Value, Option<Value>) {
    let file = path.to_str().expect("a name");
    let report = works(railyard(of).args(more).args(["-q", "--pairs", "--timeline", file]));
    (serde_json::from_str(&report).expect("JSON"), read(path))
}

/// Bytes that a matrix of ranks has between racks of 2.
fn between_racks(matrix: &Value, racks: &Value) -> u64 {
    let sizes: Vec<u64> = racks.as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).collect();
    let rack = |rank: usize| {
        let mut end = 0;
        sizes.iter().position(|size| {
            end += size;
            (rank as u64) < end
        })
    };
    let rows = matrix.as_array().unwrap().iter().enumerate();
    let cells = rows.flat_map(|(from, row)| {
        row.as_array().unwrap().iter().enumerate().map(move |(to, bytes)| (from, to, bytes.as_u64().unwrap()))
    });
    cells.filter(|&(from, to, _)| rack(from) != rack(to)).map(|(_, _, bytes)| bytes).sum()
}

/// Three questions, whose answers the records know too.
fn check_answers(report: &Value, told: &Value) {
    let (rows, configurations) =
        (report["rows"].as_array().unwrap(), told["configurations"].as_array().unwrap());
    assert_eq!(rows.len(), configurations.len());
    for (row, configuration) in rows.iter().zip(configurations) {
        let title = configuration["title"].as_str().unwrap();
        assert!(title.starts_with(row["title"].as_str().unwrap()), "{title}");
        let phases = configuration["phases"].as_array().unwrap();
        if row["backend"] == "analytic" {
            assert_eq!((configuration["times"].as_str(), phases.len()), (Some("computed"), 0));
            continue;
        }
        assert_eq!((phases.len(), configuration["one_frame_in"].as_u64()), (3, Some(1)), "{title}");
        let detail = &row["detail"];
        for (phase, bytes, us) in
            [(&phases[0], "dispatch_bytes", "dispatch"), (&phases[2], "combine_bytes", "combine")]
        {
            let expected = between_racks(&detail[bytes], &detail["rack_sizes"]);
            assert_eq!(phase["bytes_between_racks"].as_u64(), Some(expected), "{title}: {bytes}");
            assert_eq!(phase["said"]["bytes_between_racks"], phase["bytes_between_racks"]);
            assert_eq!(phase["said"]["bytes_in_racks"], phase["bytes_in_racks"]);
            assert_eq!(phase["frames"], phase["said"]["frames"], "{title}: frames of {us}");
            assert_eq!(phase["slowest_rank"], phase["said"]["slowest_rank"], "{title}");
            if row["backend"] == "sim" {
                let times = detail["rank_us"][us].as_array().unwrap().iter().map(|us| us.as_f64().unwrap());
                let (rank, slowest) = times
                    .enumerate()
                    .fold((0, 0.0), |most, (rank, us)| if us > most.1 { (rank, us) } else { most });
                assert_eq!(phase["slowest_rank"].as_u64(), Some(rank as u64), "{title}: {us}");
                assert!((phase["slowest_us"].as_f64().unwrap() - slowest).abs() < 1e-6, "{title}: {us}");
            }
        }
    }
}

#[test]
fn another_reader_finds_what_the_records_say() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.json");
    let (report, told) = timeline(&SMALL, &["--backend=analytic,sim"], &path);
    let Some(told) = told else { return };
    assert_eq!((told["whole"].as_bool(), told["left_out"].as_u64()), (Some(true), Some(0)));
    assert!(told["arrows"].as_u64() > Some(100) && told["counters"].as_u64() > Some(100), "{told}");
    check_answers(&report, &told);
    // The same command writes the same file.
    let again = directory.path().join("again.json");
    timeline(&SMALL, &["--backend=analytic,sim"], &again);
    assert!(fs::read(&path).unwrap() == fs::read(&again).unwrap(), "a simulated timeline repeats itself");
}

#[test]
fn on_the_wall_clock_there_are_the_same_frames_and_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.json");
    let more = ["--backend=sim,quic", "--in-process", "--latency=preset", "--scheme=flat,hierarchical"];
    let file = path.to_str().unwrap();
    // A busy host may not keep up: what was sent is the same.
    let output = railyard(&SMALL).args(more).args(["-q", "--pairs", "--timeline", file]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let Some(told) = read(&path) else { return };
    check_answers(&report, &told);
    let configurations = told["configurations"].as_array().unwrap();
    for pair in configurations.chunks(2) {
        let [sim, quic] = pair else { panic!("two backends a row") };
        assert_eq!((sim["times"].as_str(), quic["times"].as_str()), (Some("simulated"), Some("measured")));
        let title = sim["title"].as_str().unwrap();
        let forwards = !title.contains("flat") && !title.contains("dedup");
        let phases = |of: &Value| of["phases"].as_array().unwrap().clone();
        for (sim, quic) in phases(sim).iter().zip(&phases(quic)) {
            for key in ["phase", "bytes_between_racks", "bytes_in_racks"] {
                assert_eq!(sim[key], quic[key], "{key}");
            }
            // Where rows are forwarded it depends on the clock how many stand ready for one frame.
            if !forwards {
                assert_eq!(sim["frames"], quic["frames"]);
            }
        }
    }
}

#[test]
fn a_file_that_was_cut_is_read_up_to_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.json");
    let (_, told) = timeline(&SMALL, &["--backend=sim", "--scheme=flat", "--latency=zero"], &path);
    let Some(told) = told else { return };
    let whole = fs::read(&path).unwrap();
    for share in [3, 7, 9] {
        let cut = directory.path().join("cut.json");
        fs::write(&cut, &whole[..whole.len() * share / 10]).unwrap();
        let told_of_cut = read(&cut).expect("there was an interpreter");
        assert_eq!(told_of_cut["whole"], false);
        let (some, all) = (told_of_cut["events"].as_u64().unwrap(), told["events"].as_u64().unwrap());
        assert!(some * 20 > all && some < all, "{some} of {all} events");
    }
}

#[test]
fn fewer_events_are_said_to_be_fewer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.json");
    let file = path.to_str().unwrap();
    let asked = ["-q", "--backend=sim", "--timeline", file, "--timeline-events", "2000"];
    let output =
        railyard(&["compare", "--model=granite-1b", "--tokens=64", "--racks=2", "--ranks-per-rack=2"])
            .args(asked)
            .output()
            .unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("one frame or step in up to") && said.contains("--timeline-events raises it"),
        "{said}"
    );
    let Some(told) = read(&path) else { return };
    assert!(told["events"].as_u64() <= Some(2_000), "{told}");
    let every = told["configurations"].as_array().unwrap().iter().map(|one| one["one_frame_in"].as_u64());
    assert!(every.max().flatten() > Some(1), "{told}");
    assert!(told["events"].as_u64() > Some(1_000), "half of what may be is there: {told}");
}

const SERVING: &str = r#"
name = "small"
[serve]
model = "qwen3-30b-a3b"
hardware = "h100"
racks = 1
ranks_per_rack = 8
[scheduler]
max_num_seqs = 1
[arrivals]
kind = "closed"
users = 12
num_prompts = 24
input_len = 32
output_len = 4
"#;

#[test]
fn a_serving_run_has_its_trains_stages_and_counters() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serve.toml");
    fs::write(&file, SERVING).unwrap();
    for lockstep in ["true", "false"] {
        let path = directory.path().join(format!("trace-{lockstep}.json"));
        let (file, lockstep) = (file.to_str().unwrap(), format!("parallel.lockstep={lockstep}"));
        let asked =
            ["-q", "serve-bench", file, "--set", &lockstep, "--backend=analytic", "--json", "--timeline"];
        let report: Value = serde_json::from_str(&works(railyard(&asked).arg(&path))).expect("JSON");
        let record = &report["points"][0]["record"];
        let record = if record.is_null() { &report["points"][0] } else { record };
        let Some(told) = read(&path) else { return };
        assert_eq!(
            (told["slices"]["ride"].as_u64(), told["left_out"].as_u64()),
            (record["steps"].as_u64(), Some(0))
        );
        assert_eq!(told["slices"]["work"], told["slices"]["ride"], "one stage");
        assert_eq!(told["most"]["seats taken"], record["max_num_running"]);
        // At the end of a moment: all twelve come in one, and eight of them are seated in it.
        let waiting = (told["most"]["requests waiting"].as_u64(), record["max_num_waiting"].as_u64());
        assert_eq!(waiting, (Some(4), Some(12)));
        let kv_gb = told["most"]["caches on the fullest rank"].as_f64().unwrap() / 1e9;
        assert!((kv_gb - record["kv_gb_per_rank"].as_f64().unwrap()).abs() < 1e-9, "{kv_gb}");
    }
}

#[test]
fn an_experiments_timeline_is_of_one_point_on_the_virtual_clock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.json");
    let (file, out) = (path.to_str().unwrap(), directory.path().join("out"));
    let throttle = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/throttle.toml");
    let run = |more: &[&str]| {
        let mut command = railyard(&["-q", "run", throttle, "--timeline", file, "--out"]);
        command.arg(&out).args(more);
        command
    };
    let error = fails(&mut run(&[]), 2);
    assert!(error.contains("points here and a timeline is of one"), "{error}");
    assert!(!path.exists());
}

#[test]
fn what_a_timeline_is_asked_for_must_fit() {
    let path = "/nowhere/trace.json";
    let error = fails(railyard(&SMALL).args(["-q", "--backend=sim", "--timeline", path]), 2);
    assert!(error.contains("cannot write the timeline /nowhere/trace.json"), "{error}");
    let error = fails(railyard(&SMALL).args(["--timeline-events=2000"]), 2);
    assert!(error.contains("--timeline"), "{error}");
}

//! `railyard calibrate` from outside: the shipped data, a profile that `--hardware` reads, and what it refuses.

mod support;

use serde_json::Value;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/blackboard/data/h100-deepep-ll.csv");

#[track_caller]
fn text(args: &[&str]) -> String {
    support::works(&mut support::railyard(args))
}

/// Dispatch and combine on two nodes, by backend.
fn times(hardware: &str) -> Vec<(String, f64, f64)> {
    let args = ["-q", "compare", "--hardware", hardware, "--racks=2", "--ranks-per-rack=8", "--base=rack"];
    let rest = ["--scheme=flat", "--gate=unlimited", "--latency=preset", "--backend=analytic,sim", "--json"];
    let report: Value = serde_json::from_str(&text(&[&args[..], &rest[..]].concat())).expect("JSON");
    let rows = report["rows"].as_array().expect("rows");
    let flat = rows.iter().filter(|row| row["racks"] == 2 && row["placement"] == "linear");
    let time = |row: &Value, key: &str| row[key].as_f64().expect("a number");
    flat.map(|row| (row["backend"].to_string(), time(row, "dispatch_us"), time(row, "combine_us"))).collect()
}

#[test]
fn the_written_profile_is_the_shipped_preset() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("own.toml");
    let out = file.to_str().expect("UTF-8");
    let fitted: Value =
        serde_json::from_str(&text(&["calibrate", "--measured", SHIPPED, "--json", "--out", out]))
            .expect("JSON");
    assert_eq!(fitted["links"][3]["bytes_per_s"], 47_478_000_000_u64);
    let (own, preset) = (times(out), times("h100-deepep-ll"));
    assert_eq!(own, preset);
    assert_eq!(own.len(), 2);
    for (backend, dispatch, combine) in own {
        // 40.1 and 60.9 us were measured at 32 tokens on two nodes.
        assert!((dispatch / 40.1 - 1.0).abs() < 0.15 && (combine / 60.9 - 1.0).abs() < 0.2, "{backend}");
    }
}

#[test]
fn a_simulated_rank_is_held_against_a_measured_one_and_the_last_rank_told_apart() {
    let args = ["calibrate", "--measured", SHIPPED, "--check-sim", "--json"];
    let fitted: Value = serde_json::from_str(&text(&args)).expect("JSON");
    let column = |key: &str, at: usize, what: &str| fitted[key][at][what].as_f64().expect("a number");
    let (mut rows, mut sum) = (0.0, 0.0);
    for at in 0..4 {
        assert!(column("sim", at, "bias") < column("sim_last_rank", at, "bias"), "column {at}");
        rows += column("sim", at, "rows");
        sum += column("sim", at, "rows") * column("sim", at, "mean");
    }
    assert!(sum / rows < 0.03, "{}", sum / rows);
}

#[test]
fn what_was_not_measured_is_told() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "tokens,dispatch_1\n16,17.6\n64,27.8\n256,67\n").expect("written");
    let table = text(&["calibrate", "--measured", file.path().to_str().expect("UTF-8")]);
    assert_eq!(table.matches("kept at nominal").count(), 3, "{table}");
}

#[test]
fn what_can_not_be_read_is_refused_in_one_line() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "tokens,nodes,phase,us\n1,1,dispatch,fast\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    for (args, part) in [
        (vec!["calibrate", "--measured", path], ":2: time `fast`"),
        (vec!["calibrate", "--measured", SHIPPED, "--scale-up=-1"], "--scale-up"),
        (vec!["calibrate", "--measured", SHIPPED, "--ranks-per-node=7"], "experts don't divide"),
        (vec!["calibrate", "--measured", SHIPPED, "--nominal=h1000x"], "no hardware preset"),
    ] {
        let error = support::fails(&mut support::railyard(&args), 2);
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

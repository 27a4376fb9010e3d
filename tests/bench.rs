//! `railyard bench` from outside: nccl-tests' table as others read it, its JSON, lines by rank, products and frames.

mod support;

use serde_json::Value;
use support::{fails, railyard, text, works};

/// A row of an nccl-tests table, by the rules of readers that are not ours: a line that begins with a digit and has 13 words is data, the
/// words of the two lines above it are its columns (as NVIDIA's CloudAI reads it, `workloads/nccl_test`), and the sixth word from the
/// end of a line of more than ten is the bus bandwidth (as Microsoft's SuperBench does, `cuda_nccl_bw_performance.py`).
struct Row {
    size: u64,
    count: u64,
    numbers: Vec<f64>,
    wrong: String,
}

fn rows(table: &str) -> Vec<Row> {
    let data = table.lines().map(str::trim).filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    data.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.len(), 13, "{line}");
        assert_eq!(words[2..5], ["bfloat16", "none", "-1"], "{line}");
        assert_eq!(words[12], "N/A", "{line}");
        let number = |at: usize| words[at].parse::<f64>().expect("a number");
        let numbers: Vec<f64> = [5, 6, 7, 9, 10, 11].map(number).to_vec();
        assert_eq!(numbers[..3], numbers[3..], "in-place columns are filled");
        assert_eq!(
            words[words.len() - 6].parse(),
            Ok(numbers[2]),
            "the bus bandwidth by its place from the end"
        );
        let whole = |at: usize| words[at].parse().expect("a whole number");
        Row { size: whole(0), count: whole(1), numbers, wrong: words[8].to_owned() }
    })
    .collect()
}

/// The frame of the table, as both readers take it.
fn framed(table: &str) {
    let marked = |line: &&str| line.starts_with('#');
    let lines: Vec<&str> = table.lines().collect();
    let first = lines.iter().position(|line| !marked(line)).expect("data");
    let last = lines.iter().rposition(|line| !marked(line)).expect("data");
    assert!(lines[first..=last].iter().all(|line| !marked(line)), "data stand together: {table}");
    assert!(lines[first - 3].contains("out-of-place"), "{table}");
    let heads = ["size", "count", "type", "redop", "root"];
    let half = ["time", "algbw", "busbw", "#wrong"];
    let words: Vec<&str> = lines[first - 2].trim_start_matches('#').split_whitespace().collect();
    assert_eq!(words, [&heads[..], &half, &half].concat());
    assert!(lines[last + 1].starts_with("# Out of bounds values : 0 OK"), "{table}");
    assert!(lines[last + 2].starts_with("# Avg bus bandwidth    : "), "{table}");
    let devices = lines.iter().filter(|line| line.contains(" Rank ") && line.contains(" device "));
    assert!(devices.clone().count() >= 2, "{table}");
    assert!(devices.clone().all(|line| line.contains(" on ") && line.contains("] emulated-")), "{table}");
}

#[test]
fn an_all_to_all_is_read_by_readers_that_are_not_ours() {
    let args = [
        "bench",
        "alltoall",
        "--backend",
        "sim",
        "-b",
        "64K",
        "-e",
        "1M",
        "-f",
        "4",
        "--ranks-per-rack",
        "2",
    ];
    let table = works(&mut railyard(&args));
    framed(&table);
    let rows = rows(&table);
    assert_eq!(rows.iter().map(|row| row.size).collect::<Vec<_>>(), [65_536, 262_144, 1_048_576]);
    for row in &rows {
        let [time, alg, bus] = row.numbers[..3] else { panic!("three numbers") };
        // Four ranks, BF16: S = 4 x 2 B x count; algbw = S/t and busbw = 3/4 of it, as far as digits are printed.
        assert_eq!(row.size, 8 * row.count);
        assert!((row.size as f64 / time / 1e3 - alg).abs() <= 0.01 * alg + 0.005, "{time} {alg}");
        assert!((0.75 * alg - bus).abs() <= 0.01, "{alg} {bus}");
        assert_eq!(row.wrong, "0");
    }
    // Two racks of two: of three peers two are across, 900/8 GB/s of talk-gb200's port, and the largest size is near the bound.
    let bus = rows[2].numbers[2];
    let closed = works(&mut railyard(&[
        "bench",
        "alltoall",
        "--backend",
        "analytic",
        "--ranks-per-rack",
        "2",
        "-b",
        "1M",
        "-e",
        "1M",
    ]));
    let ideal = self::rows(&closed)[0].numbers[2];
    assert!(bus <= 1.001 * ideal && bus > 0.9 * ideal, "{bus} of {ideal}");
    assert_eq!(self::rows(&closed)[0].wrong, "N/A");
}

#[test]
fn the_json_has_the_keys_of_nccl_tests() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("out.json");
    let path = file.to_str().expect("UTF-8");
    let args = [
        "bench",
        "link",
        "--tier",
        "scale-up",
        "--backend",
        "sim",
        "-b",
        "8K",
        "-e",
        "8K",
        "-n",
        "3",
        "-w",
        "0",
        "-J",
        path,
    ];
    let table = works(&mut railyard(&args));
    let object: Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("written")).expect("JSON");
    for key in
        ["version", "start_time", "end_time", "args", "env", "nccl_version", "config", "results", "errors"]
    {
        assert!(object.get(key).is_some(), "{key}");
    }
    let config = &object["config"];
    for (key, value) in [
        ("nthreads", 1),
        ("ngpus", 1),
        ("minimum_bytes", 8_192),
        ("maximum_bytes", 8_192),
        ("step_factor", 4),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    assert_eq!((&config["warmup_iters"], &config["iterations"]), (&0.into(), &3.into()));
    assert_eq!(config["devices"].as_array().map(Vec::len), Some(2));
    for key in ["rank", "group", "pid", "hostname", "device", "device_info"] {
        assert!(config["devices"][1].get(key).is_some(), "{key}");
    }
    let result = &object["results"][0];
    assert_eq!(
        (&result["size"], &result["count"], &result["type"]),
        (&8_192.into(), &4_096.into(), &"bfloat16".into())
    );
    let told = &rows(&table)[0].numbers;
    for (key, told) in [("time", told[0]), ("alg_bw", told[1]), ("bus_bw", told[2])] {
        let number = result["out_of_place"][key].as_f64().expect("a number");
        assert!((number - told).abs() <= 0.005 + 1e-9, "{key}: {number} {told}");
        assert_eq!(result["in_place"][key], result["out_of_place"][key]);
    }
    assert_eq!((&result["out_of_place"]["nwrong"], &result["in_place"]["nwrong"]), (&0.into(), &Value::Null));
    assert_eq!(
        result["out_of_place_per_iter"]["times_us"].as_array().map(Vec::len),
        Some(1),
        "rounds are alike"
    );
    // One way and the other at once: busbw is algbw.
    assert_eq!(result["out_of_place"]["alg_bw"], result["out_of_place"]["bus_bw"]);
    assert_eq!(object["out_of_bounds"]["okay"], "true");
}

#[test]
fn four_processes_exchange_bytes_that_are_right_and_raw_is_beside_tcp() {
    let small = ["--ranks-per-rack", "2", "-b", "32K", "-e", "32K", "-n", "2", "--quiet"];
    // A machine that is too busy may not keep up, which is told after the table.
    let paced = railyard(&[&["bench", "alltoall"], &small[..]].concat()).output().expect("it starts");
    let (table, said) = (text(&paced.stdout), text(&paced.stderr));
    assert!(paced.status.success() || said.contains("the host could not keep up"), "{said}");
    framed(&table);
    assert_eq!(rows(&table)[0].wrong, "0");
    let raw = works(&mut railyard(&[&["bench", "alltoall", "--raw"], &small[..]].concat()));
    framed(&raw);
    assert!(raw.contains("microseconds of the wall"), "{raw}");
    let last = raw.lines().last().expect("a line");
    assert!(last.starts_with("# beside it, measured here: one TCP connection on loopback "), "{last}");
    assert_eq!(rows(&raw)[0].wrong, "0");
}

#[test]
fn dispatch_and_combine_are_told_by_rank() {
    let layer = ["--model", "lab-moe", "--backend", "sim", "--ranks-per-rack", "2", "--tokens", "16"];
    for phase in ["dispatch", "combine"] {
        let told = works(&mut railyard(&[&["bench", phase], &layer[..]].concat()));
        assert!(told.starts_with("[config] num_tokens=16, hidden="), "{told}");
        let ranks: Vec<&str> = told.lines().filter(|line| line.starts_with("[rank ")).collect();
        assert_eq!(ranks.len(), 4, "{told}");
        for line in ranks {
            for part in
                [" bandwidth: ", " GB/s, median_t=", " us | ", " GB/s (SO), ", " GB/s (SU), ", " bytes"]
            {
                assert!(line.contains(part), "`{part}` is not in {line}");
            }
        }
        assert!(told.lines().last().expect("a line").starts_with("[all] "), "{told}");
    }
}

#[test]
fn products_and_frames_have_their_tables() {
    let layer = ["--model", "lab-moe", "--ranks-per-rack", "2", "-b", "8", "-e", "128", "-f", "4"];
    for backend in ["analytic", "sim"] {
        let table = works(&mut railyard(&[&["bench", "expert", "--backend", backend], &layer[..]].concat()));
        let data: Vec<&str> = table.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(data.len(), 3, "{table}");
        assert!(data.iter().all(|line| line.split_whitespace().count() == 7), "{table}");
    }
    let raw = works(&mut railyard(&[&["bench", "expert", "--raw"], &layer[..]].concat()));
    assert_eq!(raw.lines().filter(|line| !line.starts_with('#')).count(), 3, "{raw}");
    let wire = works(&mut railyard(&["bench", "wire", "-b", "1K", "-e", "4K"]));
    assert_eq!(wire.lines().filter(|line| !line.starts_with('#')).count(), 2, "{wire}");
}

#[test]
fn what_can_not_be_run_is_refused() {
    for (args, part) in [
        (&["bench", "alltoall", "-b", "2M", "-e", "1M"][..], "give -e at least what -b is"),
        (&["bench", "alltoall", "-f", "1"], "give -f 2 or more"),
        (&["bench", "alltoall", "-b", "1X"], "give bytes such as 64K"),
        (&["bench", "alltoall", "--racks", "1", "--ranks", "1"], "give 2 to 256 ranks"),
        (&["bench", "link", "--racks", "4"], "a link has two ranks"),
        (&["bench", "wire", "-e", "1M"], "at most 128K"),
        (&["bench", "dispatch", "--scheme", "flat,dedup", "--backend", "sim"], "one scheme"),
    ] {
        let error = fails(&mut railyard(args), 2);
        assert!(error.contains(part), "{args:?}: `{part}` is not in: {error}");
    }
    let help = railyard(&["bench", "--help"]).output().expect("it starts");
    assert!(text(&help.stdout).contains("Examples:"));
}

#[test]
fn compare_prints_bandwidths_and_the_bytes_of_pairs() {
    let layer = [
        "compare",
        "--model",
        "lab-moe",
        "--backend",
        "sim",
        "--ranks-per-rack",
        "2",
        "--scheme",
        "flat",
        "--latency",
        "zero",
        "--quiet",
    ];
    let shown = works(&mut railyard(&[&layer[..], &["--pairs"]].concat()));
    assert!(shown.contains("\nBandwidth, links without latency\n"), "{shown}");
    let at = shown.find("# dispatch, 2 racks: flat: bytes from each rank").expect("a matrix");
    let square: Vec<Vec<u64>> = shown[at..]
        .lines()
        .skip(1)
        .take(5)
        .filter(|line| !line.is_empty())
        .map(|line| line.split_whitespace().map(|word| word.parse().expect("bytes")).collect())
        .collect();
    assert_eq!(square.len(), 4, "{shown}");
    assert!(square.iter().enumerate().all(|(rank, row)| row.len() == 4 && row[rank] == 0), "{square:?}");
    let json = works(&mut railyard(&[&layer[..], &["--pairs", "--json"]].concat()));
    let report: Value = serde_json::from_str(&json).expect("JSON");
    let rows = report["rows"].as_array().expect("rows");
    let flat = rows.iter().find(|row| row["title"] == "2 racks: flat").expect("a row");
    assert_eq!(flat["detail"]["dispatch_bytes"], serde_json::json!(square));
    let bus = flat["bandwidth"]["dispatch"]["bus_gb_per_s"].as_f64().expect("a number");
    let received = |to: usize| square.iter().map(|row| row[to]).sum::<u64>();
    let most = (0..4).map(|rank| square[rank].iter().sum::<u64>().max(received(rank))).max().expect("ranks");
    let us = flat["dispatch_us"].as_f64().expect("a number");
    assert!((bus - most as f64 / us / 1e3).abs() < 1e-6 * bus, "{bus}");
    let plain = works(&mut railyard(&[&layer[..], &["--json"]].concat()));
    assert!(!plain.contains("\"detail\""));
}

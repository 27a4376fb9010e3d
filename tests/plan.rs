//! `railyard plan`: the answer as text and JSON, its proof served, and what it refuses.

mod support;

use serde_json::Value;
use support::{fails, railyard, works};

const SMALL: [&str; 12] = [
    "plan",
    "--model=granite-1b",
    "--hardware=h100",
    "--racks=2",
    "--ranks-per-rack=2",
    "--input-len=300",
    "--output-len=40",
    "--ttft-ms=500",
    "--tpot-ms=20",
    "--rate=100",
    "--price=3",
    "--quiet",
];

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&works(&mut railyard(&[args, &["--json"]].concat()))).expect("one object")
}

/// What the plan says that it carries, a serving run of its files carries too, within the limits.
#[test]
fn the_experiments_prove_the_plan() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = format!("--out={}", dir.path().display());
    let plan = json(&[&SMALL[..], &[&out]].concat());
    let best = &plan["plan"]["best"];
    assert!(best["rate"].as_f64().expect("a rate") >= 100.0, "{best}");
    let file = dir.path().join(plan["proof"]["file"].as_str().expect("a name"));
    let file = file.to_str().expect("a path");
    let record = json(&["serve-bench", file, "--backend=analytic"])["points"][0].clone();
    let number = |key: &str| record[key].as_f64().unwrap_or_else(|| panic!("{key}: {record}"));
    assert!(number("request_goodput") / number("request_throughput") >= 0.9, "{record}");
    assert_eq!((&record["ranks"], number("usd_per_rank_hour")), (&best["ranks"], 3.0));
    assert!(dir.path().join("front.svg").exists());
}

#[test]
fn the_answer_stands_first_and_can_be_repeated() {
    let text = works(&mut railyard(&SMALL));
    assert!(text.starts_with("best"), "{text}");
    for word in
        ["carries", "binds", "runner-up", "one word changed", "front", "vllm serve", "sglang.launch_server"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    let first = json(&SMALL);
    let repeat = first["command"].as_str().expect("a command").strip_prefix("railyard ").expect("ours");
    let again = json(&repeat.split(' ').chain(["--quiet"]).collect::<Vec<_>>());
    assert_eq!(first, again);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--rate=1e7"], 1, "requests a second are asked for"),
        (&["--tpot-ms=0.0001"], 1, "limit on TPOT"),
        (&["--tpot-ms=0"], 2, "tpot_ms: 0"),
        (&["--input-len=0"], 2, "input_len: 0"),
        (&["--rate=-1"], 2, "rate: -1"),
        (&["--trace=no-such-file.csv"], 2, "no-such-file.csv"),
    ];
    for (words, code, told) in cases {
        let base: Vec<&str> = match words[0].starts_with("--trace") {
            true => SMALL.iter().copied().filter(|word| !word.contains("put-len")).collect(),
            false => SMALL.to_vec(),
        };
        let text = fails(&mut railyard(&[&base, words].concat()), code);
        assert!(text.contains(told) && text.lines().count() == 1, "{words:?}: {text}");
    }
}

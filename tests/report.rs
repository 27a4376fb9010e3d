//! The page of results from outside: the files beside it, and the data behind its pictures held against the records they are of.

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use support::{fails, railyard, works};

/// A small model on two racks of two.
const SMALL: [&str; 8] = [
    "compare",
    "-q",
    "--backend=sim,analytic",
    "--model=granite-1b",
    "--tokens=4",
    "--racks=2",
    "--ranks-per-rack=2",
    "--seeds=1-3",
];

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// The data behind a page's pictures.
fn pictures(page: &Path) -> Vec<Value> {
    let html = fs::read_to_string(page).expect("a page");
    for outside in ["http://", "https://", "src=", "@import"] {
        let html = html.replace("http://www.w3.org/", "");
        assert!(!html.contains(outside), "the page asks for {outside}");
    }
    let data = html.split_once("id=\"pictures\">").expect("data").1;
    let data: Value = serde_json::from_str(data.split_once("</script>").expect("an end").0).expect("JSON");
    data["pictures"].as_array().expect("a list").clone()
}

/// The rows of a picture as objects.
fn rows(picture: &Value) -> Vec<Value> {
    let columns = picture["columns"].as_array().expect("columns");
    let object = |row: &Value| {
        let cells = columns.iter().map(|column| column.as_str().expect("a name").to_owned());
        cells.zip(row.as_array().expect("cells").iter().cloned()).collect::<serde_json::Map<_, _>>().into()
    };
    picture["rows"].as_array().expect("rows").iter().map(object).collect()
}

#[test]
fn a_comparison_s_page_has_the_numbers_of_its_records() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    let printed = works(railyard(&SMALL).arg("--json").arg("--out").arg(&out));
    let report = json(&out.join("compare-1.json"));
    assert_eq!(report, serde_json::from_str::<Value>(&printed).expect("JSON"));
    assert!(out.join("compare-1.txt").exists());
    let records = report["rows"].as_array().expect("rows");
    let pictures = pictures(&out.join("report.html"));
    let mut held = 0;
    for picture in &pictures {
        for row in rows(picture) {
            // Pictures rank by rank have a test of their own.
            let Some(name) = row.get("configuration").or_else(|| row.get("row")) else { continue };
            let latency = row.get("latency").and_then(Value::as_str);
            let latency =
                latency.or_else(|| picture["id"].as_str().and_then(|id| id.strip_prefix("r1-phases-")));
            let Some(latency) = latency else { continue };
            let same = |record: &&Value| {
                record["title"] == *name
                    && record["latency"] == latency
                    && record["backend"] == row["backend"]
            };
            let record = records.iter().find(same).unwrap_or_else(|| panic!("{row} is of no record"));
            // A record's own `configuration` is a number.
            for (key, value) in
                row.as_object().expect("an object").iter().filter(|(key, _)| *key != "configuration")
            {
                if let Some(own) = record.get(key) {
                    assert_eq!(value, own, "{key} of {row}");
                    held += usize::from(value.is_number());
                }
            }
        }
    }
    assert!(held > 100, "{held} numbers were held against records");
    let ids: Vec<&str> = pictures.iter().filter_map(|picture| picture["id"].as_str()).collect();
    for id in [
        "r1-a2a-slowdown",
        "r1-layer-slowdown",
        "r1-phases-zero",
        "r1-phases-preset",
        "r1-spread",
        "r1-bandwidth",
        "r1-dispatch-2-racks--flat",
        "r1-combine-2-racks--hierarchical",
        "r1-ports-dispatch-2-racks--dedup",
        "r1-waits-2-racks--flat",
        "r1-until-dispatch-2-racks--hierarchical",
        "r1-over-time-combine-2-racks--flat",
        "r1-loads-linear",
        "r1-loads-replicated",
        "r1-experts-linear",
    ] {
        assert!(ids.contains(&id), "{id} is not among {ids:?}");
    }
}

#[test]
fn pictures_rank_by_rank_have_the_detail_of_their_records() {
    let dir = tempfile::tempdir().expect("a directory");
    works(railyard(&SMALL).arg("--out").arg(dir.path()));
    let report = json(&dir.path().join("compare-1.json"));
    let all = pictures(&dir.path().join("report.html"));
    let find = |id: &str| all.iter().find(|picture| picture["id"] == id).unwrap_or_else(|| panic!("{id}"));
    let record = |title: &str| {
        let rows = report["rows"].as_array().expect("rows");
        let is = |row: &&Value| row["title"] == title && row["latency"] == "zero" && row["backend"] == "sim";
        rows.iter().find(is).unwrap_or_else(|| panic!("{title}"))
    };
    for (name, title) in
        [("2-racks--flat", "2 racks: flat"), ("2-racks--hierarchical", "2 racks: hierarchical")]
    {
        let detail = &record(title)["detail"];
        for (phase, key) in [("dispatch", "dispatch_bytes"), ("combine", "combine_bytes")] {
            let matrix = find(&format!("r1-{phase}-{name}"))["rows"].as_array().expect("rows");
            for (from, row) in matrix.iter().enumerate() {
                assert_eq!(row[0], from);
                assert_eq!(
                    row.as_array().map(|row| &row[1..]),
                    detail[key][from].as_array().map(Vec::as_slice)
                );
            }
            let waits = find(&format!("r1-until-{phase}-{name}"))["rows"].as_array().expect("rows");
            for (row, own) in
                waits.iter().zip(detail[key.replace("bytes", "wait_us")].as_array().expect("rows"))
            {
                assert_eq!(row.as_array().map(|row| &row[1..]), own.as_array().map(Vec::as_slice));
            }
            let over_time = rows(find(&format!("r1-over-time-{phase}-{name}")));
            let ports = detail["ports_over_time"].as_array().expect("ports").iter();
            let own: Vec<&Value> = ports
                .filter(|ports| ports["phase"] == phase)
                .flat_map(|ports| ports["mean"].as_array())
                .flatten()
                .collect();
            assert_eq!(over_time.iter().map(|row| &row["mean"]).collect::<Vec<_>>(), own);
            // What a rank's ports carry is what it sends, on either kind.
            for (from, row) in
                find(&format!("r1-ports-{phase}-{name}"))["rows"].as_array().expect("rows").iter().enumerate()
            {
                let sent: u64 =
                    detail[key][from].as_array().expect("cells").iter().filter_map(Value::as_u64).sum();
                assert_eq!(row[1].as_u64().zip(row[3].as_u64()).map(|(up, out)| up + out), Some(sent));
            }
        }
        for (rank, row) in
            find(&format!("r1-waits-{name}"))["rows"].as_array().expect("rows").iter().enumerate()
        {
            for (at, phase) in (1..).zip(["dispatch", "expert", "combine"]) {
                assert_eq!(row[at], detail["rank_us"][phase][rank], "{phase} of rank {rank}");
            }
        }
    }
    let detail = &record("2 racks: flat")["detail"];
    for (rank, row) in find("r1-loads-linear")["rows"].as_array().expect("rows").iter().enumerate() {
        assert_eq!(row[1], detail["rows_per_rank"][rank]);
    }
    // Before is the same demand with experts in order, after is what the placement makes of it.
    let detail = &record("2 racks: replicated experts")["detail"];
    for (rank, row) in find("r1-loads-replicated")["rows"].as_array().expect("rows").iter().enumerate() {
        assert_eq!(row[1], detail["rows_per_rank"][rank]);
        assert_eq!(row[2], detail["rows_per_rank_linear"][rank]);
    }
    let detail = &record("2 racks: flat")["detail"];
    for row in find("r1-experts-linear")["rows"].as_array().expect("rows") {
        let expert = row[0].as_u64().and_then(|expert| usize::try_from(expert).ok()).expect("an expert");
        assert_eq!(row[1], detail["tokens_per_expert"][expert]);
    }
}

#[test]
fn a_directory_keeps_every_run_and_says_how_it_was_made() {
    let dir = tempfile::tempdir().expect("a directory");
    for throttle in ["--throttle=4", "--throttle=8"] {
        works(railyard(&SMALL).arg(throttle).arg("--out").arg(dir.path()));
    }
    let manifest = json(&dir.path().join("manifest.json"));
    assert_eq!(manifest["schema_version"], 1);
    let runs = manifest["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1]["results"][0], "compare-2.json");
    assert_eq!(runs[1]["seeds"], serde_json::json!([1, 2, 3]));
    assert!(runs[1]["argv"].as_array().expect("words").iter().any(|word| word == "--throttle=8"));
    assert!(runs[1]["host"]["cores"].as_u64().is_some_and(|cores| cores > 0));
    assert!(runs[0]["started"].as_str() <= runs[1]["ended"].as_str());
    let html = fs::read_to_string(dir.path().join("report.html")).expect("a page");
    assert!(html.contains("Side by side") && html.contains("compare-2.json"), "both stand side by side");

    fs::write(dir.path().join("manifest.json"), "{}").expect("written");
    let error = fails(railyard(&SMALL).arg("--out").arg(dir.path()), 2);
    assert!(error.contains("move it away"), "{error}");
    assert!(!dir.path().join("compare-3.json").exists(), "nothing was run");
}

#[test]
fn an_experiment_s_page_has_its_finding_first_and_its_means() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("small.toml");
    let text = r#"name = "small <b>"
claim = "</script><script>alert(1)</script>"
[experiment]
model = "granite-1b"
racks = 2
ranks_per_rack = 2
tokens = 4
latency = "zero"
base = "ranks"
backend = "sim"
[sweep]
throttle = [1, 8]
[[plot]]
file = "slowdown"
x = "throttle"
y = ["a2a_slowdown"]
"#;
    fs::write(&file, text.replace("small <b>", "small")).expect("written");
    let out = dir.path().join("out");
    works(railyard(&["-q", "run"]).arg(&file).arg("--out").arg(&out));
    let pictures = pictures(&out.join("report.html"));
    let plot = pictures.iter().find(|picture| picture["id"] == "r1-plot1").expect("the plot");
    let lines = fs::read_to_string(out.join("small.jsonl")).expect("results");
    for (line, row) in lines.lines().skip(1).zip(plot["rows"].as_array().expect("rows")) {
        let point: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(row[1].as_f64(), point["settings"]["throttle"].as_f64());
        assert_eq!(row[2], point["records"][0]["a2a_slowdown"]);
    }
    let html = fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(!html.contains("<script>alert"), "a claim is text");

    // A comparison beside it, on one page.
    let other = dir.path().join("other");
    works(railyard(&SMALL).arg("--out").arg(&other));
    let page = dir.path().join("page.html");
    works(railyard(&["report"]).args([&out, &other]).arg("--html").arg(&page));
    let html = fs::read_to_string(&page).expect("a page");
    assert!(html.contains("compare-1.json") && html.contains("small"), "both are on it");
    let error = fails(railyard(&["report"]).arg(&other), 2);
    assert!(error.contains("compare-1.json") && error.contains("--html FILE"), "{error}");
    let error = fails(railyard(&["report"]).arg(dir.path()).arg("--html").arg(&page), 2);
    assert!(error.contains("no results"), "{error}");
}

#[test]
fn a_serving_run_s_page_has_its_latencies_and_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("serve.toml");
    let text = r#"name = "served"
[serve]
model = "granite-1b"
racks = 1
ranks_per_rack = 4
cost = "analytic"
[parallel]
pp = 2
[arrivals]
kind = "burst"
num_prompts = 8
input_len = 16
output_len = 8
"#;
    fs::write(&file, text).expect("written");
    let out = dir.path().join("out");
    works(railyard(&["-q", "serve-bench"]).arg(&file).arg("--out").arg(&out));
    let pictures = pictures(&out.join("report.html"));
    let lines = fs::read_to_string(out.join("served.jsonl")).expect("results");
    let point: Value = serde_json::from_str(lines.lines().nth(1).expect("a point")).expect("JSON");
    let record = &point["records"][0];
    for (id, keys) in [
        ("r1-ttft", &["median_ttft_ms", "p90_ttft_ms", "p99_ttft_ms"][..]),
        ("r1-seats", &["mean_batch", "max_num_running", "max_num_waiting"]),
    ] {
        let picture = pictures.iter().find(|picture| picture["id"] == id).unwrap_or_else(|| panic!("{id}"));
        for key in keys {
            assert_eq!(rows(picture)[0][*key].as_f64(), record[*key].as_f64(), "{key}");
        }
    }
    let over_time = pictures.iter().find(|picture| picture["id"] == "r1-over-time").expect("over time");
    let noted = record["over_time"]["waiting"].as_array().expect("intervals");
    for (row, waiting) in rows(over_time).iter().zip(noted) {
        assert_eq!(row["waiting"].as_f64(), waiting.as_f64());
    }
    let spans = record["spans"].as_array().expect("two stages");
    let timeline = pictures.iter().find(|picture| picture["id"] == "r1-timeline").expect("a timeline");
    for (row, span) in rows(timeline).iter().zip(spans) {
        for key in ["stage", "trip", "begin_us", "end_us"] {
            assert_eq!(row[key].as_f64(), span[key].as_f64(), "{key}");
        }
    }
    let memory = pictures.iter().find(|picture| picture["id"] == "r1-memory").expect("memory");
    assert_eq!(rows(memory)[0]["weights_bytes"].as_f64(), record["memory"][0]["weights_bytes"].as_f64());
}

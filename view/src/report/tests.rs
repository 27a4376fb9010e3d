//! Pages of small results: what stands on them, whether their data are the records', and that what others wrote stays text.

use super::*;
use serde_json::Value;
use study::layer::{Record, SCHEMA_VERSION};

/// A record as a file has it; the numbers that tests look at are put in below.
const RECORD: &str = r#"{
    "racks": 2, "ranks": 4, "scheme": "flat", "placement": "linear", "gate": "uniform", "gate_rack_limit": null, "backend": "sim",
    "latency": "zero", "intra_copies_per_token": 1.5, "inter_copies_per_token": 2.0, "expected_intra": 1.5, "expected_inter": 2.0,
    "expected_intra_error": null, "expected_inter_error": null, "dispatch_us": 0, "combine_us": 0, "a2a_us": 0, "compute_us": 10.0,
    "layer_us": 0, "bound_us": 1, "a2a_slowdown": null, "layer_slowdown": null, "lateness_p99_us": null, "verified": true,
    "valid": true, "title": "", "configuration": 0, "base_configuration": 0, "expected_kind": "closed-form", "tokens": 16,
    "tokens_crossing": 9.0, "weight_bytes_per_rank": 1000, "samples": 3, "a2a_p10_us": 0, "a2a_p90_us": 0, "compute_p10_us": 10.0,
    "compute_p90_us": 10.0, "layer_p10_us": 0, "layer_p90_us": 0, "a2a_stamped_us": 0, "measured_over_sim": null,
    "verification": "traffic", "error_rms": null, "network_dilation": null, "compute_dilation": null, "cpu_share": null,
    "overtaken_share": null, "lateness_share": null, "udp_bytes": null, "retries": 0, "problem": null
}"#;

/// The row of a configuration whose all-to-all takes so long; the base's takes 2 us.
fn record(configuration: usize, title: &str, a2a_us: f64) -> Record {
    let record: Record = serde_json::from_str(RECORD).expect("a record");
    Record {
        racks: if configuration == 0 { 1 } else { 2 },
        title: title.to_owned(),
        configuration,
        dispatch_us: a2a_us / 3.0,
        combine_us: a2a_us * 2.0 / 3.0,
        a2a_us,
        layer_us: a2a_us + 10.0,
        a2a_slowdown: Some(a2a_us / 2.0),
        layer_slowdown: Some((a2a_us + 10.0) / 12.0),
        a2a_p10_us: a2a_us * 0.9,
        a2a_p90_us: a2a_us * 1.1,
        layer_p10_us: a2a_us + 9.0,
        layer_p90_us: a2a_us + 11.0,
        ..record
    }
}

fn report(second: &str, a2a_us: f64) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        complete: true,
        rows_asked: None,
        seeds: vec![1],
        config: serde_json::json!({ "hardware": "h100", "model": "m", "rack_sizes": [2, 2], "throttle": 8.0, "tokens_per_rank": 4, "routing": "uniform" }),
        command: None,
        rows: vec![record(0, "1 rack of 4: flat", 2.0), record(1, second, a2a_us)],
        pipeline: None,
        header: "seeds = 1".to_owned(),
    }
}

fn pictures(html: &str) -> Value {
    let from = html.split_once("id=\"pictures\">").expect("the data").1;
    serde_json::from_str(from.split_once("</script>").expect("its end").0).expect("JSON")
}

fn of<'a>(name: &str, report: &'a Report) -> Source<'a> {
    Source { name: name.to_owned(), of: Of::Comparison(report) }
}

#[test]
fn the_answer_comes_first_then_trust_then_the_table() {
    let report = report("2 racks: flat", 9.0);
    let html = page(&[of("compare-1.json", &report)], &Beside::default());
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("`{text}` is not in the page"));
    let order = [
        at(
            "<h1>A second rack makes a layer take 1.58 times as long (its all-to-all 4.50) with flat dispatch",
        ),
        at("class=\"answers\""),
        at("How far to trust it"),
        at("2 of 2 rows verified"),
        at("<table>"),
        at("<figure"),
        at("id=\"made\""),
    ];
    assert!(order.is_sorted(), "{order:?}");
    assert!(!html.contains("http:"), "nothing asks a network");
}

#[test]
fn the_data_behind_a_picture_are_the_records() {
    let report = report("2 racks: flat", 9.1);
    let html = page(&[of("a", &report)], &Beside::default());
    let all = pictures(&html);
    let all = all["pictures"].as_array().expect("a list");
    let find = |id: &str| all.iter().find(|picture| picture["id"] == id).unwrap_or_else(|| panic!("{id}"));
    assert_eq!(find("r1-a2a-slowdown")["rows"][0][4], 4.55);
    let phases = &find("r1-phases-zero")["rows"];
    for (row, record) in phases.as_array().expect("rows").iter().zip(&report.rows) {
        assert_eq!(row[2], record.dispatch_us);
        assert_eq!(row[3], record.compute_us);
        assert_eq!(row[4], record.combine_us);
    }
    assert_eq!(find("r1-spread")["rows"][1][6], report.rows[1].a2a_p90_us);
    for picture in all {
        let id = picture["id"].as_str().expect("a name");
        assert!(
            html.contains(&format!("data-csv=\"{id}\"")) && html.contains(&format!("data-svg=\"{id}\"")),
            "{id}"
        );
    }
    assert_eq!(html.matches("<svg").count(), html.matches("role=\"img\" aria-label=\"").count());
}

#[test]
fn two_comparisons_stand_side_by_side() {
    let (one, mut other) = (report("2 racks: flat", 9.0), report("2 racks: flat", 18.0));
    other.config["throttle"] = 18.0.into();
    let html = page(&[of("a.json", &one), of("b.json", &other)], &Beside::default());
    assert!(html.contains("<h2>Side by side</h2>"));
    assert!(html.contains("x 2.000") && html.contains("racks: flat; zero latency; sim"), "the ratio");
    assert!(html.contains("<th scope=\"row\" class=\"text\">throttle</th>"), "what differs");
    assert!(!html.contains("<th scope=\"row\" class=\"text\">model</th>"), "what does not");
}

#[test]
fn hostile_titles_and_names_stay_text() {
    let evil = "2 racks: </script><img src=x onerror=alert(1)>\"'";
    let report = report(evil, 9.0);
    let made = vec![vec![("command".to_owned(), evil.to_owned())]];
    let beside = Beside { notes: vec![evil.to_owned()], made };
    let html = page(&[of(evil, &report), of(evil, &report)], &beside);
    assert!(!html.contains("<img"), "markup from a title");
    // The element of the data and that of the script.
    assert_eq!(html.matches("</script>").count(), 2);
    let titles = pictures(&html)["pictures"].to_string();
    assert!(titles.contains("onerror"), "and it is still told");
}

#[test]
fn results_without_rows_make_a_page_all_the_same() {
    let mut report = report("2 racks: flat", 9.0);
    report.rows.clear();
    let html = page(&[of("a", &report)], &Beside::default());
    assert!(html.contains("<h1>") && !html.contains("NaN"));
    assert!(page(&[], &Beside::default()).contains("<main>"));
}

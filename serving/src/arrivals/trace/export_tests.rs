//! What benchmarks and gateways export: nanoseconds, failures, lists, lengths alone.

use super::tests::{read, read_with, rows};
use super::*;

fn paced(request_rate: f64) -> TraceOptions {
    TraceOptions { request_rate: Some(request_rate), ..TraceOptions::default() }
}

fn lengths(text: impl AsRef<[u8]>, options: &TraceOptions) -> Vec<(u32, u32)> {
    rows(text, options).iter().map(|row| (row.1, row.2)).collect()
}

#[test]
fn records_of_aiperf_leave_failures_out() {
    let failed = r#"{"metadata":{"x_request_id":"q1","timestamp_ns":1750000000000000000},"metrics":{"error_request_count":{"value":1,"unit":"requests"}},"error":{"code":500,"message":"no"}}"#;
    let good = r#"{"metadata":{"x_request_id":"q2","timestamp_ns":1750000000000000250,"was_cancelled":false},"metrics":{"input_sequence_length":{"value":410,"unit":"tokens"},"output_sequence_length":{"value":37,"unit":"tokens"}},"error":null}"#;
    let later = good.replace("0250,", "0750,").replace("timestamp_ns", "request_start_ns");
    let text = [failed, good, &later, &later.replace("false", "true")].join("\n");
    assert_eq!(rows(&text, &TraceOptions::default()), [(0, 410, 37), (500_000, 410, 37)]);
    let summary = read(&text).unwrap().summary();
    assert_eq!(
        (summary.format, summary.notes()),
        ("AIPerf", vec!["2 requests that failed: left out".to_owned()])
    );
    let error = read(failed).unwrap_err().to_string();
    assert_eq!(error, "t.csv: each of its 1 requests failed; give a trace with answers");
}

#[test]
fn runs_of_benchmarks_are_read_with_and_without_times() {
    let run = r#"{"date": "d", "completed": 2, "input_lens": [30, 41, 52], "output_lens": [7, 0, 9],
        "start_times": [100.25, 100.5, 101.0], "errors": ["", "timed out", ""], "ttfts": [0.1, 0, 0.2]}"#;
    for text in [run.to_owned(), run.replace('\n', "")] {
        assert_eq!(rows(&text, &TraceOptions::default()), [(0, 30, 7), (750_000_000_000, 52, 9)]);
        assert_eq!(read(&text).unwrap().summary().failed, 1);
    }
    assert_eq!(lengths(run.replace("start_times", "itls"), &paced(4.0)), [(30, 7), (52, 9)]);
}

#[test]
fn lists_are_read_like_lines() {
    let lines = "{\"timestamp\": 5, \"input_length\": 6, \"output_length\": 2}\n{\"timestamp\": 9, \"input_length\": 7, \"output_length\": 3}\n";
    let expected = rows(lines, &TraceOptions::default());
    let list = format!("[{}]", lines.trim().replace("}\n", "},\n"));
    let pretty = list.replace(", ", ",\n  ").replace('{', "{\n  ").replace('[', "[\n\n");
    for text in [
        &list,
        &pretty,
        &format!("\u{feff}{list}\n"),
        &lines.replace(", ", ",\n"),
        &lines.replace("}\n", "}\n\n"),
    ] {
        assert_eq!(rows(text, &TraceOptions::default()), expected, "{text}");
    }
}

#[test]
fn times_since_1970_are_told_by_their_size() {
    let line = |time: &str, tokens: u32| {
        format!("{{\"timestamp\": {time}, \"input_length\": {tokens}, \"output_length\": 1}}\n")
    };
    let second = 1_000_000_000_000;
    for (unit, first, second_later) in [
        (Some("nanoseconds"), "1750000000000000000", "1750000001000000000"),
        (Some("microseconds"), "1750000000000000", "1750000001000000"),
        (None, "1750000000000", "1750000001000"),
        (Some("seconds"), "1750000000", "1750000001.000"),
        (Some("dates"), "\"2025-06-15T15:06:40Z\"", "\"2025-06-15 17:06:41.000+02:00\""),
        (None, "\"500\"", "1500.0"),
    ] {
        let text = line(first, 1) + &line(second_later, 2);
        assert_eq!(rows(&text, &TraceOptions::default()), [(0, 1, 1), (second, 2, 1)], "{text}");
        assert_eq!(read(&text).unwrap().summary().unit, unit, "{text}");
        let named = text.replace("timestamp", "timestamp_ms");
        assert_eq!(read(&named).is_ok(), unit.is_none() || unit == Some("seconds"), "{named}");
    }
    let text = line("1750000000000000000", 1);
    let note = "times are read as nanoseconds since 1970, which their size says";
    assert_eq!(read(text).unwrap().summary().notes(), [note]);
    let table = "Timestamp,Request tokens,Response tokens\n1750000000123,1,1\n1750000001123,2,1\n";
    assert_eq!(rows(table, &TraceOptions::default()), [(0, 1, 1), (second, 2, 1)]);
}

#[test]
fn names_of_others_are_read() {
    let expected = [(0, 6, 2), (500_000_000_000, 7, 3)];
    for text in [
        "{\"arrival_time\": 1.0, \"prompt_tokens\": 6, \"completion_tokens\": 2}\n{\"arrival_time\": 1.5, \"prompt_tokens\": 7, \"completion_tokens\": 3}",
        "{\"timestamp_ns\": 1000000000, \"input_len\": 6, \"output_len\": 2, \"success\": true}\n{\"timestamp_ns\": 1500000000, \"input_len\": 7, \"output_len\": 3}\n{\"success\": false}",
        "[{\"error_code\": null, \"number_input_tokens\": 6, \"number_output_tokens\": 2, \"start_time\": 0}, {\"number_input_tokens\": 7, \"number_output_tokens\": 3, \"start_time\": 0.5}]",
        "timestamp,input_length,output_length\n0,6,2\n500,7,3\n",
        "start_time,input_len,output_len\n0,6,2\n0.5,7,3\n",
        "created,prompt_tokens,completion_tokens\n1750000000,6,2\n1750000000.5,7,3\n",
    ] {
        assert_eq!(rows(text, &TraceOptions::default()), expected, "{text}");
    }
}

#[test]
fn lengths_alone_come_at_a_rate_of_ones_own() {
    let text = "input_len,output_len\n6,2\n7,3\n8,4\n";
    let drawn = rows(text, &paced(2.0));
    assert_eq!(lengths(text, &paced(2.0)), [(6, 2), (7, 3), (8, 4)]);
    assert!(drawn[0].0 == 0 && drawn[1].0 > 0 && drawn[2].0 > drawn[1].0, "{drawn:?}");
    let twice = rows(text, &paced(4.0));
    assert!(twice[2].0.abs_diff(drawn[2].0 / 2) <= 2000, "the same gaps, half as long: {drawn:?}, {twice:?}");
    assert_ne!(rows(text, &TraceOptions { seed: 1, ..paced(2.0) }), drawn);
    // Recorded times say the order and the window, no more.
    let timed = "timestamp,input_length,output_length\n900,7,3\n1,6,2\n5000,8,4\n";
    let options = TraceOptions { window_end_s: Some(2.0), ..paced(2.0) };
    assert_eq!(rows(timed, &options), drawn[..2]);
    let many: String = (0..20_000).map(|_| "1,1\n").collect();
    let rows =
        rows(format!("input_len,output_len\n{many}"), &TraceOptions { burstiness: Some(2.0), ..paced(50.0) });
    let seconds = rows[19_999].0 as f64 / 1e12;
    assert!((seconds / 400.0 - 1.0).abs() < 0.02, "{seconds}");
    let even = read_with("{\"input_length\": 6, \"output_length\": 2}", &paced(1.0)).unwrap();
    assert_eq!(even.summary().requests, 1);
}

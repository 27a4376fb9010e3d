//! What is said about each fault of a trace.

use super::tests::{AZURE, read_with, refused, vidur};
use super::*;

#[test]
fn bad_numbers_are_named() {
    let whole = "give a whole number of tokens from 1 to 16777216";
    for bad in ["-5", "1.5", "abc", "NaN", "-inf", "1 000", "0x10"] {
        refused(
            vidur(&format!("0,1,1\n\n1,{bad},1\n")),
            &format!("t.csv:4: `num_prefill_tokens` is `{bad}`: {whole}"),
        );
    }
    refused(vidur("0,1,\n"), &format!("t.csv:2: `num_decode_tokens` is empty: {whole}"));
    for huge in ["16777217", "99999999999999999999999", "1e300", "inf"] {
        let problem = "more than 16777216 tokens are no request; leave it out";
        refused(
            vidur(&format!("0,1,{huge}\n")),
            &format!("t.csv:2: `num_decode_tokens` is `{huge}`: {problem}"),
        );
    }
    for bad in ["-1", "abc", "NaN", "1e10", "99999999999999999999"] {
        refused(
            vidur(&format!("{bad},1,1\n")),
            &format!("t.csv:2: `arrived_at` is `{bad}`: give seconds from 0 to 9.2e9"),
        );
    }
    let date = "give a date and time such as 2023-11-16 18:17:03.9799600";
    for bad in ["12.5", "2023-13-01 00:00:00", "16/11/2023 18:17", "9999-01-01 00:00:00"] {
        let text = format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{bad},1,1\n");
        refused(text, &format!("t.csv:2: `TIMESTAMP` is `{bad}`: {date}"));
    }
}

#[test]
fn wrong_tables_are_refused() {
    refused("", "t.csv: nothing in it; give FORMATS");
    refused("\u{feff}\n \r\n# x\n", "t.csv: nothing in it; give FORMATS");
    refused(vidur(""), "t.csv: a header without requests; give a trace with some");
    refused("1,2,3\n4,5,6\n", "t.csv:1: no header of a trace: `1,2,3`; give FORMATS");
    refused("a log\nof something", "t.csv:1: no header of a trace: `a log`; give FORMATS");
    refused(
        "x,TIMESTAMP,ContextTokens\n",
        "t.csv:1: no column `GeneratedTokens`, which Azure's traces have; give FORMATS",
    );
    refused(
        "num_prefill_tokens,num_decode_tokens\n1,2\n",
        "t.csv:1: no `arrived_at`; give one, or request_rate for a rate of one's own",
    );
    refused(
        "arrived_at,num_prefill_tokens,num_decode_tokens,Arrived At\n1,2,3,4\n",
        "t.csv:1: two columns `arrived_at`: leave one out",
    );
    refused(format!("{AZURE}{AZURE}"), "t.csv:4: the header once more: leave it out where files are joined");
    refused(vidur("1,2\n3,4,5\n"), "t.csv:2: 2 fields where the header has 3; give one for each");
    refused(vidur("1,2,3,4\n"), "t.csv:2: 4 fields where the header has 3; give one for each");
    refused(
        vidur("1,2,3\n4,5"),
        "t.csv:3: 2 fields where the header has 3; give one for each; the file ends in this line: was it cut?",
    );
    refused(
        vidur("1,2,3\n4,\"5,6\n7,8,9\n"),
        "t.csv:3: a quote (\") that is not closed: close it or leave it out",
    );
    refused(vidur("1,2,3\n4,\"5"), "t.csv:3: a quote (\") that is not closed: close it or leave it out");
    refused(vidur("1,2,3\r4,5,6\n"), "t.csv:2: a carriage return within a line; end lines with a line feed");
    refused(
        vidur(&format!("1{}\n", ",1".repeat(1024))),
        "t.csv:2: more than 1024 fields; give fewer columns",
    );
    refused(b"arrived_at,\xFF\n", "t.csv:1: field 2 is not UTF-8: save it as UTF-8");
}

#[test]
fn what_is_no_text_is_refused() {
    refused(b"\x1F\x8B\x08\x00", "t.csv:1: a gzip file: unpack it first; give FORMATS");
    refused(b"\xFF\xFET\0I\0", "t.csv:1: UTF-16: save it as UTF-8; give FORMATS");
    refused(b"PAR1\x15", "t.csv:1: a Parquet file: convert it first; give FORMATS");
    let long = vec![b'x'; lines::MAX_LINE_BYTES + 1];
    refused(long, "t.csv:1: longer than 33554432 bytes; give one request a line");
}

#[test]
fn wrong_json_lines_are_refused() {
    let line = |fields: &str| format!("{{\"timestamp\": 0, {fields}}}\n");
    let good = line("\"input_length\": 600, \"output_length\": 2, \"hash_ids\": [1, 2]");
    let after = |text: &str| format!("{good}\n{text}");
    refused(after("{\"timestamp\": 1}"), "t.csv:3: no `input_length`; give FORMATS");
    refused("{\"token_index\": 1}", "t.csv:1: no `input_length`; give FORMATS");
    refused(
        "{\"input_length\": 1, \"output_length\": 2}",
        "t.csv:1: no `timestamp`; give one, or request_rate for a rate of one's own",
    );
    refused(
        "{\"prompt\": \"Hello\", \"output_length\": 2}",
        "t.csv:1: a text, of which nobody counted the tokens: give `input_length`",
    );
    refused(
        after(&line("\"input_length\": \"600\", \"output_length\": 2")),
        "t.csv:3: `input_length` is `\"600\"`: give a number",
    );
    refused(
        after(&line("\"input_length\": -6, \"output_length\": 2")),
        "t.csv:3: `input_length` is `-6`: give a whole number of tokens from 1 to 16777216",
    );
    refused(
        after("{\"timestamp\": -1, \"input_length\": 6, \"output_length\": 2}"),
        "t.csv:3: `timestamp` is `-1`: give milliseconds from 0 to 9.2e12",
    );
    refused(
        after(&line("\"input_length\": 600, \"output_length\": 2, \"hash_ids\": [1, 2, 3]")),
        "t.csv:3: 3 hash_ids for the 2 blocks of 512 tokens of 600 tokens; say how long blocks are with block_tokens",
    );
    refused(
        after(&good[..good.len() - 5]),
        "t.csv:3: column 73: EOF while parsing a value; give one JSON object a line; the file ends in this line: was it cut?",
    );
    refused(
        after(&line("\"input_length\": 600, \"input_length\": 2")),
        "t.csv:3: column 52: duplicate field `input_length`; give one JSON object a line",
    );
    refused(after("[1,2,3]\n"), "t.csv:3: no JSON object; give one a line");
    refused(
        after("{\"timestamp\": 1e999}\n"),
        "t.csv:3: column 19: number out of range; give one JSON object a line",
    );
    refused(
        after(&line("\"input_length\": 600, \"output_length\": 2, \"hash_ids\": [-1]")),
        "t.csv:3: column 73: invalid value: integer `-1`, expected u64; give one JSON object a line",
    );
}

#[test]
fn wrong_lists_are_refused() {
    let good = r#"{"timestamp": 0, "input_length": 6, "output_length": 2}"#;
    refused(format!("[{good},\n{good}"), "t.csv:2: the file ends in a list: was it cut?");
    refused(format!("[{good},\n5]"), "t.csv:2: no JSON object; give a list of objects");
    refused(
        format!("[{good},\n{{\"timestamp\":\n1,"),
        "t.csv:3: column 2: EOF while parsing a value; the file ends in an object: was it cut?",
    );
    refused(format!("[\n\n{good},\n{{\"timestamp\": 1}}]"), "t.csv:4: no `input_length`; give FORMATS");
    refused("[]", "t.csv: a header without requests; give a trace with some");
}

#[test]
fn wrong_runs_are_refused() {
    let run = r#"{"input_lens": [3, 4], "output_lens": [5, 6], "start_times": [0.0, 1.0]}"#;
    refused(run.replace("[5, 6]", "[5]"), "t.csv:1: 1 output_lens for 2 input_lens; give one each");
    refused(run.replace("output_lens", "ttfts"), "t.csv:1: no `output_lens`; give FORMATS");
    refused(format!("{run}\n{run}"), "t.csv:2: something behind a benchmark's run; give one run a file");
    refused(
        run.replace("\"start_times\"", "\"itls\""),
        "t.csv:1: no `timestamp`; give one, or request_rate for a rate of one's own",
    );
}

#[test]
fn wrong_sessions_are_refused() {
    let line = |fields: &str| format!("{{\"input_length\": 600, \"output_length\": 2, {fields}}}\n");
    let first = line(r#""session_id": "a", "timestamp": 0"#);
    refused(
        line(r#""session_id": "a", "timestamp": 0, "delay": 5"#),
        "t.csv:1: `delay` with the first turn of a session: nothing has ended before it; leave it out",
    );
    refused(
        line(r#""timestamp": 0, "delay": 5"#),
        "t.csv:1: `delay` with no session: nothing has ended before it; leave it out",
    );
    refused(
        line(r#""session_id": "b""#),
        "t.csv:1: no `timestamp`; give one, or request_rate for a rate of one's own",
    );
    refused(
        first.clone() + &line(r#""session_id": "a""#),
        "t.csv:2: a later turn without `delay`: give it, or a `timestamp`",
    );
    for bad in ["-5", "true", "\"soon\""] {
        let error = read_with(
            first.clone() + &line(&format!(r#""session_id": "a", "delay": {bad}"#)),
            &TraceOptions::default(),
        );
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("t.csv:2: `delay` is "), "{error}");
    }
    let long = first.replace("600", "16777216");
    refused(
        long + &line(r#""session_id": "a", "delay": 5"#),
        "t.csv: a turn of 16777818 tokens with its history, more than 16777216; cut it with max_input_tokens",
    );
}

#[test]
fn wrong_options_are_refused_before_anything_is_read() {
    let error = |options: TraceOptions| read_with("", &options).unwrap_err().to_string();
    let default = TraceOptions::default;
    assert_eq!(
        error(TraceOptions { rate_scale: 0.0, ..default() }),
        "rate_scale = 0: give a number from 0.000001 to 1000000"
    );
    assert_eq!(
        error(TraceOptions { rate_scale: 2.0, request_rate: Some(4.0), ..default() }),
        "rate_scale = 2: leave it out: request_rate replaces the recorded times"
    );
    assert_eq!(
        error(TraceOptions { burstiness: Some(4.0), ..default() }),
        "burstiness = 4: give request_rate too: recorded times are not drawn"
    );
    assert_eq!(
        error(TraceOptions { window_start_s: 5.0, window_end_s: Some(5.0), ..default() }),
        "window_end_s = 5: give more than window_start_s, 5"
    );
    assert_eq!(
        error(TraceOptions { max_output_tokens: Some(0), ..default() }),
        "max_output_tokens = 0: give a number from 1 to 16777216"
    );
}

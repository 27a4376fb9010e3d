//! The trace reader on small made-up traces.

use super::*;

const HEADER: &str = r#"{"provenance":{"expert_count":8,"top_k":2,"device":"cpu"},"row_type":"header","schema":"simllm-preplay-trace-v1"}"#;
const REQUEST: &str =
    r#"{"request_id":"a","row_type":"request","schema":"simllm-preplay-trace-v1","output_text":"x"}"#;
const TOKENS: &str = r#"{"phase":"prefill","token_index":0,"routing":[{"expert_ids":[3,1],"gate_weights":[0.75,0.25],"layer_index":0},{"expert_ids":[0,5],"layer_index":1}]}
{"phase":"prefill","token_index":1,"routing":[{"expert_ids":[2,4],"gate_weights":[0.5,0.5],"layer_index":0},{"expert_ids":[5,0],"gate_weights":null,"layer_index":1}]}"#;
const FOOTER: &str = r#"{"request_count":1,"row_type":"footer"}"#;

fn parse(text: &str) -> Result<Trace, LoadError> {
    parse_with_layers(Lines::new(text.as_bytes(), "made-up.jsonl")).map(|(trace, _)| trace)
}

fn message(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn row(experts: &str, weights: &str) -> String {
    format!(r#"{{"routing":[{{"layer_index":0,"expert_ids":{experts},"gate_weights":{weights}}}]}}"#)
}

#[test]
fn a_whole_trace_pools_its_layers() {
    let trace = parse(&[HEADER, REQUEST, TOKENS, FOOTER].join("\n")).unwrap();
    assert_eq!(trace.info, TraceInfo { num_rows: 4, num_layers: 2, num_experts: 8, top_k: 2 });
    assert_eq!(trace.rows.idx, [3, 1, 0, 5, 2, 4, 5, 0]);
    assert_eq!(trace.rows.weights, [0.75, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
    trace.rows.validate(8).unwrap();
}

#[test]
fn without_a_header_the_largest_expert_counts() {
    let trace = parse(&format!("\n{TOKENS}\n\n")).unwrap();
    assert_eq!((trace.info.num_experts, trace.info.top_k), (6, 2));
}

#[test]
fn a_file_is_read_like_a_text_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.jsonl");
    std::fs::write(&path, TOKENS).unwrap();
    assert_eq!(read_trace(&path).unwrap(), parse(TOKENS).unwrap());
    let message = read_trace(&folder.path().join("none.jsonl")).unwrap_err().to_string();
    assert!(message.contains("none.jsonl: cannot be read"), "{message}");
}

#[test]
fn wrong_lines_are_named_with_their_number() {
    let after_good = |bad: &str| message(&format!("{HEADER}\n{}\n{bad}", row("[1,2]", "[0.5,0.5]")));
    for (bad, said) in [
        ("{".to_owned(), "expected a line of simllm's trace"),
        (row("[1,2,3]", "[0.5,0.5,0.5]"), "3 experts in layer 0, 2 before"),
        (row("[]", "[]"), "0 experts in layer 0, 2 before"),
        (row("[1,1]", "[0.5,0.5]"), "expert 1 twice"),
        (row("[1,8]", "[0.5,0.5]"), "expert 8 in layer 0; give expert ids below 8"),
        (row("[1,-2]", "[0.5,0.5]"), "expected a line of simllm's trace"),
        (row("[1,2]", "[0.5]"), "1 gate weights for 2 experts"),
        (row("[1,2]", "[0.5,NaN]"), "expected a line of simllm's trace"),
        (row("[1,2]", "[0.5,1e39]"), "number out of range"),
        (row("[1,2]", "[0.5,-0.5]"), "gate weight -0.5"),
        (HEADER.to_owned(), "a header after rows"),
        (r#"{"schema":"other"}"#.to_owned(), "schema 'other'"),
    ] {
        let message = after_good(&bad);
        assert!(message.starts_with("made-up.jsonl:3: ") && message.contains(said), "{message}");
    }
}

#[test]
fn limits_hold_without_a_header_too() {
    assert!(message(&row("[1,4096]", "null")).contains("expert ids below 4096"));
    assert!(message(&row("[]", "null")).contains("between 1 and 256 experts"));
    assert!(message(r#"{"provenance":{"expert_count":0}}"#).contains("expert_count = 0"));
    let too_many = HEADER.replace("\"top_k\":2", "\"top_k\":257");
    assert!(message(&too_many).contains("made-up.jsonl:1: top_k = 257"));
}

#[test]
fn a_trace_without_routing_is_refused() {
    for text in ["", FOOTER, HEADER, r#"{"routing":[]}"#] {
        assert!(message(text).contains("no line has a non-empty 'routing'"));
    }
}

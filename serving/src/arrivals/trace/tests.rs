//! Each format and each option of a trace.

use super::*;
use crate::arrivals::tenants::Tenants;
use crate::arrivals::trace::replay::Replay;
use crate::arrivals::{Arrivals, MAX_TOKENS};
use crate::request::Request;
use proptest::prelude::*;
use topology::Picos;

pub(super) const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
    2023-11-16 18:17:03.9799600,4808,10\n\
    2023-11-16 18:17:04.0319601,3180,8\n";

pub(super) fn read_with(text: impl AsRef<[u8]>, options: &TraceOptions) -> Result<Trace, ArrivalError> {
    read_trace(&mut text.as_ref(), "t.csv", options)
}

pub(super) fn read(text: impl AsRef<[u8]>) -> Result<Trace, ArrivalError> {
    read_with(text, &TraceOptions::default())
}

pub(super) fn requests(trace: Trace) -> Vec<Request> {
    let mut replay = Replay::new(trace, Tenants::new(None, None).unwrap(), 0);
    std::iter::from_fn(|| replay.take_next().unwrap()).collect()
}

/// (picoseconds, prompt, answer) of each request.
pub(super) fn rows(text: impl AsRef<[u8]>, options: &TraceOptions) -> Vec<(u64, u32, u32)> {
    let trace = read_with(text, options).unwrap();
    requests(trace).iter().map(|r| (r.arrived.0, r.input_tokens, r.output_tokens)).collect()
}

pub(super) fn vidur(body: &str) -> String {
    format!("arrived_at,num_prefill_tokens,num_decode_tokens\n{body}")
}

#[track_caller]
pub(super) fn refused(text: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(read(text).unwrap_err().to_string().replace(FORMATS, "FORMATS"), expected);
}

#[test]
fn azure_2023_and_2024_are_read_to_the_digit() {
    let expected = [(0, 4808, 10), (52_000_100_000, 3180, 8)];
    assert_eq!(rows(AZURE, &TraceOptions::default()), expected);
    let of_2024 = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
        2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 02:00:01+02:00,2399,6";
    assert_eq!(rows(of_2024, &TraceOptions::default()), [(0, 2162, 5), (990_070_000_000, 2399, 6)]);
}

#[test]
fn tables_of_others_are_read() {
    let expected = [(0, 591, 140), (125_000_000_000, 547, 248)];
    let options = TraceOptions::default();
    assert_eq!(rows(vidur("0.0,591,140\n0.125,547,248\n"), &options), expected);
    let burst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
        5,ChatGPT,591,140,731,Conversation log\n5.125,GPT-4,547,248,795,API log\n";
    assert_eq!(rows(burst, &options), expected);
    let splitwise = "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n\
        0,2,0,1.0,1,591,140\n1,2,0,1.125,1,547,248\n";
    assert_eq!(rows(splitwise, &options), expected);
}

#[test]
fn unix_times_keep_their_digits() {
    let text = vidur("1700158623.979960000,1,1\n1700158623.9799600014,2,2\n1700158623.979960001,3,3\n");
    assert_eq!(rows(text, &TraceOptions::default()), [(0, 1, 1), (1000, 2, 2), (1000, 3, 3)]);
}

#[test]
fn the_look_of_a_table_does_not_matter() {
    let plain = rows(AZURE, &TraceOptions::default());
    for text in [
        AZURE.replace('\n', "\r\n"),
        format!("\u{feff}{AZURE}"),
        format!("# from somewhere\n\n{}\n  \n# end\n", AZURE.replace('\n', "\n\n")),
        AZURE.trim_end().to_owned(),
        AZURE.replace(',', "\t"),
        AZURE.replace(',', ";"),
        AZURE.replace(',', " , "),
        AZURE.replace("TIMESTAMP", "\"timestamp\"").replace("4808", "\"4808\"").replace("3180", "3180.0"),
        AZURE.replace("ContextTokens", "context_tokens"),
        "GeneratedTokens,note,TIMESTAMP,x,ContextTokens\n\
         10,\"a, \"\"b\"\"\n2\",2023-11-16 18:17:03.97996,,4808\n8,,2023-11-16T18:17:04.0319601Z,,3180"
            .to_owned(),
    ] {
        assert_eq!(rows(&text, &TraceOptions::default()), plain, "{text}");
    }
}

#[test]
fn mooncake_keeps_its_blocks() {
    let text = r#"{"timestamp": 100, "input_length": 1200, "output_length": 5, "hash_ids": [7, 8, 9]}
{"output_length": 6, "input_length": 1000, "session": "x", "timestamp": 350, "hash_ids": [7, 10]}
{"timestamp": 350.5, "input_length": 600, "output_length": 1}"#;
    let trace = read(text).unwrap();
    let summary = trace.summary();
    assert_eq!((summary.blocks, summary.blocks_seen_before, summary.short_hash_ids), (5, 1, 1));
    assert_eq!(
        summary.to_string(),
        "Mooncake trace: 3 requests in 0.251 s; prompts of 933.3 tokens (median 1000, p99 1200, max 1200, 2800 in all); \
         answers of 4.0 tokens (median 5, p99 6, max 6, 12 in all); 20.0% of 5 blocks seen before"
    );
    assert_eq!(
        summary.notes(),
        ["1 request with fewer hash_ids than blocks: what is left of them shares nothing"]
    );
    let requests = requests(trace);
    assert_eq!(requests[1].arrived, Picos(250_000_000_000));
    assert_eq!((requests[1].prefix.block_tokens, &*requests[1].prefix.blocks), (512, &[7, 10][..]));
    assert!(requests[2].prefix.blocks.is_empty());
}

#[test]
fn bailian_counts_seconds_and_blocks_of_16() {
    let text = r#"{"chat_id": 1, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 40, "output_length": 132, "type": "text", "turn": 1, "hash_ids": [1, 2, 3]}
{"chat_id": 2, "parent_chat_id": 1, "timestamp": 62.5, "input_length": 33, "output_length": 80, "type": "text", "turn": 2, "hash_ids": [1, 2, 4]}"#;
    let requests = requests(read(text).unwrap());
    assert_eq!((requests[1].arrived, requests[1].prefix.block_tokens), (Picos(1_386_000_000_000), 16));
}

#[test]
fn a_prefix_counts_as_seen_only_from_its_beginning() {
    let line = |ids: &str| {
        format!("{{\"timestamp\":0,\"input_length\":1536,\"output_length\":1,\"hash_ids\":{ids}}}\n")
    };
    let summary = read([line("[1,2,3]"), line("[9,2,3]"), line("[1,2,4]")].concat()).unwrap().summary();
    assert_eq!((summary.blocks, summary.blocks_seen_before), (9, 2));
}

#[test]
fn unsorted_times_are_sorted_and_equal_ones_keep_their_order() {
    let text = vidur("5,1,1\n3,2,2\n5,3,3\n4,4,4\n3,5,5\n");
    let trace = read(&text).unwrap();
    assert_eq!(trace.summary().notes(), ["3 requests out of order in the file: sorted by time"]);
    let second = 1_000_000_000_000;
    let expected = [(0, 2, 2), (0, 5, 5), (second, 4, 4), (2 * second, 1, 1), (2 * second, 3, 3)];
    assert_eq!(rows(&text, &TraceOptions::default()), expected);
}

#[test]
fn a_window_is_cut_clipped_and_played_faster() {
    let text = vidur("10,1,1\n11,200,2\n12,3,300\n13,4,4\n14,5,5\n");
    let options = TraceOptions {
        rate_scale: 2.0,
        window_start_s: 1.0,
        window_end_s: Some(4.0),
        num_prompts: Some(2),
        max_input_tokens: Some(100),
        max_output_tokens: Some(50),
        ..TraceOptions::default()
    };
    assert_eq!(rows(&text, &options), [(0, 100, 2), (500_000_000_000, 3, 50)]);
    let notes = read_with(&text, &options).unwrap().summary().notes();
    assert_eq!(
        notes,
        [
            "3 requests outside the window or beyond num_prompts: left out",
            "1 request with prompts longer than max_input_tokens: clipped",
            "1 request with answers longer than max_output_tokens: clipped",
        ]
    );
    let late = TraceOptions { window_start_s: 4.5, ..TraceOptions::default() };
    let error = read_with(&text, &late).unwrap_err().to_string();
    assert_eq!(error, "t.csv: no request from 4.5 s on: the last one comes after 4 s");
}

#[test]
fn clipped_prompts_lose_the_blocks_behind() {
    let text = r#"{"timestamp": 0, "input_length": 1200, "output_length": 5, "hash_ids": [7, 8, 9]}"#;
    let options = TraceOptions { max_input_tokens: Some(1024), ..TraceOptions::default() };
    let requests = requests(read_with(text, &options).unwrap());
    assert_eq!(*requests[0].prefix.blocks, [7, 8]);
}

#[test]
fn zero_lengths_are_refused_dropped_or_raised() {
    let text = vidur("0,5,0\n1,0,3\n2,7,7\n");
    refused(
        &text,
        "t.csv:2: `num_decode_tokens` is 0: zero_lengths = \"drop\" leaves such requests out, \"one\" gives them a token",
    );
    let with = |zero_lengths| TraceOptions { zero_lengths, ..TraceOptions::default() };
    assert_eq!(rows(&text, &with(ZeroLengths::Drop)), [(0, 7, 7)]);
    let raised: Vec<_> = rows(&text, &with(ZeroLengths::One)).iter().map(|row| (row.1, row.2)).collect();
    assert_eq!(raised, [(5, 1), (1, 3), (7, 7)]);
    let notes = read_with(&text, &with(ZeroLengths::Drop)).unwrap().summary().notes();
    assert_eq!(notes, ["2 requests with a length of 0: dropped"]);
    let error = read_with(vidur("0,5,0\n"), &with(ZeroLengths::Drop)).unwrap_err().to_string();
    assert_eq!(error, "t.csv: each of its 1 requests has a length of 0; zero_lengths = \"one\" keeps them");
}

#[test]
fn empty_prompts_have_no_blocks() {
    let text = r#"{"timestamp": 0, "input_length": 0, "output_length": 5, "hash_ids": [7]}
{"timestamp": 1, "input_length": 9, "output_length": 0}
{"timestamp": 2, "input_length": 9, "output_length": 1, "hash_ids": [7]}"#;
    let options = TraceOptions { zero_lengths: ZeroLengths::Drop, ..TraceOptions::default() };
    let summary = read_with(text, &options).unwrap().summary();
    assert_eq!((summary.requests, summary.blocks, summary.short_hash_ids), (1, 1, 0));
    let options = TraceOptions { zero_lengths: ZeroLengths::One, ..options };
    let summary = read_with(text, &options).unwrap().summary();
    assert_eq!((summary.requests, summary.blocks, summary.blocks_seen_before), (3, 1, 0));
}

#[test]
fn prompts_of_a_million_tokens_are_read() {
    let text = vidur(&format!("0,1048576,{MAX_TOKENS}\n"));
    assert_eq!(rows(text, &TraceOptions::default()), [(0, 1 << 20, MAX_TOKENS)]);
}

#[test]
fn traces_longer_than_a_run_are_refused() {
    refused(
        vidur("0,1,1\n9300000,1,1\n"),
        "t.csv: longer than 106 days; cut it with window_end_s or play it faster with rate_scale",
    );
    let options = TraceOptions { rate_scale: 100.0, ..TraceOptions::default() };
    assert_eq!(rows(vidur("0,1,1\n9300000,1,1\n"), &options)[1].0, 93_000_000_000_000_000);
}

fn any_row() -> impl Strategy<Value = (u32, u32, u32)> {
    (0_u32..1000, 1_u32..5000, 1_u32..500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_give_requests_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        start in prop::sample::select(vec!["", AZURE, "{", "{\"timestamp\":1,\"input_length\":1,\"output_length\":1}\n"]),
    ) {
        let _ = read([start.as_bytes(), &bytes].concat());
    }

    #[test]
    fn nearly_traces_give_requests_or_an_error(text in "([0-9]{1,3}|[,\"\n\r{}\\[\\] .-]|timestamp|input_length|:){0,60}") {
        let _ = read(vidur(&text));
        let _ = read(format!("{{\"timestamp\":1,\"input_length\":9,\"output_length\":1}}\n{text}"));
    }

    #[test]
    fn times_are_sorted_and_the_order_of_columns_is_nothing(
        body in prop::collection::vec(any_row(), 1..50),
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        rate_scale in 0.1..10.0,
    ) {
        let write = |order: &[usize]| {
            let names = ["arrived_at", "num_prefill_tokens", "num_decode_tokens", "other"].map(str::to_owned);
            let fields = body.iter().map(|&(at, input, output)| {
                [format!("{}.{:03}", at / 10, at), input.to_string(), output.to_string(), "\"x,y\"".to_owned()]
            });
            let lines = std::iter::once(names).chain(fields);
            lines.map(|line| order.iter().map(|&i| line[i].clone()).collect::<Vec<_>>().join(",") + "\n").collect::<String>()
        };
        let options = TraceOptions { rate_scale, ..TraceOptions::default() };
        let read = rows(write(&order), &options);
        prop_assert_eq!(&read, &rows(write(&[0, 1, 2, 3]), &options));
        prop_assert_eq!(read.len(), body.len());
        prop_assert_eq!(read[0].0, 0);
        prop_assert!(read.is_sorted_by_key(|row| row.0));
        let sum: u64 = read.iter().map(|row| u64::from(row.1)).sum();
        prop_assert_eq!(sum, body.iter().map(|row| u64::from(row.1)).sum::<u64>());
    }
}

//! Sessions: when a turn comes, and what its prompt is.

use super::tests::{read, read_with};
use super::*;
use crate::arrivals::Arrivals;
use crate::arrivals::tenants::Tenants;
use crate::arrivals::trace::replay::Replay;
use crate::request::{Request, RequestId};
use proptest::prelude::*;
use std::collections::BTreeMap;
use topology::Picos;

const MS: u64 = 1_000_000_000;

/// Three turns of one session, and one of another that begins with the same two blocks.
const TALKS: &str = r#"{"session_id":"a","timestamp":0.0,"input_length":1100,"output_length":20,"hash_ids":[0,1,2]}
{"session_id":"a","delay":50.5,"input_length":300,"output_length":30,"hash_ids":[7]}
{"session_id":"b","timestamp":10.0,"input_length":1100,"output_length":9,"hash_ids":[0,1,3]}
{"session_id":"a","delay":4,"input_length":200,"output_length":40,"hash_ids":[8]}
"#;

fn replay(trace: Trace) -> Replay {
    Replay::new(trace, Tenants::new(Some(5), None).unwrap(), 0)
}

/// Plays a trace with answers that take `answer` ms each, as many at a time as there are.
fn played(trace: Trace, answer: u64) -> Vec<Request> {
    let (mut arrivals, mut requests) = (replay(trace), Vec::new());
    let mut under_way: BTreeMap<(Picos, RequestId), ()> = BTreeMap::new();
    loop {
        let end = under_way.keys().next().copied();
        match (arrivals.next_at().unwrap(), end) {
            (Some(at), end) if end.is_none_or(|(end, _)| at < end) => {
                let request = arrivals.take_next().unwrap().unwrap();
                assert_eq!(request.arrived, at);
                under_way.insert((Picos(at.0 + answer * MS), request.id), ());
                requests.push(request);
            }
            (_, Some((end, id))) => {
                under_way.remove(&(end, id));
                arrivals.ended(id, end);
            }
            _ => return requests,
        }
    }
}

fn told(requests: &[Request]) -> Vec<(u64, u32, u32)> {
    requests.iter().map(|r| (r.arrived.0 / 1000, r.input_tokens, r.output_tokens)).collect()
}

#[test]
fn a_turn_comes_a_delay_after_the_one_before_ended_with_all_that_was_said() {
    let trace = read(TALKS).unwrap();
    let summary = trace.summary();
    assert_eq!((summary.requests, summary.turns, summary.input.total), (4, 2, 1100 + 1420 + 1650 + 1100));
    assert_eq!(
        summary.notes(),
        [
            "2 requests after a turn of the same session: once that has ended, the prompt being all that was said and what is new"
        ]
    );
    let requests = played(trace, 100);
    let expected = [(0, 1100, 20), (10_000_000, 1100, 9), (150_500_000, 1420, 30), (254_500_000, 1650, 40)];
    assert_eq!(told(&requests), expected);
    assert_eq!(requests.iter().map(|request| request.id.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let tenant = requests[0].tenant;
    assert_eq!([requests[2].tenant, requests[3].tenant], [tenant; 2]);
    // Whole blocks of the prompt before are the same, the others nobody else's.
    let ids = |at: usize| &requests[at].prefix.blocks[..];
    assert_eq!((ids(0), ids(1)), (&[0, 1, 2][..], &[0, 1, 3][..]));
    assert_eq!((&ids(2)[..2], ids(2).len(), &ids(3)[..2], ids(3).len()), (&[0, 1][..], 3, &[0, 1][..], 4));
    assert!(ids(2)[2] > 1 << 60 && ids(3)[2..].iter().all(|&id| id > 1 << 60 && id != ids(2)[2]));
}

/// The same as a table: what a turn doesn't have is empty, and no session is one of its own.
#[test]
fn tables_have_sessions_too() {
    let requests = |text: &str| told(&played(read(text).unwrap(), 100));
    let plain = TALKS.lines().map(|line| line.split(",\"hash").next().unwrap().to_owned() + "}\n");
    let expected = requests(&plain.collect::<String>());
    let table = "session_id,timestamp,delay,input_length,output_length\na,0,,1100,20\na,,50.5,300,30\n\
        b,10.0,,1100,9\na,,4,200,40\n";
    assert_eq!(requests(table), expected);
    let seconds = "Conversation ID;arrived_at;num_prefill_tokens;num_decode_tokens;Delay ms\n\
        a;0;1100;20;0\na;;300;30;50.5\n;0.01;1100;9;\na;;200;40;4\n";
    assert_eq!(requests(seconds), expected);
    let timed = "session_id,timestamp,input_length,output_length\na,0,600,20\na,50,900,30\n";
    assert_eq!(requests(timed)[1], (100_000_000, 900, 30));
    for (text, said) in [
        ("timestamp,delay,input_length,output_length\n0,5,1,1\n", "`delay` with no session"),
        (
            "session_id,timestamp,input_length,output_length\na,0,1,1\na,,1,1\n",
            ":3: a later turn without `delay`",
        ),
        ("session_id,timestamp,input_length,output_length\na,,1,1\n", ":2: no `timestamp`"),
        ("session_id,session id,timestamp,input_length,output_length\n", "two columns `session_id`"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn turns_wait_for_nothing_but_their_end() {
    let mut arrivals = replay(read(TALKS).unwrap());
    let first = arrivals.take_next().unwrap().unwrap();
    let other = arrivals.take_next().unwrap().unwrap();
    assert_eq!(arrivals.next_at(), Ok(None));
    arrivals.ended(other.id, Picos(77 * MS));
    arrivals.ended(RequestId(99), Picos(78 * MS));
    assert_eq!(arrivals.next_at(), Ok(None));
    arrivals.ended(first.id, Picos(80 * MS));
    arrivals.ended(first.id, Picos(81 * MS));
    assert_eq!(arrivals.next_at(), Ok(Some(Picos(130_500_000_000))));
    arrivals.take_next().unwrap().unwrap();
    assert_eq!(arrivals.take_next(), Ok(None), "the last turn waits");
}

#[test]
fn delays_are_scaled_and_sessions_cut_whole() {
    let options = TraceOptions { rate_scale: 2.0, ..TraceOptions::default() };
    let times: Vec<_> =
        told(&played(read_with(TALKS, &options).unwrap(), 100)).iter().map(|row| row.0).collect();
    assert_eq!(times, [0, 5_000_000, 125_250_000, 227_250_000]);
    let options = TraceOptions { num_prompts: Some(2), ..TraceOptions::default() };
    let trace = read_with(TALKS, &options).unwrap();
    assert_eq!(trace.summary().notes()[1], "2 requests outside the window or beyond num_prompts: left out");
    assert_eq!(told(&played(trace, 100)), [(0, 1100, 20), (150_500_000, 1420, 30)]);
    let options = TraceOptions { window_start_s: 0.005, ..TraceOptions::default() };
    assert_eq!(told(&played(read_with(TALKS, &options).unwrap(), 100)), [(0, 1100, 9)]);
    let options =
        TraceOptions { max_input_tokens: Some(1200), max_output_tokens: Some(10), ..TraceOptions::default() };
    let trace = read_with(TALKS, &options).unwrap();
    assert_eq!((trace.summary().clipped_inputs, trace.summary().clipped_outputs), (2, 3));
    assert_eq!(told(&played(trace, 100))[2..], [(150_500_000, 1200, 10), (254_500_000, 1200, 10)]);
}

#[test]
fn turns_with_times_come_no_earlier_and_prompts_that_hold_the_history_are_taken_as_they_are() {
    // The second turn's prompt begins with the first one's whole block; without ids its length tells.
    let by_ids = r#"{"session_id":1,"timestamp":0,"input_length":600,"output_length":20,"hash_ids":[4,5]}
{"session_id":1,"timestamp":50,"input_length":900,"output_length":30,"hash_ids":[4,6]}"#;
    let by_lengths = by_ids.replace(",\"hash_ids\":[4,5]", "").replace(",\"hash_ids\":[4,6]", "");
    for text in [by_ids, &by_lengths] {
        let trace = read(text).unwrap();
        let summary = trace.summary();
        assert_eq!((summary.turns, summary.whole_turns, summary.blocks_seen_before), (0, 1, 1));
        assert_eq!(told(&played(trace, 100))[1], (100_000_000, 900, 30));
        assert_eq!(told(&played(read(text).unwrap(), 10))[1], (50_000_000, 900, 30));
    }
    let new = by_lengths.replace("900", "300");
    assert_eq!(told(&played(read(new).unwrap(), 100))[1], (100_000_000, 920, 30));
}

#[test]
fn endless_delays_are_told() {
    let text = r#"{"session_id":"a","timestamp":0,"input_length":1,"output_length":1}
{"session_id":"a","delay":9e12,"input_length":1,"output_length":1}"#;
    let mut arrivals = replay(read(text).unwrap());
    let first = arrivals.take_next().unwrap().unwrap();
    arrivals.ended(first.id, Picos(1));
    let error = arrivals.next_at().unwrap_err().to_string();
    assert!(error.starts_with("rate_scale = 1: a turn of a session would come after 106 days"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_turn_comes_once_in_order_and_extends_the_one_before(
        turns in prop::collection::vec((0_usize..6, 1_u32..2000, 1_u32..300, 0_u64..500), 1..60),
        answer in 0_u64..400,
    ) {
        let mut begun = [false; 6];
        let line = |&(session, input, output, ms): &(usize, u32, u32, u64)| {
            let time = if std::mem::replace(&mut begun[session], true) { "delay" } else { "timestamp" };
            format!("{{\"session_id\":{session},\"{time}\":{ms},\"input_length\":{input},\"output_length\":{output}}}\n")
        };
        let text: String = turns.iter().map(line).collect();
        let trace = read(&text).unwrap();
        prop_assert_eq!(trace.summary().requests, turns.len() as u64);
        let requests = played(trace, answer);
        prop_assert_eq!(&requests, &played(read(&text).unwrap(), answer));
        prop_assert_eq!(requests.len(), turns.len());
        prop_assert!(requests.is_sorted_by_key(|request| (request.arrived, request.id)));
        for session in 0..6 {
            let mut said = 0;
            for &(_, input, output, _) in turns.iter().filter(|turn| turn.0 == session) {
                let prompt = said + input;
                prop_assert!(requests.iter().any(|request| (request.input_tokens, request.output_tokens) == (prompt, output)));
                said = prompt + output;
            }
        }
    }
}

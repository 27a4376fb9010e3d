//! What is said out of turn, of the wrong size or of another run: ignored, or the run's end by name.

use super::*;
use node::trace::{EVENTS_MAX, FrameTrace};

#[test]
fn messages_of_an_aborted_run_are_ignored() {
    let mut yard = Yard::new(2);
    let old = yard.submit(two(), 3).unwrap();
    yard.answer(None);
    yard.machine.close(old);
    yard.collect();
    yard.sent.clear();
    let run = yard.submit(two(), 3).unwrap();
    assert_eq!(run, old + 1);
    for stale in [
        FromNode::Configured { run: old },
        FromNode::Prepared { run: old, step: 0 },
        FromNode::Closed { run: old, step: 0, half: 0, report: report(Phase::Dispatch) },
        FromNode::Finished { run: old, step: 0, half: 0, digests: Vec::new() },
        FromNode::Failed { run: old, error: "late".to_owned(), peer: None },
    ] {
        yard.say(NodeId(1), stale);
    }
    while yard.answer(None) {}
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
}

#[test]
fn what_is_said_out_of_turn_ends_the_run_by_name() {
    let run = 1;
    let wrong = [
        FromNode::Prepared { run, step: 1 },
        FromNode::Configured { run },
        FromNode::Closed { run, step: 0, half: 0, report: report(Phase::Dispatch) },
        FromNode::Finished { run, step: 0, half: 0, digests: vec![0; 4] },
        FromNode::Register { name: "n0".to_owned(), address: ([127, 0, 0, 1], 1).into(), machine: machine() },
    ];
    for message in wrong {
        let mut yard = Yard::new(2);
        yard.submit(two(), 3).unwrap();
        yard.answer(None);
        yard.say(NodeId(1), message);
        let (_, error) = yard.error();
        assert!(error.starts_with("n0 (rank 0) broke the control protocol"), "{error}");
    }
}

#[test]
fn answers_of_the_wrong_size_end_the_run() {
    let stray = PhaseReport { sent_bytes: vec![(RankId(2), 1)], ..report(Phase::Dispatch) };
    let huge = PhaseReport { lateness_ns: vec![0; 2 << 20], ..report(Phase::Dispatch) };
    let sent = |pairs: &[(u32, u64)]| PhaseReport {
        sent_bytes: pairs.iter().map(|&(to, bytes)| (RankId(to), bytes)).collect(),
        ..report(Phase::Dispatch)
    };
    let twice = sent(&[(0, 1), (0, 1)]);
    let sums = sent(&[(0, u64::MAX), (1, u64::MAX)]);
    let late = PhaseReport { measured: Picos::MAX, ..report(Phase::Dispatch) };
    // An hour, where the coordinator has waited for milliseconds.
    let longer = PhaseReport { measured: Picos(3_600_000_000_000_000), ..report(Phase::Dispatch) };
    let busy = PhaseReport { cpu_ns: u64::MAX, ..report(Phase::Dispatch) };
    let frames = PhaseReport { frames: u64::MAX, ..report(Phase::Dispatch) };
    let more = PhaseReport { overtaken: 2, ..report(Phase::Dispatch) };
    let frame = |peer, start, ready| FrameTrace {
        start: Picos(start),
        end: Picos(3),
        ready: Picos(ready),
        peer: RankId(peer),
        sequence: 0,
        bytes: 1,
    };
    let traced =
        |sent| PhaseReport { trace: PhaseTrace { sent, ..PhaseTrace::default() }, ..report(Phase::Dispatch) };
    let nobody = traced(vec![frame(2, 1, 0)]);
    let (backwards, early) = (traced(vec![frame(1, 4, 0)]), traced(vec![frame(1, 1, 2)]));
    let flood = traced(vec![frame(1, 1, 0); EVENTS_MAX + 1]);
    let traces = [nobody, backwards, early, flood];
    let others = [stray, huge, twice, sums, late, longer, busy, frames, more];
    for report in others.into_iter().chain(traces) {
        let mut yard = Yard::new(2);
        let run = yard.submit(two(), 3).unwrap();
        yard.answer(None);
        yard.answer(None);
        yard.say(NodeId(1), FromNode::Closed { run, step: 0, half: 0, report });
        assert!(yard.error().1.contains("it reported"));
    }
    for (half, tokens, expected) in
        [(0, 3, "it finished 3 of its 4 tokens"), (0, 1 << 20, "it finished 1048576"), (9, 4, "out of turn")]
    {
        let mut yard = Yard::new(2);
        let run = yard.submit(two(), 3).unwrap();
        for _ in 0..4 {
            yard.answer(None);
        }
        yard.say(NodeId(1), FromNode::Finished { run, step: 0, half, digests: vec![0; tokens] });
        let (_, error) = yard.error();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn closing_and_finishing_come_in_any_order_but_once() {
    let mut yard = Yard::new(2);
    let run = yard.submit(request(&[2]), 1).unwrap();
    for _ in 0..4 {
        yard.answer(None);
    }
    let closed = FromNode::Closed { run, step: 0, half: 0, report: report(Phase::Combine) };
    let finished = FromNode::Finished { run, step: 0, half: 0, digests: vec![1; 4] };
    yard.say(NodeId(2), finished.clone());
    yard.say(NodeId(1), closed.clone());
    yard.say(NodeId(1), finished.clone());
    assert!(yard.outcomes.is_empty());
    yard.say(NodeId(2), closed);
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
    // After its end, the run is history.
    yard.say(NodeId(2), finished);
    assert!(yard.outcomes.is_empty());
}

#[test]
fn impossible_requests_are_refused_at_once() {
    let mut yard = Yard::new(2);
    let mut bad = two();
    bad.setup.layer_mut().unwrap().tokens.pop();
    assert!(matches!(yard.submit(bad, 1), Err(RunError::Setup(_))));
    let run = yard.machine.open(yard.now, two()).unwrap();
    yard.collect();
    yard.answer(None);
    let batch = StepBatch::empty(2);
    assert!(
        matches!(yard.machine.step(yard.now, run, batch), Err(RunError::Batch(_))),
        "tokens are the run's own"
    );
}

#[test]
fn a_complaint_outside_of_a_run_is_news() {
    let mut yard = Yard::new(1);
    yard.say(NodeId(1), FromNode::Failed { run: 0, error: "two\nlines".to_owned(), peer: None });
    let news = CoordinatorEvent::NodeComplained { name: "n0".to_owned(), error: "two lines".to_owned() };
    assert_eq!(yard.events.last(), Some(&news));
}

//! The machine on a fake clock, with scripted nodes.

mod recovery;
mod sessions;

use super::*;
use crate::run::{RunRequest, StepRecord};
use crate::testing::request;
use moe::stack::StepBatch;
use node::control::{Occupant, PhaseReport};
use node::program::Stop;
use node::wire::Phase;
use std::collections::BTreeMap;
use topology::{Picos, RankId};

const MS: u64 = 1_000_000;

/// A run, and its records or why there are none.
type Outcome = (u64, Result<Vec<StepRecord>, RunError>);

/// A machine, its clock, and what it said.
struct Yard {
    machine: Coordinator,
    now: u64,
    sent: Vec<(NodeId, ToNode)>,
    events: Vec<CoordinatorEvent>,
    /// The run whose steps are asked for as soon as they can be, its records so far and the steps still to come.
    stepping: Option<(u64, Vec<StepRecord>, u32)>,
    outcomes: Vec<Outcome>,
    session: Vec<(u64, SessionEvent)>,
}

impl Yard {
    /// Without beats, and nothing that is lost is waited for.
    fn new(nodes: u32) -> Self {
        Self::with(nodes, Limits { beat_ms: 0, return_ns: 0, ..Limits::default() })
    }

    fn with(nodes: u32, limits: Limits) -> Self {
        let machine = Coordinator::new(0, 9, "m", limits);
        let mut yard = Self {
            machine,
            now: 0,
            sent: Vec::new(),
            events: Vec::new(),
            stepping: None,
            outcomes: Vec::new(),
            session: Vec::new(),
        };
        for index in 0..nodes {
            yard.join(&format!("n{index}"));
        }
        yard.sent.clear();
        yard
    }

    fn join(&mut self, name: &str) -> NodeId {
        let port = u16::try_from(1000 + self.machine.num_members()).unwrap();
        let node =
            self.machine.handle_register(self.now, name, ([127, 0, 0, 1], port).into(), machine()).unwrap();
        self.collect();
        node
    }

    fn collect(&mut self) {
        while let Some((run, event)) = self.machine.poll_session() {
            let Some((_, records, left)) = self.stepping.as_mut().filter(|(stepping, ..)| *stepping == run)
            else {
                self.session.push((run, event));
                continue;
            };
            match event {
                SessionEvent::Opened => {}
                SessionEvent::Stepped(record) => records.push(*record),
                SessionEvent::Failed(error) => {
                    self.outcomes.push((run, Err(error)));
                    self.stepping = None;
                    continue;
                }
            }
            if *left > 0 {
                *left -= 1;
                self.machine.step(self.now, run, StepBatch::default()).unwrap();
            } else {
                self.outcomes.push((run, Ok(std::mem::take(records))));
                self.stepping = None;
                self.machine.close(run);
            }
        }
        self.sent.extend(std::iter::from_fn(|| self.machine.poll_transmit()));
        self.events.extend(std::iter::from_fn(|| self.machine.poll_event()));
    }

    /// A run whose steps follow each other.
    fn submit(&mut self, request: RunRequest, steps: u32) -> Result<u64, RunError> {
        let run = self.machine.open(self.now, request);
        if let Ok(run) = run {
            self.stepping = Some((run, Vec::new(), steps));
        }
        self.collect();
        run
    }

    fn say(&mut self, node: NodeId, message: FromNode) {
        self.machine.handle_message(self.now, node, message);
        self.collect();
    }

    fn lose(&mut self, node: NodeId, reason: &str) {
        self.machine.handle_lost(self.now, node, reason);
        self.collect();
    }

    /// Lets time pass, with a look at the clock just before and at each deadline.
    fn pass(&mut self, ns: u64) {
        let end = self.now + ns;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= end) {
            self.now = at - 1;
            self.machine.handle_timeout(self.now);
            assert_eq!(self.machine.poll_timeout(), Some(at), "nothing happens before its time");
            self.now = at;
            self.machine.handle_timeout(at);
            self.collect();
        }
        self.now = end;
    }

    /// Correct answers to everything sent since the last call, except by `silent`; whether there was anything to answer.
    fn answer(&mut self, silent: Option<NodeId>) -> bool {
        let sent = std::mem::take(&mut self.sent);
        let mut answered = false;
        self.now += MS;
        for (node, message) in sent.into_iter().filter(|(node, _)| Some(*node) != silent) {
            for answer in answers(&message) {
                answered = true;
                self.say(node, answer);
            }
        }
        answered
    }

    fn error(&mut self) -> (u64, String) {
        let (run, result) = self.outcomes.pop().expect("the run has ended");
        assert!(self.outcomes.is_empty() && self.machine.poll_timeout().is_none());
        (run, result.unwrap_err().to_string())
    }

    fn aborts(&self) -> Vec<NodeId> {
        self.sent
            .iter()
            .filter(|(_, message)| matches!(message, ToNode::Abort { .. }))
            .map(|(node, _)| *node)
            .collect()
    }
}

fn machine() -> Machine {
    Machine { id: "m".to_owned(), cores: 2 }
}

fn report(phase: Phase) -> PhaseReport {
    PhaseReport {
        phase,
        measured: Picos(5),
        stamped: Picos(4),
        frames: 1,
        overtaken: 0,
        lateness_ns: Vec::new(),
        sent_bytes: Vec::new(),
        cpu_ns: 1,
        udp_bytes: 1,
        faults: 0,
    }
}

fn answers(message: &ToNode) -> Vec<FromNode> {
    match message {
        ToNode::Configure { setup, .. } => vec![FromNode::Configured { run: setup.run }],
        ToNode::Prepare { run, step, .. } => vec![FromNode::Prepared { run: *run, step: *step }],
        &ToNode::Begin { run, step, stop, .. } => {
            let half = stop.half;
            let mut answers = vec![FromNode::Closed { run, step, half, report: report(stop.phase) }];
            // The model's first layer has no experts: this is the end of one layer.
            let of_layer = stop.layer == 0 && stop.phase == Phase::Combine;
            if of_layer || (Stop { half: 0, ..stop }) == sessions::LEAVES {
                let tokens = if of_layer { 4 } else { sessions::TOKENS };
                answers.push(FromNode::Finished { run, step, half, digests: vec![u64::from(step); tokens] });
            }
            answers
        }
        _ => Vec::new(),
    }
}

fn two() -> RunRequest {
    request(&[1, 1])
}

#[test]
fn a_run_of_two_ranks_steps_through_every_phase_in_lockstep() {
    let mut yard = Yard::new(3);
    let run = yard.submit(two(), 3).unwrap();
    let mut kinds = Vec::new();
    loop {
        for pair in yard.sent.chunks(2) {
            assert_eq!([pair[0].0, pair[1].0], [NodeId(1), NodeId(2)], "only seats, in order of rank");
            assert_eq!(pair[0].1, pair[1].1, "all are told the same");
            kinds.push(match &pair[0].1 {
                ToNode::Configure { setup, seats, .. } => {
                    assert_eq!((setup.cluster_id, setup.run, setup.epoch), (9, run, 3));
                    let address = ([127, 0, 0, 1], 1001).into();
                    assert_eq!(seats.seats[1], Occupant { node: NodeId(2), name: "n1".to_owned(), address });
                    "configure".to_owned()
                }
                ToNode::Prepare { step, .. } => format!("prepare {step}"),
                ToNode::Begin { step, stop: Stop { phase, .. }, start_at_ns, .. } => {
                    assert_eq!(*start_at_ns, yard.now + 11 * MS, "10 ms and half a ms a rank ahead");
                    format!("{phase:?} {step}")
                }
                ToNode::Abort { .. } => "abort".to_owned(),
                other => panic!("{other:?}"),
            });
        }
        if !yard.answer(None) {
            break;
        }
    }
    let step = |n| ["prepare", "Dispatch", "Expert", "Combine"].map(|kind| format!("{kind} {n}"));
    let steps = (0..3).flat_map(step);
    let [first, last] = ["configure", "abort"].map(str::to_owned);
    assert_eq!(kinds, [first].into_iter().chain(steps).chain([last]).collect::<Vec<_>>());
    let (ended, records) = yard.outcomes.pop().unwrap();
    let records = records.unwrap();
    assert_eq!(ended, run);
    assert_eq!(records.iter().map(|record| record.step).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(records[2].digests, vec![vec![2; 4]; 2]);
    assert_eq!(records[1].reports(Phase::Combine), vec![report(Phase::Combine); 2]);
    assert!(yard.events.contains(&CoordinatorEvent::StepDone { run, done: 3 }));
    assert_eq!(yard.machine.poll_timeout(), None);
}

#[test]
fn wall_time_counts_from_the_common_start() {
    let mut yard = Yard::new(2);
    yard.submit(request(&[2]), 1).unwrap();
    yard.answer(None);
    yard.answer(None);
    yard.pass(100 * MS);
    while yard.answer(None) {}
    // The dispatch was told at t, began at t + 11 ms and closed at t + 101 ms.
    let records = yard.outcomes.pop().unwrap().1.unwrap();
    assert_eq!(records[0].wall_ns, [90 * MS, 0, 0]);
}

#[test]
fn a_run_waits_for_its_nodes_while_the_cluster_forms() {
    let mut yard = Yard::new(1);
    let run = yard.submit(two(), 3).unwrap();
    assert!(yard.sent.is_empty());
    assert!(matches!(yard.submit(two(), 3), Err(RunError::Busy { run: busy }) if busy == run));
    yard.pass(59_999 * MS);
    yard.join("late");
    assert!(yard.sent.iter().any(|(_, message)| matches!(message, ToNode::Configure { .. })));
    while yard.answer(None) {}
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
}

#[test]
fn fewer_nodes_than_ranks_end_the_wait_with_both_numbers() {
    let mut yard = Yard::new(1);
    yard.submit(two(), 3).unwrap();
    yard.pass(60_000 * MS);
    let (_, error) = yard.error();
    assert!(error.starts_with("1 of 2 nodes have registered; start 1 more"), "{error}");
    // A cluster that stopped forming is not waited for again.
    assert!(matches!(yard.submit(two(), 3), Err(RunError::TooFewNodes { there: 1, needed: 2 })));
    yard.join("second");
    yard.submit(two(), 3).unwrap();
}

#[test]
fn a_lost_node_aborts_the_run_on_the_others_at_once() {
    let mut yard = Yard::new(2);
    let run = yard.submit(two(), 3).unwrap();
    yard.answer(None);
    yard.answer(None);
    assert!(matches!(yard.sent[0].1, ToNode::Begin { stop: Stop { phase: Phase::Dispatch, .. }, .. }));
    yard.sent.clear();
    yard.lose(NodeId(2), "connection\nclosed");
    assert_eq!(yard.sent, [(NodeId(1), ToNode::Abort { run })]);
    let (ended, error) = yard.error();
    assert_eq!(ended, run);
    assert!(
        error.starts_with("n1 (rank 1) was lost during the dispatch of step 0 of run 1: connection closed;"),
        "{error}"
    );
    assert!(matches!(yard.events.last(), Some(CoordinatorEvent::NodeLeft { members: 1, epoch: 3, .. })));
}

#[test]
fn losing_a_node_without_a_seat_disturbs_nobody() {
    let mut yard = Yard::new(3);
    yard.submit(two(), 3).unwrap();
    yard.lose(NodeId(3), "gone");
    yard.join("n7");
    while yard.answer(None) {}
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
}

#[test]
fn every_wait_has_a_limit_and_names_who_is_silent() {
    let waits = ["configuration", "preparation", "dispatch", "expert phase", "combine"];
    let limits_s = [60, 120, 30, 30, 30];
    for (stage, (wait, limit_s)) in waits.into_iter().zip(limits_s).enumerate() {
        let mut yard = Yard::new(2);
        yard.submit(two(), 3).unwrap();
        for _ in 0..stage {
            yard.answer(None);
        }
        yard.answer(Some(NodeId(2)));
        // Phases have 10 x 1 ms more for what they should take, and the lead.
        let begun = yard.now - MS;
        yard.pass(200_000 * MS);
        assert_eq!(yard.aborts(), [NodeId(1), NodeId(2)]);
        let (_, error) = yard.error();
        assert!(error.contains("from n1 (rank 1) within") && error.contains(wait), "{error}");
        assert!(error.contains(&format!("within {limit_s} s")), "{error} after {begun}");
    }
}

#[test]
fn a_timeout_lists_few_names_and_counts_the_rest() {
    let mut yard = Yard::new(6);
    yard.submit(request(&[6]), 1).unwrap();
    yard.pass(60_000 * MS);
    let (_, error) = yard.error();
    assert!(
        error.contains("n0 (rank 0), n1 (rank 1), n2 (rank 2), n3 (rank 3), 2 more within 60 s"),
        "{error}"
    );
}

#[test]
fn a_failure_aborts_all_and_is_told_after_the_grace() {
    let mut yard = Yard::new(2);
    let run = yard.submit(two(), 3).unwrap();
    yard.answer(None);
    yard.sent.clear();
    yard.say(NodeId(1), FromNode::Failed { run, error: "row misrouted".to_owned(), peer: None });
    assert_eq!(yard.aborts(), [NodeId(1), NodeId(2)]);
    assert!(yard.outcomes.is_empty());
    // The other's complaint is a consequence.
    yard.say(NodeId(2), FromNode::Failed { run, error: "peer gone".to_owned(), peer: None });
    yard.pass(250 * MS);
    assert_eq!(yard.error(), (run, "n0 (rank 0) failed: row misrouted".to_owned()));
}

#[test]
fn a_loss_explains_the_complaint_before_it() {
    let mut yard = Yard::new(2);
    let run = yard.submit(two(), 3).unwrap();
    yard.say(NodeId(1), FromNode::Failed { run, error: "n1 is gone".to_owned(), peer: None });
    yard.pass(100 * MS);
    yard.lose(NodeId(2), "killed");
    let (_, error) = yard.error();
    assert!(error.starts_with("n1 (rank 1) was lost during the configuration of run 1: killed"), "{error}");
}

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
    for report in [stray, huge, twice, sums, late, longer, busy, frames, more] {
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
fn the_epoch_counts_changes_of_membership_not_runs() {
    let mut yard = Yard::new(4);
    let epoch_of = |yard: &mut Yard, racks: &[u32]| {
        yard.submit(request(racks), 1).unwrap();
        let epoch = yard.sent.iter().find_map(|(_, message)| match message {
            ToNode::Configure { setup, .. } => Some((setup.epoch, setup.cluster.num_racks(), setup.run)),
            _ => None,
        });
        while yard_answer(yard) {}
        assert!(yard.outcomes.pop().unwrap().1.is_ok());
        epoch.unwrap()
    };
    fn yard_answer(yard: &mut Yard) -> bool {
        let sent = std::mem::take(&mut yard.sent);
        let mut answered = false;
        for (node, message) in sent {
            for answer in answers(&message) {
                answered = true;
                yard.say(node, answer);
            }
        }
        answered
    }
    assert_eq!(epoch_of(&mut yard, &[4]), (4, 1, 1));
    assert_eq!(epoch_of(&mut yard, &[2, 2]), (4, 2, 2));
    yard.lose(NodeId(4), "gone");
    yard.join("n3");
    assert_eq!(epoch_of(&mut yard, &[1, 3]), (6, 2, 3));
}

#[test]
fn nodes_of_another_machine_are_told_instants_of_their_own_clock() {
    const AHEAD: u64 = 7_000_000_000_000;
    let mut yard = Yard::new(2);
    yard.now = 100 * MS;
    // Node 1 shares the clock. Node 2's is ahead, which its answers tell to half their round trips.
    yard.say(NodeId(1), FromNode::Pong { sent_ns: 99 * MS, node_ns: 99 * MS + 1 });
    yard.say(NodeId(2), FromNode::Pong { sent_ns: 90 * MS, node_ns: AHEAD + 95 * MS });
    yard.submit(two(), 3).unwrap();
    let mut starts: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
    let mut pings = 0;
    while !yard.sent.is_empty() {
        // Before anything else: both answer 2 ms after they are asked, half of it on the way.
        yard.now += 2 * MS;
        for (node, mut message) in std::mem::take(&mut yard.sent) {
            if let ToNode::Ping { sent_ns } = message {
                assert_eq!(node, NodeId(2), "a shared clock needs no second look");
                pings += 1;
                let node_ns = AHEAD + yard.now - MS;
                yard.say(node, FromNode::Pong { sent_ns, node_ns });
                continue;
            }
            if let Some(start_ns) = message.start_at_ns_mut() {
                starts.entry(node).or_default().push(*start_ns);
            }
            answers(&message).into_iter().for_each(|answer| yard.say(node, answer));
        }
    }
    let (_, records) = yard.outcomes.pop().unwrap();
    for record in records.unwrap() {
        for error_ns in record.clock_error_ns {
            // Half a round trip of 2 ms, and what the clocks may have drifted since.
            assert!((MS..MS + 50_000).contains(&error_ns), "{error_ns}");
        }
    }
    assert!(pings > 0);
    for (one, other) in starts[&NodeId(1)].iter().zip(&starts[&NodeId(2)]) {
        assert!(other.abs_diff(one + AHEAD) <= MS, "{one} {other}");
    }
}

#[test]
fn a_clock_that_jumps_ends_the_run() {
    let mut yard = Yard::new(2);
    yard.now = 100;
    yard.say(NodeId(2), FromNode::Pong { sent_ns: 50, node_ns: 70 });
    yard.submit(two(), 3).unwrap();
    yard.say(NodeId(2), FromNode::Pong { sent_ns: 60, node_ns: 7_000_000 });
    assert!(yard.error().1.starts_with("the monotonic clock of n1 has jumped"));
    // It is known by what it showed last.
    yard.submit(two(), 3).unwrap();
    while yard.answer(None) {}
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
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
fn shutdown_ends_the_run_and_sends_everyone_home() {
    let mut yard = Yard::new(2);
    let run = yard.submit(two(), 3).unwrap();
    yard.sent.clear();
    yard.machine.shutdown(true);
    yard.collect();
    let abort = ToNode::Abort { run };
    let expected = [abort.clone(), abort, ToNode::Shutdown, ToNode::Shutdown];
    assert_eq!(yard.sent.iter().map(|(_, message)| message.clone()).collect::<Vec<_>>(), expected);
    assert!(matches!(yard.outcomes.pop(), Some((_, Err(RunError::Closed)))));
    assert!(matches!(yard.submit(two(), 3), Err(RunError::Closed)));
    let refused = yard.machine.handle_register(0, "x", ([127, 0, 0, 1], 1).into(), machine());
    assert_eq!(refused, Err(JoinError::Closing));
    let news = yard.events.len();
    yard.say(
        NodeId(1),
        FromNode::Failed { run: 0, error: "the link with node 2 broke".to_owned(), peer: None },
    );
    assert_eq!(yard.events.len(), news, "links break where all leave");
}

#[test]
fn a_complaint_outside_of_a_run_is_news() {
    let mut yard = Yard::new(1);
    yard.say(NodeId(1), FromNode::Failed { run: 0, error: "two\nlines".to_owned(), peer: None });
    let news = CoordinatorEvent::NodeComplained { name: "n0".to_owned(), error: "two lines".to_owned() };
    assert_eq!(yard.events.last(), Some(&news));
}

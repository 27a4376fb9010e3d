//! The machine on a fake clock, with scripted nodes.

mod clocks;
mod losses;
mod recovery;
mod sessions;
mod turns;

use super::*;
use crate::run::{RunRequest, StepRecord};
use crate::testing::request;
use moe::stack::StepBatch;
use node::control::{Occupant, PhaseReport};
use node::program::Stop;
use node::trace::PhaseTrace;
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
        trace: PhaseTrace::default(),
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

//! Seats that are lost, on a fake clock: who is noticed when, and how a run goes on.

use super::*;
use crate::testing::model;
use moe::stack::Chunk;
use node::control::{Losses, Standing};

fn healing() -> Limits {
    Limits { beat_ms: 0, ..Limits::default() }
}

fn configured(yard: &Yard) -> Vec<NodeId> {
    let sent = yard.sent.iter().filter(|(_, message)| matches!(message, ToNode::Configure { .. }));
    sent.map(|(node, _)| *node).collect()
}

#[test]
fn a_spare_takes_the_seat_and_the_step_is_run_again() {
    for lost_after in 0..6 {
        let mut yard = Yard::with(3, healing());
        let run = yard.submit(two(), 2).unwrap();
        for _ in 0..lost_after {
            yard.answer(None);
        }
        yard.sent.clear();
        yard.lose(NodeId(2), "killed");
        assert_eq!(yard.sent[0], (NodeId(1), ToNode::Abort { run }));
        assert_eq!(configured(&yard), [NodeId(1), NodeId(3)], "everyone else stays");
        // What was sent before is of another segment.
        yard.say(NodeId(1), FromNode::Configured { run });
        while yard.answer(None) {}
        let (_, records) = yard.outcomes.pop().unwrap();
        let records = records.unwrap();
        assert_eq!(records.iter().map(|record| record.step).collect::<Vec<_>>(), [0, 1]);
        let replayed: u32 = records.iter().map(|record| record.replays).sum();
        assert_eq!(replayed, u32::from(lost_after > 0), "after {lost_after}");
    }
}

#[test]
fn a_node_that_comes_back_is_waited_for_and_not_for_ever() {
    let mut yard = Yard::with(2, healing());
    let run = yard.submit(two(), 1).unwrap();
    yard.answer(None);
    yard.lose(NodeId(2), "stopped");
    yard.sent.clear();
    yard.pass(19_999 * MS);
    let back = yard.join("n1");
    assert_eq!(configured(&yard), [NodeId(1), back]);
    while yard.answer(None) {}
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
    assert!(yard.events.iter().any(
        |event| matches!(event, CoordinatorEvent::RunResumed { done: 0, after_ns, .. } if *after_ns == 19_999 * MS)
    ));

    let mut yard = Yard::with(2, healing());
    assert_eq!(yard.submit(two(), 1).unwrap(), run);
    yard.answer(None);
    yard.lose(NodeId(2), "stopped");
    yard.pass(20_000 * MS);
    let (_, error) = yard.error();
    assert!(error.starts_with("n1 (rank 1) was lost during the preparation of step 0"), "{error}");
}

#[test]
fn a_step_that_always_kills_its_seat_ends_the_run() {
    let mut yard = Yard::with(2, healing());
    yard.submit(two(), 1).unwrap();
    for attempt in 0..=Limits::default().replays_max {
        assert!(yard.outcomes.is_empty(), "after {attempt}");
        yard.answer(None);
        let victim = yard.machine.members().into_iter().find(|(_, member)| member.name == "n1").unwrap().0;
        yard.lose(victim, "out of memory");
        yard.join("n1");
    }
    assert!(yard.error().1.contains("out of memory"));
}

#[test]
fn a_broken_link_between_two_live_nodes_is_made_again() {
    let mut yard = Yard::with(2, healing());
    let run = yard.submit(two(), 1).unwrap();
    yard.answer(None);
    yard.answer(None);
    yard.sent.clear();
    let broken = || "the link with node 2 broke".to_owned();
    yard.say(NodeId(1), FromNode::Failed { run, error: broken(), peer: Some(NodeId(2)) });
    assert_eq!(yard.aborts(), [NodeId(1), NodeId(2)]);
    assert_eq!(configured(&yard), []);
    yard.pass(250 * MS);
    assert_eq!(configured(&yard), [NodeId(1), NodeId(2)]);
    while yard.answer(None) {}
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
    // The complaint of a link to a node that has left already is explained by that.
    let run = yard.submit(two(), 1).unwrap() + 1;
    yard.join("n2");
    yard.say(NodeId(1), FromNode::Failed { run, error: broken(), peer: Some(NodeId(9)) });
    yard.pass(250 * MS);
    while yard.answer(None) {}
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
}

#[test]
fn who_is_silent_is_suspected_then_lost_and_the_late_coordinator_blames_nobody() {
    let mut yard = Yard::with(2, Limits::default());
    let beat = |yard: &mut Yard, nodes: &[NodeId], times: u32| {
        for _ in 0..times {
            yard.pass(250 * MS);
            for node in nodes {
                yard.say(*node, FromNode::Beat);
            }
        }
    };
    let both = [NodeId(1), NodeId(2)];
    beat(&mut yard, &both, 10);
    assert!(yard.events.iter().all(|event| matches!(event, CoordinatorEvent::NodeJoined { .. })));
    // It was kept from running for a minute: nobody is to blame.
    yard.now += 60_000 * MS;
    yard.machine.handle_timeout(yard.now);
    yard.collect();
    beat(&mut yard, &both, 2);
    assert_eq!(yard.machine.num_members(), 2);
    beat(&mut yard, &both[..1], 3);
    assert!(matches!(yard.events.last(), Some(CoordinatorEvent::NodeSuspected { name, .. }) if name == "n1"));
    assert!(matches!(yard.submit(two(), 1), Ok(1)));
    assert_eq!(configured(&yard), [], "nobody who is suspected is seated");
    yard.say(NodeId(2), FromNode::Beat);
    assert_eq!(configured(&yard), both);
    yard.machine.close(1);
    beat(&mut yard, &both[..1], 5);
    let Some(CoordinatorEvent::NodeLeft { name, reason, .. }) = yard.events.last() else {
        panic!("{:?}", yard.events)
    };
    assert_eq!((name.as_str(), reason.as_str()), ("n1", "it was silent for 0.9 s"));
}

#[test]
fn caches_are_computed_again_before_the_step_that_was_lost() {
    let mut yard = Yard::with(3, healing());
    let run = yard.machine.open(yard.now, model(&[2], 1)).unwrap();
    yard.collect();
    let decode = |step: u32| {
        let mut batch = StepBatch::empty(2);
        for (column, sequence) in batch.columns.iter_mut().zip(0..) {
            let (context, tokens) = if step == 0 { (0, 2) } else { (step + 1, 1) };
            column.chunks.push(Chunk { sequence, context, tokens, sample: true });
        }
        batch
    };
    let digests = |yard: &mut Yard, tokens: usize, kill: Option<u32>| {
        let mut turn = 0;
        loop {
            let sent = std::mem::take(&mut yard.sent);
            if sent.is_empty() {
                break;
            }
            for (node, message) in sent {
                let prefill = matches!(&message, ToNode::Prepare { .. });
                turn += u32::from(prefill);
                if prefill && kill == Some(turn) {
                    yard.lose(NodeId(2), "killed");
                }
                for mut answer in answers(&message) {
                    if let FromNode::Finished { digests, .. } = &mut answer {
                        digests.resize(tokens, 0);
                    }
                    yard.say(node, answer);
                }
            }
        }
    };
    digests(&mut yard, 2, None);
    for step in 0..3 {
        yard.machine.step(yard.now, run, decode(step)).unwrap();
        yard.collect();
        digests(&mut yard, if step == 0 { 2 } else { 1 }, None);
    }
    yard.sent.clear();
    // Lost in a pause: the seats catch up at once, with a batch that fills the caches.
    yard.lose(NodeId(2), "killed");
    yard.machine.step(yard.now, run, decode(3)).unwrap();
    assert!(matches!(yard.machine.step(yard.now, run, decode(3)), Err(RunError::StepUnderWay { .. })));
    assert_eq!(configured(&yard), [NodeId(1), NodeId(3)]);
    yard.answer(None);
    let entering: Vec<_> = yard
        .sent
        .iter()
        .filter_map(|(_, message)| match message {
            ToNode::Prepare { columns, .. } => Some(columns[0].chunks[0]),
            _ => None,
        })
        .collect();
    assert_eq!(entering.len(), 2);
    assert!(entering.iter().all(|chunk| (chunk.context, chunk.tokens, chunk.sample) == (0, 4, false)));
    let told = yard.session.len();
    // Four tokens a column to catch up with, one of the step itself.
    let mut turns = 0;
    while !yard.sent.is_empty() {
        for (node, message) in std::mem::take(&mut yard.sent) {
            turns += u32::from(matches!(message, ToNode::Prepare { .. }));
            for mut answer in answers(&message) {
                if let FromNode::Finished { digests, .. } = &mut answer {
                    digests.resize(if turns <= 2 { 4 } else { 1 }, 0);
                }
                yard.say(node, answer);
            }
        }
    }
    assert_eq!((turns, yard.session.len()), (4, told + 1), "nobody is told of steps that only catch up");
    let Some((_, SessionEvent::Stepped(record))) = yard.session.pop() else { panic!("no record") };
    assert_eq!((record.step, record.answered, record.replays), (3, Some(3), 1));
}

#[test]
fn a_node_that_is_drained_hands_its_seat_over_between_two_steps() {
    let mut yard = Yard::with(2, healing());
    assert!(matches!(yard.machine.drain(0, "nobody"), Err(RunError::NoNode { .. })));
    let run = yard.machine.open(yard.now, two()).unwrap();
    yard.collect();
    yard.answer(None);
    yard.machine.step(yard.now, run, StepBatch::default()).unwrap();
    yard.collect();
    yard.answer(None);
    yard.machine.drain(yard.now, "n1").unwrap();
    yard.collect();
    yard.join("n2");
    assert_eq!((yard.aborts(), configured(&yard)), (vec![], vec![]), "not within a step");
    while yard.answer(None) {}
    let stepped = |yard: &mut Yard| match yard.session.pop() {
        Some((_, SessionEvent::Stepped(record))) => (record.step, record.replays),
        other => panic!("{other:?}"),
    };
    assert_eq!(stepped(&mut yard), (0, 0));
    assert!(yard.machine.members().iter().any(|(node, _)| *node == NodeId(2)));
    let last = yard.events.iter().rev().find(|event| matches!(event, CoordinatorEvent::RunStarted { .. }));
    assert!(matches!(last, Some(CoordinatorEvent::RunStarted { run: again, .. }) if *again == run));
    yard.lose(NodeId(2), "it left");
    yard.machine.step(yard.now, run, StepBatch::default()).unwrap();
    yard.collect();
    while yard.answer(None) {}
    assert_eq!(stepped(&mut yard), (1, 0));
    // One without a seat goes at once, and without a spare the run is finished first.
    yard.join("n3");
    yard.sent.clear();
    yard.machine.drain(yard.now, "n3").unwrap();
    yard.collect();
    assert_eq!(yard.sent, [(NodeId(4), ToNode::Shutdown)]);
    yard.lose(NodeId(4), "it left");
    yard.machine.drain(yard.now, "n0").unwrap();
    yard.collect();
    assert!(!yard.sent.contains(&(NodeId(1), ToNode::Shutdown)));
    yard.machine.close(run);
    yard.collect();
    assert!(yard.sent.contains(&(NodeId(1), ToNode::Shutdown)));
}

#[test]
fn a_phase_that_does_not_end_is_explained_by_what_its_ranks_say() {
    let mut yard = Yard::with(2, healing());
    let run = yard.submit(two(), 1).unwrap();
    yard.answer(None);
    yard.answer(None);
    yard.answer(Some(NodeId(2)));
    yard.pass(29_000 * MS);
    for (node, waits_for) in [(1, vec![RankId(1)]), (2, vec![])] {
        let waits = waits_for.len() as u32;
        yard.say(NodeId(node), FromNode::Waits(Standing { run, waits_for, waits, held_ns: 0, losses: None }));
    }
    yard.pass(1_100 * MS);
    let (_, error) = yard.error();
    let why =
        "of the dispatch of step 0 of run 1: 1 rank waits for rows of n1 (rank 1), which waits for nobody;";
    assert!(error.starts_with("no answer from n1 (rank 1) within 30 s") && error.contains(why), "{error}");
}

#[test]
fn a_slow_node_is_told_of_and_left_out_where_a_spare_can_take_its_seat() {
    for spare in [false, true] {
        let nodes = if spare { 4 } else { 3 };
        let mut yard = Yard::with(nodes, Limits { slow_steps: 10, ..healing() });
        yard.submit(request(&[3]), 20).unwrap();
        while !yard.sent.is_empty() {
            for (node, message) in std::mem::take(&mut yard.sent) {
                if matches!(message, ToNode::Begin { .. }) {
                    yard.pass(50 * MS);
                }
                for mut answer in answers(&message) {
                    if let FromNode::Closed { report, .. } = &mut answer
                        && report.phase == Phase::Expert
                    {
                        let slow = node == NodeId(2);
                        report.stamped = Picos(10_000_000_000);
                        report.measured = Picos(if slow { 18_000_000_000 } else { 10_000_000_000 });
                    }
                    yard.say(node, answer);
                }
            }
        }
        assert!(yard.outcomes.pop().unwrap().1.is_ok());
        let told: Vec<_> = yard
            .events
            .iter()
            .filter_map(|event| match event {
                CoordinatorEvent::NodeSlow { name, steps, percent, left_out } => {
                    Some((name.as_str(), *steps, *percent, *left_out))
                }
                _ => None,
            })
            .collect();
        let expected = [("n1", 8, 80, false), ("n1", 10, 80, true)];
        assert_eq!(told, expected[..if spare { 2 } else { 1 }]);
        let went = |event: &CoordinatorEvent| matches!(event, CoordinatorEvent::RunResumed { done: 10, .. });
        assert_eq!(yard.events.iter().any(went), spare, "its seat goes to the spare");
    }
}

#[test]
fn a_link_that_loses_packets_is_told_of_once() {
    let mut yard = Yard::with(2, healing());
    let run = yard.submit(two(), 1).unwrap();
    let mut say = |lost: u64, run: u64| {
        let losses = Some(Losses { to: RankId(1), lost, sent: 5_000 });
        let standing = Standing { run, waits_for: Vec::new(), waits: 0, held_ns: 0, losses };
        yard.say(NodeId(1), FromNode::Waits(standing));
        let lossy = |event: &&CoordinatorEvent| matches!(event, CoordinatorEvent::LinkLossy { .. });
        yard.events.iter().filter(lossy).count()
    };
    assert_eq!((say(49, run), say(900, run + 1), say(50, run), say(900, run)), (0, 0, 1, 1));
    let far = Losses { to: RankId(2), lost: 900, sent: 1_000 };
    let standing = Standing { run, waits_for: Vec::new(), waits: 0, held_ns: 0, losses: Some(far) };
    yard.say(NodeId(2), FromNode::Waits(standing));
    assert!(yard.outcomes.is_empty(), "there is no such rank, and nothing to tell");
}

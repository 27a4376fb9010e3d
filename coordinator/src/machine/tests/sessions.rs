//! Sessions on a fake clock: each step waits for its batch, for as long as it takes.

use super::*;
use crate::testing::{model, own};
use moe::stack::Chunk;

/// The stop after the last layer of the test's model.
pub(super) const LEAVES: Stop = Stop { half: 0, layer: 4, phase: Phase::Local };
/// Tokens of each column.
pub(super) const TOKENS: usize = 2;

fn batch() -> StepBatch {
    let mut batch = StepBatch::empty(2);
    for (column, sequence) in batch.columns.iter_mut().zip(0..) {
        column.chunks.push(Chunk { sequence, context: 0, tokens: TOKENS as u32, sample: true });
    }
    batch
}

impl Yard {
    fn open(&mut self) -> Result<u64, RunError> {
        let run = self.machine.open(self.now, model(&[2], 1));
        self.collect();
        run
    }

    fn step(&mut self, run: u64) -> Result<(), RunError> {
        let result = self.machine.step(self.now, run, batch());
        self.collect();
        result
    }

    fn failure(&mut self) -> (u64, String) {
        let Some((run, SessionEvent::Failed(error))) = self.session.pop() else { panic!("it goes on") };
        assert!(self.session.is_empty() && self.machine.poll_timeout().is_none());
        (run, error.to_string())
    }
}

#[test]
fn a_session_goes_through_all_layers_a_batch_at_a_time() {
    let mut yard = Yard::new(2);
    let run = yard.open().unwrap();
    assert!(matches!(yard.step(run), Err(RunError::StepUnderWay { .. })), "nobody is seated yet");
    while yard.answer(None) {}
    assert!(matches!(yard.session.pop(), Some((1, SessionEvent::Opened))));
    for step in 0..2 {
        assert_eq!(yard.machine.poll_timeout(), None, "a batch may take any time");
        yard.pass(1_000_000 * MS);
        yard.step(run).unwrap();
        assert!(matches!(yard.step(run), Err(RunError::StepUnderWay { run: 1 })));
        assert!(matches!(yard.open(), Err(RunError::Busy { run: 1 })));
        let columns = yard.sent.iter().map(|(_, message)| match message {
            ToNode::Prepare { columns, .. } => columns[0].clone(),
            other => panic!("{other:?}"),
        });
        assert_eq!(columns.collect::<Vec<_>>(), batch().columns, "each is told its own");
        let mut stops = Vec::new();
        while yard.answer(None) {
            stops.extend(yard.sent.iter().map(|(_, message)| match message {
                ToNode::Begin { stop, .. } => *stop,
                other => panic!("{other:?}"),
            }));
        }
        // A dense layer, three with experts, the answer; on two nodes.
        assert_eq!(stops.len(), 2 * (1 + 3 * 4 + 1));
        let Some((1, SessionEvent::Stepped(record))) = yard.session.pop() else { panic!("no record") };
        assert_eq!((record.step, record.answered), (step, Some(step)));
        assert_eq!(record.digests, vec![vec![u64::from(step); TOKENS]; 2]);
        assert_eq!((record.phases.len(), record.wall_ns.len()), (14, 14));
        assert!(yard.events.contains(&CoordinatorEvent::StepDone { run, done: step + 1 }));
    }
    yard.machine.close(run);
    yard.collect();
    assert_eq!(yard.aborts(), [NodeId(1), NodeId(2)]);
    assert!(yard.session.is_empty() && yard.outcomes.is_empty(), "whoever closes it knows");
    assert!(matches!(yard.step(run), Err(RunError::Closed)));
    yard.submit(request(&[2]), 1).unwrap();
}

#[test]
fn of_two_halves_one_computes_while_the_other_communicates() {
    let mut yard = Yard::new(2);
    let mut request = model(&[2], 1);
    own(&mut request).halves = 2;
    let run = yard.machine.open(yard.now, request).unwrap();
    yard.collect();
    while yard.answer(None) {}
    let mut batch = batch();
    for (column, sequence) in batch.columns.iter_mut().zip(2..) {
        column.chunks.push(Chunk { sequence, context: 0, tokens: TOKENS as u32, sample: true });
    }
    yard.machine.step(yard.now, run, batch).unwrap();
    yard.collect();
    yard.session.clear();
    // What is open at a time: everybody is slow, and ends what was begun first.
    let (mut open, mut pairs) = (Vec::new(), Vec::new());
    let mut record = None;
    while record.is_none() {
        for (node, message) in std::mem::take(&mut yard.sent) {
            match message {
                ToNode::Begin { stop, .. } if node == NodeId(1) => open.push(stop),
                ToNode::Begin { .. } => {}
                other => answers(&other).into_iter().for_each(|answer| yard.say(node, answer)),
            }
        }
        if open.is_empty() {
            continue;
        }
        assert!(open.len() <= 2 && (open.len() < 2 || open[0].computes() != open[1].computes()), "{open:?}");
        pairs.push(open.len());
        yard.now += MS;
        let stop = open.remove(0);
        for node in [NodeId(1), NodeId(2)] {
            let message = ToNode::Begin { run, step: 0, stop, start_at_ns: 0 };
            answers(&message).into_iter().for_each(|answer| yard.say(node, answer));
        }
        record = yard.session.pop();
    }
    assert!(pairs.iter().filter(|&&open| open == 2).count() > pairs.len() / 3, "{pairs:?}");
    let Some((_, SessionEvent::Stepped(record))) = record else { panic!("no record") };
    assert_eq!((record.phases.len(), record.digests), (28, vec![vec![0; 2 * TOKENS]; 2]));
}

#[test]
fn a_session_that_loses_a_node_ends_even_in_a_pause() {
    let mut yard = Yard::new(2);
    let run = yard.open().unwrap();
    while yard.answer(None) {}
    yard.session.clear();
    yard.lose(NodeId(2), "gone");
    let (ended, error) = yard.failure();
    assert_eq!(ended, run);
    assert!(error.starts_with("n1 (rank 1) was lost during a pause of run 1 after 0 steps: gone"), "{error}");
    assert!(matches!(yard.step(run), Err(RunError::Closed)));
}

#[test]
fn a_node_that_is_silent_in_a_stop_is_named_with_it() {
    let mut yard = Yard::new(2);
    let run = yard.open().unwrap();
    while yard.answer(None) {}
    yard.session.clear();
    yard.step(run).unwrap();
    for _ in 0..3 {
        yard.answer(None);
    }
    yard.answer(Some(NodeId(2)));
    yard.pass(60_000 * MS);
    let (_, error) = yard.failure();
    assert!(error.contains("n1 (rank 1)") && error.contains("dispatch 1 of stage 0 of step 0"), "{error}");
}

#[test]
fn a_session_without_nodes_is_refused() {
    let mut yard = Yard::new(1);
    yard.open().unwrap();
    yard.pass(61_000 * MS);
    assert!(yard.failure().1.starts_with("1 of 2 nodes have registered"));
}

//! Control messages with changed bytes: decoding them ends in a message or an error with a name, in bounded memory.
//!
//! This process may take little more memory than it has as the test begins, so that a length that is believed ends it.

mod common;

use common::{setup, shape};
use moe::ExpertId;
use moe::model::Model;
use moe::placement::WeightMove;
use moe::plan::DispatchScheme;
use moe::routing::{GateLimit, RoutingSpec};
use moe::stack::{Chunk, Column, Stack};
use moe::work::CommonWeights;
use node::control::{
    FromNode, Losses, Machine, NodeId, Occupant, Pacing, PhaseReport, SeatPlan, Standing, ToNode,
};
use node::net::frames::{HEADER_BYTES, decode, encode};
use node::program::{MoveProgram, Program, StackProgram, Stop};
use node::setup::Setup;
use node::trace::{FrameTrace, JobKind, JobTrace, PhaseTrace, Tracing};
use node::wire::Phase;
use proptest::prelude::*;
use proptest::sample::Index;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::{Arc, OnceLock};
use topology::{Dtype, Picos, RankId};

/// What decoding may take beyond what the test has: messages of the samples have less than 100 kB.
const ROOM_BYTES: u64 = 128 << 20;

fn to_node() -> Vec<ToNode> {
    let layer = setup(&[2, 2], shape(64, 8, 2, 16), DispatchScheme::Hierarchical, 3);
    let tracing = Tracing { every: 2, first_step: 1, steps: 3 };
    let limit = GateLimit { group_of_expert: vec![0, 0, 0, 0, 1, 1, 1, 1], groups: 2, limit: 1 };
    let weights = WeightMove { from: RankId(0), to: RankId(1), expert: ExpertId(2) };
    let moves = MoveProgram {
        shape: layer.program.shape(),
        layer: 1,
        rounds: vec![vec![weights], vec![], vec![weights]],
    };
    let mut model = Model::preset("lab-moe").unwrap();
    model.hidden = 64;
    let stack =
        Stack::new(model, Dtype::Fp8, Dtype::Bf16, (CommonWeights::Even, 1), 2, &layer.cluster).unwrap();
    let stack = Program::Stack(StackProgram::linear(stack, &layer.cluster).unwrap());
    let configure = |setup: Setup| {
        let seats = (1..=4)
            .map(|node| Occupant {
                node: NodeId(node),
                name: format!("n{node}"),
                address: ([127, 0, 0, 1], 9).into(),
            })
            .collect();
        let (setup, seats) = (Arc::new(setup), Arc::new(SeatPlan { seats }));
        ToNode::Configure { setup, seats, pacing: Pacing::default() }
    };
    let chunk = Chunk { sequence: 7, context: 3, tokens: 2, sample: true };
    let column = Column { chunks: vec![chunk; 3], ended: vec![1, 2] };
    let stop = Stop { half: 1, layer: 2, phase: Phase::Hop };
    vec![
        ToNode::Welcome { node: NodeId(3), beat_ms: 250 },
        ToNode::Beat,
        configure(Setup { program: Program::Moves(moves), ..layer.clone() }),
        configure(Setup { program: stack, routing: RoutingSpec::Gate, ..layer.clone() }),
        configure(Setup { gate_limit: Some(limit), tracing: Some(tracing), ..layer }),
        ToNode::Prepare { run: 1, step: 2, columns: vec![column; 2] },
        ToNode::Begin { run: 1, step: 2, stop, start_at_ns: 3 },
        ToNode::Abort { run: 1 },
        ToNode::Ping { sent_ns: 1 },
        ToNode::Shutdown,
    ]
}

fn from_node() -> Vec<FromNode> {
    let frame = FrameTrace {
        start: Picos(1),
        end: Picos(3),
        ready: Picos::ZERO,
        peer: RankId(1),
        sequence: 4,
        bytes: 5,
    };
    let report = PhaseReport {
        phase: Phase::Combine,
        measured: Picos(1),
        stamped: Picos(2),
        frames: 3,
        overtaken: 0,
        lateness_ns: vec![1; 40],
        sent_bytes: vec![(RankId(1), 2), (RankId(2), 3)],
        cpu_ns: 4,
        udp_bytes: 5,
        faults: 0,
        trace: PhaseTrace {
            sent: vec![frame],
            received: vec![frame; 2],
            jobs: vec![JobTrace { start: Picos(1), end: Picos(2), kind: JobKind::Sum }],
            left_out: 6,
        },
    };
    let machine = Machine { id: "m".to_owned(), cores: 2 };
    let address = "[::1]:9".parse().unwrap();
    vec![
        FromNode::Register { name: "rack0-0".to_owned(), address, machine },
        FromNode::Configured { run: 1 },
        FromNode::Prepared { run: 1, step: 2 },
        FromNode::Closed { run: 1, step: 2, half: 0, report },
        FromNode::Finished { run: 1, step: 2, half: 1, digests: vec![3; 9] },
        FromNode::Failed { run: 0, error: "no".to_owned(), peer: Some(NodeId(4)) },
        FromNode::Waits(Standing {
            run: 1,
            waits_for: vec![RankId(2); 3],
            waits: 9,
            held_ns: 4,
            losses: Some(Losses { to: RankId(1), lost: 2, sent: 3 }),
        }),
        FromNode::Beat,
        FromNode::AskHealth,
        FromNode::Pong { sent_ns: 1, node_ns: 2 },
    ]
}

/// Bodies of all messages, with whether they are to a node. Nobody takes more memory than there is room for from here on.
fn bodies() -> &'static [(bool, Vec<u8>)] {
    static BODIES: OnceLock<Vec<(bool, Vec<u8>)>> = OnceLock::new();
    BODIES.get_or_init(|| {
        let body = |bytes: Vec<u8>| bytes[HEADER_BYTES..].to_vec();
        let to = to_node().into_iter().map(|message| (true, body(encode(&message).unwrap())));
        let from = from_node().into_iter().map(|message| (false, body(encode(&message).unwrap())));
        let bodies: Vec<_> = to.chain(from).collect();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
        let taken_kib: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
        let most = (taken_kib << 10) + ROOM_BYTES;
        setrlimit(Resource::As, Rlimit { current: Some(most), ..getrlimit(Resource::As) }).unwrap();
        bodies
    })
}

/// How bytes are changed: at a place, to what.
#[derive(Clone, Debug)]
enum Change {
    Byte(Index, u8),
    Length(Index, u64),
    Cut(Index),
    Insert(Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let length =
        prop_oneof![any::<u64>(), Just(u64::MAX), (0_u32..64).prop_map(|bits| 1 << bits), 0_u64..1000];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Change::Byte(at, to)),
        (any::<Index>(), length).prop_map(|(at, to)| Change::Length(at, to)),
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, what)| Change::Insert(at, what)),
    ]
}

fn changed(mut body: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let place = |at: &Index, room: usize| at.index(body.len().saturating_sub(room) + 1);
        match change {
            Change::Byte(at, to) => {
                let at = place(at, 1);
                body.splice(at..(at + 1).min(body.len()), [*to]);
            }
            Change::Length(at, to) => {
                let at = place(at, 8);
                body.splice(at..(at + 8).min(body.len()), to.to_le_bytes());
            }
            Change::Cut(at) => body.truncate(place(at, 0)),
            Change::Insert(at, what) => {
                let at = place(at, 0);
                body.splice(at..at, what.iter().copied());
            }
        }
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_changed_message_is_one_or_none(which in any::<Index>(), changes in prop::collection::vec(change(), 1..4)) {
        let (to_node, body) = which.get(bodies());
        let body = changed(body.clone(), &changes);
        // What can be read can be written, looked at and checked, whatever it says.
        if *to_node {
            if let Ok(message) = decode::<ToNode>(&body) {
                prop_assert_eq!(encode(&message).unwrap().len(), HEADER_BYTES + body.len());
                if let ToNode::Configure { setup, .. } = message {
                    let _ = setup.validate();
                }
            }
        } else if let Ok(message) = decode::<FromNode>(&body) {
            prop_assert_eq!(encode(&message).unwrap().len(), HEADER_BYTES + body.len());
        }
    }
}

#[test]
fn an_unchanged_message_is_itself() {
    for message in to_node() {
        assert_eq!(decode::<ToNode>(&encode(&message).unwrap()[HEADER_BYTES..]).unwrap(), message);
    }
    for message in from_node() {
        assert_eq!(decode::<FromNode>(&encode(&message).unwrap()[HEADER_BYTES..]).unwrap(), message);
    }
}

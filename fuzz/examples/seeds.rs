//! Writes what the corpora of binary messages begin with: `cargo run --example seeds` in this directory.

use bytes::Bytes;
use moe::placement::WeightMove;
use moe::plan::Target;
use moe::stack::{Chunk, Column, Stack};
use moe::work::CommonWeights;
use moe::{ExpertId, Model, SlotId};
use node::control::{FromNode, NodeId, Occupant, Pacing, PhaseReport, SeatPlan, Standing, ToNode};
use node::net::frames::{HEADER_BYTES, encode};
use node::program::{MoveProgram, Program, StackProgram, Stop};
use node::setup::Setup;
use node::trace::{FrameTrace, JobKind, JobTrace, PhaseTrace, Tracing};
use node::wire::{self, Flow, Frame, Origin, Phase, Row, TrafficClass};
use std::path::Path;
use std::sync::Arc;
use topology::{Dtype, Picos, RankId};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, seeds: Vec<Vec<u8>>| {
        let dir = corpus.join(target);
        std::fs::create_dir_all(&dir)?;
        seeds
            .iter()
            .enumerate()
            .try_for_each(|(index, seed)| std::fs::write(dir.join(format!("seed-{index}")), seed))
    };
    write("frames", [0, 1, 3].map(frame).to_vec())?;
    write("to_node", to_node().iter().map(body).collect())?;
    let from: Vec<_> = from_node().iter().map(body).collect();
    let said = |node: u8, body: &[u8]| [&[node, body.len() as u8, 1], body].concat();
    let mut turns: Vec<_> = from.iter().map(|body| said(0, body)).collect();
    turns.push(
        (0..4)
            .flat_map(|node| said(node, &from[0]))
            .chain((0..4).flat_map(|node| said(node, &from[1])))
            .collect(),
    );
    write("from_node", turns)
}

fn frame(rows: usize) -> Vec<u8> {
    let row = |index: usize| Row {
        origin: Origin { source: RankId(1), token: index as u32, sequence: 7, position: 3 },
        targets: (0..index % 3).map(|slot| Target { slot: SlotId(slot as u32), weight: 0.25 }).collect(),
        data: Bytes::from(vec![index as u8; 8]).into(),
    };
    let frame = Frame {
        flow: Flow { cluster: 7, run: 3, epoch: 1, step: 9, micro_batch: 1, layer: 5 },
        phase: Phase::Dispatch,
        class: if rows == 0 { TrafficClass::Control } else { TrafficClass::Tokens },
        source: RankId(1),
        destination: RankId(2),
        sequence: 6,
        arrive: Picos(123_456),
        last: (rows > 0).then_some(17),
        credit_bytes: if rows == 0 { 4096 } else { 0 },
        rows: (0..rows).map(row).collect(),
        damaged: false,
    };
    wire::encode(&frame).concat()
}

fn to_node() -> Vec<ToNode> {
    let layer = railyard_fuzz::request().setup;
    let mut model = Model::preset("lab-moe").expect("a preset");
    model.hidden = 64;
    let stack = Stack::new(model, Dtype::Fp8, Dtype::Bf16, (CommonWeights::Even, 1), 2, &layer.cluster);
    let stack = StackProgram::linear(stack.expect("a stack"), &layer.cluster).expect("a program");
    let weights = WeightMove { from: RankId(0), to: RankId(1), expert: ExpertId(2) };
    let tracing = Tracing { every: 2, first_step: 1, steps: 3 };
    let moves = MoveProgram { shape: layer.program.shape(), layer: 1, rounds: vec![vec![weights], vec![]] };
    let configure = |setup: Setup| {
        let seat = |node: u32| Occupant {
            node: NodeId(node),
            name: format!("n{node}"),
            address: ([127, 0, 0, 1], 9).into(),
        };
        let seats = Arc::new(SeatPlan { seats: (1..=4).map(seat).collect() });
        ToNode::Configure { setup: Arc::new(setup), seats, pacing: Pacing::default() }
    };
    let chunk = Chunk { sequence: 7, context: 3, tokens: 2, sample: true };
    let column = Column { chunks: vec![chunk; 2], ended: vec![1, 2] };
    vec![
        ToNode::Welcome { node: NodeId(3), beat_ms: 250 },
        configure(Setup { tracing: Some(tracing), ..layer.clone() }),
        configure(Setup { program: Program::Stack(stack), ..layer.clone() }),
        configure(Setup { program: Program::Moves(moves), ..layer }),
        ToNode::Prepare { run: 1, step: 2, columns: vec![column; 2] },
        ToNode::Begin {
            run: 1,
            step: 2,
            stop: Stop { half: 1, layer: 2, phase: Phase::Hop },
            start_at_ns: 3,
        },
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
        phase: Phase::Dispatch,
        measured: Picos(1),
        stamped: Picos(2),
        frames: 3,
        overtaken: 0,
        lateness_ns: vec![1; 2],
        sent_bytes: vec![(RankId(1), 2)],
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
    vec![
        FromNode::Configured { run: 1 },
        FromNode::Prepared { run: 1, step: 0 },
        FromNode::Closed { run: 1, step: 0, half: 0, report },
        FromNode::Finished { run: 1, step: 0, half: 0, digests: vec![3; 4] },
        FromNode::Failed { run: 1, error: "no".to_owned(), peer: Some(NodeId(2)) },
        FromNode::Waits(Standing { run: 1, waits_for: vec![RankId(2)], waits: 1, held_ns: 4, losses: None }),
        FromNode::Beat,
        FromNode::Pong { sent_ns: 1, node_ns: 2 },
    ]
}

fn body(message: &impl serde::Serialize) -> Vec<u8> {
    encode(message).expect("a message")[HEADER_BYTES..].to_vec()
}

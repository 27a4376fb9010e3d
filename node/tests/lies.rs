//! A worker and a coordinator of the same cluster that lies: every command that can't be meant is answered by an error with a name, at
//! once, and the worker goes on.

mod common;

use common::liar::{HERE, Liar, RUN};
use common::{setup, shape};
use moe::ExpertId;
use moe::experts::ExpertKind;
use moe::model::{Model, Order};
use moe::placement::{Placement, WeightMove};
use moe::plan::DispatchScheme;
use moe::routing::RoutingSpec;
use moe::stack::{Chunk, Column, Stack};
use moe::work::CommonWeights;
use node::control::{FromNode, NodeId, Occupant, Pacing, SeatPlan, ToNode};
use node::net::frames::{VERSION, encode};
use node::program::{LayerProgram, MoveProgram, Program, StackProgram, Stop};
use node::setup::Setup;
use node::wire::Phase;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use topology::{Cluster, Dtype, Picos, RankId};

fn seats(nodes: &[u32]) -> SeatPlan {
    let seat = |&node: &u32| Occupant {
        node: NodeId(node),
        name: if node == 1 { "w".to_owned() } else { format!("w{node}") },
        address: (HERE, 9).into(),
    };
    SeatPlan { seats: nodes.iter().map(seat).collect() }
}

/// A layer on one rank.
fn layer() -> Setup {
    Setup { chunk_rows: 4, ..setup(&[1], shape(64, 8, 2, 16), DispatchScheme::Dedup, 3) }
}

fn with_fault(fault: &str) -> Setup {
    let mut setup = layer();
    setup.faults.faults.push(fault.parse().unwrap());
    setup
}

fn with_layer(change: impl FnOnce(&mut LayerProgram)) -> Setup {
    let mut setup = layer();
    change(setup.layer_mut().unwrap());
    setup
}

/// A model of three layers on one rank.
fn stack() -> Setup {
    let base = layer();
    let mut model = Model::preset("lab-moe").unwrap();
    (model.hidden, model.order) = (64, Order { layers: 3, runs: vec![(0, 1), (1, 2)] });
    let common = (CommonWeights::Replicated, 1);
    let stack = Stack::new(model, Dtype::Fp8, Dtype::Bf16, common, 1, &base.cluster).unwrap();
    let program = Program::Stack(StackProgram::linear(stack, &base.cluster).unwrap());
    Setup { program, routing: RoutingSpec::Gate, ..base }
}

fn with_stack(change: impl FnOnce(&mut StackProgram)) -> Setup {
    let mut setup = stack();
    let Program::Stack(own) = &mut setup.program else { panic!("a whole model") };
    change(own);
    setup
}

fn moves(rounds: Vec<Vec<WeightMove>>) -> Setup {
    let base = layer();
    let shape = base.program.shape();
    Setup { chunk_rows: 1, program: Program::Moves(MoveProgram { shape, layer: 0, rounds }), ..base }
}

fn stop(phase: Phase) -> Stop {
    Stop { half: 0, layer: 0, phase }
}

/// The lie that a stack's stages are others than can be: they are private, so the bytes are changed.
fn without_stages() -> Setup {
    let mut value = serde_json::to_value(stack()).unwrap();
    value["program"]["Stack"]["stack"]["stages"] = serde_json::json!([]);
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_setup_that_can_t_be_run_is_refused_by_name_before_anything_is_made_of_it() {
    let mut liar = Liar::new().await;
    let elsewhere = Cluster::new(&[2]).unwrap();
    let mut cold = layer();
    cold.hardware.hbm_bytes_per_s = 0;
    let to_itself = WeightMove { from: RankId(0), to: RankId(0), expert: ExpertId(0) };
    let lies = [
        (with_layer(|layer| layer.tokens = vec![]), "tokens has 0 entries for 1 ranks"),
        (with_layer(|layer| layer.tokens = vec![u32::MAX]), "tokens of a rank is 4294967295"),
        (
            with_layer(|layer| (layer.shape.hidden, layer.tokens[0]) = (65_536, 1 << 20)),
            "tokens of a rank times hidden is 68719476736",
        ),
        (with_layer(|layer| layer.shape.hidden = u32::MAX), "hidden = 4294967295"),
        (with_layer(|layer| layer.shape.num_experts = u32::MAX), "num_experts = 4294967295"),
        (with_layer(|layer| layer.shape.num_experts = 16), "a placement of 8 experts for a layer of 16"),
        (with_layer(|layer| layer.shape.top_k = 9), "top_k = 9"),
        (
            with_layer(|layer| layer.placement = Placement::linear(&elsewhere, 8).unwrap().into()),
            "placement has 2 entries for 1 ranks",
        ),
        (Setup { chunk_rows: u32::MAX, ..layer() }, "chunk_rows is 4294967295"),
        (with_fault("slow rank=1 factor=2"), "no rank 1; there are ranks 0 to 0"),
        (with_fault("kill rank=0"), "this node is there for more than one run"),
        (Setup { routing: RoutingSpec::Zipf { exponent: f64::NAN }, ..layer() }, "zipf exponent"),
        (cold, "hbm_bytes_per_s = 0"),
        (moves(vec![vec![to_itself]]), "moves expert 0 from rank 0 to rank 0"),
        (moves(vec![Vec::new(); 1 << 17]), "rounds of moves is 131072"),
        (with_stack(|own| own.halves = 9), "9 halves of a batch"),
        (
            with_stack(|own| own.placements = own.placements.part(0..2)),
            "placements of layers 0..2 where stage 0",
        ),
        (with_stack(|own| own.stack.model.order.layers = u32::MAX), "order.layers = 4294967295"),
        (with_stack(|own| own.stack.model.order.layers = 2), "layers of all order.runs = 3"),
        (with_stack(|own| own.stack.model.order.runs.clear()), "number of order.runs = 0"),
        (with_stack(|own| own.stack.model.kinds.clear()), "number of kinds = 0"),
        (with_stack(|own| own.stack.tp = 0), "tp = 0"),
        (
            Setup { cluster: Cluster::new(&[1, 1]).unwrap(), ..without_stages() },
            "2 ranks, or with one node twice",
        ),
        (without_stages(), "stages for 3 layers"),
    ];
    for (setup, expected) in lies {
        liar.configure(setup, seats(&[1])).await;
        let error = liar.error().await;
        assert!(error.contains(expected), "{expected}: {error}");
    }
    for nodes in [&[1, 2][..], &[], &[1; 300]] {
        liar.configure(layer(), seats(nodes)).await;
        let error = liar.error().await;
        assert!(error.contains(&format!("a plan of {} seats for 1 ranks", nodes.len())), "{error}");
    }
    // A plan without this node asks nothing of it.
    liar.configure(layer(), seats(&[2])).await;
    assert_eq!(liar.hear().await, FromNode::Configured { run: RUN });
    liar.leave().await;
}

#[tokio::test]
async fn steps_and_stops_out_of_order_are_refused_by_name() {
    let mut liar = Liar::new().await;
    let chunk = |context, tokens| Chunk { sequence: 1, context, tokens, sample: true };
    let column = |chunks: &[Chunk]| Column { chunks: chunks.to_vec(), ended: Vec::new() };
    let huge = Column { chunks: Vec::new(), ended: vec![0; 100_000] };
    let prepares = [
        (layer(), 1, vec![], "`prepare` of step 1 is out of turn after 0 steps"),
        (layer(), 0, vec![Column::default()], "1 columns to prepare where 0 are due"),
        (stack(), 0, vec![], "0 columns to prepare where 1 are due"),
        (stack(), 0, vec![Column::default(); 3], "3 columns to prepare where 1 are due"),
        (stack(), 0, vec![column(&[chunk(0, u32::MAX)])], "has 4294967295 tokens"),
        (stack(), 0, vec![column(&[chunk(0, 0)])], "with 0 tokens"),
        (stack(), 0, vec![column(&[chunk(0, 1), chunk(0, 1)])], "sequence 1 is in a batch twice"),
        (stack(), 0, vec![column(&[chunk(u32::MAX, 2)])], "tokens of one sequence"),
        (stack(), 0, vec![huge], "100000 ended sequences"),
        // Another column than this rank's, in which the sequence is cached.
        (stack(), 0, vec![column(&[chunk(5, 1)])], "rank 0 holds 0 tokens of sequence 1"),
        (
            with_stack(|own| own.stack.model.hidden = 4096),
            0,
            vec![column(&[chunk(0, 1 << 17)])],
            "131072 tokens in hand, with payload at most 65536",
        ),
    ];
    for (setup, step, columns, expected) in prepares {
        liar.configure(setup, seats(&[1])).await;
        liar.prepare(step, columns).await;
        let error = liar.error().await;
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let begins = [
        (layer(), 0, stop(Phase::Combine)),
        (layer(), 0, stop(Phase::Hop)),
        (layer(), 0, Stop { layer: 9, ..stop(Phase::Dispatch) }),
        (moves(vec![vec![]]), 0, stop(Phase::Combine)),
        (stack(), 0, stop(Phase::Dispatch)),
        (stack(), 0, Stop { layer: u16::MAX, ..stop(Phase::Local) }),
    ];
    for (setup, step, stop) in begins {
        let columns = vec![Column::default(); usize::from(setup.program.stack().is_some())];
        liar.configure(setup, seats(&[1])).await;
        liar.prepare(step, columns).await;
        liar.begin(step, stop).await;
        let error = liar.error().await;
        assert!(error.contains("can't take part in"), "{stop:?}: {error}");
    }
    for (prepared, step) in [(0, 0), (1, 1), (1, u32::MAX)] {
        liar.configure(layer(), seats(&[1])).await;
        for step in 0..prepared {
            liar.prepare(step, Vec::new()).await;
        }
        liar.begin(step, stop(Phase::Dispatch)).await;
        let error = liar.error().await;
        let expected = format!("`begin` of step {step} is out of turn after {prepared} steps");
        assert!(error.contains(&expected), "{error}");
    }
    // What belongs to no run, or to a half that there is not, asks nothing of it.
    liar.prepare(0, Vec::new()).await;
    liar.configure(layer(), seats(&[1])).await;
    liar.prepare(0, Vec::new()).await;
    liar.begin(0, Stop { half: 5, ..stop(Phase::Dispatch) }).await;
    assert_eq!(liar.hear().await, FromNode::Configured { run: RUN });
    assert_eq!(liar.hear().await, FromNode::Prepared { run: RUN, step: 0 });
    liar.leave().await;
}

#[tokio::test]
async fn times_that_never_end_end_nothing_but_the_run() {
    let mut liar = Liar::new().await;
    let mut endless = Setup { experts: ExpertKind::Modelled, ..layer() };
    endless.hardware.hbm_bytes_per_s = 1;
    endless.hardware.fp8_flops = Some(1.0);
    endless.fabric.scale_up.latency = Picos::MAX;
    liar.configure(endless, seats(&[1])).await;
    liar.prepare(0, Vec::new()).await;
    while !matches!(liar.hear().await, FromNode::Prepared { .. }) {}
    liar.begin(0, stop(Phase::Dispatch)).await;
    while !matches!(liar.hear().await, FromNode::Closed { .. }) {}
    liar.begin(0, stop(Phase::Expert)).await;
    // The charge is years away.
    liar.say(&ToNode::Abort { run: RUN }).await;
    liar.say(&ToNode::Ping { sent_ns: 1 }).await;
    assert!(matches!(liar.hear().await, FromNode::Pong { .. }));
    liar.leave().await;
}

#[tokio::test]
async fn an_unknown_program_and_an_endless_list_end_the_worker_by_name() {
    let message = ToNode::Configure {
        setup: Arc::new(layer()),
        seats: Arc::new(seats(&[1])),
        pacing: Pacing::default(),
    };
    let bytes = encode(&message).unwrap();
    let program = encode(&layer().program).unwrap()[5..].to_vec();
    let at = bytes.windows(program.len()).position(|window| window == program).unwrap();
    let mut unknown = bytes.clone();
    unknown[at] = 9;
    // The list of seats comes before the pacing of three numbers, as its length, a node, a name of one letter and an address.
    let mut endless = bytes.clone();
    let list = bytes.len() - 24 - (4 + 9 + 4 + 4 + 2) - 8;
    assert_eq!(endless[list..list + 8], [1, 0, 0, 0, 0, 0, 0, 0]);
    endless[list..list + 8].fill(0xff);
    let mut long = bytes[..5].to_vec();
    long[..4].fill(0xff);
    let mut old = bytes.clone();
    old[4] = VERSION - 1;
    for (lie, expected) in [
        (unknown, "malformed control message"),
        (endless, "malformed control message"),
        (long, "a control message of 4294967295 bytes"),
        (old, &*format!("the peer's control messages have version {}, ours {VERSION}", VERSION - 1)),
    ] {
        let mut liar = Liar::new().await;
        liar.send.write_all(&lie).await.unwrap();
        let ended = timeout(Duration::from_secs(20), liar.worker).await.expect("it ends at once");
        let error = ended.unwrap().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

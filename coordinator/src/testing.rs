//! Small configurations for the tests of this crate.

use crate::run::RunRequest;
use crate::steps::StepsRequest;
use moe::Model;
use moe::experts::ExpertKind;
use moe::placement::Placement;
use moe::plan::DispatchScheme;
use moe::routing::RoutingSpec;
use moe::shape::{GateKind, GateSpec, LayerShape};
use moe::stack::Stack;
use moe::work::CommonWeights;
use node::control::Pacing;
use node::setup::RunSetup;
use node::stack::StackSetup;
use topology::{Cluster, Dtype, Hardware};

/// A tiny layer on racks of the given sizes: hidden 256, 16 experts, top-2, 4 tokens a rank, hierarchical, at the lab's rates.
pub(crate) fn request(rack_sizes: &[u32], warmup: u32, rounds: u32) -> RunRequest {
    let cluster = Cluster::new(rack_sizes).unwrap();
    let hardware = Hardware::preset("lab").unwrap();
    let gate = GateSpec::ungrouped(GateKind::Softmax { norm_topk: true });
    let shape =
        LayerShape { hidden: 256, num_experts: 16, top_k: 2, expert_inter: 64, gate, dtype: Dtype::Fp8 };
    let setup = RunSetup {
        cluster_id: 0,
        run: 0,
        epoch: 0,
        placement: Placement::linear(&cluster, shape.num_experts).unwrap(),
        tokens: vec![4; cluster.num_ranks() as usize],
        cluster,
        fabric: hardware.fabric(),
        hardware,
        shape,
        scheme: DispatchScheme::Hierarchical,
        routing: RoutingSpec::Uniform,
        gate_limit: None,
        seed: 7,
        layer: 0,
        experts: ExpertKind::Modelled,
        chunk_rows: 4,
        payload: true,
        first_step: 0,
        moves: Vec::new(),
    };
    let pacing = Pacing::default();
    RunRequest { setup, pacing, warmup, rounds, expected_phase_ns: 1_000_000 }
}

/// A tiny model of four layers, the first dense, at the lab's rates and with a gate.
pub(crate) fn steps_request(rack_sizes: &[u32], stages: u32) -> StepsRequest {
    let cluster = Cluster::new(rack_sizes).unwrap();
    let hardware = Hardware::preset("lab").unwrap();
    let mut model = Model::preset("lab-moe").unwrap();
    (model.hidden, model.num_layers, model.moe_layers) = (64, 4, 3);
    let stack = Stack::new(model, Dtype::Fp8, Dtype::Bf16, CommonWeights::Even, stages, &cluster).unwrap();
    let setup = StackSetup {
        placements: StackSetup::linear(&stack, &cluster).unwrap(),
        cluster,
        fabric: hardware.fabric(),
        hardware,
        stack,
        scheme: DispatchScheme::Hierarchical,
        routing: RoutingSpec::Gate,
        gate_limit: None,
        seed: 7,
        experts: ExpertKind::Modelled,
        chunk_rows: 4,
        payload: true,
    };
    StepsRequest { setup, halves: 1, pacing: Pacing::default(), expected_phase_ns: 1_000_000 }
}

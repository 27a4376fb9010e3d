//! Small configurations for the tests of this crate.

use crate::run::RunRequest;
use moe::Model;
use moe::gate::{GateKind, GateSpec, Softmax};
use moe::placement::Placement;
use moe::routing::RoutingSpec;
use moe::shape::LayerShape;
use moe::stack::Stack;
use moe::work::CommonWeights;
use node::program::{LayerProgram, Program, StackProgram};
use node::setup::Setup;
use topology::{Cluster, Dtype, Hardware};

/// A tiny layer on racks of the given sizes: hidden 256, 16 experts, top-2, 4 tokens a rank, hierarchical, at the lab's rates.
pub(crate) fn request(rack_sizes: &[u32]) -> RunRequest {
    let cluster = Cluster::new(rack_sizes).unwrap();
    let gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true));
    let shape = LayerShape {
        hidden: 256,
        num_experts: 16,
        top_k: 2,
        expert_inter: 64,
        gate,
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    };
    let placement = Placement::linear(&cluster, shape.num_experts).unwrap();
    let tokens = vec![4; cluster.num_ranks() as usize];
    lab(Setup::new(
        cluster,
        Hardware::preset("lab").unwrap(),
        Program::Layer(LayerProgram::new(shape, placement, tokens)),
    ))
}

/// A tiny model of four layers, the first dense, at the lab's rates and with a gate.
pub(crate) fn model(rack_sizes: &[u32], stages: u32) -> RunRequest {
    let cluster = Cluster::new(rack_sizes).unwrap();
    let mut model = Model::preset("lab-moe").unwrap();
    model.hidden = 64;
    let stack =
        Stack::new(model, Dtype::Fp8, Dtype::Bf16, (CommonWeights::Even, 1), stages, &cluster).unwrap();
    let program = Program::Stack(StackProgram::linear(stack, &cluster).unwrap());
    let routing = RoutingSpec::Gate;
    lab(Setup { routing, ..Setup::new(cluster, Hardware::preset("lab").unwrap(), program) })
}

fn lab(setup: Setup) -> RunRequest {
    RunRequest { expected_phase_ns: 1_000_000, ..RunRequest::new(Setup { seed: 7, chunk_rows: 4, ..setup }) }
}

/// What is special to a whole model.
pub(crate) fn own(request: &mut RunRequest) -> &mut StackProgram {
    let Program::Stack(own) = &mut request.setup.program else { panic!("a whole model") };
    own
}

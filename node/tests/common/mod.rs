//! Setups for the tests of this crate, and a driver of steps.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod liar;

use moe::gate::{GateKind, GateSpec, Softmax};
use moe::model::LayerShape;
use moe::placement::Placement;
use moe::plan::DispatchScheme;
use moe::stack::StepBatch;
use node::control::PhaseReport;
use node::program::{LayerProgram, Program, Stop};
use node::setup::Setup;
use node::sim::{SimCluster, SimError};
use std::sync::Arc;
use topology::{Cluster, Dtype, Fabric, Hardware, LinkSpec, Picos, Rate};

/// A layer shape with a plain softmax gate.
pub(crate) fn shape(hidden: u32, num_experts: u32, top_k: u32, expert_inter: u32) -> LayerShape {
    let gate = GateSpec {
        kind: GateKind::of(&Softmax).norm_topk(true),
        n_group: 1,
        topk_group: 1,
        equal_shares: false,
        routed_scaling_factor: 1.0,
    };
    LayerShape {
        hidden,
        num_experts,
        top_k,
        expert_inter,
        gate,
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    }
}

/// NVLink-like 900 GB/s in a rack, an eighth between racks, no latency.
pub(crate) fn fabric() -> Fabric {
    let link = |rate| LinkSpec { rate: Rate::new(rate).unwrap(), latency: Picos::ZERO };
    Fabric::new(link(900_000_000_000), link(112_500_000_000))
}

/// A layer with linear placement and uniform routing.
pub(crate) fn setup(racks: &[u32], shape: LayerShape, scheme: DispatchScheme, tokens: u32) -> Setup {
    let cluster = Cluster::new(racks).unwrap();
    let placement = Placement::linear(&cluster, shape.num_experts).unwrap();
    let tokens = vec![tokens; cluster.num_ranks() as usize];
    let layer = LayerProgram { layer: 3, ..LayerProgram::new(shape, placement, tokens) };
    let hardware = Hardware::preset("gb200").unwrap();
    Setup {
        fabric: fabric(),
        scheme,
        seed: 1,
        chunk_rows: 4,
        ..Setup::new(cluster, hardware, Program::Layer(layer))
    }
}

/// What a step yields.
pub(crate) struct Stepped {
    /// Every stop, in order, with the reports of all ranks.
    pub(crate) phases: Vec<(Stop, Vec<PhaseReport>)>,
    /// Outputs of the ranks that answer, `[ranks][tokens][hidden]`.
    pub(crate) outputs: Vec<Vec<Vec<f32>>>,
}

/// The plainest driver there is: one stop after the other. `batch` is that of a whole model, and has no columns otherwise.
pub(crate) fn step(sim: &mut SimCluster, step: u32, batch: &StepBatch) -> Result<Stepped, SimError> {
    let setup = Arc::clone(sim.setup());
    for rank in setup.cluster.ranks() {
        let column = setup.program.stack().map(|stack| batch.columns[stack.column_of(rank) as usize].clone());
        sim.prepare(rank, step, column.into_iter().collect())?;
    }
    let (mut phases, mut outputs) = (Vec::new(), Vec::new());
    for stop in setup.program.stops() {
        let (reports, finished): (_, Vec<_>) = sim.go(stop)?.into_iter().unzip();
        if setup.program.finishes_at(stop) {
            let answering = setup.program.answering(&setup.cluster);
            outputs = finished.into_iter().map(|outputs| outputs.expect("it has finished")).collect();
            outputs.drain(answering.end as usize..);
            outputs.drain(..answering.start as usize);
        }
        phases.push((stop, reports));
    }
    Ok(Stepped { phases, outputs })
}

//! Setups for the tests of this crate.

use moe::experts::ExpertKind;
use moe::model::{GateKind, GateSpec, LayerShape};
use moe::placement::Placement;
use moe::plan::DispatchScheme;
use moe::routing::RoutingSpec;
use node::setup::RunSetup;
use topology::{Cluster, Dtype, Fabric, Hardware, LinkSpec, Picos, Rate};

/// A layer shape with a plain softmax gate.
pub(crate) fn shape(hidden: u32, num_experts: u32, top_k: u32, expert_inter: u32) -> LayerShape {
    let gate = GateSpec {
        kind: GateKind::Softmax { norm_topk: true },
        n_group: 1,
        topk_group: 1,
        routed_scaling_factor: 1.0,
    };
    LayerShape { hidden, num_experts, top_k, expert_inter, gate, dtype: Dtype::Fp8 }
}

/// NVLink-like 900 GB/s in a rack, an eighth between racks, no latency.
pub(crate) fn fabric() -> Fabric {
    let link = |rate| LinkSpec { rate: Rate::new(rate).unwrap(), latency: Picos::ZERO };
    Fabric { scale_up: link(900_000_000_000), scale_out: link(112_500_000_000) }
}

/// A run with linear placement and uniform routing.
pub(crate) fn setup(racks: &[u32], shape: LayerShape, scheme: DispatchScheme, tokens: u32) -> RunSetup {
    let cluster = Cluster::new(racks).unwrap();
    let placement = Placement::linear(&cluster, shape.num_experts).unwrap();
    let ranks = cluster.num_ranks() as usize;
    RunSetup {
        cluster_id: 1,
        run: 1,
        epoch: 1,
        cluster,
        fabric: fabric(),
        hardware: Hardware::preset("gb200").unwrap(),
        shape,
        placement,
        scheme,
        routing: RoutingSpec::Uniform,
        gate_limit: None,
        tokens: vec![tokens; ranks],
        seed: 1,
        layer: 3,
        experts: ExpertKind::Modelled,
        chunk_rows: 4,
        payload: true,
        first_step: 0,
        moves: Vec::new(),
    }
}

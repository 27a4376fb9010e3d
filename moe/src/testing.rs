//! What the tests of several modules need: a layer of given sizes, and uniform routing for a cluster.

use crate::routing::{Router, RoutingSpec};

use crate::gate::{GateKind, GateSpec, Softmax};
use crate::shape::LayerShape;
use crate::topk::Routing;
use topology::{Cluster, Dtype};

pub(crate) fn shape(hidden: u32, num_experts: u32, top_k: u32, expert_inter: u32) -> LayerShape {
    LayerShape {
        hidden,
        num_experts,
        top_k,
        expert_inter,
        gate: GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true)),
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    }
}

/// Uniform routing of `tokens` tokens of every rank, weights summing to 1.
pub(crate) fn uniform_routings(
    cluster: &Cluster,
    shape: &LayerShape,
    seed: u64,
    tokens: u32,
) -> Vec<Routing> {
    let router = Router::new(shape, &RoutingSpec::Uniform, None, seed, 0).expect("a valid layer");
    cluster.ranks().map(|rank| router.route(0, rank, tokens)).collect()
}

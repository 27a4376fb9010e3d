//! Specs for tests.

use super::CompareSpec;
use moe::Model;
use topology::{Hardware, Rate};

/// What the command runs without flags.
pub(super) fn default_spec() -> CompareSpec {
    let model = Model::preset("deepseek-v3").expect("a preset");
    let mut spec = CompareSpec::new(model, Hardware::preset("gb200").expect("a preset"));
    spec.fabric.scale_out.rate = Rate::new(spec.fabric.scale_up.rate.bytes_per_s() / 8).expect("nonzero");
    spec
}

/// A small layer on 2 racks of 4, quick to run with values.
pub(crate) fn small_spec() -> CompareSpec {
    let mut spec = default_spec();
    spec.rack_sizes = vec![4, 4];
    spec.shape.hidden = 320;
    spec.shape.num_experts = 16;
    spec.shape.top_k = 4;
    spec.shape.expert_inter = 64;
    spec.shape.gate.n_group = 1;
    spec.shape.gate.topk_group = 1;
    spec.tokens = 12;
    spec
}

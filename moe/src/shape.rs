//! The shape of one MoE layer: what a rank needs to know of a model, with the limits on it.

use serde::{Deserialize, Serialize};
use topology::Dtype;

use crate::error::ModelError;
use crate::gate::{GateSpec, SelectionRule};

/// Largest hidden size that is accepted.
pub const MAX_HIDDEN: u32 = 65_536;
/// Largest number of experts of one layer that is accepted.
pub const MAX_EXPERTS: u32 = 4_096;
/// Largest number of experts a token may go to.
pub const MAX_TOP_K: u32 = 256;
/// Largest number of attention heads, and largest width of a head or a latent, that is accepted.
pub const MAX_ATTENTION: u32 = 65_536;
/// Largest number of layers that is accepted.
pub const MAX_LAYERS: u32 = 1_024;
/// Largest vocabulary that is accepted.
pub const MAX_VOCAB: u32 = 16_777_216;
/// Largest inner width of a feed-forward block (expert, shared or dense) that is accepted.
pub const MAX_INTER: u32 = 1_048_576;

/// One MoE layer as a rank sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerShape {
    /// Width of a token's hidden state, in elements.
    pub hidden: u32,
    /// Routed experts of the layer.
    pub num_experts: u32,
    /// Routed experts a token goes to.
    pub top_k: u32,
    /// Inner width of one routed expert, in elements.
    pub expert_inter: u32,
    /// How experts are scored, limited and weighted.
    pub gate: GateSpec,
    /// Type of the expert weights in memory.
    #[serde(default = "default_dtype")]
    pub dtype: Dtype,
}

fn default_dtype() -> Dtype {
    Dtype::Fp8
}

impl LayerShape {
    /// Checks every field against the limits of this module and against each other.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] names the field, its value and the remedy.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.validate_as("layer shape")
    }

    /// As [`LayerShape::validate`], with `origin` (a file, a preset) in the message.
    pub(crate) fn validate_as(&self, origin: &str) -> Result<(), ModelError> {
        let check = |field: &'static str, value: u32, max: u32| in_range(origin, field, value, 1, max);
        check("hidden", self.hidden, MAX_HIDDEN)?;
        check("num_experts", self.num_experts, MAX_EXPERTS)?;
        check("top_k", self.top_k, MAX_TOP_K)?;
        check("expert_inter", self.expert_inter, MAX_INTER)?;
        let invalid = |field, value: String, remedy: String| {
            Err(ModelError::Invalid { origin: origin.to_owned(), field, value, remedy })
        };
        let (experts, k, gate) = (self.num_experts, self.top_k, &self.gate);
        if k > experts {
            return invalid("top_k", k.to_string(), format!("at most the {experts} experts of the layer"));
        }
        if gate.n_group == 0 || !experts.is_multiple_of(gate.n_group) {
            let remedy = format!("a divisor of the {experts} experts (1 for a gate without groups)");
            return invalid("n_group", gate.n_group.to_string(), remedy);
        }
        if gate.topk_group == 0 || gate.topk_group > gate.n_group {
            let remedy = format!("between 1 and n_group = {}", gate.n_group);
            return invalid("topk_group", gate.topk_group.to_string(), remedy);
        }
        if gate.equal_shares && (gate.topk_group < gate.n_group || !k.is_multiple_of(gate.n_group)) {
            let remedy =
                format!("false, or a token in all {} groups with top_k a multiple of them", gate.n_group);
            return invalid("equal_shares", "true".to_owned(), remedy);
        }
        let reachable = experts / gate.n_group * gate.topk_group;
        if reachable < k {
            let remedy = format!("enough groups for top_k = {k}: these hold only {reachable} experts");
            return invalid("topk_group", gate.topk_group.to_string(), remedy);
        }
        let factor = gate.routed_scaling_factor;
        if !(factor.is_finite() && factor > 0.0) {
            return invalid("routed_scaling_factor", factor.to_string(), "a positive number".to_owned());
        }
        Ok(())
    }

    /// How its gate takes experts by their scores.
    #[must_use]
    pub fn selection(&self) -> SelectionRule {
        self.gate.selection(self.num_experts, self.top_k)
    }

    /// Bytes of one expert's weights: three matrices of `hidden x expert_inter`.
    pub fn expert_weight_bytes(&self) -> u64 {
        // Exact: the factor is 2, 1 or 0.5 and the element count is even for every model that has FP4 weights.
        (3.0 * f64::from(self.hidden) * f64::from(self.expert_inter) * self.dtype.bytes()).ceil() as u64
    }

    /// Floating-point operations (two per multiply-add) of one expert on `rows` rows: `6 * hidden * expert_inter * rows`.
    pub fn expert_flops(&self, rows: u64) -> f64 {
        6.0 * f64::from(self.hidden) * f64::from(self.expert_inter) * rows as f64
    }
}

/// Refuses a `value` of `field` outside `min..=max`.
pub(crate) fn in_range(
    origin: &str,
    field: &'static str,
    value: u32,
    min: u32,
    max: u32,
) -> Result<(), ModelError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ModelError::Invalid {
        origin: origin.to_owned(),
        field,
        value: value.to_string(),
        remedy: format!("between {min} and {max}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{GateKind, SoftmaxAfterTopk};

    fn shape() -> LayerShape {
        let gate = GateSpec::ungrouped(GateKind::of(&SoftmaxAfterTopk));
        LayerShape { hidden: 64, num_experts: 16, top_k: 4, expert_inter: 32, gate, dtype: Dtype::Bf16 }
    }

    #[test]
    fn sizes_follow_from_the_shape() {
        shape().validate().unwrap();
        assert_eq!(shape().expert_weight_bytes(), 3 * 64 * 32 * 2);
        assert_eq!(LayerShape { dtype: Dtype::Fp4, ..shape() }.expert_weight_bytes(), 3 * 64 * 32 / 2);
        assert_eq!(shape().expert_flops(3), 6.0 * 64.0 * 32.0 * 3.0);
    }

    #[test]
    fn impossible_shapes_are_refused_by_field() {
        type Change = fn(&mut LayerShape);
        let changes: [(&str, Change); 9] = [
            ("hidden = 0", |s| s.hidden = 0),
            ("num_experts = 4097", |s| s.num_experts = MAX_EXPERTS + 1),
            ("top_k = 0", |s| s.top_k = 0),
            ("top_k = 17", |s| s.top_k = 17),
            ("expert_inter = 1048577", |s| s.expert_inter = MAX_INTER + 1),
            ("n_group = 0", |s| s.gate.n_group = 0),
            ("n_group = 3", |s| s.gate.n_group = 3),
            ("topk_group = 0", |s| s.gate.topk_group = 0),
            ("topk_group = 1", |s| s.gate.n_group = 8),
        ];
        for (said, change) in changes {
            let mut shape = shape();
            change(&mut shape);
            let message = shape.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("layer shape: {said} is not possible; give ")), "{message}");
        }
    }

    #[test]
    fn weights_are_fp8_unless_said_otherwise() {
        let mut value = serde_json::to_value(shape()).unwrap();
        value.as_object_mut().unwrap().remove("dtype");
        assert_eq!(serde_json::from_value::<LayerShape>(value).unwrap().dtype, Dtype::Fp8);
    }
}

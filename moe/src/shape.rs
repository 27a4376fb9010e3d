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
    /// Width of the rows that experts take and give, in elements: that of a token's hidden state, or the model's narrower latent one.
    pub hidden: u32,
    /// Routed experts of the layer.
    pub num_experts: u32,
    /// Experts beside these that pass a token on as it is: a pick of one sends no row.
    #[serde(default)]
    pub zero_experts: u32,
    /// Routed experts a token goes to, those that pass it on included.
    pub top_k: u32,
    /// Inner width of one routed expert, in elements.
    pub expert_inter: u32,
    /// How experts are scored, limited and weighted.
    pub gate: GateSpec,
    /// Three matrices an expert, two of them for a gated activation; else two.
    #[serde(default = "yes")]
    pub gated: bool,
    /// Type of the arithmetic, and of the expert weights in memory where nothing else is said.
    #[serde(default = "default_dtype")]
    pub dtype: Dtype,
    /// Bits of an expert's weight in memory, scales included, where the model is stored in a format of its own.
    #[serde(default)]
    pub weight_bits: Option<f64>,
}

fn default_dtype() -> Dtype {
    Dtype::Fp8
}

const fn yes() -> bool {
    true
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
        let zero_max = if self.gate.n_group > 1 { 0 } else { MAX_EXPERTS };
        in_range(origin, "zero_experts", self.zero_experts, 0, zero_max)?;
        check("expert_inter", self.expert_inter, MAX_INTER)?;
        if let Some(bits) = self.weight_bits.filter(|bits| !(*bits > 0.0 && *bits <= 32.0)) {
            return Err(ModelError::Invalid {
                origin: origin.to_owned(),
                field: "weight_bits",
                value: bits.to_string(),
                remedy: "above 0, and at most 32".to_owned(),
            });
        }
        self.gate.validate_as(origin, self.num_experts, self.top_k)
    }

    /// How its gate takes experts by their scores.
    #[must_use]
    pub fn selection(&self) -> SelectionRule {
        SelectionRule { zero: self.zero_experts, ..self.gate.selection(self.num_experts, self.top_k) }
    }

    /// Experts with weights that a token goes to, on the mean over all that can be picked.
    #[must_use]
    pub fn mean_picks(&self) -> f64 {
        self.selection().odds() * f64::from(self.num_experts)
    }

    /// Elements of one expert's weights: three matrices of `hidden x expert_inter`, or two.
    fn expert_weights(&self) -> f64 {
        f64::from(2 + u8::from(self.gated)) * f64::from(self.hidden) * f64::from(self.expert_inter)
    }

    /// Bytes of one expert's weights.
    pub fn expert_weight_bytes(&self) -> u64 {
        // Exact for whole bits: the element count is even for every model that has FP4 weights.
        let bytes = self.weight_bits.map_or_else(|| self.dtype.bytes(), |bits| bits / 8.0);
        (self.expert_weights() * bytes).ceil() as u64
    }

    /// Floating-point operations of one expert on `rows` rows: two a weight and row.
    pub fn expert_flops(&self, rows: u64) -> f64 {
        2.0 * self.expert_weights() * rows as f64
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
        LayerShape {
            hidden: 64,
            num_experts: 16,
            top_k: 4,
            expert_inter: 32,
            gate,
            dtype: Dtype::Bf16,
            zero_experts: 0,
            gated: true,
            weight_bits: None,
        }
    }

    #[test]
    fn sizes_follow_from_the_shape() {
        shape().validate().unwrap();
        assert_eq!(shape().expert_weight_bytes(), 3 * 64 * 32 * 2);
        assert_eq!(LayerShape { dtype: Dtype::Fp4, ..shape() }.expert_weight_bytes(), 3 * 64 * 32 / 2);
        let mxfp4 = LayerShape { weight_bits: Some(4.25), ..shape() };
        assert_eq!(mxfp4.expert_weight_bytes(), 3 * 64 * 32 * 17 / 32);
        assert_eq!(shape().expert_flops(3), 6.0 * 64.0 * 32.0 * 3.0);
        let two = LayerShape { gated: false, ..shape() };
        assert_eq!(
            (two.expert_weight_bytes(), two.expert_flops(3)),
            (2 * 64 * 32 * 2, 4.0 * 64.0 * 32.0 * 3.0)
        );
    }

    #[test]
    fn impossible_shapes_are_refused_by_field() {
        type Change = fn(&mut LayerShape);
        let changes: [(&str, Change); 10] = [
            ("hidden = 0", |s| s.hidden = 0),
            ("num_experts = 4097", |s| s.num_experts = MAX_EXPERTS + 1),
            ("top_k = 0", |s| s.top_k = 0),
            ("top_k = 17", |s| s.top_k = 17),
            ("zero_experts = 4", |s| (s.zero_experts, s.gate.n_group, s.gate.topk_group) = (4, 4, 2)),
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

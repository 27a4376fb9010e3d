//! A whole mixture-of-experts model as numbers: layers, widths, gate, attention, and the parameters they add up to.

mod attention;
mod config;
mod file;

use serde::{Deserialize, Serialize};
use topology::Dtype;

pub use crate::error::ModelError;
pub use crate::gate::{GateKind, GateSpec};
use crate::shape::in_range;
pub use crate::shape::{
    LayerShape, MAX_ATTENTION, MAX_EXPERTS, MAX_HIDDEN, MAX_INTER, MAX_LAYERS, MAX_TOP_K, MAX_VOCAB,
};
pub use attention::Attention;

/// A mixture-of-experts transformer, as far as parallelism cares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Canonical preset name, or the name in the file.
    #[serde(default)]
    pub name: String,
    /// Width of a hidden state, in elements.
    pub hidden: u32,
    /// Transformer layers.
    pub num_layers: u32,
    /// Layers at the start that have a dense feed-forward block.
    #[serde(default)]
    pub first_dense_layers: u32,
    /// After the first dense layers, every `moe_layer_step`-th layer has experts (the last of each such run).
    #[serde(default = "every_layer")]
    pub moe_layer_step: u32,
    /// Further layers without experts, by index.
    #[serde(default)]
    pub extra_dense_layers: Vec<u32>,
    /// Layers with experts; equals the count of [`Model::is_moe_layer`].
    #[serde(default)]
    pub moe_layers: u32,
    /// Routed experts of an MoE layer.
    pub num_experts: u32,
    /// Routed experts a token goes to.
    pub top_k: u32,
    /// Inner width of a routed expert.
    pub expert_inter: u32,
    /// Inner width of the dense layers' feed-forward block; 0 where there are none.
    #[serde(default)]
    pub dense_inter: u32,
    /// Experts that every token goes to.
    #[serde(default)]
    pub shared_experts: u32,
    /// Inner width of one shared expert; 0 where there are none.
    #[serde(default)]
    pub shared_inter: u32,
    /// Heads and widths of attention: its weights, FLOP and cache.
    pub attention: Attention,
    /// Vocabulary size.
    pub vocab: u32,
    /// One matrix for both the input embedding and the output head.
    #[serde(default)]
    pub tied_embeddings: bool,
    /// How experts are scored, limited and weighted.
    pub gate: GateSpec,
    /// Total parameters as published, if they were.
    pub published_total: Option<f64>,
    /// Parameters a token uses as published, if they were.
    pub published_active: Option<f64>,
    /// Where these numbers are from.
    #[serde(default)]
    pub source: String,
    /// What its layers have that neither times nor memory of whole steps count here, in words; see [`Model::counted`].
    #[serde(default)]
    pub uncounted: Option<String>,
}

fn every_layer() -> u32 {
    1
}

impl Model {
    /// The shape of one MoE layer, with FP8 expert weights.
    pub fn layer(&self) -> LayerShape {
        LayerShape {
            hidden: self.hidden,
            num_experts: self.num_experts,
            top_k: self.top_k,
            expert_inter: self.expert_inter,
            gate: self.gate,
            dtype: Dtype::Fp8,
        }
    }

    /// Whether layer `index` (from 0) has experts.
    pub fn is_moe_layer(&self, index: u32) -> bool {
        index >= self.first_dense_layers
            && index < self.num_layers
            && (index - self.first_dense_layers) % self.moe_layer_step == self.moe_layer_step - 1
            && !self.extra_dense_layers.contains(&index)
    }

    /// Counts the layers for which [`Model::is_moe_layer`] holds.
    pub(crate) fn count_moe_layers(&self) -> u32 {
        (0..self.num_layers).filter(|&layer| self.is_moe_layer(layer)).count() as u32
    }

    /// All weights: embeddings, attention, dense blocks, routers, routed and shared experts; norms and biases,
    /// below 0.1% of any model here, are left out.
    pub fn total_params(&self) -> f64 {
        self.params_with_experts(self.num_experts)
    }

    /// The weights a token uses: as [`Model::total_params`] with `top_k` of the routed experts. Both embedding
    /// matrices count, which is why this is above some published figures.
    pub fn active_params(&self) -> f64 {
        self.params_with_experts(self.top_k)
    }

    fn params_with_experts(&self, routed: u32) -> f64 {
        let h = f64::from(self.hidden);
        let ffn = |inter: u32| 3.0 * h * f64::from(inter);
        let embeddings = if self.tied_embeddings { 1.0 } else { 2.0 } * h * f64::from(self.vocab);
        let attention = f64::from(self.num_layers) * self.attention.params(self.hidden) as f64;
        let dense = (f64::from(self.num_layers) - f64::from(self.moe_layers)) * ffn(self.dense_inter);
        let moe_layer = f64::from(routed) * ffn(self.expert_inter)
            + f64::from(self.shared_experts) * ffn(self.shared_inter)
            + h * f64::from(self.num_experts);
        embeddings + attention + dense + f64::from(self.moe_layers) * moe_layer
    }

    /// This model, if times and memory of whole steps count all that it has.
    ///
    /// # Errors
    /// [`ModelError::NotBuilt`] with what they don't.
    pub fn counted(self) -> Result<Self, ModelError> {
        match self.uncounted {
            Some(what) => {
                Err(ModelError::NotBuilt { origin: self.source, what: format!("whole steps with {what}") })
            }
            None => Ok(self),
        }
    }

    /// Checks every field against the stated limits and against each other.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] names this model, the field, its value and the remedy.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.validate_as(&self.name)
    }

    /// As [`Model::validate`], with `origin` (a file) in the message.
    pub(crate) fn validate_as(&self, origin: &str) -> Result<(), ModelError> {
        let check = |field, value, min, max| in_range(origin, field, value, min, max);
        self.layer().validate_as(origin)?;
        check("num_layers", self.num_layers, 1, MAX_LAYERS)?;
        check("first_dense_layers", self.first_dense_layers, 0, self.num_layers - 1)?;
        check("moe_layer_step", self.moe_layer_step, 1, self.num_layers)?;
        let extra = u32::try_from(self.extra_dense_layers.len()).unwrap_or(u32::MAX);
        check("number of extra_dense_layers", extra, 0, self.num_layers)?;
        let moe_layers = self.count_moe_layers();
        check("moe_layers", moe_layers, 1, self.num_layers)?;
        check("moe_layers", self.moe_layers, moe_layers, moe_layers)?;
        check("dense_inter", self.dense_inter, u32::from(moe_layers < self.num_layers), MAX_INTER)?;
        check("shared_experts", self.shared_experts, 0, MAX_EXPERTS)?;
        check("shared_inter", self.shared_inter, u32::from(self.shared_experts > 0), MAX_INTER)?;
        check("vocab", self.vocab, 1, MAX_VOCAB)?;
        self.attention.validate_as(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_models_are_refused_by_field() {
        type Change = fn(&mut Model);
        let changes: [(&str, Change); 15] = [
            ("hidden = 65537", |m| m.hidden = MAX_HIDDEN + 1),
            ("num_experts = 0", |m| m.num_experts = 0),
            ("num_layers = 0", |m| m.num_layers = 0),
            ("first_dense_layers = 61", |m| m.first_dense_layers = m.num_layers),
            ("moe_layer_step = 0", |m| m.moe_layer_step = 0),
            ("moe_layers = 61", |m| m.moe_layers = 61),
            ("moe_layers = 0", |m| m.extra_dense_layers = (0..61).collect()),
            ("number of extra_dense_layers = 62", |m| m.extra_dense_layers = vec![0; 62]),
            ("dense_inter = 0", |m| m.dense_inter = 0),
            ("shared_inter = 0", |m| m.shared_inter = 0),
            ("vocab = 0", |m| m.vocab = 0),
            ("topk_group = 9", |m| m.gate.topk_group = 9),
            ("routed_scaling_factor = NaN", |m| m.gate.routed_scaling_factor = f32::NAN),
            ("kv_heads = 3", |m| m.attention = Attention::Grouped { heads: 8, kv_heads: 3, head_dim: 4 }),
            ("head_dim = 0", |m| m.attention = Attention::Grouped { heads: 8, kv_heads: 8, head_dim: 0 }),
        ];
        for (said, change) in changes {
            let mut model = Model::preset("deepseek-v3").unwrap();
            change(&mut model);
            let message = model.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("deepseek-v3: {said} is not possible; give ")), "{message}");
        }
    }

    #[test]
    fn a_model_survives_serialisation() {
        for model in Model::presets() {
            let text = serde_json::to_string(&model).unwrap();
            assert_eq!(&serde_json::from_str::<Model>(&text).unwrap(), model);
        }
    }
}

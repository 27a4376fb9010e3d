//! The model that a Hugging Face `config.json` describes, as far as what runs here has all that is in it.
//!
//! What rows carry and experts do has to be as the file says, or is refused by its name. Attention is counted by whoever reads
//! [`Model::uncounted`] first: a comparison of one layer has none of it.

use super::{Attention, Model, ModelError};
use crate::architecture::{Architecture, Block, Mixer, Scoring, Span};
use crate::gate::{GateKind, GateSpec, Sigmoid, Softmax, SoftmaxAfterTopk};
use std::collections::BTreeMap;

impl Model {
    /// Reads the text of a `config.json`; `origin` names it in errors and as the source. A model without experts has
    /// `moe_layers` 0: there are estimates of memory and time of it, and nothing to dispatch.
    ///
    /// # Errors
    /// As [`Architecture::from_config`]; [`ModelError::NotBuilt`] for what is understood and not run here.
    pub fn from_config(json: &str, origin: &str) -> Result<Self, ModelError> {
        Self::of_architecture(&Architecture::from_config(json, origin)?, origin)
    }

    /// The model of an architecture; `origin` is named in errors and as the source.
    ///
    /// # Errors
    /// [`ModelError::NotBuilt`] for what is understood and not run here; [`ModelError::Invalid`] for impossible numbers.
    pub fn of_architecture(architecture: &Architecture, origin: &str) -> Result<Self, ModelError> {
        let not_built =
            |what: &str| ModelError::NotBuilt { origin: origin.to_owned(), what: what.to_owned() };
        let num_layers = architecture.order.len() as u32;
        let blocks = || architecture.kinds.iter().flat_map(|kind| &kind.blocks);
        let mut model = Self {
            name: architecture.name.clone(),
            hidden: architecture.hidden,
            num_layers,
            first_dense_layers: num_layers,
            moe_layer_step: 1,
            extra_dense_layers: Vec::new(),
            moe_layers: 0,
            num_experts: 1,
            top_k: 1,
            expert_inter: 0,
            dense_inter: 0,
            shared_experts: 0,
            shared_inter: 0,
            attention: attention(architecture),
            vocab: architecture.vocab,
            tied_embeddings: architecture.tied_embeddings,
            gate: GateSpec::ungrouped(GateKind::of(&SoftmaxAfterTopk)),
            published_total: None,
            published_active: None,
            source: origin.to_owned(),
            uncounted: uncounted(architecture),
        };
        let mut dense = None;
        let mut routed = None;
        for block in blocks() {
            let known = if matches!(block, Block::Dense { .. }) { &mut dense } else { &mut routed };
            if known.replace(block).is_some_and(|other| other != block) {
                return Err(not_built("feed-forward blocks of one kind with different widths or gates"));
            }
        }
        if let Some(&Block::Dense { inter, gated }) = dense {
            model.dense_inter = inter;
            if !gated {
                return Err(not_built("feed-forward blocks of two matrices"));
            }
        }
        let Some(&Block::Routed {
            experts,
            zero_experts,
            top_k,
            inter,
            width,
            gated,
            shared_experts,
            shared_inter,
            gate,
        }) = routed
        else {
            model.expert_inter = model.dense_inter;
            return Ok(model);
        };
        let refusals = [
            (zero_experts > 0, "experts that pass a token on as it is"),
            (width != model.hidden, "experts of a narrower latent width"),
            (!gated, "experts of two matrices"),
        ];
        if let Some((_, what)) = refusals.into_iter().find(|(found, _)| *found) {
            return Err(not_built(what));
        }
        model.gate = GateSpec {
            kind: rule(gate.scoring).map_err(not_built)?.bias(gate.bias).norm_topk(gate.norm_topk),
            n_group: gate.n_group,
            topk_group: gate.topk_group,
            equal_shares: gate.equal_shares,
            routed_scaling_factor: gate.scaling as f32,
        };
        (model.num_experts, model.top_k, model.expert_inter) = (experts, top_k, inter);
        (model.shared_experts, model.shared_inter) = (shared_experts, shared_inter);
        model.place_experts(architecture);
        model.validate_as(origin)?;
        Ok(model)
    }

    /// Which layers have experts, in the words of a model file: the first dense ones, then every so-manieth, then exceptions.
    fn place_experts(&mut self, architecture: &Architecture) {
        let routed: Vec<bool> = architecture.layers().map(|layer| layer.routed().is_some()).collect();
        let first = routed.iter().take_while(|&&routed| !routed).count() as u32;
        for (first_dense_layers, moe_layer_step) in [(0, first + 1), (first, 1)] {
            (self.first_dense_layers, self.moe_layer_step) = (first_dense_layers, moe_layer_step);
            self.extra_dense_layers.clear();
            let layers = || (0..self.num_layers).zip(&routed);
            let extra: Vec<u32> = layers()
                .filter(|&(layer, routed)| self.is_moe_layer(layer) && !routed)
                .map(|(layer, _)| layer)
                .collect();
            let missed = layers().any(|(layer, routed)| *routed && !self.is_moe_layer(layer));
            self.extra_dense_layers = extra;
            if !missed {
                break;
            }
        }
        self.moe_layers = self.count_moe_layers();
    }
}

/// The gate of the registry that scores so, or what would.
fn rule(scoring: Scoring) -> Result<GateKind, &'static str> {
    match scoring {
        Scoring::Softmax => Ok(GateKind::of(&Softmax)),
        Scoring::SoftmaxAfterTopk => Ok(GateKind::of(&SoftmaxAfterTopk)),
        Scoring::Sigmoid => Ok(GateKind::of(&Sigmoid)),
        Scoring::SqrtSoftplus => Err("a gate by the square root of the softplus"),
        Scoring::Hash => Err("experts by a table from the token's id"),
    }
}

/// The attention that most layers with any have; widths that this knows nothing of are among what is uncounted.
fn attention(architecture: &Architecture) -> Attention {
    let mixers = architecture.layers().flat_map(|layer| &layer.mixers);
    let known = mixers.filter_map(|mixer| match *mixer {
        Mixer::Grouped { heads, kv_heads, head_dim, .. } => {
            Some(Attention::Grouped { heads, kv_heads, head_dim })
        }
        Mixer::Latent { heads, q_lora, kv_lora, qk_nope, qk_rope, v_head, .. } => {
            Some(Attention::Latent { heads, q_lora, kv_lora, qk_nope, qk_rope, v_head })
        }
        Mixer::Compressed { heads, head_dim, .. } => {
            Some(Attention::Grouped { heads, kv_heads: 1, head_dim })
        }
        Mixer::State { .. } => None,
    });
    known.last().unwrap_or(Attention::Grouped { heads: 1, kv_heads: 1, head_dim: 1 })
}

/// What a whole step has that is not counted here yet, in words.
fn uncounted(architecture: &Architecture) -> Option<String> {
    let mut layers: BTreeMap<&str, usize> = BTreeMap::new();
    for layer in architecture.layers() {
        if layer.mixers.len() != 1 || layer.blocks.len() != 1 {
            *layers.entry("another make than one attention and one block").or_default() += 1;
        }
        for mixer in &layer.mixers {
            let what = match *mixer {
                Mixer::Grouped { span: Span::Window(_), .. } => "a window",
                Mixer::Grouped { span: Span::Chunk(_), .. } => "attention in chunks",
                Mixer::Grouped { output_gate: true, .. } | Mixer::Latent { output_gate: true, .. } => {
                    "a gate on its attention"
                }
                Mixer::Grouped { own_cache: false, .. } => "the cache of another",
                Mixer::Grouped { head_dim, v_head_dim, .. } if head_dim != v_head_dim => {
                    "keys and values of different widths"
                }
                Mixer::Latent { index: Some(_), .. } => "a sparse index",
                Mixer::Compressed { .. } => "compressed attention",
                Mixer::State { .. } => "a recurrence",
                Mixer::Grouped { .. } | Mixer::Latent { .. } => continue,
            };
            *layers.entry(what).or_default() += 1;
        }
    }
    let all = architecture.order.len();
    let parts: Vec<String> =
        layers.iter().map(|(what, count)| format!("{what} in {count} of {all} layers")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

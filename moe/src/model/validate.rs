//! Checks of a model's numbers against the limits and against each other, for models written by hand.

use super::{Block, Format, Layer, MAX_REACHES, Mixer, Model, ModelError, Span, Storage};
use crate::shape::{
    MAX_ATTENTION, MAX_EXPERTS, MAX_HIDDEN, MAX_INTER, MAX_LAYERS, MAX_TOP_K, MAX_VOCAB, in_range,
};

/// Most kinds of layers.
const MAX_KINDS: u32 = 1_024;
/// Most mixers, and most blocks, of one layer.
const MAX_PARTS: u32 = 8;
/// Most characters of a name.
const MAX_NAME: usize = 256;
/// Most elements that a state or its weights may have.
const MAX_STATE: u64 = 1 << 40;

impl Model {
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
        check("hidden", self.hidden, 1, MAX_HIDDEN)?;
        check("vocab", self.vocab, 1, MAX_VOCAB)?;
        check("residual_streams", self.residual_streams, 1, 64)?;
        check("mtp_depth", self.mtp_depth, 0, 64)?;
        let kinds = count(self.kinds.len());
        check("number of kinds", kinds, 1, MAX_KINDS)?;
        check("number of mtp_order", count(self.mtp_order.len()), 0, MAX_KINDS)?;
        check("order.layers", self.order.layers, 1, MAX_LAYERS)?;
        check("number of order.runs", count(self.order.runs.len()), 1, self.order.layers)?;
        for &(kind, layers) in &self.order.runs {
            check("kind in order.runs", kind.into(), 0, kinds - 1)?;
            check("layers in order.runs", layers, 1, self.order.layers)?;
        }
        let period = u32::try_from(self.order.period()).unwrap_or(u32::MAX);
        check("layers of all order.runs", period, 1, self.order.layers)?;
        for &kind in &self.mtp_order {
            check("kind in mtp_order", kind.into(), 0, kinds - 1)?;
        }
        for (kind, layer) in (0_u16..).zip(&self.kinds) {
            self.validate_layer(layer, origin)?;
            if layer.mixers.is_empty() && layer.blocks.is_empty() {
                let remedy = "mixers, blocks or both for it".to_owned();
                return Err(invalid(origin, "empty kind in kinds", kind, remedy));
            }
        }
        check("number of ways of looking back", count(self.ways().len()), 0, MAX_REACHES as u32)?;
        self.validate_shared(origin)?;
        self.validate_storage(origin)?;
        if self.name.chars().count() > MAX_NAME || self.name.chars().any(char::is_control) {
            let shown: String = self.name.chars().take(32).collect();
            return Err(invalid(
                origin,
                "name",
                shown.escape_debug(),
                format!("at most {MAX_NAME} printable characters"),
            ));
        }
        if self.mtp_depth > 0 && self.mtp_order.is_empty() {
            return Err(invalid(
                origin,
                "mtp_depth",
                self.mtp_depth,
                "mtp_order with the kinds of the layers that predict further tokens, too".to_owned(),
            ));
        }
        let factors = [self.published_total, self.published_active];
        match factors.into_iter().flatten().find(|params| !(params.is_finite() && *params > 0.0)) {
            Some(params) => {
                Err(invalid(origin, "published parameters", params, "a number above 0".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Checks that every kind has a layer: in a file that somebody wrote another is forgotten.
    pub(super) fn validate_kinds(&self, origin: &str) -> Result<(), ModelError> {
        let used = |kind: u16| {
            self.order.runs.iter().any(|&(used, _)| used == kind) || self.mtp_order.contains(&kind)
        };
        match (0_u16..).zip(&self.kinds).find(|&(kind, _)| !used(kind)) {
            None => Ok(()),
            Some((kind, _)) => {
                let remedy = "it a run in order.runs, or leave it out".to_owned();
                Err(invalid(origin, "unused kind in kinds", kind, remedy))
            }
        }
    }

    /// Layers that use an earlier one's cache have an earlier one with such a cache.
    fn validate_shared(&self, origin: &str) -> Result<(), ModelError> {
        let mut held = Vec::new();
        for mixer in self.layers().flat_map(|layer| &layer.mixers) {
            match mixer {
                Mixer::Grouped { own_cache: false, .. } if !held.contains(&mixer.entry()) => {
                    let remedy = "true, or an earlier layer with a cache of the same width".to_owned();
                    return Err(invalid(origin, "own_cache", "false", remedy));
                }
                Mixer::Grouped { own_cache: true, .. } if !held.contains(&mixer.entry()) => {
                    held.push(mixer.entry());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Formats of storage that have bits.
    fn validate_storage(&self, origin: &str) -> Result<(), ModelError> {
        let Storage { base, products, experts, cache_bits, left_out, .. } = &self.storage;
        for (field, format) in
            [("storage.base", base), ("storage.products", products), ("storage.experts", experts)]
        {
            let sound = match *format {
                Format::Fp8Blocks(rows, columns) => rows > 0 && columns > 0,
                Format::Int(bits, _) => (2..=8).contains(&bits),
                _ => true,
            };
            if !sound {
                let remedy = "integers of 2 to 8 bits, blocks of at least one row and column".to_owned();
                return Err(invalid(origin, field, format!("{format:?}"), remedy));
            }
        }
        in_range(origin, "number of storage.left_out", count(left_out.len()), 0, 8 * MAX_LAYERS)?;
        match cache_bits {
            Some(bits) if ![4, 8, 16, 32].contains(bits) => {
                Err(invalid(origin, "storage.cache_bits", bits, "4, 8 or 16".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn validate_layer(&self, layer: &Layer, origin: &str) -> Result<(), ModelError> {
        let check = |field, value, min, max| in_range(origin, field, value, min, max);
        check("number of mixers", count(layer.mixers.len()), 0, MAX_PARTS)?;
        check("number of blocks", count(layer.blocks.len()), 0, MAX_PARTS)?;
        let routed = layer.blocks.iter().filter(|block| matches!(block, Block::Routed { .. })).count();
        check("number of routed blocks of a layer", count(routed), 0, 1)?;
        layer.mixers.iter().try_for_each(|mixer| validate_mixer(mixer, origin))?;
        for block in &layer.blocks {
            match *block {
                Block::Dense { inter, .. } => check("inter", inter, 1, MAX_INTER)?,
                Block::Routed {
                    experts,
                    zero_experts,
                    top_k,
                    inter,
                    latent,
                    shared_experts,
                    shared_inter,
                    gate,
                    ..
                } => {
                    check("experts", experts, 1, MAX_EXPERTS)?;
                    // How groups that hold some of these are ranked, no model says.
                    check("zero_experts", zero_experts, 0, if gate.n_group > 1 { 0 } else { MAX_EXPERTS })?;
                    check("top_k", top_k, 1, MAX_TOP_K.min(experts + zero_experts))?;
                    check("inter", inter, 1, MAX_INTER)?;
                    check("latent", latent.unwrap_or(1), 1, self.hidden)?;
                    check("shared_experts", shared_experts, 0, MAX_EXPERTS)?;
                    check("shared_inter", shared_inter, u32::from(shared_experts > 0), MAX_INTER)?;
                    gate.validate_as(origin, experts, top_k.min(experts))?;
                }
            }
        }
        Ok(())
    }
}

fn validate_mixer(mixer: &Mixer, origin: &str) -> Result<(), ModelError> {
    let width = |field, value| in_range(origin, field, value, 1, MAX_ATTENTION);
    match *mixer {
        Mixer::Grouped { heads, kv_heads, head_dim, v_head_dim, q_lora, span, .. } => {
            width("heads", heads)?;
            in_range(origin, "kv_heads", kv_heads, 1, heads)?;
            width("head_dim", head_dim)?;
            width("v_head_dim", v_head_dim.unwrap_or(1))?;
            width("q_lora", q_lora.unwrap_or(1))?;
            if let Span::Window(tokens) | Span::Chunk(tokens) = span {
                in_range(origin, "span", tokens, 1, u32::MAX)?;
            }
            if !heads.is_multiple_of(kv_heads) {
                return Err(invalid(origin, "kv_heads", kv_heads, format!("a divisor of the {heads} heads")));
            }
            Ok(())
        }
        Mixer::Latent { heads, q_lora, kv_lora, qk_nope, qk_rope, v_head, index, .. } => {
            width("heads", heads)?;
            width("q_lora", q_lora.unwrap_or(1))?;
            width("kv_lora", kv_lora)?;
            width("qk_nope", qk_nope)?;
            width("qk_rope", qk_rope)?;
            width("v_head", v_head)?;
            index.map_or(Ok(()), |index| validate_index(index, origin))
        }
        Mixer::Compressed { heads, head_dim, q_lora, o_groups, o_lora, window, ratio: _, index } => {
            width("heads", heads)?;
            width("head_dim", head_dim)?;
            width("q_lora", q_lora)?;
            width("o_groups", o_groups)?;
            width("o_lora", o_lora)?;
            in_range(origin, "window", window, 1, u32::MAX)?;
            index.map_or(Ok(()), |index| validate_index(index, origin))
        }
        Mixer::State { weights, state, conv_state, .. } => {
            for (field, value) in [("weights", weights), ("state", state), ("conv_state", conv_state)] {
                if value > MAX_STATE {
                    return Err(invalid(origin, field, value, format!("at most {MAX_STATE}")));
                }
            }
            Ok(())
        }
    }
}

fn validate_index(index: super::Index, origin: &str) -> Result<(), ModelError> {
    in_range(origin, "index.heads", index.heads, 1, MAX_ATTENTION)?;
    in_range(origin, "index.head_dim", index.head_dim, 1, MAX_ATTENTION)?;
    in_range(origin, "index.topk", index.topk, 1, u32::MAX)
}

fn count(entries: usize) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}

fn invalid(origin: &str, field: &'static str, value: impl ToString, remedy: String) -> ModelError {
    ModelError::Invalid { origin: origin.to_owned(), field, value: value.to_string(), remedy }
}

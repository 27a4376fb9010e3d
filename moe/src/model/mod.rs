//! What a model is made of: its layers, each with what mixes tokens and what transforms each token, and the formats in which its
//! weights are stored. Presets, model files (TOML) and configurations (config.json) all end here.
//!
//! A configuration is read by its fields, under whatever names they go, not by a list of model types. A field that
//! changes the cost and is not understood refuses by its name; what else was not needed is listed in [`Model::ignored`].

mod block;
mod count;
mod defaults;
mod fields;
mod file;
mod growth;
mod mixer;
mod order;
mod patterns;
mod quantization;
mod ranks;
mod reach;
mod read;
mod read_mixers;
mod storage;
mod text;
mod unread;
mod validate;

pub use crate::error::{ConfigError, ModelError};
pub use crate::gate::{GateKind, GateSpec};
pub use crate::shape::{
    LayerShape, MAX_ATTENTION, MAX_EXPERTS, MAX_HIDDEN, MAX_INTER, MAX_LAYERS, MAX_TOP_K, MAX_VOCAB,
};
pub use block::Block;
pub use count::Parts;
pub use growth::CacheGrowth;
pub use mixer::{Cache, Index, Mixer, Span, StateKind};
pub use order::Order;
pub use reach::{MAX_REACHES, Reach, Seen};
pub use storage::{Format, Part, Storage};
pub use text::MAX_CONFIG_BYTES;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// A transformer, layer by layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Canonical preset name, or the name in the file, or that of its type.
    #[serde(default)]
    pub name: String,
    /// Where these numbers are from.
    #[serde(default)]
    pub source: String,
    /// Width of a hidden state, elements.
    pub hidden: u32,
    /// Entries of the vocabulary.
    pub vocab: u32,
    /// One matrix for both the input embedding and the output head.
    #[serde(default)]
    pub tied_embeddings: bool,
    /// Parallel residual streams of hyper-connections; 1 where there are none.
    #[serde(default = "one")]
    pub residual_streams: u32,
    /// Total parameters as published, if they were.
    pub published_total: Option<f64>,
    /// Parameters a token uses as published, if they were.
    pub published_active: Option<f64>,
    /// The kind of each layer.
    pub order: Order,
    /// Layers that predict further tokens, beside the model: their kinds.
    #[serde(default)]
    pub mtp_order: Vec<u16>,
    /// Tokens that these predict beyond the next one.
    #[serde(default)]
    pub mtp_depth: u32,
    /// Parts that see or hear, which are not counted.
    #[serde(default)]
    pub other_parts: Vec<String>,
    /// What was taken from the model type's defaults since the file has no word of it.
    #[serde(default)]
    pub assumed: Vec<String>,
    /// Fields that change nothing here.
    #[serde(default)]
    pub ignored: Vec<String>,
    /// Formats of the stored weights and of the cache; plain where nothing is said, so that a run's own format holds.
    #[serde(default)]
    pub storage: Storage,
    /// Kinds of layers.
    pub kinds: Vec<Layer>,
}

const fn one() -> u32 {
    1
}

/// A layer: what mixes the tokens of a sequence, then what transforms each of them. Most layers have one of each; some have two, or lack one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Attention or a recurrence, one after the other or side by side.
    #[serde(default)]
    pub mixers: Vec<Mixer>,
    /// Feed-forward blocks.
    #[serde(default)]
    pub blocks: Vec<Block>,
}

impl Layer {
    /// Its block with routed experts, if it has one.
    #[must_use]
    pub fn routed(&self) -> Option<&Block> {
        self.blocks.iter().find(|block| matches!(block, Block::Routed { .. }))
    }

    /// Its dense blocks.
    pub fn dense(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(|block| matches!(block, Block::Dense { .. }))
    }
}

impl Model {
    /// Number of layers.
    #[must_use]
    pub const fn num_layers(&self) -> u32 {
        self.order.layers
    }

    /// Layers with routed experts.
    #[must_use]
    pub fn moe_layers(&self) -> u32 {
        let routed = self.kinds.iter().map(|kind| kind.routed().is_some());
        self.counts().iter().zip(routed).filter(|(_, routed)| *routed).map(|(count, _)| *count as u32).sum()
    }

    /// Layer `index`, from 0.
    ///
    /// # Panics
    /// If the model has no such layer.
    #[must_use]
    pub fn layer_at(&self, index: u32) -> &Layer {
        assert!(index < self.num_layers(), "layer {index} of {}", self.num_layers());
        &self.kinds[usize::from(self.order.kind(index))]
    }

    /// Whether layer `index` (from 0) has experts; no layer beyond the last has.
    #[must_use]
    pub fn is_moe_layer(&self, index: u32) -> bool {
        index < self.num_layers() && self.layer_at(index).routed().is_some()
    }

    /// Layers in their order, `[num_layers]`.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        (0..self.num_layers()).map(|index| self.layer_at(index))
    }

    /// Layers of each kind, `[kinds]`.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.kinds.len()];
        for (kind, layers) in self.alike(0..self.num_layers()) {
            counts[usize::from(kind)] += layers.len();
        }
        counts
    }

    /// The layers of `range` that are alike: of one kind, and stored alike. Each ascending, with their kind.
    #[must_use]
    pub fn alike(&self, range: Range<u32>) -> Vec<(u16, Vec<u32>)> {
        let mut left_out: BTreeMap<u32, Vec<Part>> = BTreeMap::new();
        for &(layer, part) in &self.storage.left_out {
            left_out.entry(layer).or_default().push(part);
        }
        let mut kinds: Vec<(u16, Vec<u32>)> = Vec::new();
        for layer in range {
            let kind = self.order.kind(layer);
            let same = |known: &(u16, Vec<u32>)| {
                known.0 == kind && left_out.get(&known.1[0]) == left_out.get(&layer)
            };
            match kinds.iter_mut().find(|known| same(known)) {
                Some((_, layers)) => layers.push(layer),
                None => kinds.push((kind, vec![layer])),
            }
        }
        kinds
    }

    /// The block with routed experts that all such layers have, or the first of several; none in a dense model.
    #[must_use]
    pub fn routed(&self) -> Option<&Block> {
        self.kinds.iter().find_map(Layer::routed)
    }
}

#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod family_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tool_tests;

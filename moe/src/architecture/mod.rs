//! What a published model is made of: its layers, each with what mixes tokens and what transforms each token, and the formats in which
//! its weights are stored.
//!
//! A configuration is read by its fields, under whatever names they go, not by a list of model types. A field that
//! changes the cost and is not understood refuses by its name; what else was not needed is listed in [`Architecture::ignored`].

mod block;
mod count;
mod defaults;
mod fields;
mod mixer;
mod patterns;
mod read;
mod read_mixers;
mod storage;
mod text;
mod unread;

pub use crate::error::ArchitectureError;
pub use block::{Block, Gate, Scoring};
pub use count::Parts;
pub use mixer::{Cache, Index, Mixer, Span, StateKind};
pub use storage::{Format, Part, Storage};
pub use text::MAX_CONFIG_BYTES;

use serde::{Deserialize, Serialize};

/// A transformer, layer by layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Its name, or the name of its type.
    pub name: String,
    /// `model_type` as found, of the text part.
    pub model_type: String,
    /// Width of a hidden state, elements.
    pub hidden: u32,
    /// Entries of the vocabulary.
    pub vocab: u32,
    /// One matrix for both the input embedding and the output head.
    pub tied_embeddings: bool,
    /// Parallel residual streams of hyper-connections; 1 where there are none.
    #[serde(default = "one")]
    pub residual_streams: u32,
    /// Kinds of layers.
    pub kinds: Vec<Layer>,
    /// The kind of each layer, `[num_layers]`, an index into `kinds`.
    pub order: Vec<u16>,
    /// Layers that predict further tokens, beside the model: their kinds.
    #[serde(default)]
    pub mtp_order: Vec<u16>,
    /// Tokens that these predict beyond the next one.
    #[serde(default)]
    pub mtp_depth: u32,
    /// Formats of the stored weights and of the cache.
    pub storage: Storage,
    /// True where the file also describes a part that sees or hears, which is not counted.
    #[serde(default)]
    pub other_parts: Vec<String>,
    /// What was taken from the model type's defaults since the file has no word of it.
    #[serde(default)]
    pub assumed: Vec<String>,
    /// Fields that change nothing here.
    #[serde(default)]
    pub ignored: Vec<String>,
}

const fn one() -> u32 {
    1
}

/// A layer: what mixes the tokens of a sequence, then what transforms each of them. Most layers have one of each; some have two, or lack one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}

impl Architecture {
    /// Layers in their order, `[num_layers]`.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.of(&self.order)
    }

    /// Layers of each kind, `[kinds]`.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        let count = |kind| self.order.iter().filter(|&&of| usize::from(of) == kind).count();
        (0..self.kinds.len()).map(count).collect()
    }

    fn of<'a>(&'a self, order: &'a [u16]) -> impl Iterator<Item = &'a Layer> {
        order.iter().filter_map(|&kind| self.kinds.get(usize::from(kind)))
    }
}

#[cfg(test)]
mod tests;

//! Parameters and bytes, added up over parts and layers.

use super::mixer::Cache;
use super::storage::Part;
use super::{Layer, Model};
use serde::Serialize;

/// Weights by part, elements, or their stored bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Parts {
    /// The input embedding.
    pub embedding: f64,
    /// The output head; 0 where it is the embedding.
    pub head: f64,
    /// Attention and recurrences.
    pub mixers: f64,
    /// Dense blocks.
    pub dense: f64,
    /// Routers, and projections to latent widths.
    pub router: f64,
    /// Shared experts.
    pub shared: f64,
    /// Routed experts.
    pub experts: f64,
    /// Norms, and the mixing of residual streams.
    pub norms: f64,
}

impl Parts {
    /// The sum of all parts.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.embedding
            + self.head
            + self.mixers
            + self.dense
            + self.router
            + self.shared
            + self.experts
            + self.norms
    }

    /// The sum without both embeddings.
    #[must_use]
    pub fn without_embeddings(&self) -> f64 {
        self.total() - self.embedding - self.head
    }
}

impl Model {
    /// Every tensor of the text model, elements: both embeddings in, layers that predict further tokens not.
    #[must_use]
    pub fn params(&self) -> Parts {
        self.sum(self.layers(), true, |_, _, params| params)
    }

    /// What one token uses: of routed experts those it goes to.
    #[must_use]
    pub fn active(&self) -> Parts {
        self.sum(self.layers(), false, |_, _, params| params)
    }

    /// Every tensor of the text model, elements.
    #[must_use]
    pub fn total_params(&self) -> f64 {
        self.params().total()
    }

    /// Elements that a token uses. Both embedding matrices count, which is why this is above some published figures.
    #[must_use]
    pub fn active_params(&self) -> f64 {
        self.active().total()
    }

    /// Elements of the layers that predict further tokens; each has a projection from both its inputs.
    #[must_use]
    pub fn mtp_params(&self) -> f64 {
        let h = f64::from(self.hidden);
        let kinds = self.mtp_order.iter().filter_map(|&kind| self.kinds.get(usize::from(kind)));
        let layers = self.sum(kinds, true, |_, _, params| params);
        layers.without_embeddings() + 2.0 * h * h * f64::from(self.mtp_depth)
    }

    /// Stored bytes of the weights, by part.
    #[must_use]
    pub fn weight_bytes(&self) -> Parts {
        self.sum(self.layers(), true, |layer, part, params| params * self.storage.bits(layer, part) / 8.0)
    }

    /// What a sequence of `context` tokens holds in the caches of all layers, and what its next token reads of them.
    #[must_use]
    pub fn cache(&self, context: u64) -> (Cache, Cache) {
        let mixers = || self.layers().flat_map(|layer| &layer.mixers);
        let held = mixers().fold(Cache::default(), |sum, mixer| sum + mixer.held(context));
        (held, mixers().fold(Cache::default(), |sum, mixer| sum + mixer.read(context)))
    }

    fn sum<'a>(
        &self,
        layers: impl Iterator<Item = &'a Layer>,
        all_experts: bool,
        of: impl Fn(Option<usize>, Part, f64) -> f64,
    ) -> Parts {
        let h = f64::from(self.hidden);
        let streams = f64::from(self.residual_streams);
        let table = h * f64::from(self.vocab);
        let head = if self.tied_embeddings { 0.0 } else { table };
        let mut parts = Parts {
            embedding: of(None, Part::Embedding, table),
            head: of(None, Part::Head, head),
            norms: of(None, Part::Norms, h),
            ..Parts::default()
        };
        for (at, layer) in layers.enumerate() {
            let of = |part, params| of(Some(at), part, params);
            let sublayers = (layer.mixers.len() + layer.blocks.len()) as f64;
            // Hyper-connections mix the streams before and after each: (2 + n) n gates from n h inputs.
            let mixing = if streams > 1.0 { (2.0 + streams) * streams * streams * h } else { 0.0 };
            parts.norms += of(Part::Norms, sublayers * (h + mixing));
            for mixer in &layer.mixers {
                parts.mixers += of(Part::Mixer, mixer.params(self.hidden) as f64);
            }
            for block in &layer.blocks {
                let shared = block.shared_params(self.hidden) as f64;
                if block.expert_params(self.hidden) == 0 {
                    parts.dense += of(Part::Dense, shared);
                    continue;
                }
                let experts = if all_experts { block.experts() } else { block.active_experts() };
                parts.shared += of(Part::Shared, shared);
                parts.router += of(Part::Router, block.router_params(self.hidden) as f64);
                parts.experts += of(Part::Experts, experts * block.expert_params(self.hidden) as f64);
            }
        }
        parts
    }
}

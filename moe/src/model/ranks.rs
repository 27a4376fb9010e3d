//! What of a model runs on ranks: the one shape of its layers with experts, and what is not built there, by its name.

use super::{Block, Layer, LayerShape, Model, ModelError, Part};
use crate::gate::{GateKind, GateSpec, SoftmaxAfterTopk};
use topology::Dtype;

impl Model {
    /// The shape of a layer with experts, for arithmetic in FP8; of a model without experts that of its dense block as one expert.
    #[must_use]
    pub fn layer(&self) -> LayerShape {
        let dense = GateSpec::ungrouped(GateKind::of(&SoftmaxAfterTopk));
        let shape = LayerShape {
            hidden: self.row_width(),
            num_experts: 1,
            zero_experts: 0,
            top_k: 1,
            expert_inter: 0,
            gate: dense,
            dtype: Dtype::Fp8,
            gated: true,
            weight_bits: None,
        };
        match self.routed().or_else(|| self.kinds.iter().find_map(|kind| kind.blocks.first())) {
            Some(&Block::Routed { experts, zero_experts, top_k, inter, gate, gated, .. }) => LayerShape {
                num_experts: experts,
                zero_experts,
                top_k,
                expert_inter: inter,
                gate,
                gated,
                weight_bits: (!self.storage.is_plain()).then(|| self.expert_bits()),
                ..shape
            },
            Some(&Block::Dense { inter, gated }) => LayerShape { expert_inter: inter, gated, ..shape },
            None => shape,
        }
    }

    /// Bits of a routed expert's weight, on the mean over the layers with experts.
    fn expert_bits(&self) -> f64 {
        let bits = |layer: u32| self.storage.bits(Some(layer as usize), Part::Experts);
        let routed: Vec<f64> =
            (0..self.num_layers()).filter(|&layer| self.is_moe_layer(layer)).map(bits).collect();
        routed.iter().sum::<f64>() / routed.len().max(1) as f64
    }

    /// Width of the rows that experts take and give.
    #[must_use]
    pub fn row_width(&self) -> u32 {
        match self.routed() {
            Some(&Block::Routed { latent: Some(width), .. }) => width,
            _ => self.hidden,
        }
    }

    /// Checks that ranks can run a layer of this model: that it has experts, and nothing that is only priced.
    ///
    /// # Errors
    /// [`ModelError::NotMoe`]; [`ModelError::NotBuilt`] with what ranks don't do.
    pub fn check_ranks(&self) -> Result<(), ModelError> {
        let not_built =
            |what: &str| Err(ModelError::NotBuilt { origin: self.source.clone(), what: what.to_owned() });
        let mut routed = self.kinds.iter().filter_map(Layer::routed);
        let Some(first) = routed.next() else {
            return Err(ModelError::NotMoe { origin: self.source.clone(), name: self.name.clone() });
        };
        if routed.any(|other| !alike(first, other)) {
            return not_built("layers whose experts have different widths or gates");
        }
        // A table takes any experts, and one shape of layer has one gate.
        match *first {
            Block::Routed { gate, .. } if gate.n_group > 1 && self.has_tables() => {
                not_built("experts by a table from the token's id beside gates with groups")
            }
            _ => Ok(()),
        }
    }

    /// Whether a table from the token's id chooses the experts of some layers.
    #[must_use]
    pub fn has_tables(&self) -> bool {
        self.kinds.iter().any(|kind| matches!(kind.routed(), Some(Block::Routed { hashed: true, .. })))
    }

    /// The same with gates that have no limits by groups.
    #[must_use]
    pub fn without_groups(mut self) -> Self {
        for block in self.kinds.iter_mut().flat_map(|kind| &mut kind.blocks) {
            if let Block::Routed { gate, .. } = block {
                *gate = gate.unlimited();
            }
        }
        self
    }

    /// The same with `experts` routed experts, of which a token goes to `top_k` by `gate`.
    #[must_use]
    pub fn with_experts(mut self, experts: u32, top_k: u32, gate: GateSpec) -> Self {
        for block in self.kinds.iter_mut().flat_map(|kind| &mut kind.blocks) {
            if let Block::Routed { experts: of, top_k: k, gate: by, .. } = block {
                (*of, *k, *by) = (experts, top_k, gate);
            }
        }
        self
    }
}

/// Whether experts are alike, however they are chosen among.
fn alike(one: &Block, other: &Block) -> bool {
    let plain = |block: &Block| match *block {
        Block::Routed {
            hashed: _,
            experts,
            zero_experts,
            top_k,
            inter,
            latent,
            gated,
            shared_experts,
            shared_inter,
            gate,
        } => Some((experts, zero_experts, top_k, inter, latent, gated, shared_experts, shared_inter, gate)),
        Block::Dense { .. } => None,
    };
    plain(one) == plain(other)
}

//! A layer by closed forms: expected copies over link rates, expected rows over the roofline.

use super::{CostError, LayerCost, LayerTimes, RankTokens};
use blackboard::CopiesPerToken;
use blackboard::scale_up::{A2aGroup, a2a_time_on, gate_copies};
use blackboard::units::{Seconds, Tokens};
use moe::placement::{LayerPlacements, Placement};
use moe::{DispatchScheme, LayerShape, RowBytes};
use topology::{Cluster, Fabric, Hardware, Picos};

/// Closed forms for all experts alike.
///
/// - Dispatch and combine: copies a token (on the layer's placement, as `blackboard::scale_up::gate_copies` has them) times the tokens of the
///   fullest rank, since a port sends what its own rank has; receiving is even.
/// - Experts: each of the s slots of the fullest rank gets `T k / E` rows of the T tokens of all ranks and reads its weights if it gets
///   any, of which the probability is `1 - (1 - k/E)^T`.
#[derive(Clone, Debug)]
pub struct Analytic {
    shape: LayerShape,
    hardware: Hardware,
    fabric: Fabric,
    cluster: Cluster,
    scheme: DispatchScheme,
    placements: LayerPlacements,
    /// Of each distinct placement.
    placed: Vec<Placed>,
}

/// What closed forms ask of a placement.
#[derive(Clone, Copy, Debug)]
struct Placed {
    copies: CopiesPerToken,
    slots_max: u32,
    num_slots: u32,
}

impl Analytic {
    /// For the ranks of one stage, on which `placements` has each layer.
    ///
    /// # Errors
    /// A sentence, where the closed forms don't know the placement or the layer.
    pub fn new(
        cluster: &Cluster,
        fabric: Fabric,
        hardware: &Hardware,
        shape: LayerShape,
        placements: &LayerPlacements,
        scheme: DispatchScheme,
    ) -> Result<Self, String> {
        let tokens = vec![1; cluster.num_ranks() as usize];
        let placed = |placement: &Placement| {
            let copies = gate_copies(scheme, cluster, placement, &shape.selection(), &tokens);
            let copies = copies.map_err(|error| error.to_string())?;
            Ok(Placed { copies, slots_max: placement.max_slots_per_rank(), num_slots: placement.num_slots() })
        };
        let placed = placements.distinct().iter().map(|placement| placed(placement));
        let placed = placed.collect::<Result<_, String>>()?;
        let (hardware, placements, cluster) = (hardware.clone(), placements.clone(), cluster.clone());
        Ok(Self { shape, hardware, fabric, cluster, scheme, placements, placed })
    }

    fn placed(&self, layer: u32) -> &Placed {
        &self.placed[self.placements.index_of(layer)]
    }

    /// Rows that a slot of `layer` gets, and the probability that it gets any.
    pub(super) fn rows_of_slot(&self, layer: u32, tokens: u64) -> (f64, f64) {
        let chosen = self.shape.mean_picks() / f64::from(self.placed(layer).num_slots.max(1));
        let tokens = tokens as f64;
        (tokens * chosen, -(tokens * (-chosen.min(1.0)).ln_1p()).exp_m1())
    }

    /// Slots of all ranks in `layer`.
    pub(super) fn num_slots(&self, layer: u32) -> u32 {
        self.placed(layer).num_slots
    }

    /// Both phases of the all-to-all of `layer`, in `step`.
    ///
    /// # Errors
    /// As [`A2aGroup::links`].
    pub(super) fn all_to_all(
        &self,
        layer: u32,
        step: u32,
        tokens: &RankTokens,
    ) -> Result<(Picos, Picos), CostError> {
        let (rows, copies) = (RowBytes::new(self.shape.hidden), self.placed(layer).copies);
        let (rule, fullest) = (self.shape.selection(), Tokens(tokens.max().into()));
        let ranks = A2aGroup::of(&self.cluster, self.scheme, &rule, self.shape.hidden);
        let links = ranks.links(&self.hardware, &self.fabric, fullest);
        let links = links.map_err(|error| CostError { step, problem: error.to_string() })?;
        let time = a2a_time_on(self.scheme, copies, fullest, rows, &links);
        Ok((picos(time.dispatch), picos(time.combine)))
    }
}

pub(super) fn picos(time: Seconds) -> Picos {
    Picos((time.0 * 1e12).ceil() as u64)
}

impl LayerCost for Analytic {
    fn layer(&mut self, layer: u32, step: u32, tokens: &RankTokens) -> Result<LayerTimes, CostError> {
        if tokens.total() == 0 {
            return Ok(LayerTimes::default());
        }
        let (dispatch, combine) = self.all_to_all(layer, step, tokens)?;
        let (rows, touched) = self.rows_of_slot(layer, tokens.total());
        let (row, bytes) = (self.shape.expert_flops(1), touched * self.shape.expert_weight_bytes() as f64);
        let slot = self
            .hardware
            .expert_time(row * rows, row * touched, bytes, self.shape.dtype)
            .map_err(|error| CostError { step, problem: error.to_string() })?;
        let slots = u64::from(self.placed(layer).slots_max);
        Ok(LayerTimes { dispatch, experts: Picos(slot.0 * slots) + self.hardware.experts_start(), combine })
    }

    fn name(&self) -> &'static str {
        "analytic"
    }
}

//! Whether a setup can be run: sizes against each other and against the limits.

use super::Setup;
use crate::program::{LayerProgram, MoveProgram, Program, StackProgram};
use moe::model::LayerShape;
use moe::placement::{Placement, WeightMove};
use moe::routing::RoutingSpec;
use moe::stack::Stage;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use thiserror::Error;
use topology::{RankId, What};

/// A setup that can't be run: one line that names the number, its range or the stage.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SetupError(String);

impl SetupError {
    pub(crate) fn new(problem: impl Display) -> Self {
        Self(problem.to_string())
    }
}

/// Tokens of one rank in one step.
const TOKENS_OF_RANK: RangeInclusive<u64> = 0..=1 << 20;
/// Numbers in the states of one rank's tokens, where values are computed: 1 GiB of them.
pub(crate) const VALUES_OF_RANK_MAX: u64 = 1 << 28;
/// Numbers in the gates of a stage: 1 GiB as well.
const GATE_VALUES: RangeInclusive<u64> = 0..=1 << 28;
/// Bytes of an expert's weights that move.
const MOVED_BYTES: RangeInclusive<u64> = 1..=4 << 30;
/// Rounds of one run of weight moves.
const ROUNDS: RangeInclusive<u64> = 0..=1 << 16;

impl Setup {
    /// Checks all of it.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn validate(&self) -> Result<(), SetupError> {
        if let Program::Stack(StackProgram { stack, placements, .. }) = &self.program {
            let (placed, layers) = (placements.layers(), stack.model.num_layers());
            if placed != (0..layers) {
                return refuse(format!(
                    "placements of layers {placed:?} of {layers}; give one of each layer"
                ));
            }
        }
        (0..self.program.num_stages().max(1)).try_for_each(|stage| self.validate_stage(stage))
    }

    /// Checks what `rank` is told, and says which stage it is in.
    ///
    /// # Errors
    /// [`SetupError`].
    pub(crate) fn validate_for(&self, rank: RankId) -> Result<u32, SetupError> {
        // All stages have as many ranks.
        let of_stage = self.cluster.num_ranks() / self.program.num_stages().max(1);
        let stage = rank.0.checked_div(of_stage).unwrap_or(0);
        self.validate_stage(stage)?;
        Ok(stage)
    }

    /// Checks what the ranks of a stage are told.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn validate_stage(&self, stage: u32) -> Result<(), SetupError> {
        self.hardware.validate().map_err(SetupError::new)?;
        size("chunk_rows", self.chunk_rows.into(), 1..=1024)?;
        self.faults.check(&self.cluster).map_err(SetupError::new)?;
        let uplinks = self.fabric.oversubscription.blocks() && self.cluster.num_racks() > 1;
        if uplinks && self.faults.faults.iter().any(|fault| fault.what == What::Reorder) {
            return refuse(
                "`reorder` through oversubscribed uplinks: their queues put frames in order again; leave out one of the two",
            );
        }
        match &self.program {
            Program::Layer(layer) => self.check_layer(layer),
            Program::Moves(moves) => self.check_moves(moves),
            Program::Stack(model) => self.check_stage(model, stage),
        }
    }

    fn check_layer(&self, layer: &LayerProgram) -> Result<(), SetupError> {
        let LayerProgram { shape, tokens, names, placement, .. } = layer;
        shape.validate().map_err(SetupError::new)?;
        self.per_rank("tokens", tokens.len())?;
        if let Some(problem) = names.problem(tokens) {
            return refuse(problem);
        }
        self.check_placement(placement, shape)?;
        let most = tokens.iter().copied().max().unwrap_or(0).into();
        size("tokens of a rank", most, TOKENS_OF_RANK)?;
        if self.payload {
            size("tokens of a rank times hidden", most * u64::from(shape.hidden), 0..=VALUES_OF_RANK_MAX)?;
        }
        self.check_gates(1, shape)
    }

    /// What gates of `layers` layers take.
    fn check_gates(&self, layers: u64, shape: &LayerShape) -> Result<(), SetupError> {
        if self.routing != RoutingSpec::Gate {
            return Ok(());
        }
        let each = u64::from(shape.num_experts) * u64::from(shape.hidden);
        size("layers with a gate times experts times hidden", layers * each, GATE_VALUES)
    }

    fn per_rank(&self, what: &str, got: usize) -> Result<(), SetupError> {
        let ranks = self.cluster.num_ranks();
        if got == ranks as usize {
            Ok(())
        } else {
            refuse(format!("{what} has {got} entries for {ranks} ranks"))
        }
    }

    /// Whether `placement` is one of these racks and experts.
    fn check_placement(&self, placement: &Placement, shape: &LayerShape) -> Result<(), SetupError> {
        self.per_rank("placement", placement.num_ranks() as usize)?;
        if !placement.fits(&self.cluster) {
            let racks = self.cluster.num_racks();
            return refuse(format!(
                "the placement chooses replicas for other racks than the {racks} of the cluster: make it for this cluster"
            ));
        }
        let (placed, experts) = (placement.num_experts(), shape.num_experts);
        if placed == experts {
            Ok(())
        } else {
            refuse(format!(
                "a placement of {placed} experts for a layer of {experts}; make it for this layer"
            ))
        }
    }

    /// A round moves one expert to a rank at most: that is all that ranks have room for.
    fn check_moves(&self, MoveProgram { shape, rounds, .. }: &MoveProgram) -> Result<(), SetupError> {
        shape.validate().map_err(SetupError::new)?;
        size("bytes of an expert that moves", shape.expert_weight_bytes(), MOVED_BYTES)?;
        size("rounds of moves", rounds.len() as u64, ROUNDS)?;
        if self.chunk_rows != 1 {
            return refuse("a run that moves weights has one row a frame");
        }
        for (round, moves) in rounds.iter().enumerate() {
            let mut receivers = BTreeSet::new();
            for &WeightMove { from, to, expert } in moves {
                let known = from.0.max(to.0) < self.cluster.num_ranks() && expert.0 < shape.num_experts;
                if !known || from == to || !receivers.insert(to) {
                    return refuse(format!(
                        "round {round} moves {expert} from {from} to {to}: give ranks and experts that there are, and each rank one expert a round"
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_stage(&self, model: &StackProgram, stage: u32) -> Result<(), SetupError> {
        let StackProgram { stack, placements, halves } = model;
        if !(1..=2).contains(halves) {
            return refuse(format!("{halves} halves of a batch; give 1 or 2"));
        }
        stack.validate(&self.cluster).map_err(SetupError::new)?;
        if stack.drafts > 0 {
            return refuse("drafts of further tokens: ranks that compute draft none; give 0".to_owned());
        }
        if stack.tp > 1 {
            let tp = stack.tp;
            return refuse(format!("tp = {tp}: ranks that compute have sequences of their own; give 1"));
        }
        if stack.shape().hidden != stack.model.hidden {
            return refuse(
                "experts of a narrower latent width: ranks that compute whole steps project no states to it; simulate the run (closed forms or frames), or compare one layer",
            );
        }
        if self.routing == RoutingSpec::Gate && stack.model.has_tables() {
            return refuse(
                "experts by a table from the token's id: a gate scores nothing there; give seeded routing, such as uniform",
            );
        }
        let Some(Stage { layers, ranks }) = stack.stages().get(stage as usize) else {
            return refuse(format!("stage {stage} of {}", stack.num_stages()));
        };
        let placed = placements.layers();
        if placed.start > layers.start || placed.end < layers.end {
            return refuse(format!("placements of layers {placed:?} where stage {stage} has {layers:?}"));
        }
        for placement in placements.part(layers.clone()).distinct() {
            self.check_placement(placement, &stack.shape())?;
            let mut outside = self.cluster.ranks().filter(|rank| !ranks.contains(&rank.0));
            if let Some(rank) = outside.find(|&rank| !placement.slots_of(rank).is_empty()) {
                return refuse(format!(
                    "{rank} hosts experts of stage {stage}; place them on ranks {ranks:?}"
                ));
            }
        }
        if !self.payload && self.routing == RoutingSpec::Gate {
            return refuse(
                "the gate of a stack looks at states, which a run without payload has not; give seeded routing, such as uniform",
            );
        }
        self.check_gates(layers.len() as u64, &stack.shape())
    }
}

fn refuse<T>(problem: impl Display) -> Result<T, SetupError> {
    Err(SetupError::new(problem))
}

fn size(what: &str, got: u64, allowed: RangeInclusive<u64>) -> Result<(), SetupError> {
    if allowed.contains(&got) {
        return Ok(());
    }
    refuse(format!("{what} is {got}, allowed is {} to {}", allowed.start(), allowed.end()))
}

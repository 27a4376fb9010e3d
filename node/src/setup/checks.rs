//! Whether a setup can be run: sizes against each other and against the limits.

use super::Setup;
use crate::program::{LayerProgram, MoveProgram, Program, StackProgram};
use moe::placement::{Placement, WeightMove};
use moe::routing::RoutingSpec;
use moe::stack::Stage;
use std::collections::BTreeSet;
use thiserror::Error;

/// A setup that can't be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// Vectors of different lengths.
    #[error("{what} has {got} entries for {ranks} ranks")]
    Ranks {
        /// Which vector.
        what: &'static str,
        /// Its length.
        got: usize,
        /// Ranks of the cluster.
        ranks: u32,
    },
    /// Layers, stages or placements of a whole model that don't fit each other.
    #[error("{0}")]
    Stack(String),
    /// Weight moves that can't be made.
    #[error("{problem}")]
    Moves {
        /// What is wrong, and what to give.
        problem: String,
    },
    /// A placement made for other racks.
    #[error(
        "the placement chooses replicas for other racks than the {racks} of the cluster: make it for this cluster"
    )]
    Racks {
        /// Racks of the cluster.
        racks: u32,
    },
    /// Sizes outside the limits.
    #[error("{what} is {got}, allowed is {allowed}")]
    Size {
        /// Which number.
        what: &'static str,
        /// Its value.
        got: u64,
        /// Its range.
        allowed: &'static str,
    },
}

/// Most bytes that one row may have.
const MAX_HIDDEN: u32 = 1 << 20;
/// Most tokens of one rank in one step.
const MAX_TOKENS_PER_RANK: u32 = 1 << 20;

impl Setup {
    /// Checks all of it.
    ///
    /// # Errors
    /// A [`SetupError`] that names the number and its range, or the stage.
    pub fn validate(&self) -> Result<(), SetupError> {
        if let Program::Stack(StackProgram { stack, placements, .. }) = &self.program {
            let (placed, layers) = (placements.layers(), stack.model.num_layers);
            if placed != (0..layers) {
                return Err(SetupError::Stack(format!(
                    "placements of layers {placed:?} of {layers}; give one of each layer"
                )));
            }
        }
        (0..self.program.num_stages()).try_for_each(|stage| self.validate_stage(stage))
    }

    /// Checks what the ranks of a stage are told.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn validate_stage(&self, stage: u32) -> Result<(), SetupError> {
        let hidden = self.program.shape().hidden;
        size("hidden", hidden.into(), "1 to 1,048,576", (1..=MAX_HIDDEN).contains(&hidden))?;
        size("chunk_rows", self.chunk_rows.into(), "1 to 1,024", (1..=1024).contains(&self.chunk_rows))?;
        match &self.program {
            Program::Layer(layer) => self.check_layer(layer),
            Program::Moves(moves) => self.check_moves(moves),
            Program::Stack(model) => self.check_stage(model, stage),
        }
    }

    fn check_layer(&self, LayerProgram { tokens, placement, .. }: &LayerProgram) -> Result<(), SetupError> {
        let ranks = self.cluster.num_ranks();
        if tokens.len() != ranks as usize {
            return Err(SetupError::Ranks { what: "tokens", got: tokens.len(), ranks });
        }
        self.check_placement(placement)?;
        let most = tokens.iter().copied().max().unwrap_or(0);
        size("tokens of a rank", most.into(), "0 to 1,048,576", most <= MAX_TOKENS_PER_RANK)
    }

    /// Whether `placement` is one of these racks.
    fn check_placement(&self, placement: &Placement) -> Result<(), SetupError> {
        let (ranks, got) = (self.cluster.num_ranks(), placement.num_ranks() as usize);
        if got != ranks as usize {
            return Err(SetupError::Ranks { what: "placement", got, ranks });
        }
        if placement.fits(&self.cluster) {
            Ok(())
        } else {
            Err(SetupError::Racks { racks: self.cluster.num_racks() })
        }
    }

    /// A round moves one expert to a rank at most: that is all that ranks have room for.
    fn check_moves(&self, MoveProgram { shape, rounds, .. }: &MoveProgram) -> Result<(), SetupError> {
        let refuse = |problem: String| Err(SetupError::Moves { problem });
        if self.chunk_rows != 1 {
            return refuse("a run that moves weights has one row a frame".to_owned());
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
        let refuse = |problem: String| Err(SetupError::Stack(problem));
        if !(1..=2).contains(halves) {
            return refuse(format!("{halves} halves of a batch; give 1 or 2"));
        }
        if let Err(error) = stack.validate(&self.cluster) {
            return refuse(error.to_string());
        }
        let Some(Stage { layers, ranks }) = stack.stages().get(stage as usize) else {
            return refuse(format!("stage {stage} of {}", stack.num_stages()));
        };
        let placed = placements.layers();
        if placed.start > layers.start || placed.end < layers.end {
            return refuse(format!("placements of layers {placed:?} where stage {stage} has {layers:?}"));
        }
        for placement in placements.part(layers.clone()).distinct() {
            self.check_placement(placement)?;
            if placement.num_experts() != stack.model.num_experts {
                return refuse(format!("a placement is not of the layers of {}", stack.model.name));
            }
            let mut outside = self.cluster.ranks().filter(|rank| !ranks.contains(&rank.0));
            if let Some(rank) = outside.find(|&rank| !placement.slots_of(rank).is_empty()) {
                return refuse(format!(
                    "{rank} hosts experts of stage {stage}; place them on ranks {ranks:?}"
                ));
            }
        }
        if !self.payload && self.routing == RoutingSpec::Gate {
            return refuse(
                "the gate of a stack looks at states, which a run without payload has not; give seeded routing, such as uniform"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

fn size(what: &'static str, got: u64, allowed: &'static str, ok: bool) -> Result<(), SetupError> {
    if ok { Ok(()) } else { Err(SetupError::Size { what, got, allowed }) }
}

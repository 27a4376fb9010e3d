//! What ranks do in a step: the program of a run, stop by stop.

use crate::wire::Phase;
use moe::model::LayerShape;
use moe::names::{TokenNames, TokenShare};
use moe::placement::{LayerPlacements, Placement, WeightMove};
use moe::stack::{BatchError, Stack, StackError, StepBatch};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use topology::{Cluster, RankId};

/// One of three: a layer, moves of weights, or a whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a setup has one of them, and is shared")]
pub enum Program {
    /// Steps of one layer, each with the same number of tokens: dispatch, expert, combine.
    Layer(LayerProgram),
    /// Weights on their way between two placements: step i sends round i, in the place of a dispatch.
    Moves(MoveProgram),
    /// Steps of all layers of a model, with batches that change from step to step.
    Stack(StackProgram),
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerProgram {
    /// The layer's shape.
    pub shape: LayerShape,
    /// Which slot holds which expert.
    pub placement: Arc<Placement>,
    /// Tokens of each rank, `[num_ranks]`.
    pub tokens: Vec<u32>,
    /// Under whose names tokens are drawn.
    pub names: TokenNames,
    /// Layer whose seeds are used.
    pub layer: u16,
}

/// Moves of experts' weights. No rank has tokens, and a frame carries one row of [`crate::setup::WEIGHT_ROW_BYTES`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveProgram {
    /// Shape of the layer whose experts move.
    pub shape: LayerShape,
    /// Layer whose seeds the weights are made from.
    pub layer: u16,
    /// What moves in each round.
    pub rounds: Vec<Vec<WeightMove>>,
}

/// All layers of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StackProgram {
    /// The layers and their stages.
    pub stack: Stack,
    /// Which slot holds which expert: a placement for each layer of the model, with slots on the ranks of its stage only. A rank is
    /// told those of its stage's layers ([`crate::setup::Setup::for_stage`]).
    pub placements: LayerPlacements,
    /// 1, or 2 for batches in two halves, of which one computes while the rows of the other are on their way. Their sequences sit in
    /// halves as [`moe::stack::Halves`] says.
    pub halves: u16,
}

/// A part of a step: a phase in the k-th layer of each stage, which a stage goes through when it has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stop {
    /// Which half of the batch, 0 or 1; where it is whole, 0. It is the micro-batch of the stop's frames.
    pub half: u16,
    /// Index of the layer in its stage; in the last stops, where there is none, the layers of the longest stage.
    pub layer: u16,
    /// The phase.
    pub phase: Phase,
}

impl LayerProgram {
    /// A layer with the seeds of layer 0.
    #[must_use]
    pub fn new(shape: LayerShape, placement: impl Into<Arc<Placement>>, tokens: Vec<u32>) -> Self {
        Self { shape, placement: placement.into(), tokens, names: TokenNames::default(), layer: 0 }
    }

    /// The names of a rank's tokens.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn shares_of(&self, rank: RankId) -> Vec<TokenShare> {
        self.names.of(rank, self.tokens[rank.0 as usize])
    }
}

impl StackProgram {
    /// Whole batches, and the same placement for all layers of a stage: experts in order, contiguous, spread evenly over its ranks.
    ///
    /// # Errors
    /// If there are more experts than a placement takes.
    pub fn linear(stack: Stack, cluster: &Cluster) -> Result<Self, StackError> {
        let mut layers = Vec::new();
        for stage in stack.stages() {
            let placement =
                Placement::linear_on(cluster, stage.ranks.clone(), stack.model.layer().num_experts)?;
            let placement = Arc::new(placement);
            layers.extend(stage.layers.clone().map(|_| Arc::clone(&placement)));
        }
        Ok(Self { stack, placements: LayerPlacements::new(0, layers), halves: 1 })
    }

    /// For the k-th layer of every stage: [`Phase::Local`], then dispatch, expert and combine if any of these layers has experts.
    /// After the last layer there is another local phase, in which the last stage answers, and with several stages a hop.
    fn stops(&self) -> Vec<Stop> {
        let stack = &self.stack;
        let mut stops = Vec::new();
        let longest = u16::try_from(stack.longest()).expect("layers are bounded");
        for layer in 0..longest {
            stops.push((layer, Phase::Local));
            if (0..stack.num_stages()).any(|stage| moe_layer(stack, stage, layer).is_some()) {
                stops.extend(LAYER.map(|phase| (layer, phase)));
            }
        }
        stops.push((longest, Phase::Local));
        if stack.num_stages() > 1 {
            stops.push((longest, Phase::Hop));
        }
        let of_halves = |(layer, phase)| (0..self.halves).map(move |half| Stop { half, layer, phase });
        stops.into_iter().flat_map(of_halves).collect()
    }
}

/// The phases of a layer with experts, in order.
const LAYER: [Phase; 3] = [Phase::Dispatch, Phase::Expert, Phase::Combine];

impl Program {
    /// The stops of a step, in order; with two halves each stop of the first is followed by the same stop of the second.
    ///
    /// The halves know nothing of each other: a stop waits for the one before it of its own half, and for the stops before it that use
    /// what it uses, arithmetic or the network ([`Stop::computes`]).
    #[must_use]
    pub fn stops(&self) -> Vec<Stop> {
        let stop = |phase| Stop { half: 0, layer: 0, phase };
        match self {
            Self::Layer(_) => LAYER.map(stop).into(),
            Self::Moves(_) => vec![stop(Phase::Dispatch)],
            Self::Stack(model) => model.stops(),
        }
    }

    /// Whether ranks answer in `stop`: say that they have finished, with digests of what came out.
    #[must_use]
    pub fn finishes_at(&self, stop: Stop) -> bool {
        match self {
            Self::Layer(_) => stop.phase == Phase::Combine,
            Self::Moves(_) => true,
            Self::Stack(StackProgram { stack, .. }) => {
                stop.phase == Phase::Local && u32::from(stop.layer) == stack.longest()
            }
        }
    }

    /// The layers of a model and their stages, if it is one.
    #[must_use]
    pub fn stack(&self) -> Option<&Stack> {
        match self {
            Self::Stack(model) => Some(&model.stack),
            Self::Layer(_) | Self::Moves(_) => None,
        }
    }

    /// Shape of the layers with experts.
    #[must_use]
    pub fn shape(&self) -> LayerShape {
        match self {
            Self::Layer(layer) => layer.shape,
            Self::Moves(moves) => moves.shape,
            Self::Stack(model) => model.stack.shape(),
        }
    }

    /// Halves of a batch.
    #[must_use]
    pub fn halves(&self) -> u16 {
        if let Self::Stack(model) = self { model.halves } else { 1 }
    }

    /// Stages, each of which goes through all stops: 1 but in a model that has more.
    #[must_use]
    pub fn num_stages(&self) -> u32 {
        self.stack().map_or(1, Stack::num_stages)
    }

    /// The stage of a rank.
    #[must_use]
    pub fn stage_of(&self, rank: RankId) -> u32 {
        self.stack().map_or(0, |stack| stack.stage_of(rank))
    }

    /// Ranks that answer, of which each has a column of a batch or its own tokens.
    #[must_use]
    pub fn answering(&self, cluster: &Cluster) -> Range<u32> {
        match self.stack() {
            Some(stack) => stack.stages().last().map_or(0..0, |stage| stage.ranks.clone()),
            None => 0..cluster.num_ranks(),
        }
    }

    /// Tokens that a rank has in every step; none where they come with batches.
    #[must_use]
    pub fn tokens_of(&self, rank: RankId) -> u32 {
        match self {
            Self::Layer(layer) => layer.tokens[rank.0 as usize],
            Self::Moves(_) | Self::Stack(_) => 0,
        }
    }

    /// Checks a batch that is to enter: one of the model's columns, or one without columns where a step's tokens are always the same.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn validate_batch(&self, batch: &StepBatch) -> Result<(), BatchError> {
        batch.validate(self.stack().map_or(0, Stack::columns))
    }
}

impl Stop {
    /// Whether ranks compute in it; otherwise rows are on their way.
    #[must_use]
    pub fn computes(self) -> bool {
        self.phase.computes()
    }
}

/// The layer of the model at `layer` of a stage; `None` beyond its last.
pub(crate) fn layer_at(stack: &Stack, stage: u32, layer: u16) -> Option<u32> {
    let layers = &stack.stages()[stage as usize].layers;
    Some(layers.start + u32::from(layer)).filter(|layer| layers.contains(layer))
}

/// The same, if that layer has experts.
pub(crate) fn moe_layer(stack: &Stack, stage: u32, layer: u16) -> Option<u32> {
    layer_at(stack, stage, layer).filter(|&layer| stack.model.is_moe_layer(layer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Pacing, SeatPlan, ToNode};
    use crate::net::frames::encode;
    use crate::setup::Setup;
    use moe::model::Model;
    use moe::work::CommonWeights;
    use topology::{Dtype, Hardware};

    #[test]
    fn a_step_goes_through_the_layers_of_all_stages_at_once() {
        let model = Model::preset("deepseek-v3").unwrap();
        let program = |stages, halves| {
            let cluster = Cluster::new(&[4, 4]).unwrap();
            let common = CommonWeights::Replicated;
            let stack =
                Stack::new(model.clone(), Dtype::Fp8, Dtype::Bf16, (common, 1), stages, &cluster).unwrap();
            Program::Stack(StackProgram { halves, ..StackProgram::linear(stack, &cluster).unwrap() })
        };
        // Three dense layers, 58 with experts, the answer.
        assert_eq!(program(1, 1).stops().len(), 3 + 58 * 4 + 1);
        // 31 layers a stage at most; the second stage has experts in its first ones.
        let two = program(2, 1).stops();
        assert_eq!(two.len(), 31 * 4 + 2);
        assert_eq!(two[1], Stop { half: 0, layer: 0, phase: Phase::Dispatch });
        assert_eq!(two.last(), Some(&Stop { half: 0, layer: 31, phase: Phase::Hop }));
        let halves = program(2, 2);
        for (pair, &whole) in halves.stops().chunks(2).zip(&two) {
            assert_eq!(pair, [whole, Stop { half: 1, ..whole }]);
        }
        let finish: Vec<_> = halves.stops().into_iter().filter(|&stop| halves.finishes_at(stop)).collect();
        assert_eq!(finish, [0, 1].map(|half| Stop { half, layer: 31, phase: Phase::Local }));
        let stack = halves.stack().unwrap();
        assert_eq!((moe_layer(stack, 0, 2), moe_layer(stack, 0, 3)), (None, Some(3)));
        assert_eq!((layer_at(stack, 1, 29), layer_at(stack, 1, 30)), (Some(60), None));
    }

    /// A stage's setup as nodes are sent it: 61 layers of 320 slots in four racks, no two placed alike.
    #[test]
    fn placements_of_many_layers_fit_in_a_message() {
        let cluster = Cluster::new(&[80; 4]).unwrap();
        let model = Model::preset("deepseek-v3").unwrap();
        let common = CommonWeights::Replicated;
        let stack = Stack::new(model, Dtype::Fp8, Dtype::Bf16, (common, 1), 1, &cluster).unwrap();
        let alike = StackProgram::linear(stack, &cluster).unwrap();
        let bytes = |program: StackProgram| {
            let hardware = Hardware::preset("lab").unwrap();
            let setup = Setup::new(cluster.clone(), hardware, Program::Stack(program));
            setup.validate().unwrap();
            let message = ToNode::Configure {
                setup: Arc::new(setup.for_stage(0)),
                seats: Arc::new(SeatPlan { seats: Vec::new() }),
                pacing: Pacing::default(),
            };
            encode(&message).unwrap().len()
        };
        let placed = |layer: u32| {
            let map: Vec<u32> = (0..320).map(|slot| (slot + layer) % 256).collect();
            let json = format!("{{\"physical_to_logical_map\": {map:?}}}");
            Arc::new(Placement::from_json(&json, "any", &cluster, 256).unwrap())
        };
        let each =
            bytes(StackProgram { placements: LayerPlacements::new(0, (0..61).map(placed)), ..alike.clone() });
        let alike = bytes(alike);
        // Of 64 MB that a message may have.
        assert!(alike < 20_000 && each < 2_000_000, "{alike} and {each} bytes");
    }
}

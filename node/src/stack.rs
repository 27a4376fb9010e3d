//! A run of a whole model: what defines it, and the program of a step, phase by phase.

use crate::setup::{RunSetup, SetupError};
use crate::wire::Phase;
use moe::experts::ExpertKind;
use moe::placement::{LayerPlacements, Placement};
use moe::plan::DispatchScheme;
use moe::reference::StackReference;
use moe::routing::{GateLimit, RoutingError, RoutingSpec};
use moe::stack::{Stack, StackError, Stage};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use topology::{Cluster, Fabric, Hardware};

/// Most bytes that the cache of one rank takes where values are computed.
pub const KV_BYTES_MAX: u64 = 1 << 30;

/// The layers of a model on racks, to be stepped with batches that change from step to step.
#[derive(Clone, Debug, PartialEq)]
pub struct StackSetup {
    /// Racks of ranks.
    pub cluster: Cluster,
    /// Port rates and latencies.
    pub fabric: Fabric,
    /// Whose roofline charges everything that is computed.
    pub hardware: Hardware,
    /// The layers and their stages.
    pub stack: Stack,
    /// Which slot holds which expert: a placement on `cluster` for each layer of the model, with slots on the ranks of its stage only.
    pub placements: LayerPlacements,
    /// How copies travel.
    pub scheme: DispatchScheme,
    /// Where routing comes from.
    pub routing: RoutingSpec,
    /// Racks a token may use, by expert group.
    pub gate_limit: Option<GateLimit>,
    /// Seed of states, routing and weights.
    pub seed: u64,
    /// Real or modelled experts and blocks.
    pub experts: ExpertKind,
    /// Most rows in one frame.
    pub chunk_rows: u32,
    /// False in simulations that are about time only: rows are lengths, and there are no caches.
    pub payload: bool,
}

/// The stage that a rank is seated in; beside its [`RunSetup`] all that it must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSetup {
    /// The layers and their stages.
    pub stack: Stack,
    /// Which of them is meant.
    pub stage: u32,
    /// Placements of its layers; that of [`RunSetup::placement`] is the first one's.
    pub placements: LayerPlacements,
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

/// The stops of a step of `stack` in `halves` halves (1: whole), in order; with two halves each stop of the first is followed by the
/// same stop of the second.
///
/// The halves know nothing of each other: a stop waits for the one before it of its own half, and for the stops before it that use what
/// it uses, arithmetic or the network ([`Stop::computes`]).
///
/// For the k-th layer of every stage: [`Phase::Local`], then dispatch, expert and combine if any of these layers has experts.
/// After the last layer there is another local phase, in which the last stage answers, and with several stages a hop.
#[must_use]
pub fn program(stack: &Stack, halves: u16) -> Vec<Stop> {
    let mut stops = Vec::new();
    let longest = u16::try_from(stack.longest()).expect("layers are bounded");
    for layer in 0..longest {
        stops.push((layer, Phase::Local));
        if (0..stack.num_stages()).any(|stage| moe_layer(stack, stage, layer).is_some()) {
            stops.extend([Phase::Dispatch, Phase::Expert, Phase::Combine].map(|phase| (layer, phase)));
        }
    }
    stops.push((longest, Phase::Local));
    if stack.num_stages() > 1 {
        stops.push((longest, Phase::Hop));
    }
    let of_halves = |(layer, phase)| (0..halves).map(move |half| Stop { half, layer, phase });
    stops.into_iter().flat_map(of_halves).collect()
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

impl StackSetup {
    /// The same placement for all layers of a stage: experts in order, contiguous, spread evenly over its ranks.
    ///
    /// # Errors
    /// If there are more experts than a placement takes.
    pub fn linear(stack: &Stack, cluster: &Cluster) -> Result<LayerPlacements, StackError> {
        let mut layers = Vec::new();
        for stage in stack.stages() {
            let placement = Placement::linear_on(cluster, stage.ranks.clone(), stack.model.num_experts)?;
            let placement = Arc::new(placement);
            layers.extend(stage.layers.clone().map(|_| Arc::clone(&placement)));
        }
        Ok(LayerPlacements::new(0, layers))
    }

    /// What a rank of `stage` needs: numbers of cluster, run and epoch are zero. Its tokens come with each step.
    ///
    /// # Panics
    /// If there is no such stage, or its first layer has no placement.
    #[must_use]
    pub fn stage_run(&self, stage: u32) -> RunSetup {
        let first = self.stack.stages()[stage as usize].layers.start;
        RunSetup {
            cluster_id: 0,
            run: 0,
            epoch: 0,
            cluster: self.cluster.clone(),
            fabric: self.fabric,
            hardware: self.hardware.clone(),
            shape: self.stack.shape(),
            placement: Placement::clone(self.placements.of(first)),
            scheme: self.scheme,
            routing: self.routing.clone(),
            gate_limit: self.gate_limit.clone(),
            tokens: vec![0; self.cluster.num_ranks() as usize],
            seed: self.seed,
            layer: u16::try_from(first).expect("layers are bounded"),
            experts: self.experts,
            chunk_rows: self.chunk_rows,
            payload: self.payload,
            first_step: 0,
            moves: Vec::new(),
        }
    }

    /// The stage that a rank is in, as it is told.
    ///
    /// # Panics
    /// If there is no such stage, or one of its layers has no placement.
    #[must_use]
    pub fn stage(&self, stage: u32) -> StageSetup {
        let layers = self.stack.stages()[stage as usize].layers.clone();
        StageSetup { stack: self.stack.clone(), stage, placements: self.placements.part(layers) }
    }

    /// What steps of this run must answer.
    ///
    /// # Errors
    /// Where the routing can't be made.
    pub fn reference(&self) -> Result<StackReference, RoutingError> {
        StackReference::new(
            &self.stack,
            &self.cluster,
            &self.placements,
            self.scheme,
            &self.routing,
            self.gate_limit.as_ref(),
            self.experts,
            self.seed,
        )
    }

    /// Checks all stages.
    ///
    /// # Errors
    /// [`SetupError`] names the stage or the number.
    pub fn validate(&self) -> Result<(), SetupError> {
        let (placed, layers) = (self.placements.layers(), self.stack.model.num_layers);
        if placed != (0..layers) {
            return Err(SetupError::Stack(format!(
                "placements of layers {placed:?} of {layers}; give one of each layer"
            )));
        }
        (0..self.stack.num_stages())
            .try_for_each(|stage| self.stage_run(stage).validate_stage(&self.stage(stage)))
    }
}

impl RunSetup {
    /// Checks what a rank of a stage is told.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn validate_stage(&self, own: &StageSetup) -> Result<(), SetupError> {
        self.validate()?;
        let StageSetup { stack, stage, placements } = own;
        let refuse = |problem: String| Err(SetupError::Stack(problem));
        if let Err(error) = stack.validate(&self.cluster) {
            return refuse(error.to_string());
        }
        let Some(Stage { layers, ranks }) = stack.stages().get(*stage as usize) else {
            return refuse(format!("stage {stage} of {}", stack.num_stages()));
        };
        let placed = placements.layers();
        if placed != *layers || **placements.of(layers.start) != self.placement {
            return refuse(format!("placements of layers {placed:?} where stage {stage} has {layers:?}"));
        }
        let experts = self.shape.num_experts;
        let alike = |placement: &Placement| placement.num_experts() == experts;
        if self.shape != stack.shape() || !placements.distinct().iter().all(|placement| alike(placement)) {
            return refuse(format!(
                "the placement or the shape is not of the layers of {}",
                stack.model.name
            ));
        }
        for placement in placements.distinct() {
            self.validate_placement(placement)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Pacing, SeatPlan, ToNode};
    use crate::net::frames::encode;
    use moe::model::Model;
    use moe::work::CommonWeights;
    use topology::Dtype;

    #[test]
    fn a_step_goes_through_the_layers_of_all_stages_at_once() {
        let model = Model::preset("deepseek-v3").unwrap();
        let stack = |stages| {
            let cluster = Cluster::new(&[4, 4]).unwrap();
            let common = CommonWeights::Replicated;
            Stack::new(model.clone(), Dtype::Fp8, Dtype::Bf16, common, stages, &cluster).unwrap()
        };
        // Three dense layers, 58 with experts, the answer.
        assert_eq!(program(&stack(1), 1).len(), 3 + 58 * 4 + 1);
        // 31 layers a stage at most; the second stage has experts in its first ones.
        let two = program(&stack(2), 1);
        assert_eq!(two.len(), 31 * 4 + 2);
        assert_eq!(two[1], Stop { half: 0, layer: 0, phase: Phase::Dispatch });
        assert_eq!(two.last(), Some(&Stop { half: 0, layer: 31, phase: Phase::Hop }));
        let halves = program(&stack(2), 2);
        for (pair, &whole) in halves.chunks(2).zip(&two) {
            assert_eq!(pair, [whole, Stop { half: 1, ..whole }]);
        }
        assert_eq!((moe_layer(&stack(2), 0, 2), moe_layer(&stack(2), 0, 3)), (None, Some(3)));
        assert_eq!((layer_at(&stack(2), 1, 29), layer_at(&stack(2), 1, 30)), (Some(60), None));
    }

    /// A stage's setup as nodes are sent it: 61 layers of 320 slots in four racks, no two placed alike.
    #[test]
    fn placements_of_many_layers_fit_in_a_message() {
        let cluster = Cluster::new(&[80; 4]).unwrap();
        let model = Model::preset("deepseek-v3").unwrap();
        let common = CommonWeights::Replicated;
        let stack = Stack::new(model, Dtype::Fp8, Dtype::Bf16, common, 1, &cluster).unwrap();
        let bytes = |placements: LayerPlacements| {
            let hardware = Hardware::preset("lab").unwrap();
            let setup = StackSetup {
                fabric: hardware.fabric(),
                cluster: cluster.clone(),
                hardware,
                stack: stack.clone(),
                placements,
                scheme: DispatchScheme::Hierarchical,
                routing: RoutingSpec::Uniform,
                gate_limit: None,
                seed: 1,
                experts: ExpertKind::Modelled,
                chunk_rows: 8,
                payload: true,
            };
            setup.validate().unwrap();
            let message = ToNode::ConfigureStage {
                halves: 1,
                setup: Box::new(setup.stage_run(0)),
                stage: Box::new(setup.stage(0)),
                seats: SeatPlan { seats: Vec::new() },
                pacing: Pacing::default(),
            };
            encode(&message).unwrap().len()
        };
        let placed = |layer: u32| {
            let map: Vec<u32> = (0..320).map(|slot| (slot + layer) % 256).collect();
            let json = format!("{{\"physical_to_logical_map\": {map:?}}}");
            Arc::new(Placement::from_json(&json, "any", &cluster, 256).unwrap())
        };
        let each = bytes(LayerPlacements::new(0, (0..61).map(placed)));
        let alike = bytes(StackSetup::linear(&stack, &cluster).unwrap());
        // Of 64 MB that a message may have.
        assert!(alike < 20_000 && each < 2_000_000, "{alike} and {each} bytes");
    }
}

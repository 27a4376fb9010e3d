//! A setup with what all its ranks derive from it: who sends to whom in which layer, and which layers a stage has.

use super::{Setup, SetupError};
use crate::nic::FlowPeers;
use crate::program::{Program, StackProgram, Stop, layer_at, moe_layer};
use crate::wire::{Flow, Phase};
use moe::placement::{LayerPlacements, Placement, WeightMove};
use moe::plan::Flows;
use moe::stack::{Stack, Stage};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use topology::{Cluster, RankId};

/// A setup with what all ranks of a stage derive from it, made once for a process.
#[derive(Debug)]
pub struct PreparedRun {
    setup: Arc<Setup>,
    cluster: Arc<Cluster>,
    /// Layers with tokens; none where weights move.
    placed: Option<Placed>,
    /// Index of each rank's first token over all ranks; none where tokens come with batches.
    first_token: Vec<u32>,
    /// Who sends weights to whom, by round.
    rounds: Vec<MoveFlows>,
    /// In a run of a whole model, the stage that this is of.
    stage: Option<OwnStage>,
    /// The program, stop by stop.
    stops: Vec<Stop>,
}

/// The run's layer, or all layers of a stage.
#[derive(Debug)]
struct Placed {
    placements: LayerPlacements,
    /// Those of each distinct placement; many have the same.
    flows: Vec<Arc<Flows>>,
}

/// A stage, and who hands states to whom: `[num_ranks]` each.
#[derive(Debug)]
struct OwnStage {
    stage: u32,
    next: Vec<RankId>,
    before: Vec<RankId>,
}

/// Flows of a round of weight moves.
#[derive(Debug)]
struct MoveFlows {
    to: Peers,
    from: Peers,
}

/// The peers of those ranks that have any: rank `ranks[i]` has `peers[i]`, ascending by both. A round may be of a few ranks among
/// thousands.
#[derive(Debug)]
struct Peers {
    ranks: Vec<RankId>,
    peers: Vec<RankId>,
}

impl Peers {
    fn new(pairs: impl Iterator<Item = (RankId, RankId)>) -> Self {
        let (ranks, peers) = pairs.collect::<BTreeSet<_>>().into_iter().unzip();
        Self { ranks, peers }
    }

    fn of(&self, me: RankId) -> &[RankId] {
        let before = |last: bool| self.ranks.partition_point(|&rank| rank < me || (last && rank == me));
        &self.peers[before(false)..before(true)]
    }
}

impl MoveFlows {
    fn new(moves: &[WeightMove]) -> Self {
        let to = Peers::new(moves.iter().map(|weights| (weights.from, weights.to)));
        Self { to, from: Peers::new(moves.iter().map(|weights| (weights.to, weights.from))) }
    }
}

impl Placed {
    fn new(setup: &Setup, placements: LayerPlacements, members: Range<u32>) -> Self {
        let mut flows: Vec<Arc<Flows>> = Vec::new();
        for placement in placements.distinct() {
            let made = Flows::among(setup.scheme, &setup.cluster, placement, members.clone());
            // On the ranks of a stage most placements have experts everywhere, and so the same flows.
            let known = flows.iter().find(|known| ***known == made).cloned();
            flows.push(known.unwrap_or_else(|| Arc::new(made)));
        }
        Self { placements, flows }
    }
}

impl OwnStage {
    fn new(stack: &Stack, stage: u32, cluster: &Cluster) -> Self {
        let neighbours = |steps: u32| {
            let neighbour = |rank| stack.rank_at(stack.stage_of(rank) + steps, stack.column_of(rank));
            cluster.ranks().map(neighbour).collect()
        };
        Self { stage, next: neighbours(1), before: neighbours(stack.num_stages() - 1) }
    }
}

impl PreparedRun {
    /// Derives flows and token numbers for the ranks of a stage; of all programs but a whole model's there is stage 0 alone.
    ///
    /// # Errors
    /// As [`Setup::validate_stage`].
    pub fn new(setup: Arc<Setup>, stage: u32) -> Result<Self, SetupError> {
        setup.validate_stage(stage)?;
        let (mut placed, mut first_token, mut rounds, mut own) = (None, Vec::new(), Vec::new(), None);
        let ranks = setup.cluster.num_ranks();
        match &setup.program {
            Program::Layer(layer) => {
                let counted = layer.tokens.iter().scan(0_u32, |sum, tokens| {
                    let first = *sum;
                    *sum = sum.wrapping_add(*tokens);
                    Some(first)
                });
                first_token = counted.collect();
                let placements = LayerPlacements::new(layer.layer.into(), [Arc::clone(&layer.placement)]);
                placed = Some(Placed::new(&setup, placements, 0..ranks));
            }
            Program::Moves(moves) => {
                rounds = moves.rounds.iter().map(|moves| MoveFlows::new(moves)).collect();
            }
            Program::Stack(StackProgram { stack, placements, .. }) => {
                let Stage { layers, ranks } = stack.stages()[stage as usize].clone();
                placed = Some(Placed::new(&setup, placements.part(layers), ranks));
                own = Some(OwnStage::new(stack, stage, &setup.cluster));
            }
        }
        let flows = placed.as_ref().and_then(|placed| placed.flows.first());
        let cluster =
            flows.map_or_else(|| Arc::new(setup.cluster.clone()), |flows| Arc::clone(flows.cluster()));
        let stops = setup.program.stops();
        Ok(Self { setup, cluster, placed, first_token, rounds, stage: own, stops })
    }

    /// The model and the stage of it that this is; `None` in another program.
    #[must_use]
    pub fn stage(&self) -> Option<(&Stack, u32)> {
        Some((self.setup.program.stack()?, self.stage.as_ref()?.stage))
    }

    /// What frames of a step carry, for a half of its batch; in a whole model the layer is each stop's ([`Self::layer_on_frames`]).
    #[must_use]
    pub fn flow(&self, step: u32, half: u16) -> Flow {
        let Setup { cluster_id, run, epoch, .. } = *self.setup;
        Flow { cluster: cluster_id, run, epoch, step, micro_batch: half, layer: self.layer() }
    }

    /// The one layer whose tokens or weights travel; 0 in a whole model.
    fn layer(&self) -> u16 {
        match &self.setup.program {
            Program::Layer(layer) => layer.layer,
            Program::Moves(moves) => moves.layer,
            Program::Stack(_) => 0,
        }
    }

    /// The stops of a step, in order.
    pub(crate) fn stops(&self) -> &[Stop] {
        &self.stops
    }

    /// Whether rows travel, or experts compute, in this stage at a stop.
    #[must_use]
    pub fn takes_part(&self, stop: Stop) -> bool {
        let Some((stack, stage)) = self.stage() else { return true };
        match stop.phase {
            Phase::Dispatch | Phase::Expert | Phase::Combine => moe_layer(stack, stage, stop.layer).is_some(),
            Phase::Local | Phase::Hop => true,
        }
    }

    /// The layer on the frames of a stop: the stage's own, or one more than all where there is none.
    #[must_use]
    pub fn layer_on_frames(&self, stop: Stop) -> u16 {
        let Some((stack, stage)) = self.stage() else { return self.layer() };
        let layer = layer_at(stack, stage, stop.layer).unwrap_or_else(|| stack.model.num_layers());
        u16::try_from(layer).expect("layers are bounded")
    }

    /// The setup itself.
    #[must_use]
    pub fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }

    /// The racks.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    fn placed(&self) -> &Placed {
        self.placed.as_ref().expect("tokens travel in layers that are placed")
    }

    /// Which slot holds which expert of a layer, by its number on frames.
    ///
    /// # Panics
    /// If the layer is not of this run, or of this stage.
    #[must_use]
    pub fn placement(&self, layer: u16) -> &Placement {
        self.placed().placements.of(layer.into())
    }

    /// Which ranks may send to which in a layer, by its number on frames.
    ///
    /// # Panics
    /// As [`Self::placement`].
    #[must_use]
    pub fn flows(&self, layer: u16) -> &Flows {
        let Placed { placements, flows } = self.placed();
        &flows[placements.index_of(layer.into())]
    }

    /// Who `me` sends to and hears from in a phase of the step and layer of `flow`.
    ///
    /// # Panics
    /// If the rank is not in the cluster, or rows travel in a layer that is not of this run or stage.
    #[must_use]
    pub fn peers(&self, me: RankId, flow: Flow, phase: Phase) -> FlowPeers<'_> {
        if let (Phase::Hop, Some(own)) = (phase, &self.stage) {
            let one = |ranks| std::slice::from_ref::<RankId>(&Vec::as_slice(ranks)[me.0 as usize]);
            return FlowPeers { to: one(&own.next), from: one(&own.before) };
        }
        match (phase, self.rounds.get(flow.step as usize)) {
            (Phase::Dispatch, Some(round)) => FlowPeers { to: round.to.of(me), from: round.from.of(me) },
            (Phase::Dispatch | Phase::Combine, _) if self.placed.is_some() => {
                let flows = self.flows(flow.layer);
                let (downstream, upstream) = (flows.downstream(me), flows.upstream(me));
                if phase == Phase::Dispatch {
                    FlowPeers { to: downstream, from: upstream }
                } else {
                    FlowPeers { to: upstream, from: downstream }
                }
            }
            _ => FlowPeers { to: &[], from: &[] },
        }
    }

    /// The stable sequence number of a rank's first token: its index over all ranks.
    ///
    /// # Panics
    /// If the rank is not in the cluster.
    #[must_use]
    pub fn first_token(&self, rank: RankId) -> u32 {
        self.first_token[rank.0 as usize]
    }
}

//! A setup with what all its ranks derive from it: who sends to whom in which layer, and which layers a stage has.

use super::{RunSetup, SetupError};
use crate::nic::FlowPeers;
use crate::stack::{StageSetup, Stop, layer_at, moe_layer};
use crate::wire::{Flow, Phase};
use moe::placement::{LayerPlacements, Placement, WeightMove};
use moe::plan::Flows;
use moe::stack::Stack;
use std::collections::BTreeSet;
use std::sync::Arc;
use topology::{Cluster, RankId};

/// A setup with what all its ranks derive from it, made once for a process.
#[derive(Debug)]
pub struct PreparedRun {
    setup: Arc<RunSetup>,
    /// Of the run's layer, or of all layers of a stage.
    placements: LayerPlacements,
    /// Those of each distinct placement; many have the same.
    flows: Vec<Arc<Flows>>,
    /// Index of each rank's first token over all ranks.
    first_token: Vec<u32>,
    /// Who sends weights to whom, by round.
    rounds: Vec<MoveFlows>,
    /// In a run of a whole model, the stage that the setup is of.
    stage: Option<OwnStage>,
}

/// A stage, and who hands states to whom: `[num_ranks]` each.
#[derive(Debug)]
struct OwnStage {
    stack: Stack,
    stage: u32,
    next: Vec<RankId>,
    before: Vec<RankId>,
}

/// Flows of a round of weight moves: `[num_ranks]`, each list ascending.
#[derive(Debug)]
struct MoveFlows {
    to: Vec<Vec<RankId>>,
    from: Vec<Vec<RankId>>,
}

impl MoveFlows {
    fn new(num_ranks: u32, moves: &[WeightMove]) -> Self {
        let mut flows =
            Self { to: vec![Vec::new(); num_ranks as usize], from: vec![Vec::new(); num_ranks as usize] };
        let pairs: BTreeSet<_> = moves.iter().map(|weights| (weights.from, weights.to)).collect();
        for (from, to) in pairs {
            flows.to[from.0 as usize].push(to);
            flows.from[to.0 as usize].push(from);
        }
        flows
    }
}

impl PreparedRun {
    /// Derives flows and token numbers.
    ///
    /// # Errors
    /// As [`RunSetup::validate`].
    pub fn new(setup: Arc<RunSetup>) -> Result<Self, SetupError> {
        setup.validate()?;
        let counted = setup.tokens.iter().scan(0_u32, |sum, tokens| {
            let first = *sum;
            *sum = sum.wrapping_add(*tokens);
            Some(first)
        });
        let rounds = setup.moves.iter().map(|moves| MoveFlows::new(setup.cluster.num_ranks(), moves));
        let (first_token, rounds) = (counted.collect(), rounds.collect());
        let layer = u32::from(setup.layer);
        let placements = LayerPlacements::alike(layer..layer + 1, setup.placement.clone());
        let flows = vec![Arc::new(setup.flows())];
        Ok(Self { placements, flows, first_token, rounds, stage: None, setup })
    }

    /// Derives the flows of a stage of a whole model.
    ///
    /// # Errors
    /// As [`RunSetup::validate_stage`].
    pub fn of_stage(setup: Arc<RunSetup>, own: &StageSetup) -> Result<Self, SetupError> {
        setup.validate_stage(own)?;
        let StageSetup { stack, stage, placements } = own;
        let members = stack.stages()[*stage as usize].ranks.clone();
        let mut flows: Vec<Arc<Flows>> = Vec::new();
        for placement in placements.distinct() {
            let made = Flows::among(setup.scheme, &setup.cluster, placement, members.clone());
            // On the ranks of a stage most placements have experts everywhere, and so the same flows.
            let known = flows.iter().find(|known| ***known == made).cloned();
            flows.push(known.unwrap_or_else(|| Arc::new(made)));
        }
        let (stages, ranks) = (stack.num_stages(), setup.cluster.ranks());
        let neighbours = |steps: u32| {
            let neighbour = |rank| stack.rank_at(stack.stage_of(rank) + steps, stack.column_of(rank));
            ranks.clone().map(neighbour).collect()
        };
        let (next, before) = (neighbours(1), neighbours(stages - 1));
        let stage = Some(OwnStage { stack: stack.clone(), stage: *stage, next, before });
        let (placements, first_token, rounds) = (placements.clone(), Vec::new(), Vec::new());
        Ok(Self { placements, flows, first_token, rounds, stage, setup })
    }

    /// The model and the stage of it that this is; `None` in a run of one layer.
    #[must_use]
    pub fn stage(&self) -> Option<(&Stack, u32)> {
        self.stage.as_ref().map(|own| (&own.stack, own.stage))
    }

    /// Whether rows travel, or experts compute, in this stage at a stop.
    #[must_use]
    pub fn takes_part(&self, stop: Stop) -> bool {
        let Some(own) = &self.stage else { return true };
        match stop.phase {
            Phase::Dispatch | Phase::Expert | Phase::Combine => {
                moe_layer(&own.stack, own.stage, stop.layer).is_some()
            }
            Phase::Local | Phase::Hop => true,
        }
    }

    /// The layer on the frames of a stop: the stage's own, or one more than all where there is none.
    #[must_use]
    pub fn layer_on_frames(&self, stop: Stop) -> u16 {
        let Some(own) = &self.stage else { return self.setup.layer };
        let layer = layer_at(&own.stack, own.stage, stop.layer).unwrap_or(own.stack.model.num_layers);
        u16::try_from(layer).expect("layers are bounded")
    }

    /// The setup itself.
    #[must_use]
    pub fn setup(&self) -> &Arc<RunSetup> {
        &self.setup
    }

    /// The racks.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        self.flows[0].cluster()
    }

    /// Which slot holds which expert of a layer, by its number on frames.
    ///
    /// # Panics
    /// If the layer is not of this run, or of this stage.
    #[must_use]
    pub fn placement(&self, layer: u16) -> &Placement {
        self.placements.of(layer.into())
    }

    /// Which ranks may send to which in a layer, by its number on frames.
    ///
    /// # Panics
    /// As [`Self::placement`].
    #[must_use]
    pub fn flows(&self, layer: u16) -> &Flows {
        &self.flows[self.placements.index_of(layer.into())]
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
        let (tokens, at) = (self.rounds.is_empty(), me.0 as usize);
        match (phase, self.rounds.get(flow.step as usize)) {
            (Phase::Dispatch, Some(round)) => FlowPeers { to: &round.to[at], from: &round.from[at] },
            (Phase::Dispatch | Phase::Combine, _) if tokens => {
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

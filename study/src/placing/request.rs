//! What it takes to place the experts of a layer, and the demand that policies are given.

use super::PlacementChoice;
use moe::placement::{Demand, Picks};
use moe::{
    GateLimit, LayerShape, Placement, PlacementError, RecordedRows, Router, Routing, RoutingError,
    RoutingSpec,
};
use std::ops::Range;
use thiserror::Error;
use topology::{Cluster, RankId};

/// Experts that are to be placed, and what will be asked of them.
#[derive(Clone, Debug)]
pub struct PlacementRequest<'a> {
    /// The layer.
    pub shape: &'a LayerShape,
    /// What picks experts.
    pub routing: &'a RoutingSpec,
    /// Tokens of each rank, or their mean.
    pub tokens: u32,
    /// Seeds of the routing.
    pub seeds: &'a [u64],
    /// Steps that count, where the routing changes from step to step.
    pub steps: Range<u32>,
    /// Slots over all ranks; `None` is one an expert, or as many as the placement has of itself.
    pub slots: Option<u32>,
}

/// Why experts can't be placed.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// Experts, slots and racks don't fit each other.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// No demand can be known.
    #[error(transparent)]
    Routing(#[from] RoutingError),
}

impl PlacementRequest<'_> {
    /// The placement of `choice` on `cluster` for `layer`, whose popular experts follow from it and the seed.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn place(
        &self,
        choice: &PlacementChoice,
        cluster: &Cluster,
        layer: u32,
    ) -> Result<Placement, PlaceError> {
        let policy = choice.policy().map_err(PlacementError::from)?;
        let demand = if policy.is_for_demand() {
            self.demand(cluster, layer)?
        } else {
            Demand::even(cluster, self.shape.num_experts).of_layer(layer)
        };
        Ok(Placement::by(policy, cluster, self.slots, &demand)?)
    }

    /// What the routing asks of the experts of `layer`, known from its distribution: exactly where all experts are alike, for recorded loads
    /// and for a trace (all its rows, from every rank), else from tokens that neither the run nor the expectations have. Gate limits are left out, for
    /// their groups come from the placement.
    fn demand(&self, cluster: &Cluster, layer: u32) -> Result<Demand, PlaceError> {
        let (experts, top_k) = (self.shape.num_experts, self.shape.top_k);
        let ranks = cluster.num_ranks();
        let picks: Vec<u32> = match self.routing {
            RoutingSpec::Uniform | RoutingSpec::Model | RoutingSpec::Loads(_) => Vec::new(),
            RoutingSpec::Rows(rows) => rows.idx.clone(),
            _ => {
                // Ranks from 2n on: those of the run are below n, those of the expectations below 2n.
                let sampled = sample(self, ranks, None, ranks.saturating_mul(2), layer)?;
                sampled
                    .routings
                    .iter()
                    .flatten()
                    .flat_map(|routing| routing.topk_idx.iter().copied())
                    .collect()
            }
        };
        let mut load = vec![u64::from(picks.is_empty()); experts as usize];
        if let RoutingSpec::Loads(loads) = self.routing {
            load = loads.of(layer).to_vec();
        }
        for &expert in &picks {
            load[expert as usize] += 1;
        }
        // No routing has picks that depend on the rank: each rack wants them in proportion to the tokens that it has.
        let tokens = self.routing.tokens(ranks, self.tokens, self.seeds.first().copied().unwrap_or(1), 0);
        let of_rack =
            |rack| -> u64 { cluster.ranks_in(rack).map(|rank| u64::from(tokens[rank.0 as usize])).sum() };
        let by_rack =
            cluster.racks().map(|rack| load.iter().map(|&picks| picks * of_rack(rack)).collect()).collect();
        let groups = self.shape.gate.n_group.max(1);
        let demand = Demand::new(load, top_k).from_racks(by_rack)?.in_groups(groups).of_layer(layer);
        // Experts that pass a token on are no part of what such a demand can say, and it says so.
        let gated = matches!(self.routing, RoutingSpec::Model | RoutingSpec::Loads(_));
        if gated || self.shape.zero_experts > 0 {
            return Ok(demand.under(&self.shape.selection())?);
        }
        if picks.is_empty() {
            return Ok(demand);
        }
        Ok(demand.with_picks(Picks { top_k, experts: picks, racks: None })?)
    }
}

/// Least number of tokens behind a Monte Carlo expectation, over all seeds.
const MONTE_CARLO_TOKENS: u32 = 20_000;

/// Sampled routings.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) num_ranks: u32,
    pub(crate) limit: Option<GateLimit>,
    /// By seed and step that differs, then by rank.
    pub(crate) routings: Vec<Vec<Routing>>,
}

/// Tokens of the same distribution that are not in the run of `ranks` ranks: those of as many ranks from `first` on, which
/// is beyond them; in `layer`. For a trace, every row at every rank.
pub(crate) fn sample(
    asked: &PlacementRequest<'_>,
    ranks: u32,
    limit: Option<&GateLimit>,
    first: u32,
    layer: u32,
) -> Result<Sample, RoutingError> {
    let routings = if let RoutingSpec::Rows(rows) = asked.routing {
        vec![vec![every_row(rows); ranks as usize]]
    } else {
        let (seeds, steps) = (u32::try_from(asked.seeds.len()).unwrap_or(u32::MAX), asked.steps.clone());
        let tokens = MONTE_CARLO_TOKENS.div_ceil(seeds).div_ceil(ranks).div_ceil(steps.end - steps.start);
        let mut sampled = Vec::new();
        for &seed in asked.seeds {
            let router = Router::new(asked.shape, asked.routing, limit, seed, layer)?;
            let of_ranks = asked.routing.tokens(ranks, tokens, seed, 0);
            sampled.extend(steps.clone().map(|step| -> Vec<Routing> {
                (first..)
                    .zip(&of_ranks)
                    .map(|(rank, &tokens)| router.route(step, RankId(rank), tokens))
                    .collect()
            }));
        }
        sampled
    };
    Ok(Sample { num_ranks: ranks, limit: limit.cloned(), routings })
}

fn every_row(rows: &RecordedRows) -> Routing {
    Routing { top_k: rows.top_k, topk_idx: rows.idx.clone(), topk_weights: rows.weights.clone() }
}

//! Loads drawn from any routing, with the picks they are made of.

use std::ops::Range;

use super::picks::{Gathered, PickedRow};
use super::{ExpertLoad, LoadError, MAX_LOAD_LAYERS};
use crate::routing::{MAX_RECORDED_ROWS, Router, RoutingSpec};
use crate::shape::LayerShape;
use topology::RankId;

/// What to draw: the same picks as a run of the same spec, seed, layer, step and rank makes.
#[derive(Clone, Debug)]
pub struct Sampling<'a> {
    /// The layer; all are alike.
    pub shape: &'a LayerShape,
    /// Where routing comes from.
    pub spec: &'a RoutingSpec,
    /// Seed of the run.
    pub seed: u64,
    /// Number of layers, from 0.
    pub layers: u32,
    /// Steps to draw loads of; a step matters to routings that drift.
    pub steps: Range<u32>,
    /// Number of ranks, from 0.
    pub ranks: u32,
    /// Tokens of each rank and step, unless a workload has them otherwise.
    pub tokens: u32,
}

impl ExpertLoad {
    /// Draws loads; rows know their rank and step.
    ///
    /// # Errors
    /// [`LoadError::Routing`] where shape and spec don't fit, [`LoadError::Size`] for none or too many rows.
    pub fn sampled(sampling: &Sampling<'_>) -> Result<Self, LoadError> {
        let Sampling { shape, spec, seed, ref steps, ranks, tokens, .. } = *sampling;
        let origin = "sampled loads";
        let size = |problem: String| LoadError::Size { origin: origin.to_owned(), problem };
        if sampling.layers as usize > MAX_LOAD_LAYERS {
            return Err(size(format!("{} layers", sampling.layers)));
        }
        if ranks > topology::MAX_RANKS {
            return Err(size(format!("{ranks} ranks, more than {}", topology::MAX_RANKS)));
        }
        if shape.zero_experts > 0 {
            return Err(size("picks of experts that pass a token on; give a layer without".to_owned()));
        }
        let (mut gathered, mut rows) = (Gathered::default(), 0_u64);
        for layer in 0..sampling.layers {
            let router = Router::new(shape, spec, None, seed, layer)?;
            for step in steps.clone() {
                for (rank, tokens) in (0..).zip(spec.tokens(ranks, tokens, seed, step)) {
                    // Before they are drawn.
                    rows += u64::from(tokens);
                    if rows > MAX_RECORDED_ROWS as u64 {
                        return Err(size(format!("more than {MAX_RECORDED_ROWS} rows")));
                    }
                    let routing = router.route(step, RankId(rank), tokens);
                    for token in 0..tokens {
                        let (experts, weights) = routing.token(token);
                        let experts: Vec<i64> = experts.iter().map(|&expert| expert.into()).collect();
                        let row = PickedRow {
                            experts: &experts,
                            weights: Some(weights),
                            rank: Some(rank),
                            step: Some(step.into()),
                        };
                        gathered.push((0, layer), &row).map_err(size)?;
                    }
                }
            }
        }
        gathered.finish(Some(shape.num_experts), origin)
    }
}

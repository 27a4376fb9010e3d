//! Which experts each token goes to: the router, made once per layer from a gate, a distribution or a recorded trace.

mod error;
mod limit;
mod recorded;
mod sampling;

use serde::{Deserialize, Serialize};
use topology::RankId;

pub use error::RoutingError;
pub use limit::GateLimit;
pub(crate) use recorded::first_repeated;
pub use recorded::{MAX_RECORDED_ROWS, RecordedRows};

use crate::gate::{GroupLimiter, SeededGate};
use crate::hidden::fill_hidden_state;
use crate::shape::LayerShape;
use sampling::{Sampler, log_normal_rarity, zipf_rarity};

/// Largest Zipf exponent.
pub const MAX_ZIPF_EXPONENT: f64 = 16.0;
/// Largest log-normal spread.
pub const MAX_LOG_NORMAL_SIGMA: f64 = 16.0;

/// The routing of some tokens of one rank: `top_k` experts and weights each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// Experts per token.
    pub top_k: u32,
    /// Logical experts, `[tokens, top_k]` by rows; distinct within a token.
    pub topk_idx: Vec<u32>,
    /// Weight of each expert's output, `[tokens, top_k]` by rows.
    pub topk_weights: Vec<f32>,
}

impl Routing {
    /// No tokens yet, with room for `tokens`.
    pub(crate) fn with_capacity(top_k: u32, tokens: usize) -> Self {
        let entries = tokens * top_k as usize;
        Self { top_k, topk_idx: Vec::with_capacity(entries), topk_weights: Vec::with_capacity(entries) }
    }

    /// Number of tokens.
    pub fn tokens(&self) -> u32 {
        self.topk_idx.len().checked_div(self.top_k as usize).unwrap_or(0) as u32
    }

    /// Experts and weights of token `t`.
    ///
    /// # Panics
    /// If `t` is not below [`Routing::tokens`].
    pub fn token(&self, t: u32) -> (&[u32], &[f32]) {
        let (t, k) = (t as usize, self.top_k as usize);
        (&self.topk_idx[t * k..(t + 1) * k], &self.topk_weights[t * k..(t + 1) * k])
    }
}

/// Where the routing comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RoutingSpec {
    /// The layer's gate with seeded weights on seeded hidden states.
    Gate,
    /// `top_k` distinct experts, every set equally likely.
    Uniform,
    /// Experts drawn one after the other without replacement, the r-th most popular in proportion to
    /// `1 / r^exponent`; which expert is the r-th is drawn by (seed, layer).
    Zipf {
        /// At least 0 (uniform) and at most [`MAX_ZIPF_EXPONENT`].
        exponent: f64,
    },
    /// As [`RoutingSpec::Zipf`] with popularities `exp(sigma * z)`, `z` standard normal per expert.
    LogNormal {
        /// At least 0 (uniform) and at most [`MAX_LOG_NORMAL_SIGMA`].
        sigma: f64,
    },
    /// Rows of a recorded trace, from a seeded first row on and round again.
    Rows(RecordedRows),
}

/// Routes the tokens of any rank through one layer.
///
/// Deterministic per (seed, layer, rank, token), and independent of other tokens; only a recorded trace also
/// depends on the number of tokens a rank has.
#[derive(Debug)]
pub struct Router {
    hidden: u32,
    seed: u64,
    layer: u32,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Gate(SeededGate),
    Distribution(Sampler),
    Recorded(RecordedRows),
}

impl Router {
    /// Makes the router of `layer`, once for all ranks. A gate's weights take `num_experts * hidden` f32.
    ///
    /// `limit` narrows the experts of each token before the model's own gate (and its own groups) chooses among
    /// them: for [`RoutingSpec::Gate`] the groups with the largest sums of their `top_k / limit` (at least 1) best
    /// selection scores stay, for a distribution `limit` groups that are drawn, all alike.
    ///
    /// # Errors
    /// [`RoutingError`] where the shape, the source and the limit don't fit each other.
    pub fn new(
        shape: &LayerShape,
        spec: &RoutingSpec,
        limit: Option<&GateLimit>,
        seed: u64,
        layer: u32,
    ) -> Result<Self, RoutingError> {
        shape.validate()?;
        let (experts, top_k) = (shape.num_experts, shape.top_k);
        let groups = match limit {
            Some(limit) => limit.members(experts, top_k)?.map(|members| (members, limit.limit)),
            None => None,
        };
        let source = match spec {
            RoutingSpec::Gate => {
                let limiter =
                    groups.map(|(members, keep)| GroupLimiter::new(members, keep, top_k / keep, top_k));
                Source::Gate(SeededGate::new(shape, limiter, seed, layer))
            }
            RoutingSpec::Uniform => Source::Distribution(Sampler::new(experts, top_k, None, groups)),
            &RoutingSpec::Zipf { exponent } => {
                in_range("zipf exponent", exponent, MAX_ZIPF_EXPONENT)?;
                let rarity = zipf_rarity(experts, exponent, seed, layer);
                Source::Distribution(Sampler::new(experts, top_k, Some(rarity), groups))
            }
            &RoutingSpec::LogNormal { sigma } => {
                in_range("log-normal sigma", sigma, MAX_LOG_NORMAL_SIGMA)?;
                let rarity = log_normal_rarity(experts, sigma, seed, layer);
                Source::Distribution(Sampler::new(experts, top_k, Some(rarity), groups))
            }
            RoutingSpec::Rows(rows) => {
                if limit.is_some() {
                    return Err(RoutingError::LimitOnTrace);
                }
                if rows.top_k != top_k {
                    return Err(RoutingError::Recorded {
                        problem: format!("top_k = {} in the trace, {top_k} in the layer", rows.top_k),
                        remedy: "replay the trace on the model it was recorded from".to_owned(),
                    });
                }
                rows.validate(experts)?;
                Source::Recorded(rows.clone())
            }
        };
        Ok(Self { hidden: shape.hidden, seed, layer, source })
    }

    /// Routes tokens `0..tokens` of `rank`; a gate generates their hidden states itself.
    pub fn route(&self, rank: RankId, tokens: u32) -> Routing {
        match &self.source {
            Source::Gate(gate) => self.route_seeded(gate, rank, tokens),
            Source::Distribution(sampler) => sampler.route(self.seed, self.layer, rank, tokens),
            Source::Recorded(rows) => rows.route(self.seed, self.layer, rank, tokens),
        }
    }

    /// A gate on seeded hidden states, of which only a block is held at a time.
    fn route_seeded(&self, gate: &SeededGate, rank: RankId, tokens: u32) -> Routing {
        let mut routing = Routing::with_capacity(gate.top_k(), tokens as usize);
        let mut state = vec![0.0; SeededGate::BLOCK * self.hidden as usize];
        for first in (0..tokens).step_by(SeededGate::BLOCK) {
            let block = (tokens - first).min(SeededGate::BLOCK as u32);
            let rows = &mut state[..block as usize * self.hidden as usize];
            for (token, row) in (first..).zip(rows.chunks_exact_mut(self.hidden as usize)) {
                fill_hidden_state(self.seed, self.layer, rank, token, row);
            }
            gate.route(rows, &mut routing);
        }
        routing
    }

    /// Routes tokens of `rank` whose hidden `states`, `[tokens, hidden]` by rows, are at hand; equal to
    /// [`Router::route`] where they are the seeded ones. Only a gate looks at their values.
    pub fn route_states(&self, rank: RankId, states: &[f32]) -> Routing {
        match &self.source {
            Source::Gate(gate) => {
                let mut routing = Routing::with_capacity(gate.top_k(), states.len() / self.hidden as usize);
                gate.route(states, &mut routing);
                routing
            }
            _ => self.route(rank, (states.len() / self.hidden as usize) as u32),
        }
    }
}

fn in_range(name: &'static str, value: f64, max: f64) -> Result<(), RoutingError> {
    // A NaN is in no range.
    if (0.0..=max).contains(&value) { Ok(()) } else { Err(RoutingError::Parameter { name, value, max }) }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

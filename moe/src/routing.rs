//! Which experts each token goes to: the router, made once per layer from a gate, a distribution or a recorded trace.

mod choice;
mod error;
mod limit;
mod loads;
mod recorded;
mod sampling;
mod seeded;
mod shuffle;
mod workload;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use topology::RankId;

pub use crate::topk::Routing;
pub use choice::{DEFAULT_DRIFT_PERIOD, RoutingChoice};
pub use error::RoutingError;
pub use limit::GateLimit;
pub use loads::RecordedLoads;
pub(crate) use recorded::first_repeated;
pub use recorded::{MAX_RECORDED_ROWS, RecordedRows};
pub use workload::{BURST_FACTOR, BURST_PERIOD, HOT_SET_DIVISOR, HOT_SHARE, IDLE_DIVISOR, Workload};

use crate::gate::{DrawnGate, GroupLimiter};
use crate::hidden::fill_hidden_state;
use crate::ids::TokenId;
use crate::names::TokenShare;
use crate::shape::LayerShape;
use sampling::{Popularity, Sampler, log_normal_rarity, power_law_rarity, zipf_rarity};
use seeded::SeededGate;

/// Largest Zipf exponent.
pub const MAX_ZIPF_EXPONENT: f64 = 16.0;
/// Largest log-normal spread.
pub const MAX_LOG_NORMAL_SIGMA: f64 = 16.0;
/// Smallest and largest exponent of the power law.
pub const POWER_LAW_ALPHAS: (f64, f64) = (0.1, 16.0);
/// Most steps of a period of drifting routing.
pub const MAX_DRIFT_PERIOD: u32 = 1_000_000;

/// Where the routing comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RoutingSpec {
    /// The layer's gate with seeded weights on seeded hidden states.
    Gate,
    /// `top_k` distinct experts, every set equally likely, whatever limits the layer's gate has.
    Uniform,
    /// The layer's gate on drawn scores, all experts alike ([`GateSpec::selection`](crate::gate::GateSpec::selection)); for a gate
    /// without limits what [`RoutingSpec::Uniform`] is.
    Model,
    /// The layer's gate on drawn scores, the r-th most popular expert with a popularity of `1 / r^exponent`; which expert is the
    /// r-th is drawn by (seed, layer). For a gate without limits this is one draw after the other without replacement, each in
    /// proportion to popularity.
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
    /// As [`RoutingSpec::Zipf`] with the popularities that give each expert its recorded share of the picks.
    Loads(RecordedLoads),
    /// As [`RoutingSpec::Zipf`] with Pareto-distributed popularities per expert, `P(popularity > x) = x^-alpha`: the
    /// smaller `alpha`, the heavier a few experts.
    PowerLaw {
        /// Within [`POWER_LAW_ALPHAS`].
        alpha: f64,
    },
    /// As [`RoutingSpec::Zipf`], but the order of the experts drifts: it is drawn anew for every `period` steps, and in
    /// between a popularity is the geometric mean of the two, weighted by the steps to each. Picks depend on the step.
    Drifting {
        /// As Zipf's.
        exponent: f64,
        /// Steps from one order to the next, 1 to [`MAX_DRIFT_PERIOD`].
        period: u32,
    },
    /// A named imbalance. Picks depend on the step; the tokens of each rank are [`Workload::tokens`].
    Workload {
        /// W0 to W7.
        workload: Workload,
        /// Ranks whose experts, linearly placed, are meant by "the experts of a rank": 1 to [`topology::MAX_RANKS`].
        ranks: u32,
    },
}

impl RoutingSpec {
    /// True if a token's experts are others at another step.
    #[must_use]
    pub const fn depends_on_step(&self) -> bool {
        matches!(self, Self::Drifting { .. } | Self::Workload { .. })
    }

    /// Tokens of each of `ranks` ranks at `step`: `base`, unless a workload has it otherwise. `[ranks]`.
    #[must_use]
    pub fn tokens(&self, ranks: u32, base: u32, seed: u64, step: u32) -> Vec<u32> {
        match self {
            Self::Workload { workload, .. } => workload.tokens(ranks, base, seed, step),
            _ => vec![base; ranks as usize],
        }
    }
}

/// Routes the tokens of any rank through one layer.
///
/// Deterministic per (seed, layer, rank, token), and independent of other tokens; drifting routing and workloads also
/// depend on the step, a recorded trace on the number of tokens a rank has.
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
    /// them: where scores decide, as for [`RoutingSpec::Gate`] and whatever asks a gate with limits, the groups with the largest
    /// sums of their `top_k / limit` (at least 1) best selection scores stay, else `limit` groups that are drawn, all alike.
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
        let excluded = match spec {
            &RoutingSpec::Workload { workload, ranks } => excluded(workload, ranks, shape, seed)?,
            _ => 0..0,
        };
        let groups = match limit {
            Some(limit) => limit.members(experts, top_k, &excluded)?.map(|members| (members, limit.limit)),
            None => None,
        };
        let alike = matches!(spec, RoutingSpec::Uniform | RoutingSpec::Model);
        if shape.zero_experts > 0 && (!alike || groups.is_some()) {
            return Err(RoutingError::ZeroExperts);
        }
        let scored = experts + shape.zero_experts;
        let pool = || (0..scored).filter(|expert| !excluded.contains(expert)).collect();
        let apart = |popularity, groups| {
            let (experts, weighted) = (pool(), experts);
            Source::Distribution(Sampler { experts, weighted, top_k, popularity, groups, gate: None })
        };
        if groups.is_some() && shape.gate.equal_shares && *spec != RoutingSpec::Uniform {
            return Err(RoutingError::Limit {
                field: "limit",
                value: "a gate with equal shares of each group".to_owned(),
                remedy: "no limit by racks, or routing uniform".to_owned(),
            });
        }
        let limiter = |(members, keep)| GroupLimiter::new(members, keep, top_k / keep, top_k);
        let rule = shape.selection();
        let sampled = |popularity, groups: Option<_>| {
            if rule.is_plain() {
                return apart(popularity, groups);
            }
            let gate = Some(DrawnGate::new(&rule, groups.map(limiter)));
            let (experts, weighted) = (pool(), experts);
            Source::Distribution(Sampler { experts, weighted, top_k, popularity, groups: None, gate })
        };
        let source = match spec {
            RoutingSpec::Gate => Source::Gate(SeededGate::new(shape, groups.map(limiter), seed, layer)),
            RoutingSpec::Uniform => apart(Popularity::Even, groups),
            RoutingSpec::Model => sampled(Popularity::Even, groups),
            &RoutingSpec::Zipf { exponent } => {
                in_range("zipf exponent", exponent, (0.0, MAX_ZIPF_EXPONENT))?;
                sampled(Popularity::Fixed(zipf_rarity(experts, exponent, seed, layer)), groups)
            }
            &RoutingSpec::LogNormal { sigma } => {
                in_range("log-normal sigma", sigma, (0.0, MAX_LOG_NORMAL_SIGMA))?;
                sampled(Popularity::Fixed(log_normal_rarity(experts, sigma, seed, layer)), groups)
            }
            &RoutingSpec::PowerLaw { alpha } => {
                in_range("power-law alpha", alpha, POWER_LAW_ALPHAS)?;
                sampled(Popularity::Fixed(power_law_rarity(experts, alpha, seed, layer)), groups)
            }
            RoutingSpec::Loads(loads) => sampled(Popularity::Fixed(loads.rarities(&rule, layer)?), groups),
            &RoutingSpec::Drifting { exponent, period } => {
                in_range("drifting exponent", exponent, (0.0, MAX_ZIPF_EXPONENT))?;
                in_range("drifting period", period.into(), (1.0, MAX_DRIFT_PERIOD.into()))?;
                sampled(Popularity::Drifting { num_experts: experts, exponent, period }, groups)
            }
            &RoutingSpec::Workload { workload, ranks } => {
                apart(Popularity::Workload { num_experts: experts, workload, ranks }, groups)
            }
            RoutingSpec::Rows(_) if limit.is_some() => return Err(RoutingError::LimitOnTrace),
            RoutingSpec::Rows(rows) => Source::Recorded(rows.fitting(shape)?),
        };
        Ok(Self { hidden: shape.hidden, seed, layer, source })
    }

    /// Routes tokens `0..tokens` of `rank` at `step`; a gate generates their hidden states itself.
    pub fn route(&self, step: u32, rank: RankId, tokens: u32) -> Routing {
        match &self.source {
            Source::Gate(gate) => self.route_seeded(gate, rank, tokens),
            Source::Distribution(sampler) => {
                let named = (0..tokens).map(|token| [rank.0.into(), token.into()]);
                sampler.route(self.seed, self.layer, step, named)
            }
            Source::Recorded(rows) => rows.route(self.seed, self.layer, rank, tokens),
        }
    }

    /// Routes tokens at `step` by their names, as [`Self::route`] does for whoever has those names.
    #[must_use]
    pub fn route_shares(&self, step: u32, shares: &[TokenShare]) -> Routing {
        if let [TokenShare { name, of, tokens }] = shares
            && *tokens == (0..*of)
        {
            return self.route(step, *name, *of);
        }
        let parts = shares.iter().map(|share| self.route(step, share.name, share.of).part(&share.tokens));
        parts.reduce(Routing::and).unwrap_or_else(|| self.route(step, RankId(0), 0))
    }

    /// Routes `tokens` at `step` by what they are, whatever rank and batch they are in: `states` are what the layer's experts get,
    /// `[tokens, hidden]` by rows, at which only a gate looks. Their number matters to no source of routing.
    ///
    /// # Panics
    /// If this is a gate and `states` has not a row for each token.
    pub fn route_tokens(&self, step: u32, tokens: &[TokenId], states: &[f32]) -> Routing {
        match &self.source {
            Source::Gate(gate) => {
                assert_eq!(states.len(), tokens.len() * self.hidden as usize, "a gate looks at states");
                let mut routing = Routing::with_capacity(gate.top_k(), tokens.len());
                gate.route(states, &mut routing);
                routing
            }
            Source::Distribution(sampler) => {
                let named = tokens.iter().map(|token| [token.sequence.into(), token.position.into()]);
                sampler.route(self.seed, self.layer, step, named)
            }
            Source::Recorded(rows) => rows.route_ids(self.seed, self.layer, tokens),
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
}

/// The experts that a workload never picks, once it is known that it can be made.
fn excluded(
    workload: Workload,
    ranks: u32,
    shape: &LayerShape,
    seed: u64,
) -> Result<Range<u32>, RoutingError> {
    let refuse = |problem: String, remedy: String| Err(RoutingError::Workload { workload, problem, remedy });
    if ranks == 0 || ranks > topology::MAX_RANKS {
        return refuse(format!("{ranks} ranks"), format!("give 1 to {} ranks", topology::MAX_RANKS));
    }
    let excluded = workload.excluded(shape.num_experts, ranks, seed);
    let left = shape.num_experts - excluded.len() as u32;
    if left < shape.top_k {
        let problem = format!("{left} experts are left of {} on {ranks} ranks", shape.num_experts);
        return refuse(problem, format!("give more ranks, or at most top-{left}"));
    }
    Ok(excluded)
}

fn in_range(name: &'static str, value: f64, (min, max): (f64, f64)) -> Result<(), RoutingError> {
    // A NaN is in no range.
    if (min..=max).contains(&value) { Ok(()) } else { Err(RoutingError::Parameter { name, value, min, max }) }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

//! What the gate in use leads one to expect: copies a token, and rows a slot, each with how it was computed.

use super::configuration::LAYER;
use super::{CompareError, CompareSpec, Configuration};
use crate::placing::{Sample, sample};
use blackboard::scale_up::{expected_copies, gate_copies};
use blackboard::{BlackboardError, CopiesPerToken};
use moe::{ExpertId, LayerShape, PlannedTraffic, Routing, RoutingSpec, RowBytes, plan_traffic};
use serde::{Deserialize, Serialize};
use topology::{LinkClass, busiest_port, rack_bytes};

/// How an expectation was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedKind {
    /// Exactly, for uniform routing.
    ClosedForm,
    /// Exactly, given how the picks of drawn tokens spread over the groups of the model's gate.
    GroupCounts,
    /// Mean over tokens that are not in the run, drawn from the same distribution.
    MonteCarlo,
    /// Exact mean over every recorded row at every source rank.
    TraceMean,
}

impl ExpectedKind {
    /// In words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::ClosedForm => "closed form of uniform routing",
            Self::GroupCounts => {
                "closed form for the model's gate, given how 65536 drawn tokens spread over its groups; standard error below 0.2%"
            }
            Self::MonteCarlo => "Monte Carlo of at least 20000 other tokens",
            Self::TraceMean => "mean over all recorded rows at every rank",
        }
    }
}

/// The expectation of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Copies of a token's row that leave a rank, forwarded hops included.
    pub copies: CopiesPerToken,
    /// Standard errors of `copies`, where tokens were drawn; `None` for more than 1,024 ranks.
    pub error: Option<CopiesPerToken>,
    /// What the busiest port of each kind carries, in copies a token of a rank, where experts are not alike.
    pub busiest: Option<CopiesPerToken>,
    /// What crosses for each rank of the rack whose uplink carries most, likewise.
    pub uplink: Option<f64>,
    /// How it was computed.
    pub kind: ExpectedKind,
    /// Rows of each slot in a step: `[num_slots]`.
    pub rows_per_slot: Vec<f64>,
}

/// Computes expectations, and keeps the sampled routings that rows with the same ranks and gate share.
#[derive(Debug)]
pub(super) struct Expectations<'a> {
    spec: &'a CompareSpec,
    sampled: Vec<Sample>,
}

impl<'a> Expectations<'a> {
    pub(super) fn new(spec: &'a CompareSpec) -> Self {
        Self { spec, sampled: Vec::new() }
    }

    /// The expectation of `row`.
    ///
    /// # Errors
    /// When routing can't be made.
    pub(super) fn of(&mut self, row: &Configuration) -> Result<Expected, CompareError> {
        let (scheme, cluster, placement) = (row.scheme, &row.cluster, &row.placement);
        let ranks = vec![1; cluster.num_ranks() as usize];
        let closed = match (&self.spec.routing, &row.limit) {
            (RoutingSpec::Uniform, Some(limit)) => {
                let top_k = self.spec.shape.top_k;
                let copies = expected_copies(scheme, cluster, placement, top_k, Some(limit), &ranks);
                Some((copies, ExpectedKind::ClosedForm))
            }
            (RoutingSpec::Uniform, None) => {
                let shape = LayerShape { gate: self.spec.shape.gate.unlimited(), ..self.spec.shape };
                let copies = gate_copies(scheme, cluster, placement, &shape.selection(), &ranks);
                Some((copies, ExpectedKind::ClosedForm))
            }
            (RoutingSpec::Model, None) => {
                let copies = gate_copies(scheme, cluster, placement, &self.spec.shape.selection(), &ranks);
                Some((copies, ExpectedKind::GroupCounts))
            }
            _ => None,
        };
        if let Some((copies, kind)) = closed {
            match copies {
                Ok(copies) => {
                    let rows_per_slot = self.even_rows(row);
                    let (error, busiest, uplink) = (None, None, None);
                    return Ok(Expected { copies, error, busiest, uplink, kind, rows_per_slot });
                }
                // Too many sets of groups to sum: sample them.
                Err(BlackboardError::GroupSets { .. } | BlackboardError::Terms { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.sampled_mean(row)
    }

    /// `T k / E` rows from each source that the slot serves, E all experts that can be picked.
    fn even_rows(&self, row: &Configuration) -> Vec<f64> {
        let share = self.spec.shape.selection().odds();
        reachable_tokens(self.spec, row).into_iter().map(|tokens| tokens * share).collect()
    }

    fn sampled_mean(&mut self, row: &Configuration) -> Result<Expected, CompareError> {
        let fits = |sample: &Sample| sample.num_ranks == row.cluster.num_ranks() && sample.limit == row.limit;
        let at = match self.sampled.iter().position(fits) {
            Some(at) => at,
            None => {
                let ranks = row.cluster.num_ranks();
                let asked = self.spec.asked_of_experts();
                self.sampled.push(sample(&asked, ranks, row.limit.as_ref(), ranks, LAYER.into())?);
                self.sampled.len() - 1
            }
        };
        let sample = &self.sampled[at];
        let (mut copies, mut rows_per_slot) =
            (CopiesPerToken::default(), vec![0.0; row.placement.num_slots() as usize]);
        let step_tokens = f64::from(self.spec.tokens) * f64::from(row.cluster.num_ranks());
        let alike = matches!(self.spec.routing, RoutingSpec::Uniform | RoutingSpec::Model);
        let mut busiest = (!alike).then(CopiesPerToken::default);
        let mut uplink = (!alike).then_some(0.0);
        for routings in &sample.routings {
            let bytes = RowBytes::new(self.spec.shape.hidden);
            let plan: PlannedTraffic =
                plan_traffic(row.scheme, &row.cluster, &row.placement, routings, bytes);
            let weight = 1.0 / (plan.tokens as f64 * sample.routings.len() as f64);
            copies.intra += plan.copies.intra as f64 * weight;
            copies.inter += plan.copies.inter as f64 * weight;
            if let Some(busiest) = &mut busiest {
                let of_rank = weight * f64::from(row.cluster.num_ranks()) / bytes.dispatch as f64;
                let most = |class| busiest_port(&plan.dispatch, &row.cluster, class) as f64 * of_rank;
                busiest.intra += most(LinkClass::ScaleUp);
                busiest.inter += most(LinkClass::ScaleOut);
                let racks = row.cluster.racks().zip(rack_bytes(&plan.dispatch, &row.cluster));
                let of_a_rank =
                    racks.map(|(rack, bytes)| bytes as f64 / f64::from(row.cluster.rack_size(rack)));
                uplink = uplink.map(|sum| sum + of_a_rank.fold(0.0, f64::max) * of_rank);
            }
            for (sum, &rows) in rows_per_slot.iter_mut().zip(&plan.rows_per_slot) {
                *sum += rows as f64 * weight * step_tokens;
            }
        }
        let (kind, error) = match self.spec.is_trace() {
            true => (ExpectedKind::TraceMean, None),
            false => (ExpectedKind::MonteCarlo, standard_error(row, sample)),
        };
        Ok(Expected { copies, error, busiest, uplink, kind, rows_per_slot })
    }
}

/// Batches whose means tell the standard error.
const BATCHES: usize = 20;
/// Most ranks for which it is told: a batch has a matrix of all pairs.
const ERROR_RANKS: u32 = 1024;

/// Standard errors of the mean copies of `sample`, by the method of batch means: the tokens of each rank are cut into batches, and the
/// variance of the mean is that of the batches' means over their number, steps and seeds apart.
fn standard_error(row: &Configuration, sample: &Sample) -> Option<CopiesPerToken> {
    let mut variance = CopiesPerToken::default();
    for routings in &sample.routings {
        let most = routings.iter().map(Routing::tokens).max().unwrap_or(0) as usize;
        let batches = BATCHES.min(most);
        if batches < 2 || sample.num_ranks > ERROR_RANKS {
            return None;
        }
        let means: Vec<CopiesPerToken> = (0..batches)
            .map(|batch| {
                let part: Vec<Routing> =
                    routings.iter().map(|routing| part_of(routing, batch, batches)).collect();
                let bytes = RowBytes::new(1);
                let plan = plan_traffic(row.scheme, &row.cluster, &row.placement, &part, bytes);
                let tokens = plan.tokens.max(1) as f64;
                CopiesPerToken {
                    intra: plan.copies.intra as f64 / tokens,
                    inter: plan.copies.inter as f64 / tokens,
                }
            })
            .collect();
        let of_mean = |value: fn(&CopiesPerToken) -> f64| {
            let count = batches as f64;
            let mean = means.iter().map(value).sum::<f64>() / count;
            let squares: f64 = means.iter().map(|batch| (value(batch) - mean).powi(2)).sum();
            squares / (count - 1.0) / count / (sample.routings.len() as f64).powi(2)
        };
        variance.intra += of_mean(|copies| copies.intra);
        variance.inter += of_mean(|copies| copies.inter);
    }
    Some(CopiesPerToken { intra: variance.intra.sqrt(), inter: variance.inter.sqrt() })
}

/// The tokens of one of `batches` equal parts.
fn part_of(routing: &Routing, batch: usize, batches: usize) -> Routing {
    let (tokens, k) = (routing.tokens() as usize, routing.top_k as usize);
    let entries = batch * tokens / batches * k..(batch + 1) * tokens / batches * k;
    Routing {
        top_k: routing.top_k,
        topk_idx: routing.topk_idx[entries.clone()].to_vec(),
        topk_weights: routing.topk_weights[entries].to_vec(),
    }
}

/// Tokens of a step that go to each slot if they go to its expert: those of its share in each rack.
pub(super) fn reachable_tokens(spec: &CompareSpec, row: &Configuration) -> Vec<f64> {
    let mut tokens = vec![0.0; row.placement.num_slots() as usize];
    for rack in row.cluster.racks() {
        let sent = f64::from(spec.tokens) * f64::from(row.cluster.rack_size(rack));
        for expert in (0..spec.shape.num_experts).map(ExpertId) {
            for (slot, share) in row.placement.choices(rack, expert) {
                tokens[slot.0 as usize] += sent * share;
            }
        }
    }
    tokens
}

//! What a configuration must yield for a seed: each pair's bytes, each token's digest, the error against float64.

use super::configuration::LAYER;
use super::{CompareError, CompareSpec, Configuration};
use crate::difference;
use coordinator::run::StepRecord;
use moe::reference::{FP8_TOLERANCE, float64, quantised, relative_rms_error};
use moe::{
    DispatchScheme, Experts, GateLimit, Placement, PlannedTraffic, Router, Routing, RowBytes, plan_traffic,
};
use node::digest::token_digest;
use node::wire::Phase;
use topology::{Cluster, TrafficMatrix};

/// What must come out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Truth {
    /// Planned bytes, copies and rows.
    pub(super) traffic: PlannedTraffic,
    /// Digest of each token's output, `[num_ranks][tokens]`; of no bytes without payload.
    pub(super) digests: Vec<Vec<u64>>,
    /// RMS difference of the quantised reference from float64 over the RMS of float64; `None` without payload.
    pub(super) error_rms: Option<f64>,
}

/// The truths of `rows` for one seed, `[rows][steps]`: one step stands for all where routing doesn't depend on it. Routing and float64 reference are made once for all rows with the same ranks and
/// gate, the quantised reference once for all rows that do the same arithmetic.
///
/// # Errors
/// When routing can't be made.
pub(super) fn truths(
    spec: &CompareSpec,
    rows: &[Configuration],
    seed: u64,
) -> Result<Vec<Vec<Truth>>, CompareError> {
    let experts = Experts::new(spec.experts, &spec.shape, seed, LAYER.into());
    let mut by_row = vec![Vec::new(); rows.len()];
    for step in 0..spec.distinct_steps() {
        for (of_row, truth) in by_row.iter_mut().zip(truths_at(spec, rows, seed, step, &experts)?) {
            of_row.push(truth);
        }
    }
    Ok(by_row)
}

/// What a step must yield, of one row's truths of a seed.
///
/// # Panics
/// If there are none.
pub(super) fn truth_at(truths: &[Truth], step: u32) -> &Truth {
    &truths[(step as usize).min(truths.len() - 1)]
}

fn truths_at(
    spec: &CompareSpec,
    rows: &[Configuration],
    seed: u64,
    step: u32,
    experts: &Experts,
) -> Result<Vec<Truth>, CompareError> {
    let mut truths: Vec<Option<Truth>> = vec![None; rows.len()];
    for first in 0..rows.len() {
        if truths[first].is_some() {
            continue;
        }
        let mut shared = Shared::new(spec, &rows[first], seed, step, experts)?;
        for (row, truth) in rows.iter().zip(&mut truths).skip(first) {
            if shared.fits(row) {
                *truth = Some(shared.truth(spec, row, seed, experts));
            }
        }
    }
    Ok(truths.into_iter().flatten().collect())
}

/// What rows with the same ranks and gate share.
struct Shared<'a> {
    num_ranks: u32,
    limit: Option<GateLimit>,
    routings: Vec<Routing>,
    /// `None` without payload.
    float64: Option<Vec<Vec<f64>>>,
    /// Digests and error by arithmetic.
    quantised: Vec<(Arithmetic<'a>, Vec<Vec<u64>>, f64)>,
}

impl<'a> Shared<'a> {
    fn new(
        spec: &CompareSpec,
        row: &Configuration,
        seed: u64,
        step: u32,
        experts: &Experts,
    ) -> Result<Self, CompareError> {
        let router = Router::new(&spec.shape, &spec.routing, row.limit.as_ref(), seed, LAYER.into())?;
        let tokens = spec.rank_tokens(row.cluster.num_ranks(), seed);
        let routings: Vec<_> =
            row.cluster.ranks().zip(tokens).map(|(rank, tokens)| router.route(step, rank, tokens)).collect();
        let float64 = spec.payload.then(|| float64(experts, &spec.shape, seed, LAYER.into(), &routings));
        let num_ranks = row.cluster.num_ranks();
        Ok(Self { num_ranks, limit: row.limit.clone(), routings, float64, quantised: Vec::new() })
    }

    fn fits(&self, row: &Configuration) -> bool {
        self.num_ranks == row.cluster.num_ranks() && self.limit == row.limit
    }

    fn truth(&mut self, spec: &CompareSpec, row: &'a Configuration, seed: u64, experts: &Experts) -> Truth {
        let bytes = RowBytes::new(spec.shape.hidden);
        let traffic = plan_traffic(row.scheme, &row.cluster, &row.placement, &self.routings, bytes);
        let Some(float64) = &self.float64 else {
            let of_rank = |routing: &Routing| vec![token_digest(&[]); routing.tokens() as usize];
            let digests = self.routings.iter().map(of_rank).collect();
            return Truth { traffic, digests, error_rms: None };
        };
        let arithmetic = Arithmetic::of(row);
        if let Some((_, digests, error)) = self.quantised.iter().find(|(known, ..)| *known == arithmetic) {
            return Truth { traffic, digests: digests.clone(), error_rms: Some(*error) };
        }
        let (cluster, placement, routings) = (&row.cluster, &row.placement, &self.routings);
        let layer = LAYER.into();
        let values = quantised(row.scheme, cluster, placement, experts, &spec.shape, seed, layer, routings);
        let error = relative_rms_error(&values, float64);
        let hidden = spec.shape.hidden as usize;
        let digests_of = |values: &Vec<f32>| values.chunks_exact(hidden).map(token_digest).collect();
        let digests: Vec<Vec<u64>> = values.iter().map(digests_of).collect();
        self.quantised.push((arithmetic, digests.clone(), error));
        Truth { traffic, digests, error_rms: Some(error) }
    }
}

/// What decides where a token's sum is rounded. Flat sums by expert, wherever they are; dedup by rank, so that racks
/// matter only where they choose among replicas.
#[derive(Clone, Copy, PartialEq)]
struct Arithmetic<'a> {
    scheme: DispatchScheme,
    placement: Option<&'a Placement>,
    cluster: Option<&'a Cluster>,
}

impl<'a> Arithmetic<'a> {
    fn of(row: &'a Configuration) -> Self {
        let replicas = row.placement.num_slots() > row.placement.num_experts();
        let flat = row.scheme == DispatchScheme::Flat;
        Self {
            scheme: row.scheme,
            placement: (!flat).then_some(&row.placement),
            cluster: (row.scheme == DispatchScheme::Hierarchical || (replicas && !flat))
                .then_some(&row.cluster),
        }
    }
}

impl Truth {
    /// The first way in which a step differs from what it must yield; `None` if it is right.
    pub(super) fn difference(&self, record: &StepRecord) -> Option<String> {
        if let Some(error) = self.error_rms
            && (error.is_nan() || error > FP8_TOLERANCE)
        {
            return Some(format!("error against float64 is {error:.4}, tolerated is {FP8_TOLERANCE}"));
        }
        let nothing = TrafficMatrix::new(self.traffic.dispatch.num_ranks());
        let phases = [
            ("dispatch", Phase::Dispatch, &self.traffic.dispatch),
            ("combine", Phase::Combine, &self.traffic.combine),
            ("expert", Phase::Expert, &nothing),
        ];
        let bytes = |(name, phase, planned)| {
            Some(format!("{name}: {}", difference::of_bytes(record.reports(phase), planned)?))
        };
        phases
            .into_iter()
            .filter_map(bytes)
            .next()
            .or_else(|| difference::of_digests(&record.digests, &self.digests))
    }
}

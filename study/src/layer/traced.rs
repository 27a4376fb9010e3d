//! What a timeline of a comparison is made of, told row by row as records are finished.

use super::measure::simulated_steps;
use super::record::Record;
use super::{CompareSpec, Configuration};
use coordinator::run::StepRecord;
use node::control::PhaseReport;
use node::trace::Tracing;
use node::wire::Phase;

/// Most steps of a row that are kept where steps differ.
const STEPS_MAX: u32 = 8;
/// Frames of a step of which each is kept; of more, one in so many that no more than these are left.
const FRAMES_MAX: u64 = 1 << 20;
/// Frames that a step may have that are kept for a detail: one that lacks some can't say which was the last.
const DETAIL_FRAMES_MAX: u64 = 1 << 18;

/// A step of which frames and jobs were kept.
#[derive(Clone, Debug)]
pub struct TracedStep {
    /// Its number, warm-up steps included.
    pub step: u32,
    /// How often it was begun anew; what is here is of the last time.
    pub replays: u32,
    /// Its phases in order, each with the reports of all ranks.
    pub phases: Vec<(Phase, Vec<PhaseReport>)>,
}

impl TracedStep {
    fn of(record: &StepRecord) -> Self {
        let phases = record.phases.iter().map(|(stop, reports)| (stop.phase, reports.clone())).collect();
        Self { step: record.step, replays: record.replays, phases }
    }
}

/// A finished row.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'a> {
    /// Its place in the report.
    pub at: usize,
    /// Rows that the report will have.
    pub of: usize,
    /// Ranks of each of its racks.
    pub rack_sizes: &'a [u32],
    /// Its numbers.
    pub record: &'a Record,
    /// The seed that the steps are of: the first.
    pub seed: u64,
    /// Steps that were measured, the first ones; none of closed forms.
    pub steps: &'a [TracedStep],
    /// One frame in so many was kept.
    pub every: u32,
}

impl<'a> Traced<'a> {
    /// The record of a row of `spec`, the `at`-th of `of`.
    pub(super) fn new(
        spec: &CompareSpec,
        (at, of): (usize, usize),
        (row, record): (&'a Configuration, &'a Record),
        steps: &'a [TracedStep],
    ) -> Self {
        let seed = spec.seeds.first().copied().unwrap_or_default();
        let (rack_sizes, every) = (row.cluster.rack_sizes(), every(spec, row));
        Self { at, of, rack_sizes, record, seed, steps, every }
    }
}

/// The measured steps of `steps` of which something was kept.
pub(super) fn kept(spec: &CompareSpec, steps: &[StepRecord], warmup: u32) -> Vec<TracedStep> {
    let measured = steps.iter().filter(|step| step.step >= warmup);
    measured.take(steps_kept(spec) as usize).map(TracedStep::of).collect()
}

/// What a run of `row` keeps that counts from step `warmup` on: what a timeline needs, or the first measured step for a detail.
pub(super) fn tracing(spec: &CompareSpec, row: &Configuration, warmup: u32) -> Option<Tracing> {
    if spec.timeline {
        return Some(Tracing { every: every(spec, row), first_step: warmup, steps: steps_kept(spec) });
    }
    traces_all(spec, row).then_some(Tracing { every: 1, first_step: warmup, steps: 1 })
}

/// Whether every frame of the first measured step is kept for the row's detail.
pub(super) fn traces_all(spec: &CompareSpec, row: &Configuration) -> bool {
    let few = if spec.timeline { every(spec, row) == 1 } else { frames(spec, row) <= DETAIL_FRAMES_MAX };
    spec.detail && few
}

/// The same of a simulated run.
pub(super) fn tracing_simulated(spec: &CompareSpec, row: &Configuration) -> Option<Tracing> {
    tracing(spec, row, simulated_steps(spec).0)
}

/// Steps that are alike need no more than one.
fn steps_kept(spec: &CompareSpec) -> u32 {
    let alike = spec.distinct_steps() == 1 && spec.faults.is_empty();
    if alike { 1 } else { spec.rounds.min(STEPS_MAX) }
}

/// One frame in so many is kept, judged by as many frames as there can be: every row by itself in a flow that has one, and a mark a flow.
fn every(spec: &CompareSpec, row: &Configuration) -> u32 {
    let frames = frames(spec, row).saturating_mul(u64::from(steps_kept(spec)));
    u32::try_from(frames.div_ceil(FRAMES_MAX)).unwrap_or(u32::MAX).max(1)
}

/// As many frames as a phase can have.
fn frames(spec: &CompareSpec, row: &Configuration) -> u64 {
    let ranks = u64::from(row.cluster.num_ranks());
    let rows = u64::from(spec.tokens) * u64::from(spec.shape.top_k);
    ranks.saturating_mul(rows.saturating_add(ranks))
}

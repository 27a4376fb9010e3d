//! What a step and a round of moves must have been: planned bytes of every pair of ranks, outputs of the reference.

use crate::difference;
use coordinator::run::StepRecord;
use moe::experts::Experts;
use moe::placement::{WeightMove, move_traffic};
use moe::reference::quantised_by_name;
use moe::{Routing, plan_traffic};
use node::digest::token_digest;
use node::program::LayerProgram;
use node::setup::{Setup, WEIGHT_ROW_BYTES};
use node::wire::Phase;
use topology::Cluster;

/// Checks a step; returns the rows that each rank computed, `[num_ranks]`.
pub(super) fn check_step(
    setup: &Setup,
    LayerProgram { shape, placement, names, layer, .. }: &LayerProgram,
    routings: &[Routing],
    record: &StepRecord,
) -> Result<Vec<f64>, String> {
    let cluster = &setup.cluster;
    let step = setup.first_step + record.step;
    let plan = plan_traffic(setup.scheme, cluster, placement, routings, setup.row_bytes());
    for (name, phase, planned) in
        [("dispatch", Phase::Dispatch, &plan.dispatch), ("combine", Phase::Combine, &plan.combine)]
    {
        if let Some(what) = difference::of_bytes(record.reports(phase), planned) {
            return Err(format!("step {step}, {name}: {what}"));
        }
    }
    if setup.payload {
        let (layer, scheme, hidden) = (u32::from(*layer), setup.scheme, shape.hidden as usize);
        let experts = Experts::new(setup.experts, shape, setup.seed, layer);
        let values = quantised_by_name(
            scheme, cluster, placement, &experts, shape, setup.seed, layer, routings, names,
        );
        let digests = |values: &Vec<f32>| values.chunks_exact(hidden).map(token_digest).collect();
        let expected: Vec<Vec<u64>> = values.iter().map(digests).collect();
        if let Some(what) = difference::of_digests(&record.digests, &expected) {
            return Err(format!("step {step}: {what}"));
        }
    }
    let rows =
        |rank| placement.slots_of(rank).iter().map(|slot| plan.rows_per_slot[slot.0 as usize]).sum::<u64>();
    Ok(cluster.ranks().map(|rank| rows(rank) as f64).collect())
}

/// Checks a round of moves.
pub(super) fn check_moves(
    cluster: &Cluster,
    expert_bytes: u64,
    round: &[WeightMove],
    record: &StepRecord,
) -> Result<(), String> {
    let traffic = move_traffic(cluster, round, wire_bytes(expert_bytes));
    match difference::of_bytes(record.reports(Phase::Dispatch), &traffic) {
        Some(what) => Err(format!("round {} of weight moves: {what}", record.step)),
        None => Ok(()),
    }
}

/// Bytes that the ports carry for an expert's weights: their own and each row's origin.
fn wire_bytes(expert_bytes: u64) -> u64 {
    expert_bytes + Phase::Dispatch.charged_origin_bytes() * expert_bytes.div_ceil(WEIGHT_ROW_BYTES)
}

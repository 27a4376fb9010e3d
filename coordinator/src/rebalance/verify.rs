//! What a step and a round of moves must have been: planned bytes of every pair of ranks, outputs of the reference.

use super::wire_bytes;
use crate::run::RoundRecord;
use moe::experts::Experts;
use moe::placement::{WeightMove, move_traffic};
use moe::reference::quantised;
use moe::{Routing, plan_traffic};
use node::control::PhaseReport;
use node::digest::token_digest;
use node::setup::RunSetup;
use topology::{Cluster, TrafficMatrix};

/// Checks a step; returns the rows that each rank computed, `[num_ranks]`.
pub(super) fn check_step(
    setup: &RunSetup,
    routings: &[Routing],
    record: &RoundRecord,
) -> Result<Vec<f64>, String> {
    let (cluster, placement) = (&setup.cluster, &setup.placement);
    let step = setup.first_step + record.step;
    let plan = plan_traffic(setup.scheme, cluster, placement, routings, setup.row_bytes());
    same_bytes(cluster, &record.phases[0], &plan.dispatch)
        .map_err(|what| format!("step {step}, dispatch: {what}"))?;
    same_bytes(cluster, &record.phases[2], &plan.combine)
        .map_err(|what| format!("step {step}, combine: {what}"))?;
    if setup.payload {
        let layer = setup.layer.into();
        let experts = Experts::new(setup.experts, &setup.shape, setup.seed, layer);
        let hidden = setup.shape.hidden as usize;
        let scheme = setup.scheme;
        let expected =
            quantised(scheme, cluster, placement, &experts, &setup.shape, setup.seed, layer, routings);
        for (rank, (got, values)) in record.digests.iter().zip(&expected).enumerate() {
            let want: Vec<u64> = values.chunks_exact(hidden).map(token_digest).collect();
            if let Some(token) = (0..want.len()).find(|&token| got.get(token) != Some(&want[token])) {
                return Err(format!(
                    "step {step}: the output of token {token} of rank {rank} is not the reference's"
                ));
            }
        }
    }
    let rows =
        |rank| placement.slots_of(rank).iter().map(|slot| plan.rows_per_slot[slot.0 as usize]).sum::<u64>();
    Ok(cluster.ranks().map(|rank| rows(rank) as f64).collect())
}

/// Checks a round of moves.
pub(super) fn check_moves(
    setup: &RunSetup,
    round: &[WeightMove],
    record: &RoundRecord,
) -> Result<(), String> {
    let traffic = move_traffic(&setup.cluster, round, wire_bytes(setup.shape.expert_weight_bytes()));
    same_bytes(&setup.cluster, &record.phases[0], &traffic)
        .map_err(|what| format!("round {} of weight moves: {what}", record.step))
}

fn same_bytes(cluster: &Cluster, reports: &[PhaseReport], planned: &TrafficMatrix) -> Result<(), String> {
    let differs =
        |(rank, report): &(_, &PhaseReport)| !planned.sent(*rank).eq(report.sent_bytes.iter().copied());
    match cluster.ranks().zip(reports).find(differs) {
        Some((rank, _)) => Err(format!("{rank} sent other bytes than planned")),
        None if reports.len() == cluster.num_ranks() as usize => Ok(()),
        None => Err(format!("{} ranks reported of {}", reports.len(), cluster.num_ranks())),
    }
}

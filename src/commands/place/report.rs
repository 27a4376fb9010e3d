//! One policy's placement of every layer, as a table and as JSON.

use super::{Asked, Job, Placed, with_experts};
use moe::{DispatchScheme, ExpertId, Placement, SlotId};
use serde_json::{Map, Value, json};
use study::text_table::{Column, TextTable, wrapped};

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

pub(super) fn table(
    job: &Job,
    policy: &str,
    layers: &[Placed],
    told: &[String],
    width: Option<usize>,
) -> String {
    let slots = layers[0].placement.num_slots();
    let heading = format!("{}, {slots} slots, policy {policy}", job.heading());
    let mut table = TextTable::new([
        Column::right("layer"),
        Column::right("fullest rank\nover mean").extra(),
        Column::right("balanced-\nness"),
        Column::right("most\nreplicas"),
        Column::right("twice on\na rank").extra(),
        Column::right("crossing\nflat"),
        Column::right("\ndedup"),
        Column::right("\nhierarchical"),
    ]);
    for Placed { layer, placement, evaluation } in layers {
        let front = [
            layer.to_string(),
            format!("{:.3}", 1.0 / evaluation.balancedness),
            format!("{:.4}", evaluation.balancedness),
            most_replicas(placement).to_string(),
            evaluation.duplicates.to_string(),
        ];
        table.row(front.into_iter().chain(evaluation.copies.map(|copies| format!("{:.3}", copies.inter))));
    }
    let mut lines = [vec![BALANCEDNESS.to_owned()], job.of_crossing(layers)].concat();
    lines.push(format!(
        "mean balancedness: {:.4}, {:.4} with each rack's choice of replicas",
        mean(layers, |layer| layer.evaluation.balancedness),
        mean(layers, |layer| layer.evaluation.chosen_balancedness),
    ));
    if let (Some((name, _)), Some(bytes)) = (&job.model, job.weight_bytes(layers)) {
        lines.push(format!(
            "expert weights of {name} on the fullest rank: {:.2} GB",
            fullest(&bytes) as f64 / 1e9
        ));
    }
    lines.extend_from_slice(told);
    page(&heading, &table, &lines, width)
}

/// What the column says.
pub(super) const BALANCEDNESS: &str =
    "balancedness: mean over largest load of a rank, replicas of an expert alike; 1 is even";
/// What the three columns say.
pub(super) const CROSSING: &str = "crossing: copies of a token's row from rack to rack in dispatch, by scheme, with each rack's choice \
                                   of replicas";

/// A heading, a table, and what it says.
pub(super) fn page(heading: &str, table: &TextTable, lines: &[String], width: Option<usize>) -> String {
    let below: String = lines.iter().map(|line| wrapped(line, width, "  ")).collect();
    format!("{}\n{}\n{below}", wrapped(heading, width, "  "), table.fit(width))
}

/// Over the layers with experts.
pub(super) fn mean(layers: &[Placed], of: impl Fn(&Placed) -> f64) -> f64 {
    with_experts(layers).map(of).sum::<f64>() / with_experts(layers).count().max(1) as f64
}

/// The largest standard error of a scheme's mean copies between racks.
pub(super) fn error_of_mean(layers: &[Placed]) -> f64 {
    let count = with_experts(layers).count().max(1) as f64;
    let squares =
        |at: usize| with_experts(layers).map(|layer| layer.evaluation.inter_errors[at].powi(2)).sum::<f64>();
    (1..3).map(|at| squares(at).sqrt() / count).fold(0.0, f64::max)
}

pub(super) fn fullest(bytes: &[u64]) -> u64 {
    bytes.iter().copied().max().unwrap_or(0)
}

fn most_replicas(placement: &Placement) -> usize {
    replicas(placement).map(<[SlotId]>::len).max().unwrap_or(0)
}

/// The slots of each expert.
fn replicas(placement: &Placement) -> impl Iterator<Item = &[SlotId]> {
    (0..placement.num_experts()).map(|expert| placement.replicas_of(ExpertId(expert)))
}

pub(super) fn object(job: &Job, policy: &str, layers: &[Placed]) -> Value {
    let mut object = json!({
        "schema_version": SCHEMA_VERSION,
        "command": job.command,
        "policy": policy,
        "ranks": job.cluster.num_ranks(),
        "racks": job.cluster.num_racks(),
        "ranks_per_rack": job.cluster.rack_sizes(),
        "num_experts": job.num_experts,
        "num_slots": layers[0].placement.num_slots(),
        "picks": job.picks(),
        "inter_rack_copies_error": error_of_mean(layers),
        "mean_balancedness": mean(layers, |layer| layer.evaluation.balancedness),
        "mean_chosen_balancedness": mean(layers, |layer| layer.evaluation.chosen_balancedness),
        "layers": layers.iter().zip(&job.layers).map(|(layer, Asked { demand, .. })| {
            one_layer(job, layer, &demand.by_rack(&job.cluster))
        }).collect::<Vec<_>>(),
    });
    if let (Some((name, _)), Some(bytes)) = (&job.model, job.weight_bytes(layers)) {
        object["model"] = json!(name);
        object["weight_bytes_fullest_rank"] = json!(fullest(&bytes));
        object["weight_bytes_per_rank"] = json!(bytes);
    }
    object
}

fn one_layer(job: &Job, layer: &Placed, by_rack: &[Vec<f64>]) -> Value {
    let Placed { layer, placement, evaluation } = layer;
    let width = most_replicas(placement);
    // As vLLM and SGLang have it: -1 where an expert has fewer replicas than another.
    let padded = |slots: &[SlotId]| -> Vec<i64> {
        let none = std::iter::repeat_n(-1, width - slots.len());
        slots.iter().map(|slot| i64::from(slot.0)).chain(none).collect()
    };
    let copies = |of: fn(&moe::evaluation::TokenCopies) -> f64| -> Value {
        let by_scheme = DispatchScheme::ALL.iter().zip(&evaluation.copies);
        by_scheme
            .map(|(scheme, copies)| (scheme.to_string(), json!(of(copies))))
            .collect::<Map<_, _>>()
            .into()
    };
    json!({
        "layer": layer,
        "physical_to_logical_map":
            (0..placement.num_slots()).map(|slot| placement.expert_of(SlotId(slot)).0).collect::<Vec<_>>(),
        "logical_to_physical_map": replicas(placement).map(padded).collect::<Vec<_>>(),
        "logical_replica_count": replicas(placement).map(<[SlotId]>::len).collect::<Vec<_>>(),
        "slots_per_rank": job.cluster.ranks().map(|rank| placement.slots_of(rank).len()).collect::<Vec<_>>(),
        "load_by_rack": by_rack,
        "rank_load": evaluation.rank_load,
        "rack_load": evaluation.rack_load,
        "balancedness": evaluation.balancedness,
        "chosen_rank_load": evaluation.chosen_rank_load,
        "chosen_balancedness": evaluation.chosen_balancedness,
        "inter_rack_copies_per_token": copies(|copies| copies.inter),
        "intra_rack_copies_per_token": copies(|copies| copies.intra),
        "duplicates_on_a_rank": evaluation.duplicates,
    })
}

//! One policy's placement of every layer, as a table and as JSON.

use super::{Job, Placed};
use moe::{DispatchScheme, ExpertId, Placement, SlotId};
use serde_json::{Map, Value, json};

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

pub(super) fn table(job: &Job, policy: &str, layers: &[Placed]) -> String {
    let mut text = format!(
        "{}: {} layers of {} experts on {} ranks in {} rack(s), {} slots, policy {policy}\n\n\
         layer  max/mean  balancedness  most replicas  twice on a rank  crossing a token: flat  dedup  hierarchical\n",
        job.origin,
        layers.len(),
        job.num_experts,
        job.cluster.num_ranks(),
        job.cluster.num_racks(),
        layers[0].placement.num_slots(),
    );
    for Placed { layer, placement, evaluation } in layers {
        let [flat, dedup, hierarchical] = evaluation.copies.map(|copies| copies.inter);
        text.push_str(&format!(
            "{layer:>5}  {:>8.3}  {:>12.4}  {:>13}  {:>15}  {flat:>22.3}  {dedup:>5.3}  {hierarchical:>12.3}\n",
            1.0 / evaluation.balancedness,
            evaluation.balancedness,
            most_replicas(placement),
            evaluation.duplicates,
        ));
    }
    text.push_str(&format!(
        "\nmean balancedness {:.4} (mean over largest rank load, replicas of an expert alike; 1 is even), {:.4} with each rack's \
         choice of replicas\n",
        mean(layers, |layer| layer.evaluation.balancedness),
        mean(layers, |layer| layer.evaluation.chosen_balancedness),
    ));
    if let (Some((name, _)), Some(bytes)) = (&job.model, job.weight_bytes(layers)) {
        text.push_str(&format!(
            "expert weights of {name} on the fullest rank {:.2} GB\n",
            bytes as f64 / 1e9
        ));
    }
    text
}

pub(super) fn mean(layers: &[Placed], of: impl Fn(&Placed) -> f64) -> f64 {
    layers.iter().map(of).sum::<f64>() / layers.len() as f64
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
        "policy": policy,
        "ranks": job.cluster.num_ranks(),
        "racks": job.cluster.num_racks(),
        "ranks_per_rack": job.cluster.rack_sizes(),
        "num_experts": job.num_experts,
        "num_slots": layers[0].placement.num_slots(),
        "mean_balancedness": mean(layers, |layer| layer.evaluation.balancedness),
        "mean_chosen_balancedness": mean(layers, |layer| layer.evaluation.chosen_balancedness),
        "layers": layers.iter().zip(&job.layers).map(|(layer, (_, demand))| {
            one_layer(job, layer, &demand.by_rack(&job.cluster))
        }).collect::<Vec<_>>(),
    });
    if let (Some((name, shape)), Some(bytes)) = (&job.model, job.weight_bytes(layers)) {
        let by_rank: Vec<u64> = job
            .cluster
            .ranks()
            .map(|rank| layers.iter().map(|layer| layer.placement.slots_of(rank).len() as u64).sum::<u64>())
            .map(|slots| slots * shape.expert_weight_bytes())
            .collect();
        object["model"] = json!(name);
        object["weight_bytes_per_rank"] = json!(by_rank);
        object["weight_bytes_fullest_rank"] = json!(bytes);
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

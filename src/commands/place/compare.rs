//! `railyard place --compare`: all policies side by side on the same loads.

use super::report::mean;
use super::{Job, Placed};
use crate::cli::PlaceArgs;
use moe::PlacementError;
use moe::placement::{POLICIES, PlacementPolicy};
use serde_json::{Value, json};

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

/// One policy: its name, and its placements or why there are none.
struct Row {
    name: String,
    layers: Result<Vec<Placed>, PlacementError>,
}

/// Every policy, and `own` if it is none of the registry.
pub(super) fn run(args: &PlaceArgs, job: &Job, own: &dyn PlacementPolicy) -> String {
    let named = POLICIES.named(own.name()).is_ok();
    let policies = POLICIES.iter().map(|policy| policy as _).chain((!named).then_some(own));
    let row = |policy: &dyn PlacementPolicy| {
        let slots = args.slots.filter(|_| policy.is_for_demand());
        Row { name: policy.name().to_owned(), layers: job.place(policy, slots) }
    };
    let rows: Vec<Row> = policies.map(row).collect();
    if args.json { format!("{:#}\n", object(job, &rows)) } else { table(job, &rows) }
}

fn table(job: &Job, rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max("policy".len());
    let memory = if job.model.is_some() { "  weights GB" } else { "" };
    let mut text = format!(
        "{}: {} layers of {} experts in {} group(s) on {} ranks in {} rack(s)\n\n\
         {:width$}  slots  balancedness mean   worst  crossing a token: flat  dedup  hierarchical  twice on a rank{memory}\n",
        job.origin,
        job.layers.len(),
        job.num_experts,
        job.groups,
        job.cluster.num_ranks(),
        job.cluster.num_racks(),
        "policy",
    );
    for Row { name, layers } in rows {
        let layers = match layers {
            Ok(layers) => layers,
            Err(reason) => {
                text.push_str(&format!("{name:width$}  {reason}\n"));
                continue;
            }
        };
        let summary = Summary::new(layers);
        text.push_str(&format!(
            "{name:width$}  {:>5}  {:>17.4}  {:>6.4}  {:>22.3}  {:>5.3}  {:>12.3}  {:>15}",
            layers[0].placement.num_slots(),
            summary.mean,
            summary.worst,
            summary.inter[0],
            summary.inter[1],
            summary.inter[2],
            summary.duplicates
        ));
        if let Some(bytes) = job.weight_bytes(layers) {
            text.push_str(&format!("  {:>10.2}", bytes as f64 / 1e9));
        }
        text.push('\n');
    }
    text.push_str(
        "\nbalancedness: mean over largest rank load, replicas of an expert alike; crossing: copies of a token's row from rack to \
         rack\nin dispatch, with each rack's choice of replicas; weights: experts of all layers on the fullest rank\n",
    );
    text
}

/// Means over layers.
struct Summary {
    mean: f64,
    worst: f64,
    /// Copies between racks a token: flat, dedup, hierarchical.
    inter: [f64; 3],
    duplicates: u32,
}

impl Summary {
    fn new(layers: &[Placed]) -> Self {
        let even = |layer: &Placed| layer.evaluation.balancedness;
        Self {
            mean: mean(layers, even),
            worst: layers.iter().map(even).fold(1.0, f64::min),
            inter: [0, 1, 2].map(|scheme| mean(layers, |layer| layer.evaluation.copies[scheme].inter)),
            duplicates: layers.iter().map(|layer| layer.evaluation.duplicates).sum(),
        }
    }
}

fn object(job: &Job, rows: &[Row]) -> Value {
    let policy = |Row { name, layers }: &Row| match layers {
        Err(reason) => json!({ "policy": name, "refused": reason.to_string() }),
        Ok(layers) => {
            let summary = Summary::new(layers);
            let [flat, dedup, hierarchical] = summary.inter;
            json!({
                "policy": name,
                "num_slots": layers[0].placement.num_slots(),
                "mean_balancedness": summary.mean,
                "worst_balancedness": summary.worst,
                "mean_chosen_balancedness": mean(layers, |layer| layer.evaluation.chosen_balancedness),
                "inter_rack_copies_per_token": { "flat": flat, "dedup": dedup, "hierarchical": hierarchical },
                "duplicates_on_a_rank": summary.duplicates,
                "weight_bytes_fullest_rank": job.weight_bytes(layers),
            })
        }
    };
    json!({
        "schema_version": SCHEMA_VERSION,
        "ranks_per_rack": job.cluster.rack_sizes(),
        "num_experts": job.num_experts,
        "groups": job.groups,
        "layers": job.layers.len(),
        "policies": rows.iter().map(policy).collect::<Vec<_>>(),
    })
}

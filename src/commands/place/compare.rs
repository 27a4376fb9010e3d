//! `railyard place --compare`: all policies side by side on the same loads.

use super::report::{BALANCEDNESS, error_of_mean, fullest, mean, page};
use super::{Job, Placed, plural, with_experts};
use crate::cli::PlaceArgs;
use crate::output;
use moe::PlacementError;
use moe::placement::{Aim, POLICIES, PlacementPolicy, RackAware};
use serde_json::{Value, json};
use study::text_table::{Column, TextTable};

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

/// One policy: its name, and its placements or why there are none.
struct Row {
    name: String,
    layers: Result<Vec<Placed>, PlacementError>,
}

/// Every policy, `own` in its place or, if it is none of the registry, after them, and the other end of `rack-aware`.
pub(super) fn run(args: &PlaceArgs, job: &Job, own: &dyn PlacementPolicy) -> String {
    let named = POLICIES.named(own.name()).is_ok();
    let fewest = RackAware { aim: Aim::FewestCopies };
    let of_registry =
        POLICIES.iter().map(|policy| if policy.name() == own.name() { own } else { policy as _ });
    let policies = of_registry.chain([&fewest as _]).chain((!named).then_some(own));
    let row = |policy: &dyn PlacementPolicy| {
        let slots = args.scenario.slots.filter(|_| policy.is_for_demand());
        Row { name: policy.name().to_owned(), layers: job.place(policy, slots) }
    };
    let rows: Vec<Row> = policies.map(row).collect();
    if args.json {
        format!("{:#}\n", object(job, &rows))
    } else {
        table(job, &rows, output::width(args.wide))
    }
}

fn table(job: &Job, rows: &[Row], width: Option<usize>) -> String {
    let mut columns = vec![
        Column::left("policy"),
        Column::right("slots"),
        Column::right("balanced-\nness mean"),
        Column::right("\nworst").extra(),
        Column::right("crossing\nflat"),
        Column::right("\ndedup"),
        Column::right("\nhierarchical"),
        Column::right("twice\na rank").extra(),
    ];
    let said = rows
        .iter()
        .find_map(|row| row.layers.as_ref().ok())
        .map_or_else(Vec::new, |layers| job.of_crossing(layers));
    let mut lines = [vec![BALANCEDNESS.to_owned()], said].concat();
    if job.model.is_some() {
        columns.push(Column::right("weights\nGB"));
        lines.push("weights: experts of all layers on the fullest rank".to_owned());
    }
    let mut table = TextTable::new(columns);
    for Row { name, layers } in rows {
        let layers = match layers {
            Ok(layers) => layers,
            Err(reason) => {
                lines.push(format!("{name} places nothing: {reason}"));
                continue;
            }
        };
        let summary = Summary::new(layers);
        let cells = [
            name.clone(),
            layers[0].placement.num_slots().to_string(),
            format!("{:.4}", summary.mean),
            format!("{:.4}", summary.worst),
        ];
        let crossing = summary.inter.map(|copies| format!("{copies:.3}"));
        let weights = job.weight_bytes(layers).map(|bytes| format!("{:.2}", fullest(&bytes) as f64 / 1e9));
        table.row(cells.into_iter().chain(crossing).chain([summary.duplicates.to_string()]).chain(weights));
    }
    let heading = format!("{}, experts in {} group{}", job.heading(), job.groups, plural(job.groups));
    page(&heading, &table, &lines, width)
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
            worst: with_experts(layers).map(even).fold(1.0, f64::min),
            inter: [0, 1, 2].map(|scheme| mean(layers, |layer| layer.evaluation.copies[scheme].inter)),
            duplicates: with_experts(layers).map(|layer| layer.evaluation.duplicates).sum(),
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
                "inter_rack_copies_error": error_of_mean(layers),
                "weight_bytes_fullest_rank": job.weight_bytes(layers).map(|bytes| fullest(&bytes)),
            })
        }
    };
    json!({
        "schema_version": SCHEMA_VERSION,
        "command": job.command,
        "ranks_per_rack": job.cluster.rack_sizes(),
        "num_experts": job.num_experts,
        "groups": job.groups,
        "picks": job.picks(),
        "layers": job.layers.len(),
        "policies": rows.iter().map(policy).collect::<Vec<_>>(),
    })
}

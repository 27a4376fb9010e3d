//! `railyard model`, `hardware` and `policies`: what has a name, with key figures, or all figures of one with their sources.

use super::model;
use crate::cli::{HardwareArgs, ModelArgs};
use crate::failure::Failure;
use crate::output;
use blackboard::text::number;
use moe::Model;
use moe::gate::GATES;
use moe::model::Block;
use moe::placement::POLICIES;
use moe::registry::{Entry, Registry};
use serde_json::{Value, json};
use study::scenario::{Place, any_model};
use study::text_table::{Column, TextTable, wrapped};
use topology::Hardware;

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

pub(crate) fn models(args: &ModelArgs) -> Result<(), Failure> {
    if let Some(name) = &args.name {
        let model = any_model(Some(name)).map_err(Failure::usage)?;
        return if args.json {
            print_json(model::object(&model, args.ranks)?)
        } else if args.toml {
            output::print(&model.to_toml().map_err(Failure::failed)?)
        } else {
            output::print(&model::text(&model, args.ranks)?)
        };
    }
    let models: Vec<&Model> = Model::presets().collect();
    if args.json {
        return print_json(json!({ "models": models }));
    }
    let mut table = TextTable::new([
        Column::left("model"),
        Column::right("hidden"),
        Column::right("layers"),
        Column::right("with\nexperts").extra(),
        Column::right("experts"),
        Column::right("top-k"),
        Column::right("width of\none").extra(),
        Column::right("shared").extra(),
        Column::right("B para-\nmeters"),
        Column::right("B\nactive"),
    ]);
    for model in models {
        let shape = model.layer();
        let shared = match model.routed() {
            Some(&Block::Routed { shared_experts, .. }) => shared_experts,
            _ => 0,
        };
        let counts = [
            model.hidden,
            model.num_layers(),
            model.moe_layers(),
            shape.num_experts,
            shape.top_k,
            shape.expert_inter,
            shared,
        ];
        let billions =
            [model.total_params(), model.active_params()].map(|params| format!("{:.1}", params / 1e9));
        table.row(
            [model.name.clone()].into_iter().chain(counts.map(|count| count.to_string())).chain(billions),
        );
    }
    let more = "`railyard model NAME` says what one is made of, with --toml as a model file. A file of one's own (.toml: docs/models.md) or a \
                Hugging Face config.json can be given by its path.";
    listed(&table, more)
}

pub(crate) fn hardware(args: &HardwareArgs) -> Result<(), Failure> {
    if let Some(name) = &args.name {
        let hardware = Place::named(Some(name)).map_err(Failure::usage)?.hardware;
        if args.json {
            return print_json(json!(hardware));
        }
        let toml = hardware.to_toml().map_err(Failure::failed)?;
        return output::print(&format!(
            "# A cluster file, of two racks. What each key of [hardware] means: docs/hardware.md.\n[cluster]\nracks = [8, 8]\n\n{toml}"
        ));
    }
    let presets: Vec<&Hardware> = Hardware::presets().collect();
    if args.json {
        return print_json(json!({ "hardware": presets }));
    }
    let mut table = TextTable::new([
        Column::left("hardware"),
        Column::right("bf16\nTFLOP/s"),
        Column::right("fp8").extra(),
        Column::right("fp4").extra(),
        Column::right("memory\nGB"),
        Column::right("\nTB/s"),
        Column::right("scale-up\nGB/s"),
        Column::right("scale-out\nGB/s"),
        Column::right("thrott-\nle"),
        Column::right("domain\nranks"),
        Column::left("confidence").extra(),
    ]);
    for chip in presets {
        let tera = |flops: Option<f64>| flops.map_or_else(|| "-".to_owned(), |flops| number(flops / 1e12));
        let giga = |bytes: u64| number(bytes as f64 / 1e9);
        table.row([
            chip.name.clone(),
            tera(Some(chip.bf16_flops)),
            tera(chip.fp8_flops),
            tera(chip.fp4_flops),
            giga(chip.hbm_bytes),
            format!("{:.2}", chip.hbm_bytes_per_s as f64 / 1e12),
            giga(chip.scale_up.bytes_per_s()),
            giga(chip.scale_out.bytes_per_s()),
            format!("{:.1}", chip.fabric().beta()),
            chip.domain_ranks.to_string(),
            format!("{:?}", chip.confidence).to_lowercase(),
        ]);
    }
    let more = "Rates are one direction of one rank's port. `railyard hardware NAME` prints one as a cluster file, with where its figures are from; \
                such a file (.toml) can be given by its path.";
    listed(&table, more)
}

/// The registries of what a name can stand for: placement policies and gates.
pub(crate) fn policies(json: bool) -> Result<(), Failure> {
    if json {
        return print_json(json!({ "policies": named(&POLICIES), "gates": named(&GATES) }));
    }
    let more = "A file's path can stand where a policy can: docs/placement.md. A model file says which gate: docs/models.md.";
    let [policies, gates] = [entries(&POLICIES), entries(&GATES)];
    let more = wrapped(more, output::width(false), "");
    output::print(&format!("Placement policies:\n{policies}\nGates:\n{gates}\n{more}"))
}

fn named<T: Entry + ?Sized>(registry: &Registry<T>) -> Vec<Value> {
    registry.iter().map(|entry| json!({ "name": entry.name(), "help": entry.help() })).collect()
}

/// A line each.
fn entries<T: Entry + ?Sized>(registry: &Registry<T>) -> String {
    let longest = registry.names().map(str::len).max().unwrap_or(0);
    let line = |entry: &T| {
        let text = format!("{:<longest$}  {}", entry.name(), entry.help());
        wrapped(&text, output::width(false), &" ".repeat(longest + 2))
    };
    registry.iter().map(line).collect()
}

fn listed(table: &TextTable, more: &str) -> Result<(), Failure> {
    let width = output::width(false);
    output::print(&format!("{}{}", table.fit(width), wrapped(more, width, "")))
}

fn print_json(mut object: Value) -> Result<(), Failure> {
    object["schema_version"] = SCHEMA_VERSION.into();
    output::print(&format!("{object:#}\n"))
}

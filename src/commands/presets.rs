//! `railyard model`, `hardware` and `policies`: what has a name, with key figures, or all figures of one with their sources.

use crate::cli::{HardwareArgs, ModelArgs};
use crate::failure::Failure;
use crate::output;
use moe::Model;
use moe::placement::{POLICIES, PlacementPolicy};
use serde_json::{Value, json};
use study::scenario::{Place, any_model};
use study::text_table::{Column, TextTable, wrapped};
use topology::Hardware;

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

pub(crate) fn models(args: &ModelArgs) -> Result<(), Failure> {
    if let Some(name) = &args.name {
        let model = any_model(Some(name)).map_err(Failure::usage)?;
        let mut figures = json!(model);
        figures["total_params"] = json!(model.total_params());
        figures["active_params"] = json!(model.active_params());
        return one(figures, args.json);
    }
    let models: Vec<Model> = Model::preset_names().filter_map(|name| Model::preset(name).ok()).collect();
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
    for model in &models {
        let counts = [
            model.hidden,
            model.num_layers,
            model.moe_layers,
            model.num_experts,
            model.top_k,
            model.expert_inter,
            model.shared_experts,
        ];
        let billions =
            [model.total_params(), model.active_params()].map(|params| format!("{:.1}", params / 1e9));
        table.row(
            [model.name.clone()].into_iter().chain(counts.map(|count| count.to_string())).chain(billions),
        );
    }
    let more = "`railyard model NAME` has all figures of one and where they are from; a Hugging Face config.json can be given by its path.";
    listed(&table, more)
}

pub(crate) fn hardware(args: &HardwareArgs) -> Result<(), Failure> {
    if let Some(name) = &args.name {
        let hardware = Place::named(Some(name)).map_err(Failure::usage)?.hardware;
        return one(json!(hardware), args.json);
    }
    let presets: Vec<Hardware> =
        Hardware::preset_names().into_iter().filter_map(|name| Hardware::preset(name).ok()).collect();
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
        Column::right("ranks in\na domain"),
        Column::left("confidence").extra(),
    ]);
    for chip in &presets {
        let tera =
            |flops: Option<f64>| flops.map_or_else(|| "-".to_owned(), |flops| format!("{:.0}", flops / 1e12));
        let giga = |bytes: u64| format!("{:.0}", bytes as f64 / 1e9);
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
    let more = "Rates are one direction of one rank's port. `railyard hardware NAME` has all figures of one and where they are from; a cluster \
                file (.toml) can be given by its path.";
    listed(&table, more)
}

pub(crate) fn policies(json: bool) -> Result<(), Failure> {
    if json {
        let policy = |policy: &dyn PlacementPolicy| json!({ "name": policy.name(), "help": policy.help() });
        return print_json(json!({ "policies": POLICIES.iter().map(policy).collect::<Vec<_>>() }));
    }
    let longest = POLICIES.names().map(str::len).max().unwrap_or(0);
    let width = output::width(false);
    let line = |policy: &dyn PlacementPolicy| {
        wrapped(&format!("{:<longest$}  {}", policy.name(), policy.help()), width, &" ".repeat(longest + 2))
    };
    let more = "A file's path can stand where a policy can: docs/placement.md.";
    output::print(&format!("{}\n{}", POLICIES.iter().map(line).collect::<String>(), wrapped(more, width, "")))
}

fn listed(table: &TextTable, more: &str) -> Result<(), Failure> {
    let width = output::width(false);
    output::print(&format!("{}{}", table.fit(width), wrapped(more, width, "")))
}

/// All figures of one preset, a line each.
fn one(mut figures: Value, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(figures);
    }
    let mut text = String::new();
    if let Some(figures) = figures.as_object_mut() {
        let longest = figures.keys().map(String::len).max().unwrap_or(0);
        for (key, value) in figures {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let indent = " ".repeat(longest + 3);
            text.push_str(&wrapped(&format!("{key:<longest$} = {shown}"), output::width(false), &indent));
        }
    }
    output::print(&text)
}

fn print_json(mut object: Value) -> Result<(), Failure> {
    object["schema_version"] = SCHEMA_VERSION.into();
    output::print(&format!("{object:#}\n"))
}

//! `railyard roofline`: one step of a model on hardware, or a sweep over one of its inputs.

use crate::cli::RooflineArgs;
use crate::failure::Failure;
use crate::output;
use crate::step::{Said, Step};
use crate::subjects::Rooflines;
use crate::sweep_flag::Sweep;
use blackboard::deployment::{Deployment, Estimate, Mode};
use blackboard::published::{Asked, Trust, trust};
use blackboard::text;
use blackboard::units::Tokens;
use serde_json::{Value, json};
use study::experiment::{
    Axis, Experiment, Merged, Plan, Point, Record, Results, Shard, Subject, label, run_offline,
};
use study::text_table::{Column, TextTable};
use topology::did_you_mean;

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;
/// Where what a line of the header says begins.
const INDENT: usize = 13;
/// Lines of a sweep's table.
const TABLE_ROWS: usize = 40;

pub(crate) fn run(args: &RooflineArgs) -> Result<(), Failure> {
    let Step { deployment, said } = Step::of(args).map_err(Failure::Usage)?;
    let Some(sweep) = &args.sweep else {
        let trust = trust(&deployment.hardware, &[Asked::step(&deployment)]);
        let estimate = deployment.estimate().map_err(Failure::usage)?;
        return if args.json {
            output::print(&format!("{:#}\n", object(&deployment, &said, &estimate, &trust)?))
        } else {
            output::print(&output::fitted(
                &(header(&deployment, &said, &trust) + &text::estimate(&estimate, deployment.mode)),
                INDENT,
            ))
        };
    };
    let merged = swept(sweep, args)?;
    let trust = trust(&deployment.hardware, &[]);
    if args.json {
        return output::print(&format!("{:#}\n", sweep_object(&deployment, (&said, &trust), sweep, &merged)));
    }
    output::print(&match args.csv {
        true => csv(sweep, &merged),
        false => {
            output::fitted(&header(&deployment, &said, &trust), INDENT)
                + "\n"
                + &table(sweep, &merged, output::width(args.wide))
        }
    })
}

/// The records of a sweep, one a value.
fn swept(sweep: &Sweep, args: &RooflineArgs) -> Result<Merged, Failure> {
    let subject = Rooflines::of(args);
    known_input(&sweep.input).map_err(|error| Failure::Usage(anyhow::anyhow!("--sweep: {error}")))?;
    let axes = vec![Axis::of(&sweep.input, sweep.values.clone())];
    let experiment = Experiment { axes, seeds: vec![1], ..Experiment::default() };
    let plan = Plan::new(&subject, experiment, &[])?;
    let points: Vec<Point> = plan.points(Shard::ALL).collect();
    let mut results = Results::in_memory(plan.header(Shard::ALL));
    run_offline(&plan, &points, 1, &mut results, &|_| (), &mut |_| ())?;
    Ok(results.finish()?)
}

/// Refuses what is no key of a roofline.
fn known_input(input: &str) -> Result<(), String> {
    let inputs = Rooflines::default().keys();
    if inputs.iter().any(|key| key == input) {
        return Ok(());
    }
    let meant = did_you_mean(input, inputs.iter().map(String::as_str));
    let remedy = if meant.is_empty() { format!("; there are {}", inputs.join(", ")) } else { meant };
    Err(format!("no input is called `{input}`{remedy}"))
}

fn header(d: &Deployment, said: &Said, trust: &Trust) -> String {
    let mode = match d.mode {
        Mode::Max => "max: all overlaps, a lower bound",
        Mode::Sum => "sum: attention overlaps nothing",
        Mode::Serial => "serial: nothing overlaps but what was measured to",
    };
    let prompts = if d.prompt > Tokens::ZERO {
        format!(", each with {} new of its prompt", text::number(d.prompt.0))
    } else {
        String::new()
    };
    let text = format!(
        "model      = {}: {:.1}B parameters, {:.1}B active, {} of cache a sequence\n\
         hardware   = {}, {} ranks, racks: {}; arithmetic {}, weights {}, cache {}\n\
         trust      = {}\n\
         load       = {} sequences in flight of {} tokens{}; stages: {}, micro-batches: {}, tensor parallelism: {}; {} dispatch; mode {mode}\n",
        d.model.name,
        d.model.total_params() / 1e9,
        d.model.active_params() / 1e9,
        text::number(d.cache_per_sequence().as_gb()) + " GB",
        d.hardware.name,
        d.ranks,
        d.racks(),
        d.dtype,
        if d.model.storage.is_plain() { d.dtype.to_string() } else { "as stored".to_owned() },
        d.kv_dtype,
        trust.text,
        text::number(d.batch.0),
        text::number(d.context.0),
        prompts,
        d.stages,
        d.micro_batches(),
        d.tp,
        d.scheme,
    );
    said.notes.iter().fold(text, |text, note| text + &format!("note       = {note}\n"))
}

/// Columns of a sweep beside its input.
const COLUMNS: [&str; 14] = [
    "t_compute_ms",
    "t_weights_ms",
    "t_kv_ms",
    "t_a2a_ms",
    "t_tp_ms",
    "step_ms",
    "step_sum_ms",
    "bound_by",
    "tokens_per_s",
    "tokens_per_s_per_user",
    "usd_per_mtok",
    "weights_gb_per_rank",
    "kv_gb_per_rank",
    "fits",
];
/// Columns that stay where not all fit.
const ANSWERS: [&str; 6] =
    ["step_ms", "bound_by", "tokens_per_s", "tokens_per_s_per_user", "usd_per_mtok", "fits"];

/// A record's value of one of [`COLUMNS`].
fn cell(record: &Record, column: &str) -> String {
    match (column, record.value(column)) {
        ("fits", _) => record.value("verdict").is_some_and(|verdict| verdict == "fits").to_string(),
        (_, Some(Value::String(word))) => word.clone(),
        (_, value) => text::number(value.and_then(Value::as_f64).unwrap_or(f64::NAN)),
    }
}

/// A sweep as comma-separated values with a heading.
fn csv(sweep: &Sweep, merged: &Merged) -> String {
    let mut lines = vec![format!("{},{}", sweep.input, COLUMNS.join(","))];
    for (value, flat) in sweep.values.iter().zip(merged.records()) {
        let cells = COLUMNS.map(|column| cell(flat.record, column));
        lines.push(format!("{value},{}", cells.join(",")));
    }
    lines.join("\n") + "\n"
}

/// A sweep as a table of at most [`TABLE_ROWS`] evenly chosen points, first and last among them.
fn table(sweep: &Sweep, merged: &Merged, width: Option<usize>) -> String {
    let points: Vec<_> = sweep.values.iter().zip(merged.records()).collect();
    let rows = points.len().min(TABLE_ROWS);
    let columns = COLUMNS.map(|name| {
        let column = Column::right(match label(&Rooflines::default(), name) {
            (words, "") => words.replace('_', " "),
            (words, unit) => format!("{words}\n{unit}"),
        });
        if ANSWERS.contains(&name) { column } else { column.extra() }
    });
    let words = sweep.values.iter().any(|value| value.number().is_none());
    let input = if words { Column::left(sweep.input.as_str()) } else { Column::right(sweep.input.as_str()) };
    let mut table = TextTable::new(std::iter::once(input).chain(columns));
    for row in 0..rows {
        let (value, flat) = &points[row * (points.len() - 1) / (rows - 1).max(1)];
        let value = value.number().map_or_else(|| value.to_string(), text::number);
        let words = COLUMNS.map(|column| match cell(flat.record, column).as_str() {
            "true" => "yes".to_owned(),
            "false" => "no".to_owned(),
            word => word.to_owned(),
        });
        table.row(std::iter::once(value).chain(words));
    }
    let left_out = if rows < points.len() {
        format!("{rows} of {} points; all of them with --csv or --json\n", points.len())
    } else {
        String::new()
    };
    table.fit(width) + &left_out
}

/// The inputs, as resolved.
fn config(d: &Deployment, said: &Said, trust: &Trust) -> Value {
    let mut config = json!({
        "model": d.model.name,
        "total_params": d.model.total_params(),
        "active_params": d.model.active_params(),
        "cache_bytes_per_sequence": d.cache_per_sequence().0,
        "hardware": d.hardware.name,
        "dtype": d.dtype,
        "kv_dtype": d.kv_dtype,
        "ranks": d.ranks,
        "racks": d.racks(),
        "pp": d.stages,
        "tp": d.tp,
        "common_weights": d.common,
        "memory_share": d.memory_share,
        "mtp_depth": d.drafts.depth,
        "mtp_acceptance": d.drafts.acceptance,
        "micro_batches": d.micro_batches(),
        "batch": d.batch.0,
        "context": d.context.0,
        "scheme": d.scheme,
        "tokens_per_rank": d.tokens_per_rank.map(|tokens| tokens.0),
        "throttle": d.hardware.fabric().beta(),
        "latency": said.latency.to_string(),
        "usd_per_gpu_hour": d.price.0 * 3600.0,
        "mode": d.mode,
        "notes": said.notes,
        "trust": trust,
    });
    if d.prompt > Tokens::ZERO {
        config["prompt"] = json!(d.prompt.0);
    }
    config
}

fn object(
    deployment: &Deployment,
    said: &Said,
    estimate: &Estimate,
    trust: &Trust,
) -> Result<Value, Failure> {
    let mut object = serde_json::to_value(estimate).map_err(Failure::failed)?;
    object["schema_version"] = SCHEMA_VERSION.into();
    object["command"] = said.command.as_str().into();
    object["config"] = config(deployment, said, trust);
    Ok(object)
}

fn sweep_object(
    deployment: &Deployment,
    (said, trust): (&Said, &Trust),
    sweep: &Sweep,
    merged: &Merged,
) -> Value {
    json!({
        "schema_version": SCHEMA_VERSION,
        "command": said.command,
        "config": config(deployment, said, trust),
        "axis": sweep.input.replace('_', "-"),
        "values": sweep.values,
        "points": merged.records().map(|flat| &flat.record.own).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_scenario_can_be_swept() {
        let words = [
            "tp",
            "mtp_depth",
            "mtp_acceptance",
            "memory_share",
            "common_weights",
            "throttle",
            "scheme",
            "mode",
        ];
        for input in words {
            known_input(input).expect(input);
        }
        assert!(known_input("bath").expect_err("a typo").contains("did you mean `batch`?"));
    }
}

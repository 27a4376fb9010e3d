//! `railyard calibrate`: fits a hardware profile to measured times, says how far off it is, and writes it.

use crate::cli::CalibrateArgs;
use crate::failure::Failure;
use crate::{files, output};
use ::coordinator::{RunRequest, SimRunner};
use anyhow::{Context, bail};
use blackboard::calibration::{
    Calibration, Choices, ColumnError, Layer, Measurement, Phase, calibrate, column_errors,
    parse_measurements,
};
use moe::placement::Placement;
use moe::{DispatchScheme, Model};
use node::control::PhaseReport;
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::wire::Phase as Wire;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use study::layer::chunk_rows;
use topology::{Cluster, Confidence, Hardware, LinkClass, LinkSpec, PhaseLinks, Rate};

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 2;
const SIM_SEEDS: std::ops::RangeInclusive<u64> = 1..=4;

/// The variants that the report sets beside the shipped model.
const ALTERNATIVES: [(&str, Choices); 4] = [
    ("as fitted", Choices { average_rank: true, floors: true, shared_card_rate: true }),
    ("a card rate for each phase", Choices { average_rank: true, floors: true, shared_card_rate: false }),
    ("no floors", Choices { average_rank: true, floors: false, shared_card_rate: true }),
    ("fitted on the mean port", Choices { average_rank: false, floors: true, shared_card_rate: true }),
];

struct Fitted {
    nominal: Hardware,
    calibration: Calibration,
    /// By variant: name, parameters, errors of the closed form by column.
    alternatives: Vec<(&'static str, u32, Vec<ColumnError>)>,
    /// The simulator's errors by column: of the mean over ranks, of the last rank.
    sim: Option<[Vec<ColumnError>; 2]>,
}

pub(crate) fn run(args: &CalibrateArgs) -> Result<(), Failure> {
    let (measured, layer, mut fitted) = fit(args).map_err(Failure::Usage)?;
    if args.check_sim {
        let times = simulated(args, &measured, &fitted.calibration.hardware).map_err(Failure::Failed)?;
        fitted.sim = Some([times.mean_rank, times.last_rank].map(|times| column_errors(&measured, &times)));
    }
    if let Some(path) = &args.out {
        let text = profile(args, &fitted).map_err(Failure::Failed)?;
        let written = std::fs::write(path, text);
        written.with_context(|| format!("cannot write {}", path.display())).map_err(Failure::Failed)?;
    }
    if args.json {
        return output::print(&format!("{:#}\n", object(args, &layer, &fitted)));
    }
    output::print(&output::fitted(&text(args, &measured, &fitted), 2))
}

fn fit(args: &CalibrateArgs) -> anyhow::Result<(Vec<Measurement>, Layer, Fitted)> {
    let measured = parse_measurements(&files::read(&args.measured)?, &args.measured.display().to_string())?;
    if args.hidden == 0 {
        bail!("--hidden 0: give the elements of a row, at least 1");
    }
    let layer = Layer {
        hidden: args.hidden,
        top_k: args.top_k,
        experts: args.experts,
        ranks_per_node: args.ranks_per_node,
    };
    let mut nominal = Hardware::preset(&args.nominal)?;
    nominal.kernels = None;
    for (flag, gigabytes, rate) in [
        ("--scale-up", args.scale_up, &mut nominal.scale_up),
        ("--scale-out", args.scale_out, &mut nominal.scale_out),
    ] {
        if let Some(gigabytes) = gigabytes {
            if !(0.001..=1e6).contains(&gigabytes) {
                bail!("{flag} {gigabytes}: give GB/s from 0.001 to 1000000");
            }
            *rate = Rate::new((gigabytes * 1e9).round() as u64)?;
        }
    }
    let mut alternatives = Vec::new();
    let mut shipped = None;
    for (name, choices) in ALTERNATIVES {
        let calibration = calibrate(&measured, &layer, &nominal, choices)?;
        let links = calibration.hardware.links();
        let predicted =
            measured.iter().map(|row| layer.predict_us(&links, row)).collect::<Result<Vec<_>, _>>()?;
        alternatives.push((name, calibration.parameters, column_errors(&measured, &predicted)));
        shipped.get_or_insert(calibration);
    }
    let mut calibration = shipped.context("there is a model to fit")?;
    calibration.hardware.name = args.measured.file_stem().map_or_else(
        || "calibrated".to_owned(),
        |stem| {
            stem.to_string_lossy().chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).collect()
        },
    );
    Ok((measured, layer, Fitted { nominal, calibration, alternatives, sim: None }))
}

/// Simulated times of every measurement, each a mean over [`SIM_SEEDS`].
struct Simulated {
    /// Of the ranks' ends of a phase, their mean: what is measured, on one rank or as an average over ranks.
    mean_rank: Vec<f64>,
    /// Their largest.
    last_rank: Vec<f64>,
}

fn simulated(
    args: &CalibrateArgs,
    measured: &[Measurement],
    hardware: &Hardware,
) -> anyhow::Result<Simulated> {
    let mut shape = Model::preset("deepseek-v3")?.layer();
    (shape.hidden, shape.num_experts, shape.top_k) = (args.hidden, args.experts, args.top_k);
    shape.gate = shape.gate.unlimited();
    // By nodes and tokens: of dispatch and combine, the mean rank's and the last rank's time.
    let mut times = BTreeMap::<(u32, u32), [[f64; 2]; 2]>::new();
    for row in measured {
        if times.contains_key(&(row.nodes, row.tokens)) {
            continue;
        }
        let cluster = Cluster::uniform(row.nodes, args.ranks_per_node)?;
        let mut sums = [[0.0; 2]; 2];
        for seed in SIM_SEEDS {
            let placement = Placement::linear(&cluster, args.experts)?;
            let tokens = vec![row.tokens; cluster.num_ranks() as usize];
            let layer = Program::Layer(LayerProgram::new(shape, placement, tokens));
            let setup = Setup {
                scheme: DispatchScheme::Flat,
                seed,
                chunk_rows: chunk_rows(row.tokens),
                payload: false,
                ..Setup::new(cluster.clone(), hardware.clone(), layer)
            };
            let step = SimRunner::run_blocking(&RunRequest::new(setup), 1)?.remove(0);
            let phases = [Wire::Dispatch, Wire::Combine].map(|phase| step.reports(phase));
            for (sums, reports) in sums.iter_mut().zip(phases) {
                let ends = reports.iter().map(|report| report.measured.as_micros_f64());
                sums[0] += ends.sum::<f64>() / reports.len() as f64;
                sums[1] += PhaseReport::slowest(reports).as_micros_f64();
            }
        }
        let seeds = SIM_SEEDS.count() as f64;
        times.insert((row.nodes, row.tokens), sums.map(|sums| sums.map(|sum| sum / seeds)));
    }
    let of = |which: usize| {
        let time = |row: &Measurement| {
            let phase = usize::from(row.phase == Phase::Combine);
            times[&(row.nodes, row.tokens)][phase][which]
        };
        measured.iter().map(time).collect()
    };
    Ok(Simulated { mean_rank: of(0), last_rank: of(1) })
}

/// Phase, class, fitted link and nominal rate, in the order of the report.
fn links(fitted: &Fitted) -> Vec<(Phase, LinkClass, LinkSpec, f64, bool)> {
    let hardware = &fitted.calibration.hardware;
    let mut all = Vec::new();
    for class in LinkClass::ALL {
        for (phase, links) in phases(hardware) {
            let nominal = fitted.nominal.fabric().link(class).rate.bytes_per_s() as f64;
            let link = links.fabric.link(class);
            let efficiency = link.rate.bytes_per_s() as f64 / nominal;
            all.push((phase, class, link, efficiency, fitted.calibration.nominal.contains(&(class, phase))));
        }
    }
    all
}

fn phases(hardware: &Hardware) -> [(Phase, PhaseLinks); 2] {
    let links = hardware.links();
    [(Phase::Dispatch, links.dispatch), (Phase::Combine, links.combine)]
}

fn mean(columns: &[ColumnError]) -> f64 {
    let rows: u32 = columns.iter().map(|column| column.rows).sum();
    columns.iter().map(|column| column.mean * f64::from(column.rows)).sum::<f64>() / f64::from(rows)
}

fn text(args: &CalibrateArgs, measured: &[Measurement], fitted: &Fitted) -> String {
    let mut text = format!(
        "{}: {} measurements; nominal {}\n\nlink       phase     start-up us  GB/s a port  of nominal\n",
        args.measured.display(),
        measured.len(),
        fitted.nominal.name,
    );
    for (phase, class, link, efficiency, nominal) in links(fitted) {
        let note = if nominal { "  kept at nominal: the measurements don't determine it" } else { "" };
        text.push_str(&format!(
            "{:<9}  {phase:<8}  {:>11.3}  {:>11.3}  {:>9.1}%{note}\n",
            class.to_string(),
            link.latency.as_micros_f64(),
            link.rate.bytes_per_s() as f64 / 1e9,
            efficiency * 100.0,
        ));
    }
    text.push_str(
        "start-up: launch, packing and the path, once a phase; rates: what is left of the port's when the kernel reads, packs \
         and adds up (scale-up, by phase) and of the card's (scale-out, one card for both phases)\n",
    );
    for (phase, links) in phases(&fitted.calibration.hardware) {
        if links.floor > topology::Picos::ZERO {
            text.push_str(&format!(
                "least time of a {phase}: {} us (ranks wait for each other's counts, beside the transfer)\n",
                links.floor.as_micros_f64()
            ));
        }
    }
    text.push_str("\nerror by column    rows   mean%    max%   bias%\n");
    let mut table = |name: &str, columns: &[ColumnError]| {
        for column in columns {
            text.push_str(&format!(
                "{name:<8} {:<8}{:>2} {:>4}  {:>6.2}  {:>6.2}  {:>+6.2}\n",
                column.phase.to_string(),
                column.nodes,
                column.rows,
                column.mean * 100.0,
                column.max * 100.0,
                column.bias * 100.0,
            ));
        }
        text.push_str(&format!("{name:<8} all             {:>6.2}\n", mean(columns) * 100.0));
    };
    table("analytic", &fitted.alternatives[0].2);
    if let Some([mean_rank, last_rank]) = &fitted.sim {
        table("sim", mean_rank);
        table("sim last", last_rank);
    }
    text.push_str(
        "measured: one rank's kernel or an average over ranks; sim: the mean over ranks of when each is done, seeds 1 to 4, which is the \
         same; sim last: when the last rank is, as `compare` has it; analytic: the mean port. The fit is of the average rank\n\n\
         model                       parameters  analytic mean error%, by column, all\n",
    );
    for (name, parameters, columns) in &fitted.alternatives {
        let errors: Vec<String> =
            columns.iter().map(|column| format!("{:.2}", column.mean * 100.0)).collect();
        let errors = errors.join(" ");
        text.push_str(&format!("{name:<26}  {parameters:>10}  {errors}, {:.2}\n", mean(columns) * 100.0));
    }
    text
}

fn object(args: &CalibrateArgs, layer: &Layer, fitted: &Fitted) -> Value {
    let links: Vec<Value> = links(fitted)
        .into_iter()
        .map(|(phase, class, link, efficiency, nominal)| {
            json!({
                "link": class,
                "phase": phase.to_string(),
                "start_up_us": link.latency.as_micros_f64(),
                "bytes_per_s": link.rate.bytes_per_s(),
                "efficiency": efficiency,
                "fitted": !nominal,
            })
        })
        .collect();
    let columns = |columns: &[ColumnError]| -> Vec<Value> {
        let column = |column: &ColumnError| {
            json!({
                "phase": column.phase.to_string(),
                "nodes": column.nodes,
                "rows": column.rows,
                "mean": column.mean,
                "max": column.max,
                "bias": column.bias,
            })
        };
        columns.iter().map(column).collect()
    };
    let alternative = |(name, parameters, errors): &(&str, u32, Vec<ColumnError>)| json!({"model": name, "parameters": parameters, "mean_error": mean(errors), "analytic": columns(errors)});
    let [(_, dispatch), (_, combine)] = phases(&fitted.calibration.hardware);
    json!({
        "schema_version": SCHEMA_VERSION,
        "measured": args.measured.display().to_string(),
        "nominal": fitted.nominal.name,
        "hidden": layer.hidden,
        "top_k": layer.top_k,
        "num_experts": layer.experts,
        "ranks_per_node": layer.ranks_per_node,
        "links": links,
        "dispatch_floor_us": dispatch.floor.as_micros_f64(),
        "combine_floor_us": combine.floor.as_micros_f64(),
        "analytic": columns(&fitted.alternatives[0].2),
        "sim": fitted.sim.as_ref().map(|[mean_rank, _]| columns(mean_rank)),
        "sim_last_rank": fitted.sim.as_ref().map(|[_, last_rank]| columns(last_rank)),
        "models": fitted.alternatives.iter().map(alternative).collect::<Vec<_>>(),
    })
}

/// The cluster file of the profile: two nodes, which `--racks` and `--ranks-per-rack` override.
fn profile(args: &CalibrateArgs, fitted: &Fitted) -> anyhow::Result<String> {
    let hardware = Hardware {
        latency_source: "fitted start-ups, wire included".to_owned(),
        source: format!("railyard calibrate, on {}", fitted.nominal.name),
        confidence: Confidence::Medium,
        ..fitted.calibration.hardware.clone()
    };
    Ok(format!(
        "# Fitted by `railyard calibrate` to measured dispatch and combine times; start-ups are latencies here.\n\
         [cluster]\nracks = [{0}, {0}]\n\n{1}",
        args.ranks_per_node,
        hardware.to_toml()?,
    ))
}

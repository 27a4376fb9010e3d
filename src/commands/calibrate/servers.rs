//! `railyard calibrate` of server runs: one efficiency for each accelerator, how sure it is, how far off it is on runs left out, and the profile.

use super::errors::{errors_object, table};
use super::name_of;
use crate::cli::CalibrateArgs;
use anyhow::{Context, bail};
use blackboard::calibration::{
    Errors, SERVERS_ASSUMED, Served, ServerFit, check_served, errors_of_served, evaluate_served, fit_served,
    held_out_served, range_of_served,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use topology::{Confidence, Hardware, Provenance};

/// Server runs with what is said of them.
pub(super) struct Servers {
    runs: Vec<Served>,
    /// `predicted / measured - 1` of each.
    errors: Vec<f64>,
    /// By the name of the accelerator's preset; nothing where a profile was evaluated.
    fits: BTreeMap<String, ServerFit>,
    /// Rule, what was predicted, how many nothing could be said about.
    held_out: Vec<(String, Predicted, usize)>,
}

/// Runs that were left out, with their errors.
type Predicted = Vec<(Served, f64)>;

impl Servers {
    /// Accelerators as the files name them.
    pub(super) fn gpus(&self) -> BTreeSet<&str> {
        self.runs.iter().map(|run| run.gpu.as_str()).collect()
    }
}

/// Refuses flags that say of kernels what server runs say themselves.
pub(super) fn refuse_flags_of_kernels(args: &CalibrateArgs) -> anyhow::Result<()> {
    for (flag, given) in [
        ("--nominal", args.nominal.is_some()),
        ("--kernels", args.kernels.is_some()),
        ("--scale-up", args.scale_up.is_some()),
        ("--scale-out", args.scale_out.is_some()),
        ("--scheme", args.scheme.is_some()),
        ("--routing", args.routing.is_some()),
    ] {
        if given {
            bail!("{flag}: server runs name their accelerator (gpu) and model; leave it out");
        }
    }
    Ok(())
}

/// The runs beside the profile `hardware`; of several accelerators those of `--variant`.
pub(super) fn evaluated(
    args: &CalibrateArgs,
    mut runs: Vec<Served>,
    hardware: &Hardware,
) -> anyhow::Result<Option<Servers>> {
    check_served(&runs)?;
    if let Some(variant) = &args.variant {
        runs.retain(|run| run.gpu == *variant);
    }
    if runs.is_empty() {
        return Ok(None);
    }
    let errors = evaluate_served(&runs, hardware)?;
    Ok(Some(Servers { runs, errors, fits: BTreeMap::new(), held_out: Vec::new() }))
}

/// The runs fitted, and what each rule of `--hold-out` leaves out predicted.
pub(super) fn fitted(args: &CalibrateArgs, runs: Vec<Served>) -> anyhow::Result<Option<Servers>> {
    if runs.is_empty() {
        return Ok(None);
    }
    check_served(&runs)?;
    let fits = fit_served(&runs)?;
    let errors = errors_of_served(&runs, &fits)?.into_iter().flatten().collect();
    let held_out = args.hold_out.iter().map(|rule| {
        let (found, unsaid) = held_out_served(&runs, rule)?;
        Ok((rule.to_string(), found, unsaid))
    });
    let held_out = held_out.collect::<anyhow::Result<_>>()?;
    Ok(Some(Servers { runs, errors, fits, held_out }))
}

/// The accelerator whose servers `--variant` names.
pub(super) fn chosen<'a>(args: &'a CalibrateArgs, servers: Option<&Servers>) -> Option<&'a str> {
    args.variant.as_deref().filter(|variant| servers.is_some_and(|servers| servers.gpus().contains(variant)))
}

/// The profile of the servers of `files` on `gpu`, or on the only accelerator that there is.
pub(super) fn hardware(
    args: &CalibrateArgs,
    (files, servers): (&[String], Option<&Servers>),
    gpu: Option<&str>,
    data_hash: String,
) -> anyhow::Result<Hardware> {
    let servers = servers.context("no server runs")?;
    let gpu = match (gpu.or(args.variant.as_deref()), servers.gpus()) {
        (Some(gpu), _) => gpu.to_owned(),
        (None, all) if all.len() == 1 => all.into_iter().collect(),
        (None, all) => {
            let all: Vec<String> = all.iter().map(|gpu| format!("`{gpu}`")).collect();
            bail!("--variant: the files have {}; a profile is of one", all.join(", "))
        }
    };
    let name = Hardware::preset(&gpu)?.name;
    let fit = servers.fits.get(&name).with_context(|| format!("no run on {gpu}"))?;
    let own = |run: &Served| run.nominal().is_ok_and(|of| of.name == name);
    let of = |pairs: &mut dyn Iterator<Item = (&Served, f64)>| {
        let errors: Vec<f64> = pairs.filter(|(run, _)| own(run)).map(|(_, error)| error).collect();
        Errors::of(&errors).map_or([0.0; 3], |all| all.as_array().map(|error| (error * 1e4).round() / 1e4))
    };
    let left_out = servers.held_out.first();
    let runs: Vec<&Served> = servers.runs.iter().filter(|run| own(run)).collect();
    let weights: BTreeSet<String> = runs.iter().map(|run| run.weights.to_string()).collect();
    let provenance = Provenance {
        source: args.source.clone().unwrap_or_else(|| files.join(", ")),
        date: args.date.clone(),
        data_hash,
        assumed: format!(
            "weights {}, {SERVERS_ASSUMED}",
            weights.into_iter().collect::<Vec<_>>().join(" and ")
        ),
        undetermined: Vec::new(),
        fitted: of(&mut servers.runs.iter().zip(servers.errors.iter().copied())),
        held_out: left_out
            .map_or([0.0; 3], |(_, found, _)| of(&mut found.iter().map(|(run, error)| (run, *error)))),
        held_out_by: left_out.map_or_else(|| "nothing was left out".to_owned(), |(rule, _, _)| rule.clone()),
        measured: range_of_served(&runs),
    };
    Ok(Hardware {
        name: name_of(args),
        source: format!("{name}, rates times {}", fit.efficiency.value),
        confidence: Confidence::Medium,
        ..fit.hardware(provenance)?
    })
}

type Table = Vec<(String, Errors)>;

/// By accelerator and phase, then all.
fn tables(runs: &[Served], errors: &[f64]) -> (Table, Option<Errors>) {
    let mut columns = BTreeMap::<String, Vec<f64>>::new();
    for (run, error) in runs.iter().zip(errors) {
        columns.entry(run.column()).or_default().push(*error);
    }
    let columns = columns.into_iter().filter_map(|(name, errors)| Some((name, Errors::of(&errors)?)));
    (columns.collect(), Errors::of(errors))
}

/// Their table, headed `head`.
fn errors_text(text: &mut String, head: &str, runs: &[Served], errors: &[f64]) {
    let (mut rows, all) = tables(runs, errors);
    rows.extend(all.map(|all| ("all".to_owned(), all)));
    table(text, head, &rows);
}

pub(super) fn text(text: &mut String, servers: &Servers, evaluated: Option<&str>) {
    let _ = writeln!(text, "{} server runs, tokens a second\n", servers.runs.len());
    for (name, fit) in &servers.fits {
        let (one, runs) = (&fit.efficiency, fit.runs);
        let sure = match one.deviation.is_finite() {
            true => format!("+- {:.1}%", one.deviation * 100.0),
            false => "not known how sure".to_owned(),
        };
        let _ = writeln!(text, "{name} ({runs} run{})", if runs == 1 { "" } else { "s" });
        let _ = writeln!(text, "  {:<22} {:>12}  {sure}", one.key, one.value);
        for what in fit.undetermined() {
            let _ = writeln!(text, "    not determined: {}", what.trim_start_matches("serving: "));
        }
    }
    if !servers.fits.is_empty() {
        let _ = writeln!(text, "assumed: weights as the file says, {SERVERS_ASSUMED}\n");
    }
    let head = evaluated.map_or_else(|| "error of the fit".to_owned(), |name| format!("error of {name}"));
    errors_text(text, &head, &servers.runs, &servers.errors);
    for (rule, found, unsaid) in &servers.held_out {
        let (runs, errors): (Vec<Served>, Vec<f64>) = found.iter().cloned().unzip();
        text.push('\n');
        errors_text(text, &format!("held out: {rule}"), &runs, &errors);
        if *unsaid > 0 {
            let _ = writeln!(
                text,
                "{unsaid} more were left out with all of their accelerator: nothing can be said about them"
            );
        }
    }
}

fn tables_object(runs: &[Served], errors: &[f64]) -> Value {
    let (columns, all) = tables(runs, errors);
    let columns: serde_json::Map<String, Value> =
        columns.into_iter().map(|(name, errors)| (name, errors_object(&errors))).collect();
    json!({"all": all.as_ref().map(errors_object), "columns": columns})
}

pub(super) fn object(servers: &Servers) -> Value {
    let fits = servers.fits.iter().map(|(name, fit)| {
        let one = &fit.efficiency;
        json!({
            "hardware": name,
            "runs": fit.runs,
            "step_efficiency": one.value,
            "relative_standard_error": one.deviation.is_finite().then_some(one.deviation),
            "determined": one.is_determined(),
            "undetermined": fit.undetermined(),
        })
    });
    let held_out = servers.held_out.iter().map(|(rule, found, unsaid)| {
        let (runs, errors): (Vec<Served>, Vec<f64>) = found.iter().cloned().unzip();
        json!({"rule": rule, "errors": tables_object(&runs, &errors), "unsaid": unsaid})
    });
    let runs = servers.runs.iter().zip(&servers.errors).map(|(run, error)| {
        json!({"at": run.at, "name": run.name, "column": run.column(), "tokens_per_s": run.tokens_per_s, "error": error})
    });
    json!({
        "fits": fits.collect::<Vec<_>>(),
        "errors": tables_object(&servers.runs, &servers.errors),
        "held_out": held_out.collect::<Vec<_>>(),
        "runs": runs.collect::<Vec<_>>(),
    })
}

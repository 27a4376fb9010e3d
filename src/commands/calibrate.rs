//! `railyard calibrate`: fits a profile of kernels, layers or servers to measurements, says how far off it is on what it saw and what it didn't, and
//! writes it.

mod errors;
mod servers;
mod told;

use self::told::{Told, object, text};
use crate::cli::CalibrateArgs;
use crate::failure::Failure;
use crate::{files, output};
use anyhow::{Context, bail};
use blackboard::calibration::{
    Errors, Fit, Layer, Measurement, Served, data_hash, evaluate, fit, held_out, is_server_runs,
    measured_once, parse_measurements, parse_served, profiled, refitted_on_halves, served_once,
};
use std::collections::BTreeSet;
use std::path::Path;
use study::scenario::Place;
use topology::{Confidence, Hardware, MeasuredRange, Provenance, Rate, span};

pub(crate) fn run(args: &CalibrateArgs) -> Result<(), Failure> {
    let told = told(args).map_err(Failure::Usage)?;
    if let (Some(path), Told { profile: Some(hardware), .. }) = (&args.out, &told) {
        let text = cluster_file(args, hardware).map_err(Failure::Failed)?;
        files::write_whole(path, &text).map_err(Failure::Failed)?;
    }
    if args.json {
        return output::print(&format!("{:#}\n", object(&told)));
    }
    output::print(&output::fitted(&text(&told), 2))
}

/// Reads, checks, fits or evaluates.
fn told(args: &CalibrateArgs) -> anyhow::Result<Told> {
    let layer = layer(args)?;
    let nominal = nominal(args)?;
    let Read { measured, served, hash } = read(&args.measured, &layer)?;
    if measured.is_empty() {
        servers::refuse_flags_of_kernels(args)?;
    }
    known_variant(args, &measured, &served)?;
    layer.check(&measured, &nominal)?;
    let files = args.measured.iter().map(|path| path.display().to_string()).collect();
    let mut told = Told::new(files, measured, nominal);
    if let Some(name) = &args.evaluate {
        let hardware = Place::named(Some(name))?.hardware;
        told.errors =
            evaluate(&told.measured, &layer, &hardware).with_context(|| format!("--evaluate {name}"))?;
        told.servers =
            servers::evaluated(args, served, &hardware).with_context(|| format!("--evaluate {name}"))?;
        told.evaluated = Some(name.clone());
        return Ok(told);
    }
    told.servers = servers::fitted(args, served)?;
    if told.measured.is_empty() {
        if args.out.is_some() {
            told.profile = Some(servers::hardware(args, (&told.files, told.servers.as_ref()), None, hash)?);
        }
        return Ok(told);
    }
    let fitted = fit(&told.measured, &layer, &told.nominal)?;
    told.errors = errors_of(&fitted, &told.measured, &layer)?;
    told.halves = Errors::of(&refitted_on_halves(&told.measured, &layer, &told.nominal)?);
    for rule in &args.hold_out {
        let (found, unsaid) = held_out(&told.measured, &layer, &told.nominal, rule)?;
        told.held_out.push((rule.to_string(), found, unsaid));
    }
    if args.out.is_some() {
        told.profile = Some(match servers::chosen(args, told.servers.as_ref()) {
            Some(gpu) => servers::hardware(args, (&told.files, told.servers.as_ref()), Some(gpu), hash)?,
            None => hardware(args, &told, &fitted, &variant(args, &fitted, &told)?, hash)?,
        });
    }
    told.fit = Some(fitted);
    Ok(told)
}

fn layer(args: &CalibrateArgs) -> anyhow::Result<Layer> {
    if [args.hidden, args.expert_inter, args.ranks_per_node].contains(&0) {
        bail!("--hidden, --expert-inter and --ranks-per-node: give at least 1");
    }
    Ok(Layer {
        hidden: args.hidden,
        top_k: args.top_k,
        experts: args.experts,
        expert_inter: args.expert_inter,
        ranks_per_node: args.ranks_per_node,
        scheme: args.scheme,
        routing: args.routing,
    })
}

fn nominal(args: &CalibrateArgs) -> anyhow::Result<Hardware> {
    let mut nominal =
        Hardware { kernels: None, layer: None, serving: None, ..Hardware::preset(args.nominal())? };
    if let Some(name) = &args.kernels {
        let kernels = Hardware::preset(name)?.kernels;
        nominal.kernels =
            Some(kernels.with_context(|| format!("--kernels {name}: it has no measured kernels"))?);
    }
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
    Ok(nominal)
}

/// What the files have.
struct Read {
    /// Times of kernels and layers.
    measured: Vec<Measurement>,
    /// Runs of servers.
    served: Vec<Served>,
    /// Of all texts.
    hash: String,
}

/// All that `files` have, each measurement once.
fn read(files: &[impl AsRef<Path>], layer: &Layer) -> anyhow::Result<Read> {
    let (mut measured, mut served) = (Vec::new(), Vec::new());
    let mut texts = Vec::new();
    for path in files {
        let path = path.as_ref();
        let text = files::read(path)?;
        let origin = path.display().to_string();
        if is_server_runs(&text) {
            served.extend(parse_served(&text, &origin)?);
        } else {
            measured.extend(parse_measurements(&text, &origin, layer)?);
        }
        texts.push(text);
    }
    measured_once(&measured)?;
    served_once(&served)?;
    Ok(Read { measured, served, hash: data_hash(texts.iter().map(String::as_str)) })
}

/// `predicted / measured - 1`.
fn errors_of(fitted: &Fit, measured: &[Measurement], layer: &Layer) -> anyhow::Result<Vec<f64>> {
    let error = |row: &Measurement| {
        let us = fitted.predict(row, layer)?.context("every column was fitted")?;
        Ok(us / row.us - 1.0)
    };
    measured.iter().map(error).collect()
}

/// Refuses a variant that nothing measured is of.
fn known_variant(args: &CalibrateArgs, measured: &[Measurement], served: &[Served]) -> anyhow::Result<()> {
    let Some(variant) = &args.variant else { return Ok(()) };
    let mut known: BTreeSet<&str> = measured.iter().map(|row| row.variant.as_str()).collect();
    known.extend(served.iter().map(|run| run.gpu.as_str()));
    if known.contains(variant.as_str()) {
        return Ok(());
    }
    let known: Vec<String> =
        known.iter().filter(|name| !name.is_empty()).map(|name| format!("`{name}`")).collect();
    match known.is_empty() {
        true => bail!("--variant {variant}: the files name no kernels; leave it out"),
        false => bail!("--variant {variant}: the files have {}", known.join(", ")),
    }
}

/// The variant to write a profile of.
fn variant(args: &CalibrateArgs, fitted: &Fit, told: &Told) -> anyhow::Result<String> {
    let mut variants = fitted.variants();
    if let Some(servers) = &told.servers {
        variants.extend(servers.gpus());
    }
    match &args.variant {
        Some(variant) if variants.contains(variant.as_str()) => Ok(variant.clone()),
        None if variants.len() == 1 => Ok(variants.into_iter().collect()),
        _ => bail!(
            "--variant: the files have {}; a profile is of one",
            variants.iter().map(|variant| format!("`{variant}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The nominal hardware with the kernels of `variant`; its errors are those of the variant.
fn hardware(
    args: &CalibrateArgs,
    told: &Told,
    fitted: &Fit,
    variant: &str,
    data_hash: String,
) -> anyhow::Result<Hardware> {
    let of = |pairs: &mut dyn Iterator<Item = (&Measurement, f64)>| {
        let errors: Vec<f64> =
            pairs.filter(|(row, _)| row.variant == variant).map(|(_, error)| error).collect();
        Errors::of(&errors)
            .map_or([0.0; 3], |errors| errors.as_array().map(|error| (error * 1e4).round() / 1e4))
    };
    let left_out = told.held_out.first();
    let provenance = Provenance {
        source: args.source.clone().unwrap_or_else(|| told.files.join(", ")),
        date: args.date.clone(),
        data_hash,
        assumed: format!(
            "hidden {}, top-{}, {} ranks a node{}; scheme and routing {}",
            args.hidden,
            args.top_k,
            args.ranks_per_node,
            match (&args.kernels, fitted.layers().any(|(of, _)| of == variant)) {
                (Some(name), true) =>
                    format!(", experts of width {}, dispatch and combine as {name}'s", args.expert_inter),
                (None, true) => format!(", experts of width {}, nominal ports", args.expert_inter),
                (_, false) => String::new(),
            },
            if args.scheme.is_none() && args.routing.is_none() {
                "by the files' columns"
            } else {
                "by flags"
            },
        ),
        undetermined: Vec::new(),
        fitted: of(&mut told.measured.iter().zip(told.errors.iter().copied())),
        held_out: left_out
            .map_or([0.0; 3], |(_, found, _)| of(&mut found.iter().map(|(row, error)| (row, *error)))),
        held_out_by: left_out.map_or_else(|| "nothing was left out".to_owned(), |(rule, _, _)| rule.clone()),
        measured: range(args, &told.measured, variant),
    };
    let found = profiled(fitted, variant, &told.nominal, provenance);
    let what = if found.layer.is_some() { "layers" } else { "kernels" };
    Ok(Hardware {
        name: name_of(args),
        source: format!("{} with measured {what}", told.nominal.name),
        confidence: Confidence::Medium,
        ..found
    })
}

/// The profile's name: its file's.
fn name_of(args: &CalibrateArgs) -> String {
    let stem = args.out.as_ref().and_then(|path| path.file_stem()).unwrap_or_default().to_string_lossy();
    stem.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).collect()
}

/// What of `variant` was measured, least and most.
fn range(args: &CalibrateArgs, measured: &[Measurement], variant: &str) -> Option<MeasuredRange> {
    let own = || measured.iter().filter(|row| row.variant == variant);
    let layers = own().any(|row| row.op.is_layer());
    Some(MeasuredRange {
        nodes: span(own().map(|row| row.racks))?,
        ranks_per_node: span(own().map(|row| row.ranks / row.racks))?,
        tokens_per_rank: span(own().map(|row| row.tokens))?,
        hidden: [args.hidden; 2],
        top_k: [args.top_k; 2],
        experts: span(own().map(|row| row.experts))?,
        expert_inter: layers.then_some([args.expert_inter; 2]),
    })
}

/// The cluster file of the profile: two nodes, which `--racks` and `--ranks-per-rack` override.
fn cluster_file(args: &CalibrateArgs, hardware: &Hardware) -> anyhow::Result<String> {
    Ok(format!(
        "# Fitted by `railyard calibrate` to measured {2}; what each parameter means: docs/hardware.md.\n\
         [cluster]\nracks = [{0}, {0}]\n\n{1}",
        if hardware.serving.is_some() { hardware.domain_ranks } else { args.ranks_per_node },
        hardware.to_toml()?,
        if hardware.serving.is_some() { "servers" } else { "kernels" },
    ))
}

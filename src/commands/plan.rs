//! `railyard plan`: the best deployment of a model under limits on latency, why, and how to prove it.

mod text;

use crate::cli::PlanArgs;
use crate::failure::Failure;
use crate::output;
use crate::progress::Meter;
use crate::serve_sources::Files;
use anyhow::Context;
use blackboard::figure::{Axis, Figure, Layer, Mark};
use serde_json::json;
use std::fs;
use std::path::Path;
use study::plan::{Ask, Launch, Limits, Load, Plan, PlanError, launches, plan, proof};
use study::scenario::{command, said};
use study::serving::Sources;

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        if error.is_usage() { Self::usage(error) } else { Self::failed(error) }
    }
}

pub(crate) fn run(args: &PlanArgs, quiet: bool) -> Result<(), Failure> {
    let sources = Files::default();
    let load = match &args.trace {
        Some(trace) => Load::of_trace(trace, args.rate, &sources)?,
        None => Load::fixed(args.input_len, args.output_len, args.rate),
    };
    let ask = Ask {
        scenario: args.scenario.0.clone(),
        load,
        limits: Limits { ttft_ms: args.ttft_ms, tpot_ms: args.tpot_ms },
        usd_per_rank_hour: args.price,
    };
    if let Some(dir) = &args.out {
        make(dir).map_err(Failure::usage)?;
    }
    let meter = Meter::new(quiet);
    let found = plan(&ask, &sources, &mut |what| meter.say(what))?;
    drop(meter);
    let studied = sources.resolve(&ask.scenario).map_err(Failure::usage)?;
    let name = ask.scenario.model.clone().unwrap_or_else(|| studied.model.name.clone());
    let commands = launches(&found.best, &name, studied.model.routed().is_some());
    let proof = proof(&ask, &found.best);
    if let Some(dir) = &args.out {
        write(dir, &found, &proof).map_err(Failure::failed)?;
    }
    let repeat = command(&[vec!["plan".to_owned()], said(args)].concat());
    if args.json {
        return output::print(&format!("{:#}\n", object(&ask, &found, &commands, &proof, &repeat)));
    }
    let shown = text::Shown {
        ask: &ask,
        plan: &found,
        launches: &commands,
        proof: &proof,
        out: args.out.as_deref(),
        model: &studied.model.name,
        shape: &studied.model.layer(),
        hardware: &studied.place.hardware,
    };
    output::print(&shown.text(output::width(false)))
}

fn object(
    ask: &Ask,
    found: &Plan,
    launches: &[Launch],
    (name, text): &(&str, String),
    repeat: &str,
) -> serde_json::Value {
    json!({
        "schema_version": SCHEMA_VERSION,
        "command": repeat,
        "asked": {
            "input_len": ask.load.input_len,
            "output_len": ask.load.output_len,
            "rate": ask.load.rate,
            "ttft_ms": ask.limits.ttft_ms,
            "tpot_ms": ask.limits.tpot_ms,
            "kept": Ask::KEPT,
            "usd_per_rank_hour": ask.usd_per_rank_hour,
        },
        "plan": found,
        "launches": launches,
        "proof": { "file": format!("{name}.toml"), "text": text },
    })
}

fn make(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("--out: cannot make {}", dir.display()))
}

/// Writes the proof's experiment, in place of that of another plan, and the front's picture.
fn write(dir: &Path, found: &Plan, (name, text): &(&str, String)) -> anyhow::Result<()> {
    let path = dir.join(format!("{name}.toml"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    view::picture::write(&front(found), view::Medium::Screen, &dir.join("front.svg"))
}

/// Throughput a rank against speed a user.
fn front(found: &Plan) -> Figure {
    let points = found.front.iter().map(|point| (point.tokens_per_s_per_user, point.tokens_per_s_per_rank));
    let best = &found.best;
    let chosen = (best.tokens_per_s_per_user, best.tokens_per_s_per_rank, "best".to_owned());
    let other = found.runner_up.iter();
    let other =
        other.map(|other| (other.tokens_per_s_per_user, other.tokens_per_s_per_rank, "runner-up".to_owned()));
    Figure {
        id: "front",
        chapter: "plan",
        title: "Throughput a rank against speed a user".to_owned(),
        caption:
            "Line: whole replicas by closed forms. Marks: served on the virtual clock within the limits."
                .to_owned(),
        x: Axis::log("tokens/s a user"),
        y: Axis::log("tokens/s a rank"),
        layers: vec![
            Layer::Line { label: "front".to_owned(), points: points.collect(), dashed: false },
            Layer::Marks {
                label: "served".to_owned(),
                mark: Mark::Computed,
                points: std::iter::once(chosen).chain(other).collect(),
            },
        ],
    }
}

//! `railyard report`: the results of an experiment's shards as a table, CSV, JSON, Parquet or a plot.

use super::board::svg;
use crate::cli::ReportArgs;
use crate::failure::Failure;
use crate::output;
use crate::sweep_plot::figure;
use anyhow::Context;
use serde_json::json;
use std::path::{Path, PathBuf};
use study::experiment::{ExperimentError, Merged, RESULTS_VERSION, csv, merge, summarise, table};

/// Missing points that are named one by one.
const NAMED_MAX: usize = 20;

pub(crate) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let merged = merge(&args.from).map_err(failure)?;
    if args.csv {
        output::print(&csv(&merged).map_err(Failure::failed)?)?;
    } else if args.jsonl {
        let lines = merged.records().map(|record| serde_json::to_string(&record).map(|line| line + "\n"));
        output::print(&lines.collect::<Result<String, _>>().map_err(Failure::failed)?)?;
    } else if let Some(path) = &args.parquet {
        parquet(&merged, path)?;
    } else if let (Some(path), Some(x), Some(y)) = (&args.plot, &args.x, &args.y) {
        let figure = figure(&merged, &summarise(&merged), x, y, &args.series).map_err(Failure::Usage)?;
        std::fs::write(path, svg(&figure)?)
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(Failure::Failed)?;
        output::print(&format!("{}\n", path.display()))?;
    } else {
        shown(&merged, args.json)?;
    }
    complete(&merged)?;
    verdict(&merged)
}

#[cfg(feature = "parquet")]
fn parquet(merged: &Merged, path: &Path) -> Result<(), Failure> {
    let columns = merged.columns().map_err(Failure::failed)?;
    crate::parquet_file::write(path, &columns).map_err(Failure::Failed)?;
    output::print(&format!("{}\n", path.display()))
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &Merged, _: &Path) -> Result<(), Failure> {
    Err(Failure::Usage(anyhow::anyhow!(
        "this build can't write Parquet; build it with `--features parquet`, or use --csv"
    )))
}

/// The table or the JSON object of what `run` has just written.
pub(crate) fn print(files: &[PathBuf], json: bool) -> Result<(), Failure> {
    let merged = merge(files).map_err(failure)?;
    shown(&merged, json)?;
    verdict(&merged)
}

fn failure(error: ExperimentError) -> Failure {
    if error.is_usage() { Failure::usage(error) } else { Failure::failed(error) }
}

fn shown(merged: &Merged, json: bool) -> Result<(), Failure> {
    let rows = summarise(merged);
    let header = &merged.header;
    if !json {
        let fixed = if header.fixed.0.is_empty() { String::new() } else { format!(": {}", header.fixed) };
        let seeds = header.seeds.len();
        return output::print(&format!(
            "{}{fixed}\n{}emulated us; means{} over seeds\n",
            header.name,
            table(merged, &rows),
            if seeds > 1 { " and 95% intervals (Student's t)" } else { "" },
        ));
    }
    let object = json!({
        "schema_version": RESULTS_VERSION,
        "name": header.name,
        "experiment": header.experiment,
        "fixed": header.fixed,
        "swept": header.swept,
        "seeds": header.seeds,
        "backends": header.backends,
        "points": header.points,
        "missing": merged.missing,
        "rows": rows,
    });
    output::print(&format!("{object:#}\n"))
}

/// A failure that names the points which no file has.
fn complete(merged: &Merged) -> Result<(), Failure> {
    if merged.missing.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = merged.missing.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = merged.missing.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Failure::Failed(anyhow::anyhow!(
        "{} of {} points are missing: {}{more}; run their shards to the end",
        merged.missing.len(),
        merged.header.points,
        named.join(", ")
    )))
}

/// A failure that names the first record which is not verified or not valid.
fn verdict(merged: &Merged) -> Result<(), Failure> {
    let Some(flat) = merged.records().find(|flat| !flat.record.verified || !flat.record.valid) else {
        return Ok(());
    };
    let record = flat.record;
    let what = if record.verified { "is invalid, the host could not keep up" } else { "was not verified" };
    let problem = record.problem.as_deref().unwrap_or("no reason was recorded");
    Err(Failure::Failed(anyhow::anyhow!(
        "point {} ({}, seed {}, {}) {what}: {problem}",
        flat.point,
        flat.settings,
        flat.seed,
        record.backend
    )))
}

//! `railyard serve-bench`: a serving experiment, point by point on all cores.

use super::block_on_interruptibly;
use super::board::svg;
use super::compare::start_workers;
use super::health::Client;
use crate::cli::ServeBenchArgs;
use crate::failure::Failure;
use crate::progress::PointMeter;
use crate::serve_plot::{figure, short};
use crate::serve_sources::Files;
use crate::serve_table::shown;
use crate::{files, output};
use ::coordinator::pace::Host;
use ::serving::StageMemory;
use anyhow::{Context, anyhow};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use study::layer::BackendKind;
use study::serving::{
    CostChoice, Deployment, Live, Packed, SERVE_SCHEMA_VERSION, ServeError, ServeFile, ServeRecord,
    parse_serve_file, serve,
};
use topology::Cluster;

/// Answers between two words of progress.
const ANSWERS_APART: u64 = 100;

pub(crate) fn run(args: &ServeBenchArgs, quiet: bool) -> Result<(), Failure> {
    let with = if args.set.is_empty() { "" } else { " (with --set)" };
    let origin = format!("{}{with}", args.file.display());
    let text = files::read(&args.file).map_err(Failure::Usage)?;
    let text = set(&text, &args.set).map_err(Failure::Usage)?;
    let mut file = parse_serve_file(&text, &origin).map_err(Failure::usage)?;
    if args.dry_run {
        return dry_run(&file);
    }
    let meter = PointMeter::new(quiet, 0, file.points.len());
    let records = match (Client::of(&args.on), args.backend) {
        (Some(_), Some(BackendKind::Analytic | BackendKind::Sim)) => {
            let problem = "--cluster: its nodes measure; leave --backend out, or give quic";
            return Err(Failure::Usage(anyhow!(problem)));
        }
        (Some(client), _) => block_on_interruptibly(serve_there(&file, &client, &meter)),
        (None, Some(BackendKind::Quic)) => {
            block_on_interruptibly(serve_measured(&file, args.in_process, &meter))
        }
        (None, backend) => {
            choose(&mut file, backend);
            serve_all(&file, args.jobs, &meter).map_err(failure)
        }
    };
    meter.clear();
    let records = records?;
    if let Some(out) = &args.out {
        write(&file, &records, out)?;
    }
    if args.json {
        let object = json!({
            "schema_version": SERVE_SCHEMA_VERSION,
            "name": file.name,
            "claim": file.claim,
            "swept": file.swept,
            "points": records,
        });
        output::print(&format!("{object:#}\n"))?;
    } else {
        output::print(&shown(&file, &records))?;
    }
    match records.iter().find_map(|record| Some((record, record.problem.as_ref()?))) {
        Some((record, problem)) => {
            let point = swept_words(&record.settings);
            let point = if point.is_empty() { point } else { format!("{point}: ") };
            Err(Failure::Failed(anyhow!("{point}not to be trusted: {problem}")))
        }
        None => Ok(()),
    }
}

fn failure(error: ServeError) -> Failure {
    if error.is_usage() { Failure::usage(error) } else { Failure::failed(error) }
}

/// What would run, a line a point.
fn dry_run(file: &ServeFile) -> Result<(), Failure> {
    let mut text = format!("{}: {} points\n", file.name, file.points.len());
    let sources = Files::default();
    for (swept, spec) in &file.points {
        let point = swept_words(swept);
        let deployment = Deployment::new(spec, &sources).map_err(|error| failure(error.at(&point)))?;
        let stack = &deployment.stack;
        text.push_str(&format!(
            "{} stages of {} ranks, {} tokens of KV a rank  {point}\n",
            stack.num_stages(),
            stack.columns(),
            deployment.memory.iter().map(StageMemory::kv_capacity_tokens).min().unwrap_or(0),
        ));
    }
    output::print(&text)
}

/// The file with settings put otherwise.
fn set(text: &str, settings: &[String]) -> anyhow::Result<String> {
    if settings.is_empty() {
        return Ok(text.to_owned());
    }
    let mut table: toml::Table =
        toml::from_str(text).map_err(|error| anyhow!("{}", error.message().replace('\n', " ")))?;
    for setting in settings {
        let wrong = || anyhow!("--set {setting}: give table.key=value, as in parallel.pp=4");
        let (place, value) = setting.split_once('=').ok_or_else(wrong)?;
        let (section, key) = place.trim().split_once('.').ok_or_else(wrong)?;
        // What is no TOML value is a word.
        let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| toml::Value::String(value.to_owned()));
        let section = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        section.as_table_mut().ok_or_else(wrong)?.insert(key.to_owned(), value.clone());
        if let Some(sweep) = table.get_mut("sweep").and_then(toml::Value::as_table_mut) {
            fix(sweep, place.trim(), value);
        }
    }
    Ok(table.to_string())
}

/// Leaves a swept key with one value; rows that differed in nothing else are one.
fn fix(sweep: &mut toml::Table, place: &str, value: toml::Value) {
    let mut swept = sweep.remove(place).is_some();
    if let Some(rows) = sweep.get_mut("points").and_then(toml::Value::as_array_mut) {
        for row in rows.iter_mut().filter_map(toml::Value::as_table_mut) {
            swept |= row.remove(place).is_some();
        }
        let mut distinct: Vec<toml::Value> = Vec::new();
        for row in rows.drain(..) {
            if !distinct.contains(&row) {
                distinct.push(row);
            }
        }
        *rows = distinct;
        if rows.iter().all(|row| row.as_table().is_some_and(toml::Table::is_empty)) {
            sweep.remove("points");
        }
    }
    if swept {
        sweep.insert(place.to_owned(), toml::Value::Array(vec![value]));
    }
}

/// Times as `backend` has them.
fn choose(file: &mut ServeFile, backend: Option<BackendKind>) {
    for (swept, spec) in &mut file.points {
        spec.serve.cost = match (backend, spec.serve.cost) {
            (Some(BackendKind::Analytic), _) => CostChoice::Analytic,
            (Some(_), CostChoice::Analytic) => CostChoice::Memoised,
            (_, cost) => cost,
        };
        if let Some(cost) = swept.get_mut("serve.cost") {
            *cost = toml::Value::try_from(spec.serve.cost).unwrap_or_else(|_| cost.clone());
        }
    }
}

/// Serves points one after the other on worker processes, each again at half the pace where the host could not keep up.
async fn serve_measured(
    file: &ServeFile,
    in_process: bool,
    meter: &PointMeter,
) -> Result<Vec<ServeRecord>, Failure> {
    let host = Host::this(in_process);
    let ranks =
        file.points.iter().map(|(_, spec)| spec.serve.racks.saturating_mul(spec.serve.ranks_per_rack));
    let racks = Cluster::new(&[ranks.max().unwrap_or(1)]).map_err(Failure::usage)?;
    let sources = Files::default();
    // Faults of a point are told before workers start.
    for (_, spec) in &file.points {
        Live::new(spec, &sources, host, 0).map_err(failure)?;
    }
    meter.say(&format!("starting {} workers", racks.num_ranks()));
    let mut cluster = start_workers(&racks, in_process).await?;
    let mut records = Vec::with_capacity(file.points.len());
    for (swept, spec) in &file.points {
        let mut retries = 0;
        let record = loop {
            let live = Live::new(spec, &sources, host, retries).map_err(failure)?;
            let mut session = cluster.open(live.request()).await.map_err(Failure::failed)?;
            let mut progress = |steps| meter.note(&format!("step {steps} {}", swept_words(swept)));
            let served = live.serve(&mut session, &sources, "measured", &mut progress);
            let (mut record, _) = Box::pin(served).await.map_err(failure)?;
            record.settings.clone_from(swept);
            if record.problem.is_none() || retries == 1 {
                break record;
            }
            retries += 1;
        };
        meter.done(&swept_words(swept));
        records.push(record);
    }
    cluster.shutdown().await;
    Ok(records)
}

/// Serves points one after the other on a cluster that is running.
async fn serve_there(
    file: &ServeFile,
    client: &Client<'_>,
    meter: &PointMeter,
) -> Result<Vec<ServeRecord>, Failure> {
    let (mut records, sources) = (Vec::with_capacity(file.points.len()), Files::default());
    for (swept, spec) in &file.points {
        let packed = Packed::new(spec, &sources).map_err(failure)?;
        let mut record = client.serve(&packed, meter).await?;
        record.settings.clone_from(swept);
        meter.done(&swept_words(swept));
        records.push(record);
    }
    Ok(records)
}

/// The swept keys of a point with their values.
fn swept_words(swept: &BTreeMap<String, toml::Value>) -> String {
    let words: Vec<String> = swept.iter().map(|(key, value)| format!("{} {value}", short(key))).collect();
    words.join(", ")
}

/// Serves all points, as many at a time as asked for; records are in the order of points.
fn serve_all(
    file: &ServeFile,
    jobs: Option<u32>,
    meter: &PointMeter,
) -> Result<Vec<ServeRecord>, ServeError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = jobs.map_or(cores, |jobs| jobs as usize).min(file.points.len().max(1));
    let (next, sources) = (AtomicUsize::new(0), Files::default());
    let done: Vec<Mutex<Option<Result<ServeRecord, ServeError>>>> =
        file.points.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((swept, spec)) = file.points.get(index) else { return };
                    let words = swept_words(swept);
                    let mut told = 0;
                    let mut progress = |answered: u64| {
                        if answered >= told + ANSWERS_APART {
                            told = answered;
                            meter.note(&format!("{answered} requests answered {words}"));
                        }
                    };
                    let record = serve(spec, &sources, &mut progress).map(|mut record| {
                        record.settings.clone_from(swept);
                        record
                    });
                    let record = record.map_err(|error| error.at(&words));
                    let failed = record.is_err();
                    if !failed {
                        meter.done(if words.is_empty() { &file.name } else { &words });
                    }
                    if let Ok(mut place) = done[index].lock() {
                        *place = Some(record);
                    }
                    if failed {
                        // The first fault ends the run; points under way come to their end.
                        next.store(file.points.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let ended = done.into_iter().filter_map(|place| place.into_inner().ok().flatten());
    let mut records = Vec::with_capacity(file.points.len());
    for record in ended {
        records.push(record?);
    }
    Ok(records)
}

/// Records as lines, and plots.
fn write(file: &ServeFile, records: &[ServeRecord], out: &Path) -> Result<(), Failure> {
    let at = |path: &Path| format!("cannot write {}", path.display());
    std::fs::create_dir_all(out).with_context(|| at(out)).map_err(Failure::Failed)?;
    let lines = records.iter().map(|record| serde_json::to_string(record).map(|line| line + "\n"));
    let text = lines.collect::<Result<String, _>>().map_err(Failure::failed)?;
    let path = out.join(format!("{}.serve.jsonl", file.name));
    std::fs::write(&path, text).with_context(|| at(&path)).map_err(Failure::Failed)?;
    output::say(&path.display().to_string());
    for plot in &file.plots {
        let path = out.join(format!("{}.svg", plot.file));
        let drawn = svg(&figure(file, plot, records).map_err(Failure::Usage)?)?;
        std::fs::write(&path, drawn).with_context(|| at(&path)).map_err(Failure::Failed)?;
        output::say(&path.display().to_string());
    }
    Ok(())
}

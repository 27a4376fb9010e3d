//! `railyard run`: the points of an experiment file that are not finished yet, on all cores or on local workers.

use super::block_on_interruptibly;
use super::compare::start_workers;
use crate::cli::RunArgs;
use crate::experiment::Keys;
use crate::failure::Failure;
use crate::options::BackendArg;
use crate::progress::PointMeter;
use crate::{files, output};
use ::coordinator::LocalCluster;
use ::coordinator::pace::Host;
use std::sync::Arc;
use study::experiment::{
    Experiment, ExperimentError, Plan, Point, PointLine, Results, Shard, parse_experiment, point_line,
    run_offline,
};
use study::layer::{BackendKind, available_bytes, compare_rows};
use topology::Cluster;

/// Share of the available memory that all points under way may take.
const MEMORY_SHARE: f64 = 0.75;

pub(crate) fn run(args: &RunArgs, quiet: bool) -> Result<(), Failure> {
    let text = files::read(&args.file).map_err(Failure::Usage)?;
    let origin = args.file.display().to_string();
    let experiment = parse_experiment(&text, &origin, &Keys).map_err(Failure::usage)?;
    let (shard, from) =
        Shard::choose(args.shard.as_deref(), &|name| std::env::var(name).ok()).map_err(failure)?;
    let backends = backends(&args.backend, &experiment);
    let plan = Plan::new(experiment, backends, &Keys).map_err(failure)?;
    let jobs = jobs(args, &plan)?;
    let points: Vec<Point> = plan.points(shard).collect();
    let path = args.out.join(plan.file_name(shard));
    let header = header(&plan, &points, shard, from, jobs, &path.display().to_string());
    if args.dry_run {
        return dry_run(&plan, &points, header);
    }
    if !quiet {
        output::say(header.trim_end());
    }
    let mut results = Results::open(&path, &plan.header(shard)).map_err(failure)?;
    let left: Vec<Point> = points.into_iter().filter(|point| !results.has(point.index)).collect();
    let meter = Arc::new(PointMeter::new(quiet, results.done(), left.len()));
    let ended = block_on_interruptibly(async {
        if plan.backends.contains(&BackendKind::Quic) {
            Box::pin(run_on_workers(&plan, &left, args.in_process, &mut results, &meter)).await?;
            return Ok(results);
        }
        let meter = Arc::clone(&meter);
        let work = move || {
            let mut done = |line: &PointLine| meter.done(&line.settings.to_string());
            run_offline(&plan, &left, &Keys, jobs, &mut results, &mut done).map_err(failure)?;
            Ok(results)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    });
    meter.clear();
    let results = ended.map_err(|failure| match failure {
        Failure::Failed(error) => Failure::Failed(error.context(format!(
            "stopped; finished points are in {}, the same command goes on from there",
            path.display()
        ))),
        other => other,
    })?;
    let path = results.finish().map_err(failure)?;
    super::report::print(&[path], args.json)
}

fn failure(error: ExperimentError) -> Failure {
    if error.is_usage() { Failure::usage(error) } else { Failure::failed(error) }
}

fn backends(asked: &[BackendArg], experiment: &Experiment) -> Vec<BackendKind> {
    if asked.is_empty() {
        let default = || vec![BackendKind::Analytic, BackendKind::Sim];
        return experiment.backends.clone().unwrap_or_else(default);
    }
    let wanted =
        |kind: &BackendKind| asked.contains(&BackendArg::All) || asked.contains(&BackendArg::One(*kind));
    BackendKind::ALL.into_iter().filter(wanted).collect()
}

/// As many as cores, as asked for, and as memory suffices for.
fn jobs(args: &RunArgs, plan: &Plan) -> Result<usize, Failure> {
    let available = available_bytes().map(|bytes| (bytes as f64 * MEMORY_SHARE) as u64);
    let limit = args.memory_limit.or(available).unwrap_or(u64::MAX);
    let fit = limit / plan.bytes_max.max(1);
    if fit == 0 {
        return Err(Failure::Failed(anyhow::anyhow!(
            "the largest point needs about {} MB, the limit is {} MB; give fewer ranks, tokens or experts, or raise --memory-limit",
            plan.bytes_max.div_ceil(1_000_000),
            limit / 1_000_000
        )));
    }
    if plan.backends.contains(&BackendKind::Quic) {
        return Ok(1);
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = args.jobs.map_or(cores, |jobs| jobs as usize);
    Ok(wanted.min(usize::try_from(fit).unwrap_or(usize::MAX)))
}

/// What will run, as aligned `key = value` lines.
fn header(plan: &Plan, points: &[Point], shard: Shard, from: &str, jobs: usize, path: &str) -> String {
    let experiment = &plan.experiment;
    let list = |parts: Vec<String>| parts.join(", ");
    let mut lines = vec![
        ("experiment".to_owned(), format!("{}, {}", experiment.name, plan.hash)),
        ("seeds".to_owned(), list(experiment.seeds.iter().map(u64::to_string).collect())),
        ("backends".to_owned(), list(plan.backends.iter().map(ToString::to_string).collect())),
    ];
    lines.extend(experiment.fixed.0.iter().map(|(key, value)| (key.clone(), value.to_string())));
    for axis in &experiment.axes {
        let rows =
            axis.rows.iter().map(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" / "));
        lines.push((axis.keys.join(" / "), format!("{} values: {}", axis.rows.len(), list(rows.collect()))));
    }
    lines.push((
        "points".to_owned(),
        format!("{} of {}, shard {shard} ({from})", points.len(), experiment.num_points()),
    ));
    lines.push(("run".to_owned(), format!("{jobs} at a time, results in {path}")));
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    lines.iter().map(|(key, value)| format!("{key:<width$} = {value}\n")).collect()
}

fn dry_run(plan: &Plan, points: &[Point], mut text: String) -> Result<(), Failure> {
    text.push('\n');
    for point in points {
        let (resolved, _) = plan.resolve(point, &Keys).map_err(failure)?;
        text.push_str(&format!("{:>6}  {}\n", point.index, resolved.command));
    }
    output::print(&text)
}

/// Measures `points` one after the other, on as many workers as the largest has ranks.
async fn run_on_workers(
    plan: &Plan,
    points: &[Point],
    in_process: bool,
    results: &mut Results,
    meter: &PointMeter,
) -> Result<(), Failure> {
    if points.is_empty() {
        return Ok(());
    }
    meter.say(&format!("starting {} workers", plan.ranks_max));
    let racks = Cluster::new(&[plan.ranks_max]).map_err(Failure::usage)?;
    let mut cluster: LocalCluster = start_workers(&racks, in_process).await?;
    for point in points {
        let (resolved, rows) = plan.resolve(point, &Keys).map_err(failure)?;
        let mut quiet = |_| {};
        let report =
            compare_rows(resolved.spec.clone(), rows, Some(&mut cluster), Host::this(in_process), &mut quiet);
        let report = Box::pin(report).await.map_err(|source| {
            failure(ExperimentError::Run {
                point: point.index,
                settings: point.to_string(),
                source: Box::new(source),
            })
        })?;
        let line = point_line(point, &resolved, report);
        results.append(&line).map_err(failure)?;
        meter.done(&point.to_string());
    }
    cluster.shutdown().await;
    Ok(())
}

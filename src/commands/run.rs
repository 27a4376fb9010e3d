//! `railyard run`: the points of an experiment file that are not finished yet, on all cores or on workers.

use super::health::Client;
use super::workers::{host_of, start_workers};
use super::{block_on, block_on_interruptibly};
use crate::cli::{ExperimentArgs, RunArgs};
use crate::failure::Failure;
use crate::manifest::Begun;
use crate::pages;
use crate::programs::programs;
use crate::progress::PointMeter;
use crate::subjects::subjects;
use crate::timeline::Writing;
use crate::{files, output};
use anyhow::anyhow;
use std::path::Path;
use std::sync::Arc;
use study::experiment::{
    Merged, Plan, Point, PointLine, Remote, Results, Shard, Subject, parse_experiment, point_line,
    run_offline, run_on_workers,
};
use study::layer::{BackendKind, MemoryLimit, Wanted};
use study::scenario::BackendWord;
use study::subjects::layer::own_records;
use study::subjects::record;
use study::text_table::wrapped;
use topology::Cluster;

pub(crate) fn run(args: &RunArgs, quiet: bool) -> Result<(), Failure> {
    let cluster = Client::of(&args.on)?;
    let asked = Asked { args: &args.experiment, out: Some(&args.out), subject: None, cluster };
    match asked.finish(quiet)? {
        Some((merged, subject)) => super::report::print(&merged, subject, &args.experiment),
        None => Ok(()),
    }
}

/// An experiment that is to be run.
pub(super) struct Asked<'a> {
    pub(super) args: &'a ExperimentArgs,
    /// Where results go; nowhere if `None`.
    pub(super) out: Option<&'a Path>,
    /// What it must be about.
    pub(super) subject: Option<&'a str>,
    /// The cluster that is to run it.
    pub(super) cluster: Option<Client<'a>>,
}

impl Asked<'_> {
    /// Runs what is left and gives the records of its shard; `None` where nothing was to run.
    pub(super) fn finish(&self, quiet: bool) -> Result<Option<(Merged, &'static dyn Subject)>, Failure> {
        let args = self.args;
        if let Some(out) = self.out {
            programs().map_err(Failure::Usage)?.keep_in(&out.join("placements"));
        }
        let plan = self.plan()?;
        let (shard, from) = Shard::choose(args.shard.as_deref(), &|name| std::env::var(name).ok())?;
        let jobs = self.jobs(&plan)?;
        let points: Vec<Point> = plan.points(shard).collect();
        let path = self.out.map(|out| out.join(plan.file_name(shard)));
        let into = path.as_ref().map_or_else(|| "no file".to_owned(), |path| path.display().to_string());
        let header = header(&plan, &points, (shard, from), jobs, &into);
        if args.dry_run {
            return dry_run(&plan, &points, header).map(|()| None);
        }
        if !quiet {
            output::say(header.trim_end());
        }
        let results = match &path {
            Some(path) => Results::open(path, &plan.header(shard))?,
            None => Results::in_memory(plan.header(shard)),
        };
        if let Some(timeline) = Writing::of_point(&args.timeline, &plan, &points)? {
            timeline.end(quiet)?;
        }
        let begun = self.out.map(|out| Begun::now(out).map(|begun| (out, begun))).transpose()?;
        let left: Vec<Point> = points.into_iter().filter(|point| !results.has(point.index)).collect();
        let meter = Arc::new(PointMeter::new(quiet, results.done(), left.len()));
        let subject = plan.subject;
        let run = self.run_points(plan, left, results, jobs, Arc::clone(&meter));
        // A client withdraws its job before it ends.
        let ended = if self.cluster.is_some() { block_on(run) } else { block_on_interruptibly(run) };
        meter.meter.clear();
        let results = ended.map_err(|failure| {
            let Some(path) = &path else { return failure };
            let path = path.display();
            let left = format!("finished points are in {path}, the same command goes on from there");
            match failure {
                Failure::Failed(error) => Failure::Failed(error.context(format!("stopped; {left}"))),
                Failure::Interrupted(_) => Failure::Interrupted(anyhow!("interrupted; {left}")),
                other => other,
            }
        })?;
        let merged = results.finish()?;
        if let Some(out) = self.out {
            super::report::draw(&merged, subject, out)?;
        }
        if let Some((out, begun)) = &begun {
            let page = pages::keep_experiment(begun, out, &args.file, &merged)?;
            if !quiet {
                output::say(&page.display().to_string());
            }
        }
        Ok(Some((merged, subject)))
    }

    /// The experiment of the file, every point resolved.
    fn plan(&self) -> Result<Plan<'static>, Failure> {
        let args = self.args;
        let text = files::read(&args.file).map_err(Failure::Usage)?;
        let origin = args.file.display().to_string();
        let (subject, mut experiment) =
            parse_experiment(&text, &origin, &subjects()).map_err(Failure::usage)?;
        if let Some(wanted) = self.subject.filter(|wanted| *wanted != subject.name()) {
            let name = subject.name();
            let problem =
                format!("{origin}: this is a {name} experiment, not {wanted}; give it to `railyard run`");
            return Err(Failure::Usage(anyhow!(problem)));
        }
        for text in &args.set {
            experiment.set_as(text, subject).map_err(|problem| Failure::Usage(anyhow!(problem)))?;
        }
        let mut backends = BackendWord::kinds(&args.backend);
        if self.cluster.is_some() {
            if !backends.is_empty() && backends != [BackendKind::Quic] {
                let problem = "--cluster: its nodes measure; leave --backend out, or give quic";
                return Err(Failure::Usage(anyhow!(problem)));
            }
            if args.in_process {
                return Err(Failure::Usage(anyhow!(
                    "--in-process: a cluster has its own ranks; leave it out"
                )));
            }
            backends = vec![BackendKind::Quic];
        }
        Ok(Plan::new(subject, experiment, &backends)?)
    }

    /// As many points at a time as cores, as asked for, and as memory suffices for.
    fn jobs(&self, plan: &Plan<'_>) -> Result<usize, Failure> {
        let limit = MemoryLimit::new(self.args.memory_limit);
        let fit = limit.as_ref().map_or(u64::MAX, |limit| limit.bytes) / plan.bytes_max.max(1);
        if let Some(limit) = limit.filter(|_| fit == 0) {
            return Err(Failure::Failed(anyhow!(
                "the largest point needs about {} MB, the limit is {limit}; give fewer ranks, tokens or experts, or raise the limit (--memory-limit says another)",
                plan.bytes_max.div_ceil(1_000_000),
            )));
        }
        if plan.backends.contains(&BackendKind::Quic) {
            return Ok(1);
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = self.args.jobs.map_or(cores, |jobs| jobs as usize);
        Ok(wanted.min(usize::try_from(fit).unwrap_or(usize::MAX)))
    }

    async fn run_points(
        &self,
        plan: Plan<'static>,
        points: Vec<Point>,
        mut results: Results,
        jobs: usize,
        meter: Arc<PointMeter>,
    ) -> Result<Results, Failure> {
        if points.is_empty() {
            return Ok(results);
        }
        if let Some(client) = &self.cluster {
            run_there(&plan, &points, client, &mut results, &meter).await?;
            return Ok(results);
        }
        if plan.backends.contains(&BackendKind::Quic) {
            meter.meter.say(&format!("starting {} workers", plan.ranks_max));
            let racks = Cluster::new(&[plan.ranks_max]).map_err(Failure::usage)?;
            let mut cluster = start_workers(&racks, self.args.in_process).await?;
            let (ranks, here) = (plan.ranks_max, self.args.in_process);
            let host = host_of(&mut cluster, ranks, here, &self.args.gauge, &meter.meter).await?;
            let on = (&mut cluster, host);
            let note = |text: &str| meter.meter.note(text);
            let mut done = |line: &PointLine| meter.done(&line.settings.to_string());
            let run = run_on_workers(&plan, &points, on, &mut results, &note, &mut done);
            Box::pin(run).await?;
            cluster.shutdown().await;
            return Ok(results);
        }
        let work = move || {
            let note = |text: &str| meter.meter.note(text);
            let mut done = |line: &PointLine| meter.done(&line.settings.to_string());
            run_offline(&plan, &points, jobs, &mut results, &note, &mut done)?;
            Ok(results)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Has a cluster that is running serve points, one after the other.
async fn run_there(
    plan: &Plan<'_>,
    points: &[Point],
    client: &Client<'_>,
    results: &mut Results,
    meter: &PointMeter,
) -> Result<(), Failure> {
    for point in points {
        let resolved = plan.resolve(point)?;
        let records = match resolved.work.remote().map_err(|fault| plan.fault(point, &fault))? {
            Remote::Layer { spec, with_base } => {
                let compared = client.compare(&spec, Wanted::One { with_base }, &meter.meter).await;
                // Half a point is none.
                let report = compared.map_err(|ended| ended.failure)?;
                own_records(report, &spec, with_base).map_err(Failure::failed)?
            }
            Remote::Serving(packed) => {
                let served = client.serve(&packed, &meter.meter).await?;
                vec![record(&served, BackendKind::Quic).map_err(Failure::failed)?]
            }
        };
        results.append(&point_line(point.clone(), &resolved.command, records))?;
        meter.done(&point.to_string());
    }
    Ok(())
}

/// Widest key beside which its value stands.
const KEY_WIDTH_MAX: usize = 32;

/// What will run, as aligned `key = value` lines.
fn header(
    plan: &Plan<'_>,
    points: &[Point],
    (shard, from): (Shard, &str),
    jobs: usize,
    into: &str,
) -> String {
    let experiment = &plan.experiment;
    let list = |parts: Vec<String>| parts.join(", ");
    let mut lines = vec![
        ("experiment".to_owned(), format!("{} ({}), {}", experiment.name, plan.subject.name(), plan.hash)),
        ("seeds".to_owned(), list(experiment.seeds.iter().map(u64::to_string).collect())),
        ("backends".to_owned(), list(plan.backends.iter().map(ToString::to_string).collect())),
    ];
    lines.extend(plan.header(shard).fixed.0.into_iter().map(|(key, value)| (key, value.to_string())));
    for axis in &experiment.axes {
        let words = |row: &study::experiment::Settings| {
            row.0.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>().join(" / ")
        };
        let rows: Vec<String> = axis.rows.iter().map(words).collect();
        lines.push((axis.keys().join(" / "), format!("{} values: {}", rows.len(), list(rows))));
    }
    lines.push((
        "points".to_owned(),
        format!("{} of {}, shard {shard} ({from})", points.len(), experiment.num_points()),
    ));
    lines.push(("run".to_owned(), format!("{jobs} at a time, results in {into}")));
    let width = lines.iter().map(|(key, _)| key.len()).filter(|&key| key <= KEY_WIDTH_MAX).max().unwrap_or(0);
    let indent = " ".repeat(width + 3);
    let fit = |line: &str| wrapped(line, Some(80), &indent);
    // A long key, such as several that are swept together, has a line of its own.
    let told = |(key, value): &(String, String)| match key.len() > width {
        true => fit(&format!("{key} =")) + &fit(&format!("{indent}{value}")),
        false => fit(&format!("{key:<width$} = {value}")),
    };
    lines.iter().map(told).collect()
}

fn dry_run(plan: &Plan<'_>, points: &[Point], mut text: String) -> Result<(), Failure> {
    text.push('\n');
    for point in points {
        let resolved = plan.resolve(point)?;
        text.push_str(&format!("{:>6}  {}\n", point.index, resolved.command));
    }
    output::print(&text)
}

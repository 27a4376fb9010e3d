//! `railyard submit`, `runs`, `watch` and `cancel`: comparisons that a coordinator keeps.

use super::block_on;
use super::compare::verdict;
use super::health::{Client, failure};
use crate::cli::{CancelArgs, RunsArgs, SubmitArgs, WatchArgs};
use crate::failure::Failure;
use crate::output;
use crate::programs::programs;
use crate::progress::Meter;
use serde_json::json;
use study::layer::{Page, Report, check};
use study::service::{JobId, JobView};
use study::text_table::wrapped;

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

pub(crate) fn submit(args: &SubmitArgs) -> Result<(), Failure> {
    let spec = args.spec.spec(programs().map_err(Failure::Usage)?).map_err(Failure::usage)?;
    check(&spec, false)?;
    let client = Client::asking(&args.client)?;
    let job = JobId::draw();
    block_on(async { Box::pin(client.client().submit(job, &spec)).await.map_err(failure) })?;
    output::print(&format!("{job}\n"))
}

pub(crate) fn runs(args: &RunsArgs) -> Result<(), Failure> {
    let client = Client::asking(&args.client)?;
    let jobs = block_on(async { Box::pin(client.client().jobs()).await.map_err(failure) })?;
    if args.json {
        return output::print(&format!("{:#}\n", json!({ "schema_version": SCHEMA_VERSION, "runs": jobs })));
    }
    if jobs.is_empty() {
        return output::print("no runs are kept\n");
    }
    let width = output::width(false);
    output::print(&jobs.iter().map(|job| wrapped(&line(job), width, "  ")).collect::<String>())
}

/// A job in a line.
fn line(job: &JobView) -> String {
    let far = match (job.rows_done, job.rows_asked, job.ahead) {
        (Some(done), Some(asked), _) => format!(", {done} of {asked} rows"),
        (.., Some(ahead)) => format!(", {ahead} before it"),
        _ => String::new(),
    };
    let left = job.left_s.map_or_else(String::new, |left| format!(", about {left} s left"));
    let why = job.problem.as_ref().map_or_else(String::new, |problem| format!(": {problem}"));
    format!("{} {}{far}{left}, asked for by {}: {}{why}", job.id, job.state, job.client, job.title)
}

pub(crate) fn watch(args: &WatchArgs, quiet: bool) -> Result<(), Failure> {
    let client = Client::asking(&args.client)?.rejoining(args.rejoin_limit);
    let meter = Meter::new(quiet);
    let report = block_on(async { client.watch(args.run, &meter).await });
    meter.clear();
    let print = |report: &Report| match args.json {
        true => report.to_json().map_err(Failure::failed).and_then(|text| output::print(&text)),
        false => output::print(&report.to_text(Page { width: output::width(args.wide), early: false })),
    };
    let report = report?;
    print(&report)?;
    verdict(&report)
}

pub(crate) fn cancel(args: &CancelArgs) -> Result<(), Failure> {
    let client = Client::asking(&args.client)?;
    block_on(async { Box::pin(client.client().cancel(args.run)).await.map_err(failure) })?;
    output::print(&format!("{} is cancelled\n", args.run))
}

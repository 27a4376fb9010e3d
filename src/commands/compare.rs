//! `railyard compare`: runs a comparison here or on a cluster, prints tables or JSON.

use super::health::{Client, NoReport};
use super::workers::{host_of, start_workers};
use super::{block_on, block_on_interruptibly};
use crate::cli::CompareArgs;
use crate::failure::Failure;
use crate::manifest::Begun;
use crate::pages;
use crate::programs::programs;
use crate::timeline::Writing;
use crate::{output, progress::Meter};
use ::coordinator::SimRunner;
use ::coordinator::pace::Host;
use std::io::IsTerminal;
use study::layer::{self, BackendKind, CompareSpec, Dilation, Finished, Page, Report, Wanted};

pub(crate) fn run(args: &CompareArgs, quiet: bool) -> Result<(), Failure> {
    let mut spec = args.spec.spec(programs().map_err(Failure::Usage)?).map_err(Failure::usage)?;
    spec.detail = args.pairs || args.out.is_some();
    let client = Client::of(&args.on)?;
    if client.is_some() && args.ui.ui.is_some() {
        let problem =
            "--ui: a cluster's page is its coordinator's, `railyard coordinator --ui`; leave it out here";
        return Err(Failure::Usage(anyhow::anyhow!(problem)));
    }
    if client.is_none() {
        layer::check(&spec, spec.backends.contains(&BackendKind::Quic))?;
    }
    let begun = args.out.as_deref().map(|out| Begun::now(out).map(|begun| (out, begun))).transpose()?;
    let width = output::width(args.wide);
    if !quiet && let Some(early) = layer::early(&spec) {
        show_early(&early.to_text(Page { width, early: true }), args.json)?;
    }
    let meter = Meter::new(quiet);
    let print = |report: &Report| {
        let text = match args.json {
            true => report.to_json().map_err(Failure::failed)?,
            false => {
                let page = Page { width, early: false };
                let pairs = if args.pairs { format!("\n{}", report.pairs(page)) } else { String::new() };
                report.to_text(page) + &pairs
            }
        };
        output::print(&text)?;
        if let Some((out, begun)) = &begun {
            let page = pages::keep_comparison(begun, out, report)?;
            if !quiet {
                output::say(&page.display().to_string());
            }
        }
        Ok(())
    };
    if args.ui.ui.is_some() {
        if args.timeline.timeline.is_some() {
            let problem = "--timeline: a comparison on a page writes none; leave --ui or --timeline out";
            return Err(Failure::Usage(anyhow::anyhow!(problem)));
        }
        let report = block_on(Box::pin(super::watched::run(&spec, args, &meter, print)))?;
        return verdict(&report);
    }
    let timeline = Writing::of_comparison(&args.timeline, &mut spec)?;
    let mut finished = match &timeline {
        Some(timeline) => Finished::default().traced(timeline.rows()),
        None => Finished::default(),
    };
    let ended = match client {
        Some(client) => block_on(async { Ok(Box::pin(on_cluster(&client, spec, args, &meter)).await) })?,
        None => block_on_interruptibly(run_here(&spec, args, &mut finished, &meter))
            .map_err(|failure| (failure, finished.incomplete())),
    };
    meter.clear();
    let ended = match ended {
        Ok(report) => Ok(thinned(report, args)),
        Err((failure, incomplete)) => Err((failure, incomplete.map(|report| thinned(report, args)))),
    };
    if let Some(timeline) = timeline {
        timeline.end(quiet)?;
    }
    match ended {
        Ok(report) => print(&report).and_then(|()| verdict(&report)),
        Err((failure, incomplete)) => {
            // What it has is worth more than nothing; why there is no more is said all the same.
            incomplete.as_ref().map_or(Ok(()), print)?;
            Err(failure)
        }
    }
}

/// Most ranks whose pairs a report that is kept has one by one, unless they are asked for.
const PAIRS_MAX: u32 = 160;

/// The report without what makes files of many ranks large: their pairs are summed rack by rack.
fn thinned(mut report: Report, args: &CompareArgs) -> Report {
    for record in report.rows.iter_mut().filter(|record| !args.pairs && record.ranks > PAIRS_MAX) {
        if let Some(detail) = &mut record.detail {
            detail.sum_by_rack();
        }
    }
    report
}

/// Runs `spec` on a cluster; where ranks are lost for good, on what is left of it, if that is asked for.
async fn on_cluster(
    client: &Client<'_>,
    mut spec: CompareSpec,
    args: &CompareArgs,
    meter: &Meter,
) -> Result<Report, (Failure, Option<Report>)> {
    loop {
        let NoReport { failure, incomplete, unseated } = match client.compare(&spec, Wanted::All, meter).await
        {
            Ok(report) => return Ok(report),
            Err(ended) => ended,
        };
        let smaller =
            spec.without(&unseated).filter(|smaller| args.shrink && layer::check(smaller, false).is_ok());
        let Some(smaller) = smaller else {
            if args.shrink && !unseated.is_empty() {
                output::say(
                    "the ranks that are left can't run this comparison: there must be two, and experts must fit on them",
                );
            }
            return Err((failure, incomplete));
        };
        let sizes: Vec<String> = smaller.rack_sizes.iter().map(u32::to_string).collect();
        let what = format!("on the ranks that were left, racks of {}: {failure}", sizes.join(", "));
        meter.clear();
        if let Some(report) = incomplete {
            output::say(&report.to_text(Page { width: output::width(args.wide), early: false }));
        }
        output::say(&format!("begun again {what}"));
        spec = CompareSpec { command: None, ..smaller };
        spec.notes.push(what);
    }
}

/// Shows the first answer where people look: stdout has it only if it is a terminal.
fn show_early(text: &str, json: bool) -> Result<(), Failure> {
    if !json && std::io::stdout().is_terminal() {
        return output::print(&format!("{text}\n"));
    }
    output::say(text);
    Ok(())
}

/// A failure if any row is not verified or not valid.
pub(super) fn verdict(report: &Report) -> Result<(), Failure> {
    let Some(record) = report.first_failure() else { return Ok(()) };
    let what = if record.verified { "is invalid, the host could not keep up" } else { "was not verified" };
    let problem = record.problem.as_deref().unwrap_or("no reason was recorded");
    Err(Failure::Failed(anyhow::anyhow!(
        "{} ({} latency, {}) {what}: {problem}",
        record.title,
        record.latency,
        record.backend
    )))
}

/// Runs `spec` on this machine; workers are there only while it runs, and only if quic is asked for.
async fn run_here(
    spec: &CompareSpec,
    args: &CompareArgs,
    finished: &mut Finished,
    meter: &Meter,
) -> Result<Report, Failure> {
    let host = Host::this(args.in_process);
    let mut show = |progress| meter.show(&progress);
    if !spec.backends.contains(&BackendKind::Quic) {
        let report = layer::compare(spec, None::<&mut SimRunner>, host, finished, &mut show);
        return Ok(Box::pin(report).await?);
    }
    let racks = spec.cluster().map_err(Failure::usage)?;
    meter.say(&format!("starting {} workers", racks.num_ranks()));
    let mut cluster = start_workers(&racks, args.in_process).await?;
    let host = match spec.dilation {
        Dilation::Auto => {
            host_of(&mut cluster, racks.num_ranks(), args.in_process, &args.gauge, meter).await?
        }
        Dilation::Fixed(_) => host,
    };
    let report = Box::pin(layer::compare(spec, Some(&mut cluster), host, finished, &mut show)).await?;
    cluster.shutdown().await;
    Ok(report)
}

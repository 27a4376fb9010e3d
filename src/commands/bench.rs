//! `railyard bench`: runs one configuration a line on a backend, here or on a cluster, and prints tables that people know.

use super::health::Client;
use super::workers::{host_of, start_workers_within};
use super::{block_on, block_on_interruptibly};
use crate::cli::{
    AlltoallArgs, BenchArgs, BenchCommand, ExpertArgs, LinkArgs, RankArgs, Tier, Where, WireArgs,
};
use crate::failure::Failure;
use crate::programs::programs;
use crate::{output, progress::Meter};
use ::coordinator::pace::Host;
use ::coordinator::{Limits, LocalCluster};
use anyhow::Context;
use moe::DispatchScheme;
use serde_json::Value;
use std::path::Path;
use study::bench::{
    Collective, Even, Line, Product, RankPhase, Sweep, Wall, footer, header, host, json, line, now,
    product_header, product_line, rank_header, rank_lines, sizes, unthrottled, wire,
};
use study::layer::{self, BackendKind, CompareSpec, Finished, GateChoice, Record, Wanted};

/// Measured rounds, and those before them, where nothing is said.
const ROUNDS: u32 = 5;
const WARMUP: u32 = 1;

pub(crate) fn run(args: &BenchArgs, quiet: bool) -> Result<(), Failure> {
    match &args.what {
        BenchCommand::Link(args) => link(args, quiet),
        BenchCommand::Alltoall(args) => alltoall(args, None, quiet),
        BenchCommand::Dispatch(args) => ranks(args, RankPhase::Dispatch, quiet),
        BenchCommand::Combine(args) => ranks(args, RankPhase::Combine, quiet),
        BenchCommand::Expert(args) => experts(args, quiet),
        BenchCommand::Wire(args) => frames(args),
    }
}

fn usage(problem: impl std::fmt::Display) -> Failure {
    Failure::Usage(anyhow::anyhow!("{problem}"))
}

fn link(args: &LinkArgs, quiet: bool) -> Result<(), Failure> {
    let said = args.even.scenario.said_of_racks();
    if !said.is_empty() {
        return Err(usage(
            "a link has two ranks; leave racks and ranks out, and give --tier scale-up or scale-out",
        ));
    }
    alltoall(&args.even, Some(args.tier), quiet)
}

/// Equal bytes for all pairs; of two ranks on one link if a tier is given.
fn alltoall(args: &AlltoallArgs, tier: Option<Tier>, quiet: bool) -> Result<(), Failure> {
    let studied = args.scenario.resolve(programs().map_err(Failure::Usage)?).map_err(Failure::usage)?;
    let rack_sizes = match tier {
        None => studied.rack_sizes,
        Some(Tier::ScaleUp) => vec![2],
        Some(Tier::ScaleOut) => vec![1, 1],
    };
    let ranks = rack_sizes.iter().fold(0, |sum: u32, &size| sum.saturating_add(size));
    let collective = if tier.is_some() { Collective::Link } else { Collective::AllToAll };
    let latency = args.scenario.the_latency().map_err(Failure::usage)?;
    let (min, max) = (args.sizes.min, args.sizes.max);
    let mut evens = Vec::new();
    for size in sizes(min, max, args.sizes.factor).map_err(usage)? {
        evens.push(Even::new(collective, size, ranks).map_err(Failure::usage)?);
    }
    evens.dedup();
    let (place, iterations) = (&args.on.place, &args.iterations);
    let (warmup, rounds) = (iterations.warmup_iters.unwrap_or(WARMUP), iterations.iters.unwrap_or(ROUNDS));
    let mut specs = Vec::new();
    for even in &evens {
        let spec = even
            .spec(&studied.place, rack_sizes.clone(), latency, args.on.backend)
            .map_err(Failure::failed)?;
        let spec = CompareSpec { rounds, warmup, ..spec };
        specs.push(if place.raw { unthrottled(spec) } else { spec });
    }
    let backend = if place.raw { BackendKind::Quic } else { args.on.backend };
    let fabric = studied.place.fabric;
    let port = |link: topology::LinkSpec| format!("{:.4} GB/s", link.rate.bytes_per_s() as f64 / 1e9);
    let links = format!(
        "links: {} a port inside racks, {} between racks, {latency} latency; racks of {rack_sizes:?}",
        port(fabric.scale_up),
        port(fabric.scale_out),
    );
    let racks = rack_sizes.len() as f64;
    let bound = (collective == Collective::AllToAll && racks > 1.0).then(|| {
        let most = racks / (racks - 1.0) * fabric.scale_out_share().rate.bytes_per_s() as f64 / 1e9;
        format!("bound: N/(N - 1) times the port between racks over N racks, {most:.2} GB/s, where racks are alike")
    });
    let shared = studied.place.told_of_sharing(&rack_sizes);
    let notes = std::iter::once(links).chain(bound).chain(shared);
    let sweep = Sweep {
        collective,
        sizes: (min, max),
        factor: args.sizes.factor,
        iterations: (warmup, rounds),
        backend,
        raw: place.raw,
        rack_sizes,
        hardware: studied.place.hardware.name,
        notes: if place.raw { Vec::new() } else { notes.collect() },
    };
    let begun = now();
    output::print(&header(&sweep))?;
    let mut lines = Vec::new();
    let mut failed = None;
    let largest = evens.last().map_or(0, |even| even.size().saturating_mul(ranks.into()));
    measure(specs, place, quiet, |at, spec, record| {
        failed = failed.take().or_else(|| verdict(spec, record, place.raw));
        lines.push(Line::new(&evens[at], record, wall(record, place)));
        output::print(&line(&lines[lines.len() - 1]))
    })?;
    output::print(&footer(collective, &lines))?;
    if place.raw {
        output::print(&beside(largest)?)?;
    }
    if let Some(path) = &args.iterations.json_file {
        let words: Vec<String> = std::env::args().collect();
        write(path, &json(&sweep, &lines, &words, &begun))?;
    }
    failed.map_or(Ok(()), Err)
}

/// What this host does without railyard.
fn beside(bytes: u64) -> Result<String, Failure> {
    let tcp = host::tcp_gb_per_s(bytes).context("TCP on loopback").map_err(Failure::Failed)?;
    let copy = host::copy_gb_per_s(bytes);
    Ok(format!(
        "# beside it, measured here: one TCP connection on loopback {tcp:.2} GB/s, memory copy by one thread {copy:.2} GB/s\n"
    ))
}

/// The one configuration of a layer that a bench is about, on one backend, with what is behind its record.
fn spec_of(args: &RankArgs) -> Result<CompareSpec, Failure> {
    let mut spec = args.layer.spec(programs().map_err(Failure::Usage)?).map_err(Failure::usage)?;
    let scheme = if spec.rack_sizes.len() > 1 { DispatchScheme::Hierarchical } else { DispatchScheme::Dedup };
    spec.latencies = vec![args.layer.scenario.the_latency().map_err(Failure::usage)?];
    spec.schemes.get_or_insert_with(|| vec![scheme]);
    spec.gates.get_or_insert_with(|| vec![GateChoice::Unlimited]);
    spec.backends = spec.backends.last().copied().into_iter().collect();
    spec.rounds = args.iterations.iters.unwrap_or(spec.rounds);
    spec.warmup = args.iterations.warmup_iters.unwrap_or(spec.warmup);
    spec.detail = true;
    Ok(if args.place.raw { unthrottled(spec) } else { spec })
}

fn ranks(args: &RankArgs, phase: RankPhase, quiet: bool) -> Result<(), Failure> {
    let raw = args.place.raw;
    let mut failed = None;
    measure(vec![spec_of(args)?], &args.place, quiet, |_, spec, record| {
        failed = verdict(spec, record, raw);
        let lines = rank_lines(record, phase, wall(record, &args.place));
        output::print(&(rank_header(spec, record, raw) + &lines))?;
        write_record(args, &[record])
    })?;
    if raw {
        output::print(&beside(64 << 20)?)?;
    }
    failed.map_or(Ok(()), Err)
}

fn write_record(args: &RankArgs, records: &[&Record]) -> Result<(), Failure> {
    let Some(path) = &args.iterations.json_file else { return Ok(()) };
    write(path, &serde_json::json!({ "schema_version": layer::SCHEMA_VERSION, "rows": records }))
}

fn experts(args: &ExpertArgs, quiet: bool) -> Result<(), Failure> {
    let base = spec_of(&args.rank)?;
    let tokens = sizes(args.min.into(), args.max.into(), args.factor).map_err(usage)?;
    let tokens: Vec<u32> = tokens.into_iter().filter_map(|tokens| u32::try_from(tokens).ok()).collect();
    if args.rank.place.raw {
        output::print(&format!(
            "# railyard bench {}: products of {}'s experts on one thread of this host, f32, measured by the wall clock\n# {:>8}  {:>8}  {:>12}  {:>10}\n",
            env!("CARGO_PKG_VERSION"),
            base.model.name,
            "experts",
            "rows",
            "rows/s",
            "GFLOP/s"
        ))?;
        for rows in tokens {
            let done = host::products(&base.shape, rows);
            let (rate, flop) = (done.rows_per_s, done.flop_per_s / 1e9);
            output::print(&format!("  {:>8}  {rows:>8}  {rate:>12.0}  {flop:>10.2}\n", done.experts))?;
        }
        return Ok(());
    }
    let specs: Vec<CompareSpec> =
        tokens.into_iter().map(|tokens| CompareSpec { tokens, ..base.clone() }).collect();
    let backend = base.backends.last().map_or_else(String::new, ToString::to_string);
    output::print(&product_header(&base, &backend))?;
    let (mut failed, mut records) = (None, Vec::new());
    measure(specs, &args.rank.place, quiet, |_, spec, record| {
        failed = failed.take().or_else(|| verdict(spec, record, false));
        records.push(record.clone());
        let product = Product::new(spec, record).map_err(Failure::usage)?;
        output::print(&product_line(&product))
    })?;
    write_record(&args.rank, &records.iter().collect::<Vec<_>>())?;
    failed.map_or(Ok(()), Err)
}

fn frames(args: &WireArgs) -> Result<(), Failure> {
    if args.max > 128 << 10 {
        return Err(usage("a row has at most 128K; give a smaller -e"));
    }
    output::print(&wire::header())?;
    for bytes in sizes(args.min, args.max, args.factor).map_err(usage)? {
        output::print(&wire::line(&wire::rate(bytes, args.rows)))?;
    }
    Ok(())
}

/// Runs each of `specs`, one configuration each, and tells `hear` of its record.
fn measure(
    specs: Vec<CompareSpec>,
    place: &Where,
    quiet: bool,
    mut hear: impl FnMut(usize, &CompareSpec, &Record) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let meter = Meter::new(quiet);
    let mut told = |at: usize, spec: &CompareSpec, record: Option<&Record>| {
        meter.clear();
        let record = record.ok_or_else(|| Failure::Failed(anyhow::anyhow!("a report without a record")))?;
        hear(at, spec, record)
    };
    match Client::of(&place.on)? {
        Some(client) => block_on(async {
            for (at, spec) in specs.iter().enumerate() {
                let wanted = Wanted::One { with_base: false };
                let report = Box::pin(client.compare(spec, wanted, &meter)).await;
                let report = report.map_err(|ended| ended.failure)?;
                told(at, spec, report.rows.last())?;
            }
            Ok(())
        }),
        None => block_on_interruptibly(async {
            let mut host = Host::this(place.in_process);
            let mut cluster = workers(&specs, place, &meter).await?;
            if let (Some(cluster), Some(spec), false) = (&mut cluster, specs.first(), place.raw) {
                let ranks = spec.cluster().map_err(Failure::usage)?.num_ranks();
                host = host_of(cluster, ranks, place.in_process, &place.gauge, &meter).await?;
            }
            for (at, spec) in specs.iter().enumerate() {
                let (rows, mut finished) = (layer::configuration(spec, false)?, Finished::default());
                let mut show = |progress| meter.show(&progress);
                let report =
                    layer::compare_rows(spec.clone(), rows, cluster.as_mut(), host, &mut finished, &mut show);
                told(at, spec, Box::pin(report).await?.rows.last())?;
            }
            if let Some(cluster) = cluster {
                cluster.shutdown().await;
            }
            Ok(())
        }),
    }
}

/// A worker on this machine for each rank, if any of `specs` is to be measured; all have as many ranks.
async fn workers(
    specs: &[CompareSpec],
    place: &Where,
    meter: &Meter,
) -> Result<Option<LocalCluster>, Failure> {
    let Some(spec) = specs.iter().find(|spec| spec.backends.contains(&BackendKind::Quic)) else {
        return Ok(None);
    };
    let racks = spec.cluster().map_err(Failure::usage)?;
    meter.say(&format!("starting {} workers", racks.num_ranks()));
    let limits = if place.raw { Wall::no_lead() } else { Limits::default() };
    start_workers_within(&racks, place.in_process, limits).await.map(Some)
}

/// How the times of `record` are told. A cluster that is running tells its ranks of a phase before it begins.
fn wall(record: &Record, place: &Where) -> Wall {
    let limits = if place.on.cluster.is_some() { Limits::default() } else { Wall::no_lead() };
    if place.raw { Wall::of(record, &limits) } else { Wall::EMULATED }
}

/// What is wrong with a record. Unthrottled, nobody can be late.
fn verdict(spec: &CompareSpec, record: &Record, raw: bool) -> Option<Failure> {
    if record.verified && (raw || record.valid) {
        return None;
    }
    let what = if record.verified { "the host could not keep up" } else { "it was not verified" };
    let problem = record.problem.as_deref().unwrap_or("no reason was recorded");
    let tokens = spec.tokens;
    Some(Failure::Failed(anyhow::anyhow!(
        "{tokens} tokens a rank of {} elements: {what}: {problem}",
        spec.shape.hidden
    )))
}

fn write(path: &Path, value: &Value) -> Result<(), Failure> {
    let text = format!("{value:#}\n");
    std::fs::write(path, text)
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(Failure::Failed)
}

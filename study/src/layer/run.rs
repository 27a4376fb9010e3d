//! Runs a comparison: makes its rows and their truths, drives the backends and gathers the records.

use super::expected::Expectations;
use super::finished::{About, Finished};
use super::left::TimeLeft;
use super::level::Level;
use super::line::{Line, Simulated};
use super::measure::{request, simulated_steps};
use super::progress::{Progress, ProgressSink};
use super::record::{Record, Report};
use super::traced::{Traced, tracing_simulated};
use super::truth::{Truth, truths};
use super::{
    BackendKind, CompareError, CompareSpec, Configuration, Dilation, Expected, LatencyChoice, configurations,
    memory,
};
use crate::gauge::told;
use coordinator::pace::Host;
use coordinator::sim::SimRunner;
use coordinator::{RunError, RunRequest, Runner, StepRecord};
use moe::RoutingSpec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use topology::FaultPlan;

/// Checks that `spec` can be run: racks, experts, placement and gates fit each other, and memory suffices. `quic_here` if
/// workers run on this machine.
///
/// # Errors
/// [`CompareError`], as [`compare`] would give it.
pub fn check(spec: &CompareSpec, quic_here: bool) -> Result<(), CompareError> {
    memory::check(spec, &configurations(spec, &mut Vec::new())?, quic_here)
}

/// Runs `spec`. The quic backend, if the spec asks for it, is `quic`, whose ranks live on `host`.
///
/// A row that fails its checks or that the host disturbed every time is in the report, marked. Rows of `finished` are taken from there; those
/// that come are added to it.
///
/// # Errors
/// [`CompareError`] when nothing can be run, or a backend gives up.
pub async fn compare<Q: Runner + Send>(
    spec: &CompareSpec,
    quic: Option<&mut Q>,
    host: Host,
    finished: &mut Finished,
    progress: ProgressSink<'_>,
) -> Result<Report, CompareError> {
    let mut spec = spec.clone();
    let mut notes = std::mem::take(&mut spec.notes);
    let rows = configurations(&spec, &mut notes)?;
    spec.notes = notes;
    compare_rows(spec, rows, quic, host, finished, progress).await
}

/// As [`compare`], with these configurations, each after its base.
///
/// # Errors
/// As [`compare`].
pub async fn compare_rows<Q: Runner + Send>(
    mut spec: CompareSpec,
    rows: Vec<Configuration>,
    mut quic: Option<&mut Q>,
    host: Host,
    finished: &mut Finished,
    progress: ProgressSink<'_>,
) -> Result<Report, CompareError> {
    if spec.backends.contains(&BackendKind::Quic) && quic.is_none() {
        return Err(CompareError::Spec("no nodes to run the quic backend on".to_owned()));
    }
    memory::check(&spec, &rows, quic.is_some())?;
    let total = rows.len() * spec.latencies.len();
    let all = abouts(&spec, &rows);
    let kept = finished.begin(&spec, &all)?;
    progress(Progress::Preparing { total });
    let to_simulate = all.iter().zip(&kept).filter(|(about, _)| about.backend() == BackendKind::Sim);
    let to_simulate = to_simulate.map(|(_, kept)| kept.is_none()).collect();
    if let Some(note) = paced_by(&spec, host) {
        spec.notes.push(note);
    }
    let job = Arc::new((spec, rows));
    let (spec, rows) = &*job;
    // The references and the simulations need each other only to be compared: two cores, half the time.
    let (prepared, simulated) = tokio::join!(
        blocking(
            {
                let job = Arc::clone(&job);
                move |gone: &AtomicBool| prepared(&job.0, &job.1, gone)
            },
            "preparation"
        ),
        simulate(Arc::clone(&job), to_simulate)
    );
    let ((expected, truths), mut simulated) = (prepared?, simulated?.into_iter());
    let lines = lines(spec, rows, &expected, &truths);
    let quic_asked = spec.backends.contains(&BackendKind::Quic);
    let mut left = quic_asked.then(|| TimeLeft::new(&lines, host));
    let mut level = Level::new(&host.figures);
    let mut records: Vec<Record> = Vec::with_capacity(all.len());
    let mut kept = kept.into_iter();
    let mut done = 0;
    for line in &lines {
        for &latency in &spec.latencies {
            for &backend in &spec.backends {
                let at = records.len();
                let what = all[at].to_string();
                let slowest = Some(&backend) == spec.backends.last();
                if let Some(record) = kept.next().flatten() {
                    if slowest {
                        left.iter_mut().for_each(TimeLeft::skip);
                        done += 1;
                    }
                    records.push(record);
                    continue;
                }
                if slowest {
                    let left_s = left.as_mut().map(TimeLeft::begin);
                    progress(Progress::Running { done, total, what: what.clone(), left_s });
                    done += 1;
                }
                let run = |source| CompareError::Run { row: what.clone(), source };
                let (record, steps) = match (backend, &mut quic) {
                    (BackendKind::Analytic, _) => (line.analytic(latency)?, Vec::new()),
                    (BackendKind::Quic, Some(quic)) => {
                        let record = line.quic(latency, *quic, (host, &mut level), &what, progress);
                        Box::pin(record).await.map_err(run)?
                    }
                    _ => line.sim(latency, simulated.next().unwrap_or_default()),
                };
                finished.keep(at, &all[at], &record);
                finished.trace(at, (line.row, &record), &steps);
                records.push(record);
            }
        }
    }
    progress(Progress::Done);
    Ok(Report::new(spec, records))
}

/// Which figures of the host measured rows are paced by; `None` where none are.
fn paced_by(spec: &CompareSpec, host: Host) -> Option<String> {
    let paced = spec.backends.contains(&BackendKind::Quic) && spec.dilation == Dilation::Auto;
    paced.then(|| format!("rows are paced for a host that carries {}", told(&host.figures)))
}

/// As [`compare_rows`] without quic, on the calling thread and without a runtime. Memory is not checked: whoever runs
/// several at a time knows how many.
///
/// # Errors
/// [`CompareError`] when routing can't be made or the simulator gives up.
pub fn compare_offline(spec: &CompareSpec, rows: &[Configuration]) -> Result<Report, CompareError> {
    compare_offline_traced(spec, rows, &mut |_| ())
}

/// As [`compare_offline`]; `told` hears of what each row's timeline is made of.
///
/// # Errors
/// As [`compare_offline`].
pub fn compare_offline_traced(
    spec: &CompareSpec,
    rows: &[Configuration],
    told: &mut dyn FnMut(&Traced<'_>),
) -> Result<Report, CompareError> {
    let (expected, truths) = prepared(spec, rows, &AtomicBool::new(false))?;
    let mut records = Vec::new();
    let of = rows.len() * spec.latencies.len() * spec.backends.len();
    for line in lines(spec, rows, &expected, &truths) {
        for &latency in &spec.latencies {
            for &backend in &spec.backends {
                let (record, steps) = match backend {
                    BackendKind::Analytic => (line.analytic(latency)?, Vec::new()),
                    BackendKind::Sim => {
                        line.sim(latency, simulated(spec, line.row, latency, &AtomicBool::new(false))?)
                    }
                    BackendKind::Quic => {
                        return Err(CompareError::Spec("no nodes to run the quic backend on".to_owned()));
                    }
                };
                told(&Traced::new(spec, (records.len(), of), (line.row, &record), &steps));
                records.push(record);
            }
        }
    }
    Ok(Report::new(spec, records))
}

/// What the simulator and the closed forms say of `spec` with its first seed, before anything is measured: in a moment, since rows are
/// lengths; a gate needs their values, which takes seconds. `None` where nothing is to be measured or the simulator isn't asked for.
#[must_use]
pub fn early(spec: &CompareSpec) -> Option<Report> {
    let asked = |backend| spec.backends.contains(&backend);
    if !asked(BackendKind::Quic) || !asked(BackendKind::Sim) {
        return None;
    }
    preview(spec).ok()
}

/// What the simulator and the closed forms say of `spec` with its first seed, whatever is to be measured.
///
/// # Errors
/// [`CompareError`] for what can't be simulated here, for instance for want of memory.
pub fn preview(spec: &CompareSpec) -> Result<Report, CompareError> {
    let mut light = spec.clone();
    light.payload = matches!(spec.routing, RoutingSpec::Gate);
    light.seeds.truncate(1);
    (light.timeline, light.detail) = (false, false);
    light.backends.retain(|&backend| backend != BackendKind::Quic);
    let rows = configurations(&light, &mut Vec::new())?;
    memory::check(&light, &rows, false)?;
    compare_offline(&light, &rows)
}

/// Every configuration with what is known of it.
fn lines<'a>(
    spec: &'a CompareSpec,
    rows: &'a [Configuration],
    expected: &'a [Expected],
    truths: &'a [Vec<Vec<Truth>>],
) -> Vec<Line<'a>> {
    let line = |(at, row): (usize, &'a Configuration)| {
        let truths = truths.iter().map(|seed| seed[at].as_slice()).collect();
        Line { spec, row, at, expected: &expected[at], truths }
    };
    rows.iter().enumerate().map(line).collect()
}

/// What each row of the report is about.
fn abouts(spec: &CompareSpec, rows: &[Configuration]) -> Vec<About> {
    let mut all = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        for &latency in &spec.latencies {
            all.extend(spec.backends.iter().map(|&backend| About::new(spec, row, at, latency, backend)));
        }
    }
    all
}

/// One row at one latency, simulated seed by seed.
fn simulated(
    spec: &CompareSpec,
    row: &Configuration,
    latency: LatencyChoice,
    gone: &AtomicBool,
) -> Result<Simulated, CompareError> {
    let (warmup, rounds) = simulated_steps(spec);
    let mut simulated = Simulated::default();
    for &seed in &spec.seeds {
        let mut request = request(spec, row, seed, latency);
        request.setup.tracing = tracing_simulated(spec, row).filter(|_| simulated.steps.is_empty());
        let run = |request: &RunRequest| {
            needed(gone)?;
            // A step that nobody waits for any more is the last.
            let left = |_: &[StepRecord]| gone.load(Ordering::Relaxed);
            let steps = SimRunner::run_blocking_until(request, warmup.saturating_add(rounds), left);
            needed(gone)?;
            steps.map_err(|source| CompareError::Run {
                row: format!("{}, {latency} latency, sim", row.title),
                source,
            })
        };
        simulated.steps.push(run(&request)?);
        if !request.setup.faults.is_empty() {
            (request.setup.faults, request.setup.tracing) = (FaultPlan::default(), None);
            simulated.healthy.push(run(&request)?);
        }
    }
    Ok(simulated)
}

/// What all backends share: expectations by row; truths by seed, row and step, none for closed forms alone.
type Prepared = (Vec<Expected>, Vec<Vec<Vec<Truth>>>);

fn prepared(spec: &CompareSpec, rows: &[Configuration], gone: &AtomicBool) -> Result<Prepared, CompareError> {
    let mut expectations = Expectations::new(spec);
    let expected = rows.iter().map(|row| needed(gone).and_then(|()| expectations.of(row)));
    let expected = expected.collect::<Result<_, _>>()?;
    let runs = spec.backends.iter().any(|&backend| backend != BackendKind::Analytic);
    let seeds: &[u64] = if runs { &spec.seeds } else { &[] };
    let truths = seeds
        .iter()
        .map(|&seed| needed(gone).and_then(|()| truths(spec, rows, seed)))
        .collect::<Result<_, _>>()?;
    Ok((expected, truths))
}

/// Simulates rows at their latencies, on a thread that may block: those that are `wanted`, in order; nothing where the simulator is not
/// asked for.
async fn simulate(
    job: Arc<(CompareSpec, Vec<Configuration>)>,
    wanted: Vec<bool>,
) -> Result<Vec<Simulated>, CompareError> {
    let all = move |gone: &AtomicBool| {
        let (spec, rows) = &*job;
        if !spec.backends.contains(&BackendKind::Sim) {
            return Ok(Vec::new());
        }
        let lines = rows.iter().flat_map(|row| spec.latencies.iter().map(move |&latency| (row, latency)));
        let lines = lines.zip(wanted).filter_map(|(line, wanted)| wanted.then_some(line));
        lines.map(|(row, latency)| simulated(spec, row, latency, gone)).collect()
    };
    blocking(all, "simulation").await
}

/// Says to work on another thread, once it is dropped, that nobody waits for it any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An error where nobody waits any more: work ends between two steps.
fn needed(gone: &AtomicBool) -> Result<(), CompareError> {
    match gone.load(Ordering::Relaxed) {
        true => Err(CompareError::Run { row: "a row".to_owned(), source: RunError::Cancelled }),
        false => Ok(()),
    }
}

/// Runs `work` where it may take its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, CompareError> + Send + 'static,
    what: &str,
) -> Result<T, CompareError> {
    let waiting = Waiting(Arc::default());
    let gone = Arc::clone(&waiting.0);
    match tokio::task::spawn_blocking(move || work(&gone)).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(CompareError::Run { row: what.to_owned(), source: RunError::Closed }),
    }
}

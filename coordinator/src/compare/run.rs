//! Runs a comparison: makes its rows and their truths, drives the backends and gathers the records.

use super::analytic::pipeline_row;
use super::expected::Expectations;
use super::line::{Line, Simulated};
use super::measure::request;
use super::record::{Report, SCHEMA_VERSION};
use super::truth::{Truth, truths};
use super::{BackendKind, CompareError, CompareSpec, Configuration, Expected, Host, configurations, memory};
use crate::backend::{Backend, SimBackend};
use crate::run::RunError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How far a comparison is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// References and expectations are being computed.
    Preparing {
        /// Records that will come.
        total: usize,
    },
    /// A record is next.
    Running {
        /// Records that are done.
        done: usize,
        /// Records in all.
        total: usize,
        /// Configuration, latency and backend.
        what: String,
    },
    /// A row that the host disturbed is repeated at twice the dilation.
    Retrying {
        /// Configuration, latency and backend.
        what: String,
        /// What disturbed it.
        problem: String,
    },
    /// All records are done.
    Done,
}

/// Where progress goes.
pub type ProgressSink<'a> = &'a mut (dyn FnMut(Progress) + Send);

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
/// A row that fails its checks or that the host disturbed twice is in the report, marked.
///
/// # Errors
/// [`CompareError`] when nothing can be run, or a backend gives up.
pub async fn compare<Q: Backend + Send>(
    spec: &CompareSpec,
    mut quic: Option<&mut Q>,
    host: Host,
    progress: ProgressSink<'_>,
) -> Result<Report, CompareError> {
    let mut spec = spec.clone();
    let mut notes = std::mem::take(&mut spec.notes);
    let rows = configurations(&spec, &mut notes)?;
    spec.notes = notes;
    if spec.backends.contains(&BackendKind::Quic) && quic.is_none() {
        return Err(CompareError::Spec("no nodes to run the quic backend on".to_owned()));
    }
    memory::check(&spec, &rows, quic.is_some())?;
    let total = rows.len() * spec.latencies.len() * spec.backends.len();
    progress(Progress::Preparing { total });
    let job = Arc::new((spec, rows));
    let (spec, rows) = &*job;
    // The references and the simulations need each other only to be compared: two cores, half the time.
    let (prepared, simulated) = tokio::join!(prepare(Arc::clone(&job)), simulate(spec, rows));
    let ((expected, truths), mut simulated) = (prepared?, simulated?.into_iter());
    let mut records = Vec::with_capacity(total);
    for (at, row) in rows.iter().enumerate() {
        let line = Line {
            spec,
            row,
            at,
            expected: &expected[at],
            truths: truths.iter().map(|seed| seed[at].as_slice()).collect(),
        };
        for &latency in &spec.latencies {
            for &backend in &spec.backends {
                let what = format!("{}, {latency} latency, {backend}", row.title);
                progress(Progress::Running { done: records.len(), total, what: what.clone() });
                let run = |source| CompareError::Run { row: what.clone(), source };
                records.push(match (backend, &mut quic) {
                    (BackendKind::Analytic, _) => line.analytic(latency)?,
                    (BackendKind::Quic, Some(quic)) => {
                        let record = line.quic(latency, *quic, host, &what, progress);
                        Box::pin(record).await.map_err(run)?
                    }
                    _ => line.sim(latency, simulated.next().unwrap_or_default()),
                });
            }
        }
    }
    progress(Progress::Done);
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        seeds: spec.seeds.clone(),
        config: spec.config(),
        rows: records,
        pipeline: pipeline_row(spec),
        header: spec.header(),
    };
    report.relate();
    Ok(report)
}

/// What all backends share: expectations by row; truths by seed, row and step, none for closed forms alone.
type Prepared = (Vec<Expected>, Vec<Vec<Vec<Truth>>>);

/// Computes what every row must yield, on a thread that may block.
async fn prepare(job: Arc<(CompareSpec, Vec<Configuration>)>) -> Result<Prepared, CompareError> {
    let work = move || {
        let (spec, rows) = &*job;
        let mut expectations = Expectations::new(spec);
        let expected = rows.iter().map(|row| expectations.of(row)).collect::<Result<_, _>>()?;
        let runs = spec.backends.iter().any(|&backend| backend != BackendKind::Analytic);
        let seeds: &[u64] = if runs { &spec.seeds } else { &[] };
        let truths = seeds.iter().map(|&seed| truths(spec, rows, seed)).collect::<Result<_, _>>()?;
        Ok((expected, truths))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(CompareError::Run { row: "preparation".to_owned(), source: RunError::Closed }),
    }
}

/// Simulates every row at every latency, seed by seed; nothing where the simulator is not asked for.
async fn simulate(spec: &CompareSpec, rows: &[Configuration]) -> Result<Vec<Simulated>, CompareError> {
    let mut simulated = Vec::new();
    if !spec.backends.contains(&BackendKind::Sim) {
        return Ok(simulated);
    }
    // Steps that are alike need no more than one.
    let steps = if spec.distinct_steps() > 1 { (spec.warmup, spec.rounds) } else { (0, 1) };
    for row in rows {
        for &latency in &spec.latencies {
            let mut seeds = Vec::with_capacity(spec.seeds.len());
            for &seed in &spec.seeds {
                let request = request(spec, row, seed, latency, steps);
                let rounds = SimBackend::default().run(&request).await;
                let what = || format!("{}, {latency} latency, sim", row.title);
                seeds.push(rounds.map_err(|source| CompareError::Run { row: what(), source })?);
            }
            simulated.push(seeds);
        }
    }
    Ok(simulated)
}

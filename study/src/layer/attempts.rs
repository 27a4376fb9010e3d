//! One configuration on real ranks: attempts, each slower than the one before, until the host could follow one or there were enough.
//!
//! An attempt counts or is discarded by what the host did, never by the times that it yielded.

use super::faults::FaultSums;
use super::level::{ATTEMPTS_MAX, ATTEMPTS_MAX_FIXED, Level};
use super::line::Line;
use super::measure::{request, slowest_pace};
use super::record::{Discarded, Record};
use super::samples::{ROUNDS_MIN, Samples, settled};
use super::stats::median;
use super::traced::{TracedStep, tracing};
use super::{BackendKind, Dilation, LatencyChoice, Progress, ProgressSink};
use coordinator::judge::{Disturbance, is_spoiled, judge};
use coordinator::pace::Host;
use coordinator::{RunError, Runner, StepRecord, run_until};
use node::control::Pacing;
use topology::FaultPlan;

/// A lower level, to see whether this one matters.
const LESS: f64 = 0.9;

/// What an attempt yielded.
#[derive(Default)]
struct Attempt {
    samples: Samples,
    /// Without faults, where the row has some.
    healthy: FaultSums,
    /// By seed.
    judged: Vec<Disturbance>,
    /// Measured rounds of all seeds.
    rounds: Vec<StepRecord>,
    /// The largest of all seeds.
    dilations: Pacing,
    /// Whether some seed would have gone faster at a lower level.
    slowed_down: bool,
}

impl Attempt {
    fn problem(&self) -> Option<&String> {
        self.judged.iter().find_map(|judged| judged.problem.as_ref())
    }

    fn discarded(&self, problem: &str) -> Discarded {
        let [dispatch, _, combine] = &self.samples.phases;
        Discarded {
            network_dilation: self.dilations.network_dilation,
            compute_dilation: self.dilations.compute_dilation,
            samples: u32::try_from(dispatch.len()).unwrap_or(u32::MAX),
            a2a_us: median(dispatch) + median(combine),
            problem: problem.to_owned(),
        }
    }

    fn tell(&self, record: &mut Record) {
        let worst = |of: fn(&Disturbance) -> f64| Some(self.judged.iter().map(of).fold(0.0, f64::max));
        record.lateness_p99_us = worst(|judged| judged.lateness_p99_us);
        record.lateness_share = worst(|judged| judged.lateness_share);
        record.cpu_share = worst(|judged| judged.cpu_share);
        record.overtaken_share = worst(|judged| judged.overtaken_share);
        record.network_dilation = Some(self.dilations.network_dilation);
        record.compute_dilation = Some(self.dilations.compute_dilation);
        record.udp_bytes = Some(median(&self.samples.udp_bytes));
        record.valid &= self.problem().is_none();
        record.problem = record.problem.take().or_else(|| self.problem().cloned());
    }
}

impl Line<'_> {
    /// Measures at what `level` says, and more slowly as long as the host disturbs it; leaves the level of the next row.
    pub(super) async fn quic<Q: Runner + Send>(
        &self,
        latency: LatencyChoice,
        quic: &mut Q,
        (host, level): (Host, &mut Level),
        what: &str,
        progress: ProgressSink<'_>,
    ) -> Result<(Record, Vec<TracedStep>), RunError> {
        let mut discarded = Vec::new();
        let attempts = match self.spec.dilation {
            Dilation::Auto => ATTEMPTS_MAX,
            Dilation::Fixed(_) => {
                *level = Level::new(&host.figures);
                ATTEMPTS_MAX_FIXED
            }
        };
        loop {
            let last = discarded.len() + 1 == attempts;
            let attempt = Box::pin(self.attempt(latency, quic, (host, *level), last)).await?;
            if let Some(problem) = attempt.problem()
                && !last
                && attempt.samples.difference.is_none()
            {
                progress(Progress::Retrying { what: what.to_owned(), problem: problem.clone() });
                discarded.push(attempt.discarded(problem));
                *level = level.slower();
                continue;
            }
            *level = level.after(&attempt.judged, &attempt.rounds, attempt.slowed_down);
            let mut record = self.measured(BackendKind::Quic, latency, &attempt.samples, &attempt.healthy);
            attempt.tell(&mut record);
            record.retries = u32::try_from(discarded.len()).unwrap_or(u32::MAX);
            record.discarded = discarded;
            return Ok((record, attempt.samples.traced));
        }
    }

    /// One attempt with every seed. Where another may follow, it ends as soon as it can't count any more.
    async fn attempt<Q: Runner + Send>(
        &self,
        latency: LatencyChoice,
        quic: &mut Q,
        (host, level): (Host, Level),
        last: bool,
    ) -> Result<Attempt, RunError> {
        let mut attempt = Attempt::default();
        let warmup = self.spec.warmup;
        let measured = |steps: &[StepRecord]| steps.get(warmup as usize..).unwrap_or_default().to_vec();
        for (&seed, truths) in self.spec.seeds.iter().zip(&self.truths) {
            let mut request = request(self.spec, self.row, seed, latency);
            let pace = slowest_pace(self.spec, self.row, truths, &request.setup, host, level);
            let pacing = pace.pacing;
            let lower = Level { network: level.network * LESS, ..level };
            let lower = slowest_pace(self.spec, self.row, truths, &request.setup, host, lower);
            attempt.slowed_down |= lower.pacing.network_dilation < pacing.network_dilation;
            (request.pacing, request.expected_phase_ns) = (pacing, pace.longest_ns);
            request.leads = pace.leads;
            // Steps that differ are all run, as they are simulated.
            let alike = self.spec.distinct_steps() == 1 && self.spec.faults.is_empty();
            let enough = |steps: &[StepRecord]| {
                let rounds = steps.get(warmup as usize..).unwrap_or_default();
                alike && settled(rounds) || !last && is_spoiled(rounds, pacing, host)
            };
            request.setup.tracing =
                tracing(self.spec, self.row, warmup).filter(|_| attempt.judged.is_empty());
            let steps = run_until(quic, &request, warmup.saturating_add(self.spec.rounds), enough).await?;
            attempt.samples.take(self.row, self.spec, truths, &steps, warmup);
            let rounds = measured(&steps);
            attempt.judged.push(judge(&rounds, pacing, host));
            attempt.rounds.extend(rounds);
            let dilations = &mut attempt.dilations;
            dilations.network_dilation = dilations.network_dilation.max(pacing.network_dilation);
            dilations.compute_dilation = dilations.compute_dilation.max(pacing.compute_dilation);
            if !last && attempt.problem().is_some() {
                break;
            }
            if !request.setup.faults.is_empty() {
                (request.setup.faults, request.setup.tracing) = (FaultPlan::default(), None);
                let steps = warmup.saturating_add(ROUNDS_MIN.min(self.spec.rounds));
                let steps = run_until(quic, &request, steps, |_| false).await?;
                measured(&steps).iter().for_each(|step| attempt.healthy.take(step));
            }
        }
        Ok(attempt)
    }
}

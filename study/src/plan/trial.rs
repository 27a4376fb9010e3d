//! Trials: requests served on the virtual clock by one layout, at loads of a grid, until the largest is found that keeps the limits.

use super::steady::{grid, sequences_at};
use super::{Ask, Curve, Limits, Role, Steady};
use crate::serving::{ServeError, ServeRecord, ServeSpec, Sources, serve};
use serde::Serialize;
use std::collections::BTreeMap;

/// Requests of a trial: so many times those aboard at once, and no fewer or more.
const GENERATIONS: f64 = 4.0;
const FEWEST: f64 = 256.0;
/// Longest that 9 of 10 requests wait for a place, as a share of the limit on TTFT: where more wait longer, the queue grows for as long as requests come.
const WAIT: f64 = 0.1;
const MOST: f64 = 60_000.0;

/// What one layout carries within limits, served.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Requests a second of one replica.
    pub rate: f64,
    /// Sequences of a rank on a train at most.
    pub seats: u32,
    /// Share of requests that kept the limits.
    pub kept: f64,
    /// Mean TTFT, ms.
    pub ttft_ms: f64,
    /// 90th percentile of TTFT, ms.
    pub p90_ttft_ms: f64,
    /// Mean TPOT, ms.
    pub tpot_ms: f64,
    /// 90th percentile of TPOT, ms.
    pub p90_tpot_ms: f64,
    /// Memory of the fullest rank, as a share.
    pub memory_use: f64,
    /// Requests that were served.
    pub requests: u64,
}

/// What trials of one layout have shown.
#[derive(Debug, Default)]
pub(super) struct Trials {
    of: BTreeMap<i32, Option<Trial>>,
    /// Tokens of answers that were served for them.
    pub(super) tokens: f64,
}

impl Trials {
    /// The largest load of the grid whose trial keeps `limits`, searched from `from` on: downwards where that fails, else upwards.
    pub(super) fn best(
        &mut self,
        curve: &mut Curve,
        (ask, limits): (&Ask, Limits),
        from: i32,
        sources: &dyn Sources,
    ) -> Result<Option<Trial>, ServeError> {
        let mut at = from;
        self.serve(curve, (ask, limits), &[at, at + 1], sources)?;
        let mut kept = self.known(at);
        if kept.is_none() {
            // Down in steps that double, then between the last two.
            let mut failed = at;
            for down in [1, 2, 4, 8, 16] {
                at = (from - down).max(*grid().start());
                self.serve(curve, (ask, limits), &[at], sources)?;
                kept = self.known(at);
                if kept.is_some() {
                    break;
                }
                failed = at;
            }
            while kept.is_some() && failed - at > 1 {
                let middle = at + (failed - at) / 2;
                self.serve(curve, (ask, limits), &[middle], sources)?;
                match self.known(middle) {
                    Some(more) => (kept, at) = (Some(more), middle),
                    None => failed = middle,
                }
            }
            return Ok(kept);
        }
        while let Some(more) = self.known(at + 1) {
            (kept, at) = (Some(more), at + 1);
            self.serve(curve, (ask, limits), &[at + 1], sources)?;
        }
        Ok(kept)
    }

    fn known(&self, at: i32) -> Option<Trial> {
        self.of.get(&at).cloned().flatten()
    }

    /// Serves at those `loads` that have no trial yet, at the same time.
    fn serve(
        &mut self,
        curve: &mut Curve,
        (ask, limits): (&Ask, Limits),
        loads: &[i32],
        sources: &dyn Sources,
    ) -> Result<(), ServeError> {
        let new = loads.iter().copied().filter(|at| !self.of.contains_key(at));
        let asked: Vec<(i32, Option<Asked>)> =
            new.map(|at| (at, Asked::at(curve, (ask, limits), sequences_at(at)))).collect();
        let output = if curve.layout.role == Role::Prefill { 1.0 } else { ask.load.output_len };
        self.tokens += asked
            .iter()
            .flat_map(|(_, asked)| asked)
            .map(|asked| asked.requests as f64 * output)
            .sum::<f64>();
        let served = std::thread::scope(|scope| {
            let threads: Vec<_> = asked
                .into_iter()
                .map(|(at, asked)| {
                    (at, scope.spawn(move || asked.map_or(Ok(None), |asked| asked.serve(sources))))
                })
                .collect();
            threads.into_iter().map(|(at, thread)| (at, thread.join())).collect::<Vec<_>>()
        });
        for (at, trial) in served {
            let trial = trial.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            self.of.insert(at, trial?);
        }
        Ok(())
    }
}

/// One trial, before it is served.
struct Asked {
    spec: ServeSpec,
    rate: f64,
    step_ms: f64,
    seats: u32,
    requests: u64,
}

impl Asked {
    /// With `sequences` a group, if closed forms have it.
    fn at(curve: &mut Curve, (ask, limits): (&Ask, Limits), sequences: f64) -> Option<Self> {
        let Steady { rate, step_ms, .. } = curve.at(sequences).ok()?;
        let (layout, seats) = (curve.layout, curve.seats(sequences));
        let requests = requests(curve, sequences);
        let arrivals = ask.arrivals(rate, requests, layout.role == Role::Prefill);
        let asked = Ask { limits, ..ask.clone() };
        Some(Self { spec: layout.spec(&asked, seats, arrivals), rate, step_ms, seats, requests })
    }

    /// What came of it, `None` where it doesn't keep the limits.
    fn serve(&self, sources: &dyn Sources) -> Result<Option<Trial>, ServeError> {
        let record = serve(&self.spec, sources, &mut |_| ())?;
        let wait = record.times.get("p90_queue_wait_ms").copied().unwrap_or(f64::INFINITY);
        // Whoever comes waits for the next train, which is no queue.
        let settled = wait <= (WAIT * self.spec.slo.ttft_ms.unwrap_or(f64::INFINITY)).max(2.0 * self.step_ms);
        Ok(of_record(&record, self.rate, self.seats).filter(|trial| settled && trial.kept >= Ask::KEPT))
    }
}

/// Requests of a trial with `sequences` a group.
fn requests(curve: &Curve, sequences: f64) -> u64 {
    (GENERATIONS * curve.aboard(sequences)).clamp(FEWEST, MOST).round() as u64
}

/// The figures of a run at `rate`; `None` where nobody was answered.
pub(super) fn of_record(record: &ServeRecord, rate: f64, seats: u32) -> Option<Trial> {
    // Where all answers have one token there is none after it.
    let none = if record.completed > 0 { 0.0 } else { f64::INFINITY };
    let time = |name: &str| record.times.get(name).copied().unwrap_or(none);
    let asked = record.completed + record.failed;
    let kept = record.request_goodput? / record.request_throughput * record.completed as f64 / asked as f64;
    Some(Trial {
        rate,
        seats,
        kept,
        ttft_ms: time("mean_ttft_ms"),
        p90_ttft_ms: time("p90_ttft_ms"),
        tpot_ms: time("mean_tpot_ms"),
        p90_tpot_ms: time("p90_tpot_ms"),
        memory_use: record.memory_use,
        requests: record.completed,
    })
}

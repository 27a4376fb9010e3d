//! Trials: requests served on the virtual clock by one layout, at loads of a grid, until the largest is found that keeps the limits.

use super::steady::{grid, sequences_at};
use super::{Ask, Curve, Limits, Role};
use crate::serving::{ServeError, ServeRecord, ServeSpec, Sources, serve};
use serde::Serialize;
use std::collections::BTreeMap;

/// Requests of a trial: so many times those aboard at once, and no fewer or more.
const GENERATIONS: f64 = 3.0;
const FEWEST: f64 = 256.0;
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
pub(super) struct Trials(BTreeMap<i32, Option<Trial>>);

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
            while kept.is_none() && at > *grid().start() {
                at -= 1;
                self.serve(curve, (ask, limits), &[at], sources)?;
                kept = self.known(at);
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
        self.0.get(&at).cloned().flatten()
    }

    /// Serves at those `loads` that have no trial yet, at the same time.
    fn serve(
        &mut self,
        curve: &mut Curve,
        (ask, limits): (&Ask, Limits),
        loads: &[i32],
        sources: &dyn Sources,
    ) -> Result<(), ServeError> {
        let new = loads.iter().copied().filter(|at| !self.0.contains_key(at));
        let asked: Vec<(i32, Option<Asked>)> =
            new.map(|at| (at, Asked::at(curve, (ask, limits), sequences_at(at)))).collect();
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
            self.0.insert(at, trial?);
        }
        Ok(())
    }
}

/// One trial, before it is served.
struct Asked {
    spec: ServeSpec,
    rate: f64,
    seats: u32,
}

impl Asked {
    /// With `sequences` a group, if closed forms have it.
    fn at(curve: &mut Curve, (ask, limits): (&Ask, Limits), sequences: f64) -> Option<Self> {
        let rate = curve.at(sequences).ok()?.rate;
        let (layout, seats) = (curve.layout, curve.seats(sequences));
        let arrivals = ask.arrivals(rate, requests(curve, sequences), layout.role == Role::Prefill);
        let asked = Ask { limits, ..ask.clone() };
        Some(Self { spec: layout.spec(&asked, seats, arrivals), rate, seats })
    }

    /// What came of it, `None` where it doesn't keep the limits.
    fn serve(&self, sources: &dyn Sources) -> Result<Option<Trial>, ServeError> {
        let record = serve(&self.spec, sources, &mut |_| ())?;
        Ok(of_record(&record, self.rate, self.seats).filter(|trial| trial.kept >= Ask::KEPT))
    }
}

/// Requests of a trial with `sequences` a group.
fn requests(curve: &Curve, sequences: f64) -> u64 {
    (GENERATIONS * curve.aboard(sequences)).clamp(FEWEST, MOST).round() as u64
}

fn of_record(record: &ServeRecord, rate: f64, seats: u32) -> Option<Trial> {
    let time = |name: &str| record.times.get(name).copied().unwrap_or(f64::INFINITY);
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

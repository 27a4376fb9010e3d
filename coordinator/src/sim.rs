//! All ranks in this process on a virtual clock: the coordinator's machine decides, seats in memory answer.

mod machinery;
mod open;

use crate::error::RunError;
use crate::run::{RunRequest, Runner, StepRecord, run_until};
use machinery::Machinery;
use moe::stack::StepBatch;
use node::control::Machine;
use node::sim::SimCluster;
use open::Open;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The simulator: exact and repeatable.
#[derive(Debug, Default)]
pub struct SimRunner {
    /// Its nodes stay from run to run.
    machine: Option<Machinery>,
    open: Option<Open>,
}

/// What a simulation comes to, on the calling thread and without a runtime.
///
/// # Panics
/// If it waits: a simulation has nothing to wait for.
pub fn at_once<T>(simulation: impl Future<Output = T>) -> T {
    match pin!(simulation).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => unreachable!("a simulation waits for nothing"),
    }
}

impl SimRunner {
    /// As [`crate::run_steps`], on the calling thread and without a runtime.
    ///
    /// # Errors
    /// As [`crate::run_steps`].
    pub fn run_blocking(request: &RunRequest, steps: u32) -> Result<Vec<StepRecord>, RunError> {
        Self::run_blocking_until(request, steps, |_| false)
    }

    /// As [`run_until`], on the calling thread and without a runtime.
    ///
    /// # Errors
    /// As [`run_until`].
    pub fn run_blocking_until(
        request: &RunRequest,
        steps: u32,
        enough: impl Fn(&[StepRecord]) -> bool,
    ) -> Result<Vec<StepRecord>, RunError> {
        at_once(run_until(&mut Self::default(), request, steps, enough))
    }

    /// As [`Runner::open`], on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Setup`] or [`RunError::Sim`].
    pub fn open_blocking(&mut self, request: &RunRequest) -> Result<(), RunError> {
        self.close();
        let setup = Arc::new(request.setup.clone());
        let seats = SimCluster::new(Arc::clone(&setup))?;
        let Machinery { machine, now_ns, .. } = self.machine.get_or_insert_with(Machinery::new);
        for rank in machine.num_members()..setup.cluster.num_ranks() {
            let home = Machine { id: String::new(), cores: 1 };
            let joined = machine.handle_register(*now_ns, &rank.to_string(), ([0, 0, 0, 0], 0).into(), home);
            debug_assert!(joined.is_ok(), "there is room for every rank");
        }
        let run = machine.open(*now_ns, request.clone())?;
        self.open = Some(Open::new(run, setup, seats));
        self.settled(true).map(|_| ())
    }

    /// As [`Runner::step`], on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Batch`] or [`RunError::Sim`].
    pub fn step_blocking(&mut self, batch: &StepBatch) -> Result<StepRecord, RunError> {
        let (Some(Machinery { machine, now_ns, .. }), Some(open)) = (&mut self.machine, &self.open) else {
            return Err(RunError::Closed);
        };
        machine.step(*now_ns, open.run, batch.clone())?;
        self.settled(false)?.ok_or(RunError::Closed)
    }

    /// Carries messages until the machine waits; the run is over unless it then has what it should: a record, or an `opened` run.
    fn settled(&mut self, opened: bool) -> Result<Option<StepRecord>, RunError> {
        let (Some(machine), Some(open)) = (&mut self.machine, &mut self.open) else { return Ok(None) };
        let settled = open.settle(machine);
        if !matches!(&settled, Ok(record) if record.is_none() == opened) {
            // Messages of what has gone wrong are forgotten with the machine.
            *self = Self::default();
        }
        settled
    }
}

impl Runner for SimRunner {
    fn open(&mut self, request: &RunRequest) -> impl Future<Output = Result<(), RunError>> + Send {
        std::future::ready(self.open_blocking(request))
    }

    fn step(&mut self, batch: &StepBatch) -> impl Future<Output = Result<StepRecord, RunError>> + Send {
        std::future::ready(self.step_blocking(batch))
    }

    fn close(&mut self) {
        if let (Some(machinery), Some(open)) = (&mut self.machine, self.open.take()) {
            machinery.machine.close(open.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;
    use moe::placement::Placement;
    use node::wire::Phase;
    use topology::FaultPlan;

    fn with_faults(mut request: RunRequest, faults: &[&str]) -> RunRequest {
        let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        request.setup.faults = FaultPlan { faults, ..FaultPlan::default() };
        request
    }

    #[test]
    fn a_rank_that_dies_is_missed_and_its_step_begun_anew_with_the_same_bits() {
        for (fault, noticed_ms) in [
            ("kill rank=1 step=1 phase=combine", 1_000),
            ("freeze rank=0 step=1", 1_000),
            ("kill rack=1 step=1 phase=expert", 1_000),
            ("corrupt rank=3 step=1", 0),
        ] {
            let request = request(&[2, 2]);
            let expected = SimRunner::run_blocking(&request, 3).unwrap();
            let mut runner = SimRunner::default();
            // Once more with what is left of the first time.
            for _ in 0..2 {
                runner.open_blocking(&with_faults(request.clone(), &[fault])).unwrap();
                for expected in &expected {
                    let record = runner.step_blocking(&StepBatch::default()).unwrap();
                    assert_eq!((record.step, &record.digests), (expected.step, &expected.digests), "{fault}");
                    let hit = record.step == 1;
                    assert_eq!(record.replays, u32::from(hit), "{fault}");
                    let noticed_ns = if hit { noticed_ms * 1_000_000 } else { 0 };
                    assert_eq!(record.outage.noticed_ns, noticed_ns, "{fault}");
                }
            }
        }
    }

    #[test]
    fn a_rank_that_only_sends_is_missed_too() {
        let mut request = request(&[2, 2]);
        let map = (0..16).collect::<Vec<u32>>();
        let json = format!("{{\"physical_to_logical_map\": {map:?}, \"slots_per_rank\": [8, 8, 0, 0]}}");
        let placement = Placement::from_json(&json, "test", &request.setup.cluster, 16).unwrap();
        request.setup.layer_mut().unwrap().placement = Arc::new(placement);
        let expected = SimRunner::run_blocking(&request, 3).unwrap();
        let records = SimRunner::run_blocking(&with_faults(request, &["kill rank=3 step=1"]), 3).unwrap();
        for (record, expected) in records.iter().zip(&expected) {
            assert_eq!(record.digests, expected.digests);
            assert_eq!(record.replays, u32::from(record.step == 1));
        }
    }

    #[test]
    fn what_kills_at_every_step_is_survived_at_every_step() {
        let request = request(&[2, 2]);
        let expected = SimRunner::run_blocking(&request, 4).unwrap();
        let hit = with_faults(request, &["kill rank=1 steps=3", "slow rank=2 factor=2"]);
        let records = SimRunner::run_blocking(&hit, 4).unwrap();
        assert_eq!(records.iter().map(|record| record.replays).collect::<Vec<_>>(), [1, 1, 1, 0]);
        for (record, expected) in records.iter().zip(&expected) {
            assert_eq!(record.digests, expected.digests);
            assert!(record.reports(Phase::Expert)[2].stamped > expected.reports(Phase::Expert)[2].stamped);
        }
    }

    #[test]
    fn a_link_that_is_cut_for_good_is_named_with_both_ends() {
        let request = with_faults(request(&[2, 2]), &["cut from=2 to=0"]);
        let error = SimRunner::run_blocking(&request, 1).unwrap_err().to_string();
        assert!(error.contains("waits for rows of rank 2"), "{error}");
    }

    #[test]
    fn the_simulator_repeats_itself() {
        let request = request(&[2, 2]);
        let records = SimRunner::run_blocking(&request, 3).unwrap();
        assert_eq!(records.iter().map(|record| record.step).collect::<Vec<_>>(), [0, 1, 2]);
        for record in &records {
            assert_eq!(record.digests, records[0].digests, "every step has the same tokens");
            assert_eq!(record.phases, records[0].phases);
        }
    }

    #[test]
    fn a_simulation_of_nothing_is_an_error() {
        let error = SimRunner::run_blocking(&request(&[2]), 0).unwrap_err();
        assert!(error.to_string().starts_with("a run of 0 steps"), "{error}");
        let mut runner = SimRunner::default();
        assert!(matches!(runner.step_blocking(&StepBatch::default()), Err(RunError::Closed)));
    }

    #[test]
    fn a_run_leaves_nothing_to_the_next_but_the_nodes() {
        let mut runner = SimRunner::default();
        for racks in [&[2, 2][..], &[3], &[2, 3], &[2, 2]] {
            let request = request(racks);
            // One is closed, another is closed by the next, and one is in the middle of its steps.
            for steps in 0..3 {
                runner.open_blocking(&request).unwrap();
                let expected = SimRunner::run_blocking(&request, 3).unwrap();
                for expected in &expected[..steps] {
                    assert_eq!(&runner.step_blocking(&StepBatch::default()).unwrap(), expected);
                }
            }
            runner.close();
        }
        let mut other = request(&[2]);
        other.setup.chunk_rows = 0;
        assert!(runner.open_blocking(&other).is_err());
        assert!(matches!(runner.step_blocking(&StepBatch::default()), Err(RunError::Closed)));
        runner.open_blocking(&request(&[2])).unwrap();
    }
}

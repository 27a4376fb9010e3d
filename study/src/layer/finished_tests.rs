//! Comparisons that end early and go on.

use super::testing::small_spec;
use super::*;
use coordinator::pace::{Figures, Host};
use coordinator::{RunError, RunRequest, Runner, SimRunner, StepRecord};
use moe::stack::StepBatch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const HOST: Host = Host { cores: 2, one_process: false, pace: 1, figures: Figures::ASSUMED };

/// Nodes that are lost for good after some runs.
struct Mortal {
    nodes: SimRunner,
    runs: u32,
    runs_max: u32,
}

impl Mortal {
    fn new(runs_max: u32) -> Self {
        Self { nodes: SimRunner::default(), runs: 0, runs_max }
    }
}

impl Runner for Mortal {
    async fn open(&mut self, request: &RunRequest) -> Result<(), RunError> {
        if self.runs == self.runs_max {
            return Err(RunError::TooFewNodes { there: 3, needed: 4 });
        }
        self.runs += 1;
        self.nodes.open(request).await
    }

    async fn step(&mut self, batch: &StepBatch) -> Result<StepRecord, RunError> {
        self.nodes.step(batch).await
    }

    fn close(&mut self) {
        self.nodes.close();
    }
}

fn run(spec: &CompareSpec, nodes: &mut Mortal, finished: &mut Finished) -> Result<Report, CompareError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(Box::pin(compare(spec, Some(nodes), HOST, finished, &mut |_| {})))
}

#[test]
fn what_ends_early_reports_what_it_has_and_goes_on_from_there() {
    let spec = small_spec();
    let mut nodes = Mortal::new(u32::MAX);
    let whole = run(&spec, &mut nodes, &mut Finished::default()).expect("a report");
    assert!(whole.complete && !whole.to_json().expect("JSON").contains("complete"));
    for runs_max in [0, 1, 3, nodes.runs - 1] {
        let heard = Arc::new(Mutex::new(BTreeMap::new()));
        let hears = Arc::clone(&heard);
        let mut finished = Finished::new(BTreeMap::new(), move |at, row: &FinishedRow| {
            assert!(hears.lock().expect("alive").insert(at, row.clone()).is_none(), "row {at} came twice");
        });
        let error = run(&spec, &mut Mortal::new(runs_max), &mut finished).expect_err("nodes are lost");
        assert!(error.to_string().contains("3 of 4 nodes have registered"), "{error}");
        let part = finished.incomplete().expect("the first rows need no nodes");
        assert_eq!(part.rows.len(), heard.lock().expect("alive").len());
        let measured = part.rows.iter().filter(|row| row.backend == BackendKind::Quic).count();
        assert_eq!(measured, runs_max as usize, "one seed a row");
        let json = part.to_json().expect("JSON");
        assert!(json.contains("\"complete\": false"), "{json}");
        let text = part.to_text(Page::default());
        let marked =
            format!("INCOMPLETE: {} of {} rows; it ended early.\n", part.rows.len(), whole.rows.len());
        assert!(text.contains(&marked), "{text}");

        // Whoever goes on has nothing done twice, and the same report in the end.
        let kept = heard.lock().expect("alive").clone();
        let mut others = Mortal::new(u32::MAX);
        let report = run(&spec, &mut others, &mut Finished::new(kept, |_, _| {})).expect("a report");
        assert_eq!(others.runs, nodes.runs - runs_max);
        assert_eq!(report, whole);
    }
}

#[test]
fn rows_of_another_comparison_are_refused() {
    let spec = CompareSpec { backends: vec![BackendKind::Sim], ..small_spec() };
    let heard = Arc::new(Mutex::new(BTreeMap::new()));
    let hears = Arc::clone(&heard);
    let mut finished = Finished::new(BTreeMap::new(), move |at, row: &FinishedRow| {
        hears.lock().expect("alive").insert(at, row.clone());
    });
    run(&spec, &mut Mortal::new(0), &mut finished).expect("a report");
    let rows = heard.lock().expect("alive").clone();
    for other in [
        CompareSpec { seeds: vec![7], ..spec.clone() },
        CompareSpec { latencies: vec![LatencyChoice::Preset], ..spec.clone() },
        CompareSpec { backends: vec![BackendKind::Analytic, BackendKind::Sim], ..spec.clone() },
        CompareSpec { rack_sizes: vec![2, 2, 2], ..spec.clone() },
    ] {
        let refused = run(&other, &mut Mortal::new(0), &mut Finished::new(rows.clone(), |_, _| {}));
        let error = refused.expect_err("rows of another comparison").to_string();
        assert!(error.contains("kept by another build"), "{error}");
    }
}

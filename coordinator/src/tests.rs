//! Sessions over QUIC in this process: the simulator's answers and bytes, whatever comes in between.

use crate::error::RunError;
use crate::local::{LocalCluster, LocalConfig, WorkerKind, rack_names};
use crate::machine::Limits;
use crate::pace::pace;
use crate::run::{RunRequest, Runner, StepRecord, run_steps};
use crate::sim::SimRunner;
use crate::testing::{model, own, request};
use moe::placement::{LayerPlacements, Placement};
use moe::plan::DispatchScheme;
use moe::stack::{Chunk, StepBatch};
use node::control::PhaseReport;
use node::digest::token_digest;
use node::net::TransportOptions;
use std::sync::Arc;
use topology::Cluster;

async fn opened(request: &RunRequest) -> SimRunner {
    let mut sim = SimRunner::default();
    sim.open(request).await.unwrap();
    sim
}

fn batch(columns: u32, chunks: &[(u32, u32, u32, u32)]) -> StepBatch {
    let mut batch = StepBatch::empty(columns);
    for &(column, sequence, context, tokens) in chunks {
        batch.columns[column as usize].chunks.push(Chunk { sequence, context, tokens, sample: true });
    }
    batch
}

async fn cluster(racks: &[u32]) -> LocalCluster {
    let names = rack_names(&Cluster::new(racks).unwrap());
    let (transport, limits) = (TransportOptions::default(), Limits::default());
    LocalCluster::start(LocalConfig { names, workers: WorkerKind::Tasks, transport, limits }).await.unwrap()
}

fn sent(record: &StepRecord) -> Vec<Vec<Vec<(topology::RankId, u64)>>> {
    let reports = |reports: &Vec<PhaseReport>| reports.iter().map(|one| one.sent_bytes.clone()).collect();
    record.phases.iter().map(|(_, phase)| reports(phase)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_tasks_answers_what_the_simulator_does() {
    let mut cluster = cluster(&[2, 2]).await;
    for stages in [1, 2, 4] {
        let request = model(&[2, 2], stages);
        let columns = 4 / stages;
        let last = columns - 1;
        let mut batches = vec![
            batch(columns, &[(0, 1, 0, 3), (last, 2, 0, 2)]),
            batch(columns, &[(last, 3, 0, 1)]),
            StepBatch::empty(columns),
            StepBatch::empty(columns),
            batch(columns, &[(0, 1, 3, 1), (last, 2, 2, 1), (last, 3, 1, 1)]),
        ];
        batches.extend(vec![StepBatch::empty(columns); stages as usize - 1]);
        let mut sim = opened(&request).await;
        cluster.open(&request).await.unwrap();
        for batch in &batches {
            let (real, simulated) = (cluster.step(batch).await.unwrap(), sim.step(batch).await.unwrap());
            assert_eq!((real.step, real.answered), (simulated.step, simulated.answered));
            assert_eq!(real.digests, simulated.digests, "{stages} stages, step {}", real.step);
            assert_eq!(sent(&real), sent(&simulated));
            assert_eq!(real.phases.len(), real.wall_ns.len());
        }
        // An impossible batch is refused, and the session goes on.
        let twice = batch(columns, &[(0, 9, 0, 1), (last, 9, 0, 1)]);
        assert!(matches!(cluster.step(&twice).await, Err(RunError::Batch(_))));
        cluster.step(&StepBatch::empty(columns)).await.unwrap();
    }
    // What was open is closed by the next.
    run_steps(&mut cluster, &request(&[2, 2]), 1).await.unwrap();
    assert!(matches!(cluster.step(&StepBatch::default()).await, Err(RunError::Closed)));
    let mut lengths = request(&[2, 2]);
    lengths.setup.payload = false;
    assert!(matches!(cluster.open(&lengths).await, Err(RunError::NoPayload)));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_halves_answer_what_the_whole_batch_does_and_take_turns() {
    let mut cluster = cluster(&[2, 2]).await;
    for stages in [1, 2] {
        let whole = model(&[2, 2], stages);
        let mut request = whole.clone();
        own(&mut request).halves = 2;
        let columns = 4 / stages;
        let last = columns - 1;
        let mut batches = vec![
            batch(columns, &[(0, 1, 0, 3), (0, 4, 0, 2), (last, 2, 0, 2), (last, 3, 0, 5)]),
            // One half has nothing to do.
            batch(columns, &[(last, 3, 5, 1)]),
            batch(columns, &[(0, 4, 2, 1), (0, 1, 3, 1), (last, 2, 2, 1), (last, 3, 6, 1)]),
            batch(columns, &[(0, 1, 4, 1), (last, 2, 3, 1)]),
        ];
        batches[3].columns[0].ended.push(4);
        batches.extend(vec![StepBatch::empty(columns); stages as usize - 1]);
        let (mut sim, mut of_whole) = (opened(&request).await, opened(&whole).await);
        cluster.open(&request).await.unwrap();
        for batch in &batches {
            let (real, simulated) = (cluster.step(batch).await.unwrap(), sim.step(batch).await.unwrap());
            let expected = of_whole.step(batch).await.unwrap();
            assert_eq!(simulated.digests, expected.digests, "{stages} stages, step {}", expected.step);
            assert_eq!((real.answered, &real.digests), (expected.answered, &expected.digests));
            assert_eq!(sent(&real), sent(&simulated));
            assert_eq!(real.phases.len(), 2 * expected.phases.len());
        }
        own(&mut request).halves = 3;
        let refused = request.setup.validate().unwrap_err().to_string();
        assert!(refused.contains("3 halves of a batch; give 1 or 2"), "{refused}");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_layer_has_a_placement_of_its_own() {
    let mut cluster = cluster(&[2, 2]).await;
    for (stages, scheme) in
        [(1, DispatchScheme::Hierarchical), (1, DispatchScheme::Flat), (2, DispatchScheme::Dedup)]
    {
        let mut request = model(&[2, 2], stages);
        request.setup.scheme = scheme;
        let racks = request.setup.cluster.clone();
        let own = own(&mut request);
        let stack = &own.stack;
        let (experts, columns) = (stack.model.layer().num_experts, stack.columns());
        // Another order in each layer, some experts twice, and the third layer's all on the last rank of its stage.
        let placement = |layer: u32| {
            let map: Vec<u32> = (0..experts + layer).map(|slot| (slot * 5 + layer) % experts).collect();
            let ranks =
                stack.stages().iter().find(|stage| stage.layers.contains(&layer)).unwrap().ranks.clone();
            let mut counts = vec![0; 4];
            for slot in 0..map.len() as u32 {
                let rank = if layer == 2 { ranks.end - 1 } else { ranks.start + slot % columns };
                counts[rank as usize] += 1;
            }
            let json = format!("{{\"physical_to_logical_map\": {map:?}, \"slots_per_rank\": {counts:?}}}");
            Arc::new(Placement::from_json(&json, "test", &racks, experts).unwrap())
        };
        own.placements = LayerPlacements::new(0, (0..4).map(placement));
        let last = columns - 1;
        let mut batches = vec![
            batch(columns, &[(0, 1, 0, 5), (last, 2, 0, 4)]),
            batch(columns, &[(0, 1, 5, 1), (last, 2, 4, 1), (last, 3, 0, 3)]),
        ];
        batches.extend(vec![StepBatch::empty(columns); stages as usize - 1]);
        let (mut sim, mut reference) = (opened(&request).await, request.setup.reference().unwrap().unwrap());
        cluster.open(&request).await.unwrap();
        let mut expected = Vec::new();
        for (step, batch) in (0..).zip(&batches) {
            let (real, simulated) = (cluster.step(batch).await.unwrap(), sim.step(batch).await.unwrap());
            assert_eq!(real.digests, simulated.digests, "{stages} stages, {scheme}");
            assert_eq!(sent(&real), sent(&simulated));
            let answers = reference.step(step, batch);
            let digests = |tokens: &Vec<Vec<f32>>| tokens.iter().map(|values| token_digest(values)).collect();
            expected.push(answers.iter().map(digests).collect::<Vec<Vec<u64>>>());
            if let Some(answered) = real.answered {
                assert_eq!(real.digests, expected[answered as usize], "{stages} stages, {scheme}");
            }
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_breaks_says_why_at_once_and_ever_after() {
    let cluster = cluster(&[2]).await;
    let request = model(&[2], 1);
    let mut session = cluster.handle().open(&request).await.unwrap();
    assert!(matches!(cluster.handle().open(&request).await, Err(RunError::Busy { run: 1 })));
    for _ in 0..2 {
        // Nothing of sequence 5 is cached.
        let error = session.step(&batch(2, &[(1, 5, 7, 1)])).await.unwrap_err().to_string();
        assert!(error.contains("rank 1 holds 0 tokens of sequence 5"), "{error}");
    }
    drop(session);
    let mut again = cluster.handle().open(&request).await.unwrap();
    again.step(&batch(2, &[(1, 5, 0, 1)])).await.unwrap();
    cluster.handle().shutdown().await;
    assert!(again.step(&StepBatch::empty(2)).await.is_err());
}

#[test]
fn a_pace_is_found_from_a_step_without_values() {
    let request = model(&[2, 2], 2);
    let (pacing, longest_ns) = pace(&request.setup, &batch(2, &[(0, 1, 0, 40), (1, 2, 0, 30)]), 2).unwrap();
    assert!(pacing.network_dilation >= 1 && pacing.compute_dilation >= 1);
    assert!(longest_ns >= 39_000_000, "{longest_ns}");
}

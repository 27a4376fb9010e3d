//! CPU time of the jobs in which a rank touches values: a rank's share of the default comparison, 256 rows of 7,168.
//!
//!     cargo bench -p railyard-node --bench jobs -- [NAME]
//!
//! Throughput is in elements of rows.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use moe::model::Model;
use moe::placement::Placement;
use moe::plan::{DispatchScheme, Target};
use moe::{SlotId, rows};
use node::job::{ExpertRow, JobRunner, Work};
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::wire::RowData;
use std::sync::Arc;
use topology::{Cluster, Hardware, RankId};

/// Rows of a rank: 32 tokens of 16 ranks to 8 experts each, over 16 ranks.
const ROWS: usize = 256;

/// A rank's jobs on two racks of eight.
fn jobs(scheme: DispatchScheme) -> JobRunner {
    let shape = Model::preset("deepseek-v3").expect("a preset").layer();
    let cluster = Cluster::uniform(2, 8).expect("a cluster");
    let placement = Placement::linear(&cluster, shape.num_experts).expect("a placement");
    let tokens = vec![32; cluster.num_ranks() as usize];
    let layer = Program::Layer(LayerProgram::new(shape, placement, tokens));
    let hardware = Hardware::preset("gb200").expect("a preset");
    let setup = Setup { scheme, chunk_rows: 4, ..Setup::new(cluster, hardware, layer) };
    JobRunner::new(Arc::new(setup), 0).expect("a setup")
}

fn values(width: usize) -> Vec<f32> {
    (0..width).map(|at| ((at * 37 % 1_000) as f32 - 500.0) / 100.0).collect()
}

/// Rows with `picks` experts of the first rank each.
fn expert_rows(width: usize, picks: u32) -> Work {
    let mut row = Vec::new();
    rows::quantise_fp8(&values(width), &mut row);
    let data: RowData = Bytes::from(row).into();
    let targets =
        |at: u32| (0..picks).map(move |pick| Target { slot: SlotId((at + 5 * pick) % 16), weight: 0.25 });
    let row = |at| {
        let mut targets: Vec<_> = targets(at).collect();
        targets.sort_by_key(|target| target.slot);
        ExpertRow { targets: targets.into_iter().collect(), data: data.clone() }
    };
    Work::Expert { layer: 0, rows: (0..ROWS as u32).map(row).collect() }
}

/// The sum of a token with eight parts.
fn reduce(width: usize) -> Work {
    let mut row = Vec::new();
    rows::to_bf16(&values(width), &mut row);
    let data: RowData = Bytes::from(row).into();
    Work::Reduce { parts: vec![(0.125, data); 8], narrow: false }
}

fn work(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("job");
    let width = 7_168;
    let cases = [
        ("expert, flat", DispatchScheme::Flat, expert_rows(width, 1), ROWS),
        ("expert, dedup", DispatchScheme::Dedup, expert_rows(width, 2), ROWS),
        ("quantise", DispatchScheme::Flat, Work::Quantise, 32),
        ("sum", DispatchScheme::Flat, reduce(width), 8),
    ];
    for (name, scheme, mut work, rows) in cases {
        let jobs = jobs(scheme);
        group.throughput(Throughput::Elements((rows * width) as u64));
        group.bench_function(name, |bencher| bencher.iter(|| jobs.run(RankId(0), &mut work)));
    }
    group.finish();
}

criterion_group!(benches, work);
criterion_main!(benches);

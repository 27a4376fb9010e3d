//! How many frames a second the simulator carries, on one core: an all-to-all of cards alone, and whole layers without payload.
//!
//!     cargo bench -p railyard-node --bench sim -- [NAME]
//!
//! Throughput is in data frames (elements), of dispatch and combine together. What a layer takes over an exchange is the
//! gate, the plan, the rows' bookkeeping and the sums. Memory: `/usr/bin/time -v` before the program that cargo names, and one case.

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use moe::model::Model;
use moe::placement::Placement;
use moe::plan::DispatchScheme;
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::sim::{SimCluster, exchange};
use std::sync::Arc;
use topology::{Cluster, Hardware, TrafficMatrix};

/// A layer of DeepSeek-V3 with `num_experts` experts on `racks` racks of `size`.
fn setup(racks: u32, size: u32, num_experts: u32, slots: u32, scheme: DispatchScheme, tokens: u32) -> Setup {
    let mut shape = Model::preset("deepseek-v3").expect("a preset").layer();
    shape.num_experts = num_experts;
    let cluster = Cluster::uniform(racks, size).expect("a cluster");
    let placement = spread(&cluster, num_experts, slots);
    let hardware = Hardware::preset("gb200").expect("a preset");
    let tokens = vec![tokens; cluster.num_ranks() as usize];
    let layer = Program::Layer(LayerProgram::new(shape, placement, tokens));
    Setup { scheme, seed: 1, chunk_rows: 4, payload: false, ..Setup::new(cluster, hardware, layer) }
}

/// Slot s holds expert s mod E: replicas as far from each other as they can be.
fn spread(cluster: &Cluster, num_experts: u32, slots: u32) -> Placement {
    let map: Vec<u32> = (0..slots).map(|slot| slot % num_experts).collect();
    let text = format!("{{\"physical_to_logical_map\": {map:?}}}");
    Placement::from_json(&text, "spread", cluster, num_experts).expect("a placement")
}

fn frames(sim: &mut SimCluster) -> u64 {
    let setup = Arc::clone(sim.setup());
    for rank in setup.cluster.ranks() {
        sim.prepare(rank, 0, Vec::new()).expect("a step");
    }
    let stops = setup.program.stops().into_iter();
    stops.flat_map(|stop| sim.go(stop).expect("a stop")).map(|(report, _)| report.frames).sum()
}

/// Whether a case is to be made: thousands of ranks take memory.
fn is_asked_for(group: &str, name: &str) -> bool {
    let asked = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    asked.is_none_or(|asked| format!("{group}/{name}").contains(&asked))
}

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layer");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    let cases = [
        ("flat, 256 ranks", setup(4, 64, 256, 256, DispatchScheme::Flat, 32)),
        ("flat, 1024 ranks", setup(16, 64, 1024, 1024, DispatchScheme::Flat, 128)),
        ("hierarchical, 4608 ranks", setup(64, 72, 256, 4608, DispatchScheme::Hierarchical, 32)),
    ];
    for (name, setup) in cases.into_iter().filter(|(name, _)| is_asked_for("layer", name)) {
        let setup = Arc::new(setup);
        let mut sim = SimCluster::new(setup).expect("a setup");
        let frames_a_step = frames(&mut sim);
        group.throughput(Throughput::Elements(frames_a_step));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| frames(&mut sim));
        });
    }
    group.finish();
}

/// One message of 7,408 B from every rank to every other.
fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    let fabric = Hardware::preset("gb200").expect("a preset").fabric();
    for racks in [4, 16, 64] {
        let cluster = Cluster::uniform(racks, 64).expect("a cluster");
        let name = format!("{} ranks", cluster.num_ranks());
        if !is_asked_for("exchange", &name) {
            continue;
        }
        let mut traffic = TrafficMatrix::new(cluster.num_ranks());
        for from in cluster.ranks() {
            for to in cluster.ranks().filter(|&to| to != from) {
                traffic.add(from, to, 7_408);
            }
        }
        let ranks = u64::from(cluster.num_ranks());
        group.throughput(Throughput::Elements(ranks * (ranks - 1)));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| exchange(&cluster, &fabric, &traffic, 1 << 20).expect("an exchange").end());
        });
    }
    group.finish();
}

criterion_group!(benches, exchanges, layers);
criterion_main!(benches);

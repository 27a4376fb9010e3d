//! How long placements take: 58 layers of 256 experts, in 288 slots on 72 ranks or 320 on 64 and 80, by the number of racks.
//!
//!     cargo bench -p railyard-moe --bench placement -- [NAME]

use criterion::{Criterion, criterion_group, criterion_main};
use moe::placement::{Demand, Eplb, EplbGlobal, PlacementPolicy, RackAware};
use std::hint::black_box;
use topology::Cluster;

const LAYERS: u64 = 58;

/// Zipf-like loads, the order of experts different in each layer.
fn demand(layer: u64) -> Demand {
    let load = (0..256_u64).map(|expert| 1_000_000 / (1 + (expert * 167 + layer * 59) % 256)).collect();
    Demand::new(load, 8).in_groups(4)
}

/// `ranks` ranks in `racks` racks, as even as they can be.
fn cluster(racks: u32, ranks: u32) -> Cluster {
    let size = |rack| ranks / racks + u32::from(rack < ranks % racks);
    Cluster::new(&(0..racks).map(size).collect::<Vec<u32>>()).expect("valid")
}

fn placements(c: &mut Criterion) {
    let layers: Vec<Demand> = (0..LAYERS).map(demand).collect();
    let mut group = c.benchmark_group("58 layers of 256 experts");
    group.sample_size(10);
    let mut run = |name: &str, policy: &dyn PlacementPolicy, cluster: &Cluster, slots: u32| {
        group.bench_function(name, |b| {
            b.iter(|| {
                for demand in &layers {
                    black_box(policy.place(cluster, slots, demand).expect("placed"));
                }
            });
        });
    };
    let four = cluster(4, 72);
    run("eplb, 4 groups, 288 slots on 72 ranks", &Eplb, &four, 288);
    run("eplb-global, 288 slots on 72 ranks", &EplbGlobal, &four, 288);
    for (racks, ranks, slots) in [
        (4, 72, 288),
        (8, 72, 288),
        (9, 72, 288),
        (16, 72, 288),
        (36, 72, 288),
        (8, 64, 320),
        (16, 64, 320),
        (8, 80, 320),
        (16, 80, 320),
    ] {
        let name = format!("rack-aware, {slots} slots on {ranks} ranks in {racks} racks");
        run(&name, &RackAware::default(), &cluster(racks, ranks), slots);
    }
    group.finish();
}

criterion_group!(benches, placements);
criterion_main!(benches);

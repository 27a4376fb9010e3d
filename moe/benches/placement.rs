//! How long placements take: 58 layers of 256 experts in 288 slots on 72 ranks of 4 racks.

use criterion::{Criterion, criterion_group, criterion_main};
use moe::placement::{Demand, Eplb, PlacementPolicy, RackAware};
use std::hint::black_box;
use topology::Cluster;

const LAYERS: u64 = 58;

/// Zipf-like loads, the order of experts different in each layer.
fn demand(layer: u64) -> Demand {
    let load = (0..256_u64).map(|expert| 1_000_000 / (1 + (expert * 167 + layer * 59) % 256)).collect();
    Demand::new(load, 8)
}

fn placements(c: &mut Criterion) {
    let cluster = Cluster::uniform(4, 18).expect("valid");
    let layers: Vec<Demand> = (0..LAYERS).map(demand).collect();
    let mut group = c.benchmark_group("58 layers of 256 experts, 288 slots, 72 ranks");
    group.sample_size(10);
    let policies: [(&str, &dyn PlacementPolicy); 3] = [
        ("eplb, 4 groups", &Eplb { num_groups: 4 }),
        ("eplb-global", &Eplb { num_groups: 1 }),
        ("rack-aware", &RackAware),
    ];
    for (name, policy) in policies {
        group.bench_function(name, |b| {
            b.iter(|| {
                for demand in &layers {
                    black_box(policy.place(&cluster, 288, demand).expect("placed"));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, placements);
criterion_main!(benches);

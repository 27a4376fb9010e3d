//! A placement file, for small clusters: every expert has a place in whatever is let through.

#![no_main]

use libfuzzer_sys::fuzz_target;
use moe::Placement;
use topology::Cluster;

fuzz_target!(|data: &[u8]| {
    let Some(([ranks, experts], text)) = data.split_first_chunk::<2>() else { return };
    let Some(text) = railyard_fuzz::text(text) else { return };
    let per_rack = 1 + u32::from(ranks % 4);
    let cluster = Cluster::uniform(1 + u32::from(ranks / 4 % 4), per_rack).expect("a small cluster");
    let experts = 1 + u32::from(experts % 16);
    if let Ok(placement) = Placement::from_file(text, "placement.json", 0, &cluster, experts) {
        assert!(placement.num_slots() >= experts);
    }
});

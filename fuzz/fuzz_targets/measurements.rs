//! Measured times of kernels, and the profile that is fitted to them.

#![no_main]

use blackboard::calibration::{Layer, parse_measurements};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(text) = railyard_fuzz::text(data) else { return };
    let layer = Layer { hidden: 7168, top_k: 8, experts: 256, expert_inter: 2048, ranks_per_node: 8, scheme: None, routing: None };
    let _ = parse_measurements(text, "measured.csv", &layer);
});

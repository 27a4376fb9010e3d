//! Measured times of kernels, and the profile that is fitted to them.

#![no_main]

use blackboard::calibration::parse_measurements;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(text) = railyard_fuzz::text(data) else { return };
    let _ = parse_measurements(text, "measured.csv");
});

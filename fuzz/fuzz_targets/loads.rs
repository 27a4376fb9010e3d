//! Loads of experts and traces of routing, in every format.

#![no_main]

use libfuzzer_sys::fuzz_target;
use moe::load::parse_loads;

fuzz_target!(|data: &[u8]| {
    if let Ok(load) = parse_loads(data, "loads") {
        assert_eq!(load.layers().count(), load.num_layers());
        for index in 0..load.num_layers() {
            let _ = load.coactivation(index);
        }
        let steps = load.steps();
        if let (Some(&first), Some(&last)) = (steps.first(), steps.last()) {
            let _ = load.window(first..last);
        }
    }
});

//! A cluster file: racks, hardware, links and kernel profiles.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topology::parse_cluster_file;

fuzz_target!(|data: &[u8]| {
    let Some(text) = railyard_fuzz::text(data) else { return };
    match parse_cluster_file(text, "cluster.toml") {
        Ok(spec) => {
            spec.fabric.beta();
        }
        Err(error) => {
            assert!(error.to_string().starts_with("cluster.toml:"), "{error}");
        }
    }
});

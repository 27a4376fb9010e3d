//! A config.json as models are published with: a description of a model that can be counted, or a refusal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use moe::Model;

fuzz_target!(|data: &[u8]| {
    let Some(text) = railyard_fuzz::text(data) else { return };
    if let Ok(model) = Model::from_config(text, "config.json") {
        railyard_fuzz::count(&model);
    }
});

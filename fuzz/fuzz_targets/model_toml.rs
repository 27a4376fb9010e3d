//! A model file: what is read can be written, and is read as the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use moe::Model;

fuzz_target!(|data: &[u8]| {
    let Some(text) = railyard_fuzz::text(data) else { return };
    if let Ok(model) = Model::from_toml(text, "model.toml") {
        railyard_fuzz::count(&model);
        let written = model.to_toml().expect("a model that was read can be written");
        let read = Model::from_toml(&written, "written.toml").expect("and read again");
        assert_eq!(read, model, "{written}");
    }
});

//! An experiment's file, with its settings, sweeps and plots: read, or refused with the line of the first fault.

#![no_main]

use libfuzzer_sys::fuzz_target;
use study::experiment::parse_experiment;

fuzz_target!(|data: &[u8]| {
    let Some(text) = railyard_fuzz::text(data) else { return };
    match parse_experiment(text, "experiment.toml", &railyard_fuzz::subjects()) {
        Ok((_, experiment)) => {
            let _ = experiment.num_points();
            let _ = experiment.swept();
        }
        Err(error) => assert!(error.to_string().starts_with("experiment.toml:"), "{error}"),
    }
});

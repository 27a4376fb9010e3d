//! A comparison as a client may ask for it: whatever it says, the coordinator that checks it takes it or says what is wrong.

#![no_main]

use libfuzzer_sys::fuzz_target;
use node::net::frames::{HEADER_BYTES, decode, encode};
use study::layer::{CompareSpec, check};
use study::placing::PlacementChoice;

fuzz_target!(|data: &[u8]| {
    let Ok(mut spec) = decode::<CompareSpec>(data) else { return };
    let again = encode(&spec).expect("what was read can be sent");
    let read = decode::<CompareSpec>(&again[HEADER_BYTES..]).expect("what was sent can be read");
    // Numbers that are none are equal to nothing, but have the same bytes.
    assert_eq!(encode(&read).expect("as before"), again);
    // No input starts a program here.
    if matches!(spec.placement, PlacementChoice::Exec(_)) {
        return;
    }
    spec.memory_limit_bytes = Some(1 << 28);
    let _ = check(&spec, false);
});

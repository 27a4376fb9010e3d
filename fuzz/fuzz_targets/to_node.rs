//! What a coordinator may say to a node, and the seat that it gives it: whatever is let through can be taken.

#![no_main]

use libfuzzer_sys::fuzz_target;
use node::control::ToNode;
use node::net::frames::{HEADER_BYTES, decode, encode};
use node::setup::PreparedRun;
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let Ok(message) = decode::<ToNode>(data) else { return };
    let again = encode(&message).expect("what was read can be sent");
    let read = decode::<ToNode>(&again[HEADER_BYTES..]).expect("what was sent can be read");
    // Numbers that are none are equal to nothing, but have the same bytes.
    assert_eq!(encode(&read).expect("as before"), again);
    if let ToNode::Configure { setup, .. } = message {
        let stages = setup.program.stack().map_or(1, |stack| stack.num_stages());
        for stage in [0, stages - 1] {
            if let Ok(run) = PreparedRun::new(Arc::clone(&setup), stage) {
                let _ = run.flow(0, 0);
            }
        }
    }
});

//! What nodes may say to a coordinator that has a run under way on them: a length, a node and a message, again and again.

#![no_main]

use coordinator::machine::{Coordinator, Limits};
use libfuzzer_sys::fuzz_target;
use node::control::{FromNode, Machine};
use node::net::frames::decode;

fuzz_target!(|data: &[u8]| {
    let mut machine = Coordinator::new(0, 7, "m", Limits::default());
    let nodes: Vec<_> = (0..4_u16)
        .map(|index| {
            let here = Machine { id: "m".to_owned(), cores: 2 };
            machine
                .handle_register(0, &format!("n{index}"), ([127, 0, 0, 1], 1000 + index).into(), here)
                .expect("a node")
        })
        .collect();
    machine.open(1, railyard_fuzz::request()).expect("a run");
    let (mut now, mut rest) = (2, data);
    while let Some(([node, length, late], more)) = rest.split_first_chunk::<3>() {
        let (body, more) = more.split_at(usize::from(*length).min(more.len()));
        rest = more;
        now += u64::from(*late) * 1_000_000;
        if let Ok(message) = decode::<FromNode>(body) {
            machine.handle_message(now, nodes[usize::from(*node) % nodes.len()], message);
        }
        machine.handle_timeout(now);
        while machine.poll_transmit().is_some() {}
        while machine.poll_event().is_some() {}
        while machine.poll_session().is_some() {}
    }
});

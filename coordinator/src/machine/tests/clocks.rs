//! Nodes of other machines: instants of their own clock, and clocks that jump.

use super::*;

#[test]
fn nodes_of_another_machine_are_told_instants_of_their_own_clock() {
    const AHEAD: u64 = 7_000_000_000_000;
    let mut yard = Yard::new(2);
    yard.now = 100 * MS;
    // Node 1 shares the clock. Node 2's is ahead, which its answers tell to half their round trips.
    yard.say(NodeId(1), FromNode::Pong { sent_ns: 99 * MS, node_ns: 99 * MS + 1 });
    yard.say(NodeId(2), FromNode::Pong { sent_ns: 90 * MS, node_ns: AHEAD + 95 * MS });
    yard.submit(two(), 3).unwrap();
    let mut starts: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
    let mut pings = 0;
    while !yard.sent.is_empty() {
        // Before anything else: both answer 2 ms after they are asked, half of it on the way.
        yard.now += 2 * MS;
        for (node, mut message) in std::mem::take(&mut yard.sent) {
            if let ToNode::Ping { sent_ns } = message {
                assert_eq!(node, NodeId(2), "a shared clock needs no second look");
                pings += 1;
                let node_ns = AHEAD + yard.now - MS;
                yard.say(node, FromNode::Pong { sent_ns, node_ns });
                continue;
            }
            if let Some(start_ns) = message.start_at_ns_mut() {
                starts.entry(node).or_default().push(*start_ns);
            }
            answers(&message).into_iter().for_each(|answer| yard.say(node, answer));
        }
    }
    let (_, records) = yard.outcomes.pop().unwrap();
    for record in records.unwrap() {
        for error_ns in record.clock_error_ns {
            // Half a round trip of 2 ms, and what the clocks may have drifted since.
            assert!((MS..MS + 50_000).contains(&error_ns), "{error_ns}");
        }
    }
    assert!(pings > 0);
    for (one, other) in starts[&NodeId(1)].iter().zip(&starts[&NodeId(2)]) {
        assert!(other.abs_diff(one + AHEAD) <= MS, "{one} {other}");
    }
}

#[test]
fn a_clock_that_jumps_ends_the_run() {
    let mut yard = Yard::new(2);
    yard.now = 100;
    yard.say(NodeId(2), FromNode::Pong { sent_ns: 50, node_ns: 70 });
    yard.submit(two(), 3).unwrap();
    yard.say(NodeId(2), FromNode::Pong { sent_ns: 60, node_ns: 7_000_000 });
    assert!(yard.error().1.starts_with("the monotonic clock of n1 has jumped"));
    // It is known by what it showed last.
    yard.submit(two(), 3).unwrap();
    while yard.answer(None) {}
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
}

//! Nodes that are lost, silent or complain on a fake clock: who is aborted, and who is named.

use super::*;

#[test]
fn a_lost_node_aborts_the_run_on_the_others_at_once() {
    let mut yard = Yard::new(2);
    let run = yard.submit(two(), 3).unwrap();
    yard.answer(None);
    yard.answer(None);
    assert!(matches!(yard.sent[0].1, ToNode::Begin { stop: Stop { phase: Phase::Dispatch, .. }, .. }));
    yard.sent.clear();
    yard.lose(NodeId(2), "connection\nclosed");
    assert_eq!(yard.sent, [(NodeId(1), ToNode::Abort { run })]);
    let (ended, error) = yard.error();
    assert_eq!(ended, run);
    assert!(
        error.starts_with("n1 (rank 1) was lost during the dispatch of step 0 of run 1: connection closed;"),
        "{error}"
    );
    assert!(matches!(yard.events.last(), Some(CoordinatorEvent::NodeLeft { members: 1, epoch: 3, .. })));
}

#[test]
fn losing_a_node_without_a_seat_disturbs_nobody() {
    let mut yard = Yard::new(3);
    yard.submit(two(), 3).unwrap();
    yard.lose(NodeId(3), "gone");
    yard.join("n7");
    while yard.answer(None) {}
    assert!(yard.outcomes.pop().unwrap().1.is_ok());
}

#[test]
fn every_wait_has_a_limit_and_names_who_is_silent() {
    let waits = ["configuration", "preparation", "dispatch", "expert phase", "combine"];
    let limits_s = [60, 120, 30, 30, 30];
    for (stage, (wait, limit_s)) in waits.into_iter().zip(limits_s).enumerate() {
        let mut yard = Yard::new(2);
        yard.submit(two(), 3).unwrap();
        for _ in 0..stage {
            yard.answer(None);
        }
        yard.answer(Some(NodeId(2)));
        // Phases have 10 x 1 ms more for what they should take, and the lead.
        let begun = yard.now - MS;
        yard.pass(200_000 * MS);
        assert_eq!(yard.aborts(), [NodeId(1), NodeId(2)]);
        let (_, error) = yard.error();
        assert!(error.contains("from n1 (rank 1) within") && error.contains(wait), "{error}");
        assert!(error.contains(&format!("within {limit_s} s")), "{error} after {begun}");
    }
}

#[test]
fn a_timeout_lists_few_names_and_counts_the_rest() {
    let mut yard = Yard::new(6);
    yard.submit(request(&[6]), 1).unwrap();
    yard.pass(60_000 * MS);
    let (_, error) = yard.error();
    assert!(
        error.contains("n0 (rank 0), n1 (rank 1), n2 (rank 2), n3 (rank 3), 2 more within 60 s"),
        "{error}"
    );
}

#[test]
fn a_failure_aborts_all_and_is_told_after_the_grace() {
    let mut yard = Yard::new(2);
    let run = yard.submit(two(), 3).unwrap();
    yard.answer(None);
    yard.sent.clear();
    yard.say(NodeId(1), FromNode::Failed { run, error: "row misrouted".to_owned(), peer: None });
    assert_eq!(yard.aborts(), [NodeId(1), NodeId(2)]);
    assert!(yard.outcomes.is_empty());
    // The other's complaint is a consequence.
    yard.say(NodeId(2), FromNode::Failed { run, error: "peer gone".to_owned(), peer: None });
    yard.pass(250 * MS);
    assert_eq!(yard.error(), (run, "n0 (rank 0) failed: row misrouted".to_owned()));
}

#[test]
fn a_loss_explains_the_complaint_before_it() {
    let mut yard = Yard::new(2);
    let run = yard.submit(two(), 3).unwrap();
    yard.say(NodeId(1), FromNode::Failed { run, error: "n1 is gone".to_owned(), peer: None });
    yard.pass(100 * MS);
    yard.lose(NodeId(2), "killed");
    let (_, error) = yard.error();
    assert!(error.starts_with("n1 (rank 1) was lost during the configuration of run 1: killed"), "{error}");
}

//! Comparisons with faults in the simulator: outputs stay verified, what it cost is told, what can't strike is refused.

use super::testing::small_spec;
use super::{
    BackendKind, BaseChoice, CompareSpec, LatencyChoice, Page, Record, compare_offline, configurations,
};
use moe::DispatchScheme;

fn spec(faults: &[&str]) -> CompareSpec {
    CompareSpec {
        faults: faults.iter().map(|fault| fault.parse().expect("a fault")).collect(),
        backends: vec![BackendKind::Sim],
        latencies: vec![LatencyChoice::Preset],
        schemes: Some(vec![DispatchScheme::Dedup]),
        gates: Some(vec![super::GateChoice::Unlimited]),
        base: BaseChoice::Ranks,
        rounds: 4,
        ..small_spec()
    }
}

/// The report's text, and its row over both racks.
fn run(faults: &[&str]) -> (String, Record) {
    let spec = spec(faults);
    let rows = configurations(&spec, &mut Vec::new()).expect("rows");
    let report = compare_offline(&spec, &rows).expect("a report");
    assert!(report.first_failure().is_none(), "{faults:?}: {:?}", report.first_failure());
    assert!(report.rows[0].faults.is_none(), "the base is healthy");
    (report.to_text(Page::default()), report.rows[1].clone())
}

#[test]
fn what_a_fault_costs_is_told_against_the_healthy_configuration() {
    let (text, healthy) = run(&[]);
    assert!(healthy.faults.is_none() && healthy.replays == 0 && !text.contains("healthy"));
    let cost = |fault: &str| {
        let (text, record) = run(&[fault]);
        (text, record.faults.clone().expect("a cost"), record)
    };
    let (_, slow, record) = cost("slow rank=3 factor=2");
    assert_eq!(slow.plan, ["slow rank=3 factor=2"]);
    assert_eq!(slow.met, 4, "a rank in the expert phases of four measured steps");
    assert!((slow.healthy_layer_us - healthy.layer_us).abs() < 1e-6);
    assert!(record.layer_us > healthy.layer_us && slow.throughput < 1.0 && slow.lost_us > 0.0);
    assert!((slow.throughput - healthy.layer_us / record.layer_us).abs() < 1e-6, "{slow:?}");
    assert_eq!((slow.outage_ms, slow.detected_ms), (0.0, None));
    let (text, dead, record) = cost("kill rank=3 step=2 phase=combine");
    assert_eq!((dead.detected_ms, dead.met, record.replays), (Some(1000.0), 1, 1));
    assert_eq!(record.layer_us, healthy.layer_us, "the step that counts is the healthy one");
    assert!(dead.throughput < 0.01 && dead.lost_layers > 100.0, "{dead:?}");
    assert!(text.contains("begun anew once: 2 racks: dedup, preset latency, sim"), "{text}");
    // Nobody sees what happens in the warm-up.
    let (_, dead, record) = cost("kill rank=3");
    assert_eq!((dead.plan, dead.met, record.replays), (vec!["kill rank=3 step=1".to_owned()], 1, 1));
}

#[test]
fn a_fault_that_can_never_strike_is_refused() {
    for (fault, says) in [
        ("kill rank=8", "no rank 8; there are ranks 0 to 7"),
        ("slow rack=2 factor=2", "no rack 2; there are racks 0 to 1"),
        ("slow rank=1 factor=2 phase=local", "a layer has no such phase; give dispatch, expert or combine"),
        ("kill rank=1 step=5", "there are steps 0 to 4, warm-up steps first"),
    ] {
        let error = spec(&[fault]).validate().expect_err(fault).to_string();
        assert!(error.contains(says), "{fault}: {error}");
    }
    let with_forms = CompareSpec { backends: BackendKind::ALL.to_vec(), ..spec(&["drop ppm=1"]) };
    assert!(
        with_forms
            .validate()
            .expect_err("no closed form")
            .to_string()
            .contains("closed forms know no faults")
    );
}

#[test]
fn a_lost_frame_ends_the_row_with_its_source() {
    let spec = spec(&["drop from=5 to=1 step=1"]);
    let rows = configurations(&spec, &mut Vec::new()).expect("rows");
    let error = compare_offline(&spec, &rows).expect_err("a frame is missing").to_string();
    assert!(error.contains("2 racks: dedup") && error.contains("rank 5"), "{error}");
}

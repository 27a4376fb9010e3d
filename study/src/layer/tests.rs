//! Comparisons as a whole: the published closed forms, and verified simulations.

mod disturbed;

use super::rows::EVERY_GATE;
use super::testing::{default_spec, small_spec};
use super::*;
use coordinator::pace::{Figures, Host};
use coordinator::sim::SimRunner;
use coordinator::{RunError, RunRequest, Runner, StepRecord};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use moe::routing::Workload;
use moe::stack::StepBatch;
use moe::{DispatchScheme, RecordedRows, RoutingSpec};
use topology::{Oversubscription, Picos};

const HOST: Host = Host { cores: 2, one_process: false, pace: 1, figures: Figures::ASSUMED };

#[track_caller]
fn report(spec: &CompareSpec) -> Report {
    let done = run(spec, None::<&mut SimRunner>);
    done.expect("a comparison")
}

fn run<Q: Runner + Send>(spec: &CompareSpec, quic: Option<&mut Q>) -> Result<Report, CompareError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(Box::pin(compare(spec, quic, HOST, &mut Finished::default(), &mut |_| {})))
}

fn analytic(spec: CompareSpec) -> Report {
    report(&CompareSpec {
        backends: vec![BackendKind::Analytic],
        latencies: vec![LatencyChoice::Zero],
        ..spec
    })
}

/// Slowdowns of flat, dedup and hierarchical over several racks, with two decimals.
fn slowdowns(report: &Report) -> Vec<String> {
    DispatchScheme::ALL
        .iter()
        .map(|&scheme| {
            let row = report.rows.iter().find(|row| {
                row.racks > 1
                    && row.scheme == scheme
                    && row.gate_rack_limit.is_none()
                    && row.placement == "linear"
            });
            format!("{:.2}", row.and_then(|row| row.a2a_slowdown).expect("a slowdown"))
        })
        .collect()
}

#[test]
fn two_racks_of_eight_cost_what_the_closed_forms_say() {
    assert_eq!(slowdowns(&analytic(default_spec())), ["4.27", "4.27", "1.30"]);
    let rack = CompareSpec { base: BaseChoice::Rack, ..default_spec() };
    assert_eq!(slowdowns(&analytic(rack)), ["4.57", "5.63", "1.72"]);
}

#[test]
fn two_racks_of_72_cost_what_the_closed_forms_say() {
    let wide = CompareSpec { base: BaseChoice::Rack, rack_sizes: vec![72, 72], tokens: 32, ..default_spec() };
    assert_eq!(slowdowns(&analytic(wide)), ["4.06", "4.16", "1.05"]);
}

#[test]
fn racks_without_a_slower_link_between_them_cost_nothing_flat() {
    let mut spec = default_spec();
    spec.fabric.scale_out.rate = spec.fabric.scale_up.rate;
    let slowdowns = slowdowns(&analytic(spec));
    assert!(slowdowns[0].parse::<f64>().expect("a number") < 1.0, "{slowdowns:?}");
}

#[test]
fn closed_forms_bounds_and_sim_know_the_same_uplinks() {
    // What is liked is drawn from other tokens, and so is the port that is expected to carry most.
    for (routing, near) in
        [(RoutingSpec::Uniform, 0.97..1.1), (RoutingSpec::Zipf { exponent: 0.8 }, 0.93..1.15)]
    {
        let mut before: Option<Report> = None;
        for ratio in [1.0, 2.0, 4.0] {
            let mut spec = CompareSpec {
                routing: routing.clone(),
                tokens: 256,
                payload: false,
                backends: vec![BackendKind::Analytic, BackendKind::Sim],
                latencies: vec![LatencyChoice::Zero],
                ..default_spec()
            };
            spec.fabric.oversubscription = Oversubscription::new(ratio).expect("a ratio");
            let now = report(&spec);
            for (at, row) in now.rows.iter().enumerate() {
                assert!(row.a2a_us >= row.bound_us, "{} at {ratio}", row.title);
                if row.backend == BackendKind::Sim {
                    let closed = now.find(row.configuration, "zero", BackendKind::Analytic).expect("a row");
                    let over = row.a2a_us / closed.a2a_us;
                    assert!(near.contains(&over), "{} at {ratio}: {over} of the closed form", row.title);
                }
                if let Some(before) = &before {
                    assert!(row.a2a_us >= before.rows[at].a2a_us, "{} at {ratio}", row.title);
                }
            }
            before = Some(now);
        }
    }
}

#[test]
fn counted_copies_of_many_tokens_are_the_expected_ones() {
    let spec =
        CompareSpec { tokens: 6_250, payload: false, backends: vec![BackendKind::Sim], ..default_spec() };
    let rows = configurations(&spec, &mut Vec::new()).expect("valid");
    let truths = truth::truths(&spec, &rows, 1).expect("uniform routing");
    let mut expectations = expected::Expectations::new(&spec);
    for (row, truth) in rows.iter().zip(truths) {
        let expected = expectations.of(row).expect("a closed form");
        assert_eq!(expected.kind, ExpectedKind::ClosedForm);
        let truth = &truth[0];
        let tokens = truth.traffic.tokens as f64;
        assert_eq!(tokens, 100_000.0);
        let counted = truth.traffic.copies;
        for (counted, expected) in
            [(counted.intra, expected.copies.intra), (counted.inter, expected.copies.inter)]
        {
            let counted = counted as f64 / tokens;
            assert!((counted - expected).abs() <= 0.01 * expected, "{}: {counted} {expected}", row.title);
        }
    }
}

/// Tokens that are drawn where a closed form is known: it is within four standard errors, and these are what theory has.
#[test]
fn the_standard_error_of_drawn_tokens_is_told() {
    let mut even = default_spec();
    even.shape.gate = even.shape.gate.unlimited();
    let spec = CompareSpec { routing: RoutingSpec::Zipf { exponent: 0.0 }, ..even.clone() };
    let rows = configurations(&spec, &mut Vec::new()).expect("valid");
    let (mut drawn, mut known) = (expected::Expectations::new(&spec), expected::Expectations::new(&even));
    for row in &rows {
        let (expected, exact) = (drawn.of(row).expect("drawn"), known.of(row).expect("a closed form"));
        assert_eq!((expected.kind, exact.error), (ExpectedKind::MonteCarlo, None));
        let error = expected.error.expect("drawn");
        for (drawn, exact, error) in [
            (expected.copies.intra, exact.copies.intra, error.intra),
            (expected.copies.inter, exact.copies.inter, error.inter),
        ] {
            assert!((drawn - exact).abs() <= 4.0 * error + 1e-12, "{}: {drawn} {exact} {error}", row.title);
        }
        // One copy or none: the variance of a token is p(1 - p). Twenty batches know an error to a sixth of it.
        // (Where all experts are in one rack, the source alone decides: no error.)
        let p = exact.copies.inter;
        if row.scheme == DispatchScheme::Hierarchical && row.limit.is_none() && row.placement_name == "linear"
        {
            let theory = (p * (1.0 - p) / 20_000.0).sqrt();
            assert!((error.inter / theory - 1.0).abs() < 0.5, "{}: {} {theory}", row.title, error.inter);
        }
    }
}

#[test]
fn every_row_of_a_small_comparison_is_verified_in_the_simulator() {
    let spec = CompareSpec {
        backends: vec![BackendKind::Analytic, BackendKind::Sim],
        seeds: vec![1, 7],
        ..small_spec()
    };
    let report = report(&spec);
    assert_eq!(report.rows.len(), 9 * 2 * 2);
    assert!(report.first_failure().is_none());
    for row in report.rows.iter().filter(|row| row.backend == BackendKind::Sim) {
        assert_eq!((row.verification, row.samples), (Verification::OutputsAndTraffic, 2));
        assert!(row.a2a_us >= row.bound_us * 0.999, "{}: {} {}", row.title, row.a2a_us, row.bound_us);
        assert!(row.error_rms.is_some_and(|error| error > 0.0 && error < 0.05));
        assert!((row.layer_us - row.dispatch_us - row.combine_us - row.compute_us).abs() < 1e-9);
        assert_eq!(row.tokens, 96);
    }
    let again = self::report(&spec);
    assert!(again == report, "equal seeds give equal reports");
}

#[test]
fn json_has_the_promised_keys() {
    let report =
        report(&CompareSpec { backends: vec![BackendKind::Analytic, BackendKind::Sim], ..small_spec() });
    assert!(report.first_failure().is_none());
    let json: serde_json::Value =
        serde_json::from_str(&report.to_json().expect("serialisable")).expect("JSON");
    for key in ["schema_version", "seeds", "config", "rows"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    let row = json["rows"][0].as_object().expect("an object");
    for key in [
        "racks",
        "ranks",
        "scheme",
        "placement",
        "gate",
        "gate_rack_limit",
        "backend",
        "latency",
        "intra_copies_per_token",
        "inter_copies_per_token",
        "expected_intra",
        "expected_inter",
        "dispatch_us",
        "combine_us",
        "a2a_us",
        "compute_us",
        "layer_us",
        "bound_us",
        "a2a_slowdown",
        "layer_slowdown",
        "lateness_p99_us",
        "verified",
        "valid",
    ] {
        assert!(row.contains_key(key), "{key}");
    }
    let back: Report = serde_json::from_value(json).expect("a report");
    let titles = |report: &Report| report.rows.iter().map(|row| row.title.clone()).collect::<Vec<_>>();
    assert_eq!(titles(&back), titles(&report));
    assert!(report.to_text(Page::default()).contains("2 racks: hierarchical"));
}

#[test]
fn rows_follow_schemes_racks_and_gates() {
    let titles = |spec: &CompareSpec| -> Vec<String> {
        configurations(spec, &mut Vec::new()).expect("valid").into_iter().map(|row| row.title).collect()
    };
    let flat = CompareSpec { schemes: Some(vec![DispatchScheme::Flat]), ..default_spec() };
    assert_eq!(titles(&flat), ["1 rack of 16: flat", "2 racks: flat"]);
    let one = CompareSpec { rack_sizes: vec![8], ..default_spec() };
    assert_eq!(titles(&one), ["1 rack of 8: flat", "1 rack of 8: dedup", "1 rack of 8: hierarchical"]);
    let limited =
        CompareSpec { gates: Some(vec![GateChoice::Limit(2)]), rack_sizes: vec![4, 4, 4], ..default_spec() };
    assert_eq!(
        titles(&limited),
        ["1 rack of 12: dedup, gate <= 2 groups", "3 racks: hierarchical, gate <= 2 racks"]
    );
    let named = CompareSpec { schemes: flat.schemes.clone(), ..limited };
    assert_eq!(titles(&named), ["1 rack of 12: flat, gate <= 2 groups", "3 racks: flat, gate <= 2 racks"]);
    let impossible = CompareSpec { gates: Some(vec![GateChoice::Limit(2)]), ..default_spec() };
    let error = configurations(&impossible, &mut Vec::new()).expect_err("no limit").to_string();
    assert!(error.contains("is no limit"), "{error}");
}

#[test]
fn every_scheme_has_a_row_of_every_gate_where_both_are_named() {
    let all = &DispatchScheme::ALL;
    let some = [&all[..1], &all[1..2], &all[2..], &all[..2], &all[1..], &all[..]];
    for (schemes, gates) in
        some.iter().flat_map(|schemes| [(schemes, &EVERY_GATE[1..]), (schemes, &EVERY_GATE)])
    {
        let (spec, mut notes) = (default_spec(), Vec::new());
        let spec = CompareSpec { schemes: Some(schemes.to_vec()), gates: Some(gates.to_vec()), ..spec };
        let rows = configurations(&spec, &mut notes).expect("valid");
        let there: Vec<_> = rows
            .iter()
            .filter(|row| row.cluster.num_racks() == 2)
            .map(|row| (row.scheme, row.limit.as_ref().map(|limit| limit.limit)))
            .collect();
        for gate in gates {
            let limit = (*gate != GateChoice::Unlimited).then_some(1);
            assert!(
                schemes.iter().all(|&scheme| there.contains(&(scheme, limit))),
                "{schemes:?} {gates:?}: {there:?}"
            );
        }
    }
}

#[test]
fn gates_that_can_not_be_limited_are_left_out_and_told() {
    let mut spec = small_spec();
    spec.shape.top_k = 16;
    let mut notes = Vec::new();
    let rows = configurations(&spec, &mut notes).expect("valid");
    assert_eq!(rows.len(), 7);
    assert!(notes[0].starts_with("nothing with the limited gate: gate limit: 1 group(s)"), "{notes:?}");
    let asked = CompareSpec { gates: Some(vec![GateChoice::Limit(1)]), ..spec };
    assert!(configurations(&asked, &mut Vec::new()).is_err());
}

#[test]
fn a_trace_is_expected_by_its_own_mean() {
    let mut spec = CompareSpec {
        backends: vec![BackendKind::Sim],
        latencies: vec![LatencyChoice::Zero],
        ..small_spec()
    };
    // Every token goes to the experts of ranks 0 and 1, two each.
    let rows = RecordedRows { top_k: 4, idx: vec![0, 1, 2, 3], weights: vec![0.25; 4] };
    (spec.routing, spec.routing_name) = (RoutingSpec::Rows(rows), "trace:x".to_owned());
    let report = report(&spec);
    assert!(report.first_failure().is_none());
    assert!(report.rows.iter().all(|row| row.gate_rack_limit.is_none()), "a trace can't be gated again");
    for row in &report.rows {
        assert_eq!(row.expected_kind, ExpectedKind::TraceMean);
        assert_eq!(
            (row.intra_copies_per_token, row.inter_copies_per_token),
            (row.expected_intra, row.expected_inter)
        );
    }
}

fn workload_spec(workload: Workload, ranks: u32) -> CompareSpec {
    CompareSpec {
        routing: RoutingSpec::Workload { workload, ranks },
        routing_name: format!("workload:{workload}"),
        backends: vec![BackendKind::Analytic, BackendKind::Sim],
        ..small_spec()
    }
}

#[test]
fn every_step_of_a_workload_is_verified_against_its_own_truth() {
    for workload in [Workload::W2, Workload::W4, Workload::W6] {
        let ranks = small_spec().cluster().expect("valid").num_ranks();
        let spec = CompareSpec { warmup: 1, rounds: 2, ..workload_spec(workload, ranks) };
        let report = report(&spec);
        assert!(report.first_failure().is_none(), "{workload}: {:?}", report.first_failure());
        for row in report.rows.iter().filter(|row| row.backend == BackendKind::Sim) {
            assert_eq!((row.verification, row.samples, row.tokens), (Verification::OutputsAndTraffic, 2, 96));
        }
    }
}

#[test]
fn a_burst_is_refused_with_what_to_compare_instead() {
    let error = workload_spec(Workload::W7, 8).validate().expect_err("tokens vary").to_string();
    assert!(error.contains("compare workload:W0 with --tokens 12 and with --tokens 48"), "{error}");
}

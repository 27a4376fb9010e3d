//! Layers whose experts are of other kinds than most: two matrices, narrower rows, experts that pass a token on.

use super::testing::small_spec;
use super::*;
use coordinator::pace::{Figures, Host};
use coordinator::sim::SimRunner;
use moe::ExpertKind;
use moe::RoutingSpec;
use moe::model::Block;

const HOST: Host = Host { cores: 2, one_process: false, pace: 1, figures: Figures::ASSUMED };

/// A comparison on both clocks that need no process, each simulated row of it verified.
#[track_caller]
fn verified(spec: CompareSpec) -> Report {
    let spec = CompareSpec { backends: vec![BackendKind::Analytic, BackendKind::Sim], rounds: 1, ..spec };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let report = runtime
        .block_on(Box::pin(compare(
            &spec,
            None::<&mut SimRunner>,
            HOST,
            &mut Finished::default(),
            &mut |_| {},
        )))
        .expect("a comparison");
    assert!(report.first_failure().is_none(), "{:?}", report.first_failure());
    report
}

#[test]
fn experts_of_two_matrices_take_two_thirds_of_the_time_and_are_verified() {
    let mut two = small_spec();
    two.shape.gated = false;
    let real = CompareSpec { experts: ExpertKind::Gemm, ..two.clone() };
    verified(real);
    let compute = |spec| verified(spec).rows.iter().map(|row| row.compute_us).collect::<Vec<_>>();
    for (two, three) in compute(two.clone()).into_iter().zip(compute(small_spec())) {
        assert!((two / three * 1.5 - 1.0).abs() < 1e-3, "{two} {three}");
    }
    assert!(two.header().contains("16 experts of width 64 and two matrices"), "{}", two.header());
}

#[test]
fn rows_of_a_latent_width_are_what_travels() {
    let mut spec = small_spec();
    for block in spec.model.kinds.iter_mut().flat_map(|kind| &mut kind.blocks) {
        if let Block::Routed { latent, .. } = block {
            *latent = Some(256);
        }
    }
    spec.shape.hidden = spec.model.layer().hidden;
    let narrow = CompareSpec { shape: spec.shape, ..small_spec() };
    let sent = |spec| verified(spec).rows.iter().map(|row| row.dispatch_us).collect::<Vec<_>>();
    assert_eq!(sent(spec.clone()), sent(narrow));
    assert!(spec.header().contains("hidden 7168, rows of 256, "), "{}", spec.header());
    assert_eq!((&spec.config()["hidden"], &spec.config()["latent"]), (&7168.into(), &256.into()));
}

#[test]
fn picks_of_experts_that_pass_a_token_on_send_nothing_and_are_verified() {
    let mut spec = small_spec();
    spec.shape.zero_experts = 16;
    let report = verified(spec.clone());
    // The limited gate, whose racks hold none of them, is left out with a note.
    assert!(report.rows.iter().all(|row| row.gate_rack_limit.is_none()));
    // On as many tokens as tell: half of the rows that there were, and copies as the closed form has them.
    let many =
        CompareSpec { tokens: 4_000, payload: false, backends: vec![BackendKind::Sim], ..spec.clone() };
    let rows = configurations(&many, &mut Vec::new()).expect("valid");
    let truths = truth::truths(&many, &rows, 1).expect("uniform routing");
    let mut expectations = expected::Expectations::new(&many);
    for (row, truth) in rows.iter().zip(truths) {
        let (traffic, expected) = (&truth[0].traffic, expectations.of(row).expect("a closed form"));
        assert_eq!(expected.kind, ExpectedKind::ClosedForm);
        let tokens = traffic.tokens as f64;
        let computed = traffic.rows_per_slot.iter().sum::<u64>() as f64 / tokens;
        assert!((computed / 2.0 - 1.0).abs() < 0.01, "{computed} of 4 picks have weights");
        assert!((expected.rows_per_slot.iter().sum::<f64>() / tokens / 2.0 - 1.0).abs() < 1e-9);
        for (counted, expected) in
            [(traffic.copies.intra, expected.copies.intra), (traffic.copies.inter, expected.copies.inter)]
        {
            let counted = counted as f64 / tokens;
            assert!((counted - expected).abs() <= 0.015 * expected, "{}: {counted} {expected}", row.title);
        }
    }
    for (routing, placement) in
        [(RoutingSpec::Zipf { exponent: 1.0 }, "linear"), (RoutingSpec::Uniform, "eplb")]
    {
        let placement = crate::placing::PlacementChoice::named(placement);
        let other = CompareSpec { routing, placement, backends: vec![BackendKind::Analytic], ..spec.clone() };
        let error = check(&other, false).expect_err("no popularity").to_string();
        assert!(error.contains("pass"), "{error}");
    }
}

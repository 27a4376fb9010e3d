//! Layers whose experts are of other kinds than most: two matrices, narrower rows.

use super::testing::small_spec;
use super::*;
use coordinator::pace::Host;
use coordinator::sim::SimRunner;
use moe::ExpertKind;
use moe::model::Block;

const HOST: Host = Host { cores: 2, one_process: false, pace: 1 };

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

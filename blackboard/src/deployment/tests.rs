//! Deployments against published and hand-computed steps, and what holds for all of them.

use super::*;
use proptest::prelude::*;

fn v3_on(hardware: &str, ranks: u32, batch: f64, context: f64) -> Deployment {
    Deployment {
        model: Model::preset("deepseek-v3").expect("a preset"),
        hardware: Hardware::preset(hardware).expect("a preset"),
        dtype: Dtype::Fp8,
        kv_dtype: Dtype::Fp8,
        ranks,
        racks: None,
        stages: 1,
        micro_batches: None,
        batch: Tokens(batch),
        context: Tokens(context),
        scheme: DispatchScheme::Dedup,
        tokens_per_rank: None,
        latency: false,
        price: DollarsPerS::per_hour(2.0),
        mode: Mode::Max,
    }
}

#[track_caller]
fn near(value: f64, stated: f64) {
    assert!((value / stated - 1.0).abs() < 0.02, "{value}, stated {stated}");
}

#[test]
fn the_least_time_for_a_token_is_that_of_reading_the_weights() {
    for (hardware, ranks, ms, fits) in [
        ("h100", 8, 25.0, false),
        ("h200", 8, 17.5, true),
        ("gb200", 64, 1.31, true),
        ("gb200", 72, 1.16, true),
    ] {
        let step = v3_on(hardware, ranks, 1.0, 0.0).estimate().expect("possible");
        near(step.step_ms, ms);
        assert_eq!(step.bound_by, Bound::Weights);
        assert_eq!(step.verdict == "fits", fits, "{}", step.verdict);
    }
}

#[test]
fn the_critical_batch_is_that_of_the_hardware_and_the_sparsity() {
    near(v3_on("h800", 144, 1.0, 0.0).estimate().expect("possible").optimal_batch, 5357.0);
}

#[test]
fn pipelines_of_one_to_eight_racks() {
    for (stages, stage, weights) in [(1, 2.132, 10.48), (2, 1.066, 5.24), (4, 0.533, 2.62), (8, 0.267, 1.31)]
    {
        let mut racks = v3_on("gb200", 64 * stages, 2400.0 * f64::from(stages), 4989.0);
        racks.stages = stages;
        let step = racks.estimate().expect("possible");
        near(step.stage_ms, stage);
        near(step.weights_gb_per_rank, weights);
        near(step.kv_gb_per_rank, 6.57);
        near(step.tokens_per_s / f64::from(stages), 1.126e6);
        assert_eq!((step.bubble, step.micro_batch), (0.0, 2400.0));
    }
    let mut idle = v3_on("gb200", 256, 2400.0, 4989.0);
    (idle.stages, idle.micro_batches) = (4, Some(1));
    let step = idle.estimate().expect("possible");
    assert_eq!(step.bubble, 0.75);
    near(step.tokens_per_s, 1.126e6);
}

#[test]
fn stages_may_share_a_rack_or_spread_over_several() {
    let mut stages = v3_on("gb200", 256, 9600.0, 4989.0);
    stages.stages = 4;
    let hop_ms = |stages: &Deployment| stages.estimate().expect("possible").hop_ms;
    // A rack a stage: 2400 rows over 64 cards of 50 GB/s; all in one rack: NVLink, 18 times as fast; two racks: half of each.
    near(hop_ms(&stages), 0.010_752);
    stages.racks = Some(1);
    near(hop_ms(&stages), 0.010_752 / 18.0);
    stages.racks = Some(2);
    near(hop_ms(&stages), 0.010_752 * (1.0 + 1.0 / 18.0) / 2.0);
    let inside = stages.estimate().expect("possible");
    stages.racks = Some(8);
    let across = stages.estimate().expect("possible");
    assert_eq!(inside.inter_copies_per_token, 0.0);
    assert!(across.inter_copies_per_token > 0.0 && across.t_a2a_ms > inside.t_a2a_ms);
}

#[test]
fn a_cache_beyond_the_memory_is_said() {
    let mut long = v3_on("gb200", 64, 5440.0, 32_768.0);
    let step = long.estimate().expect("possible");
    near(step.kv_gb_per_rank, 97.86);
    near(step.capacity_batch.expect("a cache"), 9756.0);
    long.kv_dtype = Dtype::Bf16;
    let step = long.estimate().expect("possible");
    assert!(step.verdict.starts_with("over capacity: 206."), "{}", step.verdict);
    assert!(step.memory_use > 1.0);
}

#[test]
fn two_flat_racks_are_bound_by_the_all_to_all() {
    let mut racks = v3_on("gb200", 128, 2400.0, 0.0);
    racks.hardware.scale_out = Rate::new(900_000_000_000 / 8).expect("positive");
    (racks.racks, racks.scheme) = (Some(2), DispatchScheme::Flat);
    let step = racks.estimate().expect("possible");
    assert_eq!(step.bound_by, Bound::A2a);
    near(step.a2a_over_expert_compute, 5.43);
    racks.scheme = DispatchScheme::Hierarchical;
    let step = racks.estimate().expect("possible");
    assert_eq!(step.bound_by, Bound::Weights);
    near(step.a2a_over_expert_compute, 1.35);
}

#[test]
fn impossible_numbers_are_named_with_the_remedy() {
    type Change = fn(&mut Deployment);
    let changes: [(&str, Change); 10] = [
        ("ranks = 0: give at least 1", |d| d.ranks = 0),
        ("batch = 0: give a finite number above 0", |d| d.batch = Tokens(0.0)),
        ("batch = inf: give", |d| d.batch = Tokens(f64::INFINITY)),
        ("context = -1: give a finite number of at least 0", |d| d.context = Tokens(-1.0)),
        ("pp = 64: deepseek-v3 has 61 layers", |d| (d.ranks, d.stages) = (64, 64)),
        ("ranks = 64: give a multiple of the 3 stages", |d| d.stages = 3),
        ("racks = 3: 3 of them can't share the 64 ranks of a stage evenly", |d| d.racks = Some(3)),
        ("racks = 3: give a multiple or a divisor of the 2 stages", |d| (d.stages, d.racks) = (2, Some(3))),
        ("micro-batches = 5: give at least 1, and at most the 4 sequences in flight", |d| {
            (d.batch, d.micro_batches) = (Tokens(4.0), Some(5));
        }),
        ("a100-sxm has no fp8 arithmetic", |d| d.hardware = Hardware::preset("a100").expect("a preset")),
    ];
    for (said, change) in changes {
        let mut deployment = v3_on("gb200", 64, 100.0, 0.0);
        change(&mut deployment);
        let error = deployment.estimate().expect_err(said).to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn one_rank_has_no_all_to_all() {
    let step = v3_on("gb200", 1, 1.0, 10e6).estimate().expect("possible");
    assert_eq!((step.t_a2a_ms, step.intra_copies_per_token), (0.0, 0.0));
    assert_eq!(step.bound_by, Bound::Weights);
    let long = v3_on("gb200", 1, 4.0, 10e6).estimate().expect("possible");
    assert_eq!(long.bound_by, Bound::Kv);
}

#[test]
fn a_torus_takes_longer_than_a_switch() {
    let mut pod = v3_on("tpu-v5e", 256, 256.0, 1000.0);
    let torus = pod.estimate().expect("possible").t_a2a_ms;
    pod.hardware.domain_topology = topology::DomainTopology::Crossbar;
    near(torus / pod.estimate().expect("possible").t_a2a_ms, 8.0);
}

proptest! {
    #[test]
    fn what_grows_and_what_does_not(batch in 1.0f64..1e5, context in 0.0f64..1e6, more in 1.0f64..4.0) {
        let step = |batch, context| v3_on("gb200", 64, batch, context).estimate().expect("possible");
        let (one, larger, longer) = (step(batch, context), step(batch * more, context), step(batch, context * more));
        prop_assert!(one.step_sum_ms >= one.step_ms);
        prop_assert!(one.step_serial_ms >= one.step_sum_ms);
        prop_assert!(larger.step_ms >= one.step_ms && longer.step_ms >= one.step_ms);
        prop_assert!(larger.usd_per_mtok <= one.usd_per_mtok * (1.0 + 1e-9));
        prop_assert!(longer.usd_per_mtok >= one.usd_per_mtok * (1.0 - 1e-9));
        prop_assert_eq!(larger.weights_gb_per_rank, one.weights_gb_per_rank);
        prop_assert_eq!(longer.optimal_batch, one.optimal_batch);
    }
}

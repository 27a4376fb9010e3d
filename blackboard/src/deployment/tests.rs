//! Deployments against published and hand-computed steps, and what holds for all of them.

use super::*;
use moe::DispatchScheme;
use moe::work::Drafts;
use proptest::prelude::*;
use topology::Rate;

fn v3_on(hardware: &str, ranks: u32, batch: f64, context: f64) -> Deployment {
    Deployment {
        model: Model::preset("deepseek-v3").expect("a preset"),
        hardware: Hardware::preset(hardware).expect("a preset"),
        dtype: Dtype::Fp8,
        kv_dtype: Dtype::Fp8,
        ranks,
        racks: None,
        stages: 1,
        tp: 1,
        common: CommonWeights::Even,
        drafts: Drafts::default(),
        memory_share: 1.0,
        micro_batches: None,
        batch: Tokens(batch),
        context: Tokens(context),
        prompt: Tokens::ZERO,
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
        // Enough tokens to go to every expert.
        let step = v3_on(hardware, ranks, 400.0, 0.0).estimate().expect("possible");
        near(step.step_ms, ms);
        assert_eq!(step.bound_by, Bound::Weights);
        assert_eq!(step.verdict == "fits", fits, "{}", step.verdict);
    }
}

#[test]
fn a_single_token_reads_the_experts_that_it_goes_to() {
    let step = v3_on("h100", 8, 1.0, 0.0).estimate().expect("possible");
    near(step.experts_touched, 8.0 / 256.0);
    // 36.6 GB of attention, dense blocks, shared and routed experts and head, an eighth on each rank.
    near(step.step_ms, 36.6e9 / 8.0 / 3.35e12 * 1e3);
    let mut one = v3_on("h100", 8, 1.0, 0.0);
    one.common = CommonWeights::Replicated;
    // The rank of the sequence reads 16.4 GB of common weights, and its part of the experts.
    near(one.estimate().expect("possible").t_weights_ms, (16.4e9 + 20.4e9 / 8.0) / 3.35e12 * 1e3);
}

/// Two of three layers look back at 128 tokens; the cache of the others is kept and read whole.
#[test]
fn windows_count_as_what_they_keep() {
    let mut model = v3_on("h100", 4, 16.0, 131_072.0);
    model.model = Model::preset("gpt-oss-20b").expect("a preset");
    (model.kv_dtype, model.dtype) = (Dtype::Bf16, Dtype::Bf16);
    let step = model.estimate().expect("possible");
    let cache = 4.0 * 12.0 * 2.0 * 8.0 * 64.0 * 2.0 * (131_072.0 + 128.0) / 1e9;
    near(step.kv_gb_per_rank, cache);
    near(step.t_kv_ms, cache / 3.35e3 * 1e3);
}

#[test]
fn drafts_that_hold_make_tokens_and_cost_their_passes() {
    let of = |depth: u32, acceptance: f64| {
        let mut racks = v3_on("gb200", 64, 2400.0, 4989.0);
        racks.drafts = Drafts { depth, acceptance };
        racks.estimate()
    };
    let (none, one) = (of(0, 0.0).expect("possible"), of(1, 0.85).expect("possible"));
    near(one.tokens_per_s * one.step_ms, 1.85 * none.tokens_per_s * none.step_ms);
    // Caches are read once for both tokens, and once more in the drafting layer; weights once, and its own.
    near(one.t_kv_ms / none.t_kv_ms, 62.0 / 61.0);
    near(one.t_weights_ms / none.t_weights_ms, 1.0 + 12.4 / 671.0);
    // Held are one layer with its projection, 11.6 GB, and its cache.
    near((one.weights_gb_per_rank - none.weights_gb_per_rank) * 64.0, 11.6);
    assert!((one.kv_gb_per_rank / none.kv_gb_per_rank * 61.0 - 62.0).abs() < 1e-9);
    assert!(one.step_ms > none.step_ms && one.step_ms < 1.2 * none.step_ms);
    near(one.t_compute_ms / none.t_compute_ms, 2.0 + 1.0 / 61.0);
    let error = of(1, 1.5).expect_err("no probability").to_string();
    assert!(error.starts_with("mtp-depth = 1: an acceptance of 1.5: give a probability"), "{error}");
}

#[test]
fn tensor_parallelism_shares_weights_and_costs_an_exchange() {
    let of = |tp: u32, name: &str| {
        let mut racks = v3_on("h100", 8, 64.0, 8_192.0);
        (racks.model, racks.tp, racks.common) =
            (Model::preset(name).expect("a preset"), tp, CommonWeights::Replicated);
        racks.estimate().expect("possible")
    };
    let [one, eight] = [1, 8].map(|tp| of(tp, "mixtral-8x7b"));
    assert_eq!(one.t_tp_ms, 0.0);
    // 32 layers with attention alone to bring together: 2 x 7 x 8 tokens x 8192 B over the port, at zero latency.
    let hardware = Hardware::preset("h100").expect("a preset");
    let once = 7.0 * 8.0 * 8192.0 / hardware.scale_up.bytes_per_s() as f64;
    near(eight.t_tp_ms, 2.0 * 32.0 * once * 1e3);
    near(eight.t_kv_ms, one.t_kv_ms);
    assert!(eight.weights_gb_per_rank < one.weights_gb_per_rank);
    // A latent can't be shared out: each of eight ranks has the caches of all eight's sequences.
    near(of(8, "deepseek-v3").kv_gb_per_rank, 8.0 * of(1, "deepseek-v3").kv_gb_per_rank);
    let mut uneven = v3_on("h100", 8, 64.0, 0.0);
    uneven.tp = 3;
    let error = uneven.estimate().expect_err("three don't divide eight").to_string();
    assert!(error.starts_with("tp = 3: give a divisor of the 8 ranks"), "{error}");
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
    let step = v3_on("gb200", 1, 1.0, 1e5).estimate().expect("possible");
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

//! Every computed value of the chapter, and what must hold for any input.

use proptest::prelude::*;

use super::*;
use blackboard::caches::{MemoryTier, TIERS, hold_cost, remat_time};
use blackboard::units::{DollarsPerS, DollarsPerToken, Seconds};

const TALK: Params = Params(1e11);
const V3: Params = Params(37e9);
const STEP: Tokens = Tokens(200e3);
/// FLOP/s of a dtype and bytes/s of memory.
const H100_BF16: (FlopPerS, BytesPerS) = (FlopPerS(989.5e12), BytesPerS(3.35e12));
const H100_FP8: (FlopPerS, BytesPerS) = (FlopPerS(1979e12), BytesPerS(3.35e12));
const GB200_FP8: (FlopPerS, BytesPerS) = (FlopPerS(5e15), BytesPerS(8e12));
const GB200_FP4: (FlopPerS, BytesPerS) = (FlopPerS(10e15), BytesPerS(8e12));
const TPU7X_FP8: (FlopPerS, BytesPerS) = (FlopPerS(4614e12), BytesPerS(7.38e12));
const V3_HEADS: LatentHeads =
    LatentHeads { latent: 512, rope: 64, query_heads: 128, layers: 61, element: Bytes(2.0) };

#[test]
fn e2_a_step_at_200k_means_about_two_kilobytes_only_at_a_byte_a_parameter() {
    let kappa = |(flops, bandwidth)| kv_bytes_at_step(TALK, flops, bandwidth, STEP).0;
    // rho = F / (2 BW) = 300.
    assert_eq!(format!("{:.1}", kappa((FlopPerS(600e12), BytesPerS(1e12)))), "1666.7");
    assert_eq!(kappa(H100_FP8).round(), 1693.0);
    assert_eq!(kappa(GB200_FP8).round(), 1600.0);
    assert_eq!(format!("{:.1}", kappa(TPU7X_FP8)), "1599.5"); // stated as 1600
    assert_eq!(kappa(H100_BF16).round(), 3386.0);
    assert_eq!(kappa(GB200_FP4).round(), 800.0);
}

#[test]
fn e3_two_shapes_of_cache() {
    let heads = GroupedHeads { kv_heads: 8, head_dim: 128, layers: 1, element: Bytes(1.0) };
    assert_eq!(heads.kv_bytes(), BytesPerToken(2048.0));
    assert_eq!(V3_HEADS.kv_bytes(), BytesPerToken(70_272.0));
    assert_eq!(V3_HEADS.flop_per_byte().round(), 242.0);
}

#[test]
fn e3b_deepseek_v3_would_step_at_under_two_thousand_tokens() {
    let step = |(flops, bandwidth)| context_step(V3, flops, bandwidth, V3_HEADS.kv_bytes()).0.round();
    assert_eq!([step(GB200_FP8), step(H100_FP8)], [1685.0, 1783.0]);
}

#[test]
fn e4_half_more_covers_half_more_context() {
    assert_eq!(covered_context(STEP, 0.5), Tokens(300e3));
    assert_eq!(covering_price(STEP, Tokens(300e3)), 1.5);
    assert_eq!(covering_price(STEP, Tokens(1e6)), 5.0);
    assert_eq!(covering_price(STEP, Tokens(100.0)), 1.0);
}

#[test]
fn e5_output_at_three_to_five_times_input() {
    assert_eq!([3.0, 5.0].map(|ratio| format!("{:.0}%", 100.0 * decode_mfu(ratio))), ["33%", "20%"]);
    assert_eq!(output_to_input(0.25, 1.0), 5.0);
}

#[test]
fn e5b_the_step_and_the_price_of_output_need_different_loads() {
    // The step takes u far above 1, five times the input takes u <= 1/4 for every K <= 1.
    assert_eq!(load_for_ratio(5.0, 1.0), Some(0.25));
    assert_eq!(load_for_ratio(5.0, 0.0), Some(0.2));
    assert_eq!(output_to_input(100.0, 1.0), 1.01);
    assert_eq!([load_for_ratio(5.0, 5.0), load_for_ratio(0.5, 0.0)], [None, None]);
}

#[test]
fn e6_two_tiers_make_a_line() {
    let (five_minutes, hour) = (Seconds(300.0), Seconds(3600.0));
    let mtok = |dollars: f64| DollarsPerToken(dollars / 1e6);
    let line = CachePrice::through((five_minutes, mtok(6.25)), (hour, mtok(10.0))).expect("two durations");
    let cents = |price: DollarsPerToken| format!("{:.2}", price.per_mtok());
    assert_eq!([cents(line.fixed), cents(line.per_hour)], ["5.91", "4.09"]);
    assert_eq!([cents(line.price(five_minutes)), cents(line.price(hour))], ["6.25", "10.00"]);
    // Hit, five minutes and hour over input.
    assert_eq!(
        [0.5, 6.25, 10.0].map(|price| mtok(price) / mtok(5.0)).map(|x| format!("{x:.2}")),
        ["0.10", "1.25", "2.00"]
    );
    assert_eq!(CachePrice::through((hour, mtok(1.0)), (hour, mtok(2.0))), None);
}

#[test]
fn e7_each_tier_has_its_duration() {
    let drained = TIERS.map(|tier| tier.drain_time());
    let [hbm, grace, vera, ddr5, tlc, qlc, disk] = drained;
    assert_eq!(hbm.as_millis().round(), 23.0);
    assert_eq!([grace, vera, ddr5].map(|t| format!("{:.2}", t.0)), ["0.94", "1.25", "3.26"]);
    assert_eq!((tlc.0.round(), (tlc.0 / 60.0).round()), (549.0, 9.0));
    assert_eq!([qlc, disk].map(|t| format!("{:.2}", t.0 / 3600.0)), ["1.22", "30.30"]);
    assert!(drained.is_sorted());
}

#[test]
fn e8_an_hour_of_hbm_costs_as_much_as_computing_again() {
    let hold = kv_break_even_hold(TALK, GB200_FP8.0, Bytes(186e9), BytesPerToken(2048.0));
    assert_eq!(hold.0.round(), 3633.0);
    let hold = kv_break_even_hold(V3, H100_FP8.0, Bytes(80e9), V3_HEADS.kv_bytes());
    assert_eq!(format!("{:.1}", hold.0), "42.6");
}

#[test]
fn e9_arithmetic_is_far_below_list_prices() {
    let cost = |active, (flops, _), dollars, mfu| {
        format!("{:.4}", compute_cost(active, flops, DollarsPerS::per_hour(dollars), mfu).per_mtok())
    };
    assert_eq!(cost(TALK, GB200_FP8, 3.0, 1.0), "0.0333");
    assert_eq!(cost(TALK, GB200_FP8, 3.0, 0.4), "0.0833");
    // A20.
    assert_eq!(cost(V3, GB200_FP8, 2.0, 1.0), "0.0082");
    assert_eq!(cost(TALK, H100_FP8, 2.0, 1.0), "0.0561");
}

#[test]
fn e10_the_quadratic_term_matters_at_millions_only_with_one_global_layer() {
    let context = |layers| quadratic_context(TALK, 16_384, layers).0;
    assert_eq!(format!("{:.2}", context(1) / 1e6), "3.05");
    assert_eq!([context(6), context(61)].map(|tokens| (tokens / 1e3).round()), [509.0, 50.0]);
    // Llama-70B: 64 heads of 128 in 80 layers.
    assert_eq!((quadratic_context(Params(70e9), 64 * 128, 80).0 / 1e3).round(), 53.0);
    assert_eq!(quadratic_context(TALK, 0, 61).0, f64::INFINITY);
}

#[test]
fn e11_a_hundred_million_tokens_of_context() {
    assert_eq!(Attention::Dense.cost_growth(STEP, Tokens(1e8)), 500.0);
    assert_eq!(Attention::Sparse.cost_growth(STEP, Tokens(1e8)).round(), 22.0);
}

/// Anything that is not negative, 0 often among it.
fn amount() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 4 => (-6i32..20).prop_map(|power| 10f64.powi(power))]
}

proptest! {
    #[test]
    fn the_step_and_the_bytes_are_inverse(
        active in 1e8f64..1e13, flops in 1e12f64..1e17, bandwidth in 1e10f64..1e14, step in 1.0f64..1e8,
    ) {
        let (active, flops, bandwidth) = (Params(active), FlopPerS(flops), BytesPerS(bandwidth));
        let kv = kv_bytes_at_step(active, flops, bandwidth, Tokens(step));
        prop_assert!((context_step(active, flops, bandwidth, kv).0 / step - 1.0).abs() < 1e-12);
        prop_assert!((kv_to_compute(active, flops, bandwidth, kv, Tokens(step)) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_load_explains_its_ratio(ratio in 1.0f64..100.0, k in 0.0f64..100.0) {
        match load_for_ratio(ratio, k) {
            Some(load) => prop_assert!((output_to_input(load, k) / ratio - 1.0).abs() < 1e-9),
            None => prop_assert!(ratio <= k),
        }
    }

    #[test]
    fn at_the_break_even_holding_costs_what_computing_does_at_any_price(
        active in 1e8f64..1e13, flops in 1e12f64..1e17, capacity in 1e9f64..1e13, kv in 1.0f64..1e7,
        dollars in 0.01f64..100.0,
    ) {
        let (active, flops, capacity, kv) =
            (Params(active), FlopPerS(flops), Bytes(capacity), BytesPerToken(kv));
        let device = DollarsPerS::per_hour(dollars);
        let hold = kv_break_even_hold(active, flops, capacity, kv);
        let (holding, computing) =
            (hold_cost(kv, capacity, device, hold), compute_cost(active, flops, device, 1.0));
        prop_assert!((holding / computing - 1.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_undefined(a in amount(), b in amount(), c in amount(), d in amount(), e in amount()) {
        let (active, flops, bandwidth) = (Params(a), FlopPerS(b), BytesPerS(c));
        let (kv, tokens, capacity) = (BytesPerToken(d), Tokens(e), Bytes(c));
        let (price, hold) = (DollarsPerS(c), Seconds(e));
        let values = [
            kv_bytes_at_step(active, flops, bandwidth, tokens).0,
            context_step(active, flops, bandwidth, kv).0,
            kv_to_compute(active, flops, bandwidth, kv, tokens),
            covered_context(tokens, a).0,
            covering_price(tokens, Tokens(a)),
            output_to_input(a, b),
            decode_mfu(a),
            load_for_ratio(a, b).unwrap_or(0.0),
            MemoryTier { name: "", capacity, bandwidth }.drain_time().0,
            remat_time(active, flops).0,
            kv_break_even_hold(active, flops, capacity, kv).0,
            hold_cost(kv, Bytes(a), price, hold).0,
            compute_cost(active, flops, price, d).0,
            Attention::Sparse.cost_growth(tokens, Tokens(a)),
        ];
        prop_assert!(values.iter().all(|value| *value >= 0.0), "{values:?}");
    }
}

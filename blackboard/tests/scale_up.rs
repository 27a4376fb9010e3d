//! The chapter "scale-up against scale-out" against its published tables, every cell to the digits given.

use blackboard::CopiesPerToken;
use blackboard::scale_up::{
    FP8_OUT_BF16_BACK, a2a_time, break_even_throttle, expected_copies, expert_inter_min, port_load,
    slowdown_flat, slowdown_flat_serial, uniform_copies, weight_load_batch,
};
use blackboard::units::{BytesPerElement, Tokens};
use moe::gate::{GateKind, GateSpec, Softmax};
use moe::{DispatchScheme, GateLimit, LayerShape, Placement, RowBytes};
use topology::{Cluster, Dtype, Fabric, Hardware, LinkSpec, Picos, Rate};

const EXPERTS: u32 = 256;
/// One and two bytes an element at hidden 7168, without scales.
const ROW_BYTES: RowBytes = RowBytes { dispatch: 7168, combine: 2 * 7168 };
const FLAT: DispatchScheme = DispatchScheme::Flat;
const DEDUP: DispatchScheme = DispatchScheme::Dedup;
const HIERARCHICAL: DispatchScheme = DispatchScheme::Hierarchical;

/// Whether `value` rounds to `text` at its number of decimals; a tie may round either way.
#[track_caller]
fn check(value: f64, text: &str) {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let stated: f64 = text.parse().expect("a number");
    let half = 0.5 * 10f64.powi(-(decimals as i32));
    assert!((value - stated).abs() <= half + 1e-9, "{value}, stated {text}");
}

/// Experts by rank of one rack that holds `EXPERTS / racks`, as even as can be.
fn experts_by_rank(racks: u32, size: u32) -> Vec<u32> {
    let by_rack = EXPERTS / racks;
    (0..size).map(|rank| by_rack / size + u32::from(rank < by_rack % size)).collect()
}

/// Copies from the general form, after checking that the closed form says the same.
fn copies(scheme: DispatchScheme, racks: u32, size: u32, top_k: u32, limit: Option<u32>) -> CopiesPerToken {
    let cluster = Cluster::uniform(racks, size).expect("valid");
    let by_rank = experts_by_rank(racks, size);
    let map = format!("{:?}", (0..EXPERTS).collect::<Vec<_>>());
    let json = format!(
        r#"{{"physical_to_logical_map": {map}, "slots_per_rank": {:?}}}"#,
        by_rank.repeat(racks as usize)
    );
    let placement = Placement::from_json(&json, "the table", &cluster, EXPERTS).expect("valid");
    let gate =
        limit.map(|limit| GateLimit::from_placement(&cluster, &placement, limit).expect("no replicas"));
    let tokens = vec![32; cluster.num_ranks() as usize];
    let general =
        expected_copies(scheme, &cluster, &placement, top_k, gate.as_ref(), &tokens).expect("valid");
    let closed = uniform_copies(scheme, racks, &by_rank, top_k, limit).expect("valid");
    assert!((general.intra - closed.intra).abs() < 1e-9 && (general.inter - closed.inter).abs() < 1e-9);
    general
}

/// 900 GB/s inside a rack, `1 / beta` of it outside, no latency.
fn fabric(beta: u64) -> Fabric {
    let link =
        |bytes_per_s| LinkSpec { rate: Rate::new(bytes_per_s).expect("nonzero"), latency: Picos::ZERO };
    Fabric::new(link(900_000_000_000), link(900_000_000_000 / beta))
}

#[test]
fn copies_per_token() {
    let check_cell = |scheme, racks, size, k, limit, intra, inter| {
        let copies = copies(scheme, racks, size, k, limit);
        check(copies.intra, intra);
        check(copies.inter, inter);
    };
    // Exact fractions, rounded once: a table that rounds to four decimals first reads 3.884, 15.028 and 7.609
    // where 3.88346, 15.02745 and 7.60848 stand here.
    // Size, k; one rack flat, dedup; two racks flat, dedup, hierarchical, hierarchical with one rack a token.
    let table = [
        (
            8,
            8,
            "7.000",
            "4.633",
            [("3.500", "4.000"), ("2.854", "3.262"), ("5.708", ".9965"), ("4.672", ".5000")],
        ),
        (
            8,
            32,
            "28.00",
            "6.928",
            [("14.00", "16.00"), ("6.229", "7.119"), ("12.459", "1.000"), ("6.950", ".500")],
        ),
        (
            64,
            8,
            "7.875",
            "7.556",
            [("3.938", "4.000"), ("3.883", "3.945"), ("7.767", ".9965"), ("7.658", ".5000")],
        ),
        (
            64,
            32,
            "31.50",
            "26.195",
            [("15.75", "16.00"), ("14.793", "15.027"), ("29.585", "1.000"), ("27.656", ".500")],
        ),
        (
            72,
            8,
            "7.889",
            "7.608",
            [("3.944", "4.000"), ("3.897", "3.952"), ("7.794", ".9965"), ("7.699", ".5000")],
        ),
        (
            72,
            32,
            "31.56",
            "26.852",
            [("15.78", "16.00"), ("14.939", "15.149"), ("29.877", "1.000"), ("28.186", ".500")],
        ),
    ];
    for (size, k, flat, dedup, two_racks) in table {
        check_cell(FLAT, 1, size, k, None, flat, "0.000");
        check_cell(DEDUP, 1, size, k, None, dedup, "0.000");
        let schemes = [(FLAT, None), (DEDUP, None), (HIERARCHICAL, None), (HIERARCHICAL, Some(1))];
        for ((scheme, limit), (intra, inter)) in schemes.into_iter().zip(two_racks) {
            check_cell(scheme, 2, size, k, limit, intra, inter);
        }
    }
}

/// Two racks against one: the same tokens a rank, and the same global batch.
fn slowdowns(scheme: DispatchScheme, limit: Option<u32>, size: u32, k: u32, beta: u64) -> [f64; 2] {
    let base_scheme = if scheme == FLAT { FLAT } else { DEDUP };
    let (one, two) = (copies(base_scheme, 1, size, k, None), copies(scheme, 2, size, k, limit));
    let fabric = fabric(beta);
    let base = a2a_time(base_scheme, one, Tokens(32.0), ROW_BYTES, &fabric).total();
    [
        a2a_time(scheme, two, Tokens(32.0), ROW_BYTES, &fabric).total() / base,
        a2a_time(scheme, two, Tokens(16.0), ROW_BYTES, &fabric).total() / base,
    ]
}

#[test]
fn two_racks_over_one_at_an_eighth_of_the_speed() {
    let table = [
        (72, 8, ["6.03", "5.82"], [["4.06", "2.03"], ["4.16", "2.08"], ["1.05", ".52"], ["1.01", ".51"]]),
        (72, 32, ["24.13", "20.53"], [["4.06", "2.03"], ["4.51", "2.26"], ["1.11", ".56"], ["1.05", ".52"]]),
        (8, 8, ["5.35", "3.54"], [["4.57", "2.29"], ["5.63", "2.82"], ["1.72", ".86"], ["1.01", ".50"]]),
        (8, 32, ["21.41", "5.30"], [["4.57", "2.29"], ["8.22", "4.11"], ["1.80", ".90"], ["1.00", ".50"]]),
    ];
    for (size, k, [base_flat, base_dedup], rows) in table {
        for (scheme, text) in [(FLAT, base_flat), (DEDUP, base_dedup)] {
            let copies = copies(scheme, 1, size, k, None);
            check(a2a_time(scheme, copies, Tokens(32.0), ROW_BYTES, &fabric(8)).total().as_micros(), text);
        }
        let schemes = [(FLAT, None), (DEDUP, None), (HIERARCHICAL, None), (HIERARCHICAL, Some(1))];
        for ((scheme, limit), cells) in schemes.into_iter().zip(rows) {
            for (value, text) in slowdowns(scheme, limit, size, k, 8).into_iter().zip(cells) {
                check(value, text);
            }
        }
    }
}

#[test]
fn two_racks_over_one_at_other_throttles() {
    let check_row = |scheme, limit, beta, cells: &[&str]| {
        for (value, text) in slowdowns(scheme, limit, 72, 8, beta).into_iter().zip(cells) {
            check(value, text);
        }
    };
    check_row(FLAT, None, 18, &["9.13", "4.56"]);
    check_row(DEDUP, None, 18, &["9.35"]);
    check_row(HIERARCHICAL, None, 18, &["2.36", "1.18"]);
    check_row(HIERARCHICAL, Some(1), 18, &["1.18"]);
    check_row(FLAT, None, 9, &["4.56"]);
    check_row(DEDUP, None, 9, &["4.67"]);
    check_row(HIERARCHICAL, None, 9, &["1.18"]);
    check_row(HIERARCHICAL, Some(1), 9, &["1.01"]);
}

#[test]
fn half_the_tokens_cross_in_plain_words() {
    check(slowdown_flat(2, 72, 8.0), "4.06");
    check(slowdown_flat(2, 72, 8.0) / 2.0, "2.03");
    check(slowdown_flat_serial(2, 72, 8.0), "4.56");
    check(slowdown_flat(4, 72, 8.0), "6.08");
    check(slowdown_flat(8, 72, 8.0), "7.10");
    check(slowdown_flat(60_000, 72, 8.0), "8.1");
    check(slowdown_flat(2, 72, 1.0), "0.507");
    let break_even = |base, scheme, size, k| {
        break_even_throttle(copies(base, 1, size, k, None), copies(scheme, 2, size, k, None))
    };
    check(break_even(FLAT, FLAT, 72, 8), "1.97");
    check(2.0 * break_even(FLAT, FLAT, 72, 8), "3.94");
    check(break_even(DEDUP, HIERARCHICAL, 72, 8), "7.6");
    check(break_even(DEDUP, HIERARCHICAL, 72, 32), "26.9");
    check(break_even(DEDUP, HIERARCHICAL, 8, 8), "4.6");
    check(break_even(DEDUP, HIERARCHICAL, 8, 32), "6.9");
}

fn preset(name: &str) -> Hardware {
    Hardware::preset(name).expect("a preset")
}

#[test]
fn the_expert_width_below_which_the_all_to_all_outlasts_the_arithmetic() {
    let width =
        |name, dtype, load, bytes| expert_inter_min(&preset(name), dtype, load, bytes).expect("has it");
    check(width("gb200", Dtype::Fp8, 1.0, FP8_OUT_BF16_BACK), "2778");
    check(width("gb200", Dtype::Fp4, 1.0, BytesPerElement(2.5)), "4630");
    check(width("h800-achievable", Dtype::Fp8, 1.0, FP8_OUT_BF16_BACK), "6184");
    // Everything over InfiniBand at 50 GB/s, a quarter of NVLink's 200.
    check((width("h800", Dtype::Fp8, 4.0, FP8_OUT_BF16_BACK) / 10.0).round() * 10.0, "19790");
    check(width("rubin", Dtype::Fp8, 1.0, FP8_OUT_BF16_BACK), "4861");
    check(width("tpu7x", Dtype::Fp8, 1.0, FP8_OUT_BF16_BACK), "3845");
}

#[test]
fn when_the_all_to_all_is_the_bottleneck_of_deepseek_v3_on_gb200() {
    let gb200 = preset("gb200");
    let load = |scheme, racks, k| port_load(copies(scheme, racks, 64, k, None), 8.0, k);
    let over_compute =
        |load| expert_inter_min(&gb200, Dtype::Fp8, load, FP8_OUT_BF16_BACK).expect("has fp8") / 2048.0;
    check(over_compute(load(FLAT, 1, 8)), "1.34");
    check(over_compute(load(FLAT, 2, 8)), "5.43");
    check(over_compute(load(HIERARCHICAL, 2, 8)), "1.35");
    let batch = |scheme, racks, top_k: u32| {
        let gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true));
        let shape = LayerShape {
            hidden: 7168,
            num_experts: EXPERTS,
            top_k,
            expert_inter: 2048,
            gate,
            dtype: Dtype::Fp8,
            zero_experts: 0,
            gated: true,
            weight_bits: None,
        };
        weight_load_batch(&shape, &gb200, load(scheme, racks, top_k), FP8_OUT_BF16_BACK).0
    };
    check(batch(FLAT, 1, 8), "7490");
    check(batch(FLAT, 2, 8), "1843");
    check(batch(HIERARCHICAL, 2, 8), "7399");
    check(batch(FLAT, 1, 32), "1872");
    check(batch(FLAT, 2, 32), "461");
    check(batch(HIERARCHICAL, 2, 32), "1994");
    // The lecture's batch of 2400 in units of those.
    check(2400.0 / batch(FLAT, 1, 8), ".32");
    check(2400.0 / batch(FLAT, 2, 8), "1.30");
    check(2400.0 / batch(HIERARCHICAL, 2, 8), ".32");
    check(2400.0 / batch(FLAT, 1, 32), "1.28");
}

//! Claims B: experts in a rack and across racks.

use super::batch::chip;
use super::{Equation, Inputs, value};
use blackboard::deployment::even_copies;
use blackboard::scale_up::{
    CopiesPerToken, FP8_OUT_BF16_BACK, a2a_time, hit_probability, port_load, slowdown_flat,
    slowdown_flat_serial, weight_load_batch,
};
use blackboard::units::{Bytes, BytesPerParam, Params, Tokens};
use moe::gate::{GateKind, GateSpec, SelectionRule, Softmax};
use moe::{DispatchScheme, LayerShape, RowBytes};
use topology::{Dtype, Fabric, LinkSpec, Picos, Rate};

/// Copies of `scheme`; nothing where more experts are chosen than there are.
fn copies(scheme: DispatchScheme, racks: u32, ranks_per_rack: u32, i: &Inputs) -> CopiesPerToken {
    even_copies(scheme, racks, ranks_per_rack, &SelectionRule::plain(i.count("experts"), i.count("top_k")))
        .unwrap_or_default()
}

/// All-to-all over several racks against one with the same tokens a rank, one and two bytes an element.
fn slowdown(scheme: DispatchScheme, i: &Inputs) -> f64 {
    const SCALE_UP: u64 = 900_000_000_000;
    let link = |rate: f64| LinkSpec {
        rate: Rate::new((rate as u64).max(1)).expect("at least 1"),
        latency: Picos::ZERO,
    };
    let fabric = Fabric::new(link(SCALE_UP as f64), link(SCALE_UP as f64 / i.get("throttle")));
    let bytes = RowBytes { dispatch: 7168, combine: 2 * 7168 };
    let time = |scheme, racks| {
        let copies = copies(scheme, racks, i.count("ranks_per_rack"), i);
        a2a_time(scheme, copies, Tokens(32.0), bytes, &fabric).total()
    };
    let base = if scheme == DispatchScheme::Flat { scheme } else { DispatchScheme::Dedup };
    time(scheme, i.count("racks")) / time(base, 1)
}

/// The global batch at which DeepSeek-V3's all-to-all takes as long as its experts' weights, GB200, FP8.
fn overtaking_batch(scheme: DispatchScheme, racks: u32, i: &Inputs) -> f64 {
    let gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true));
    let (num_experts, top_k) = (i.count("experts"), i.count("top_k"));
    let shape = LayerShape {
        hidden: 7168,
        num_experts,
        top_k,
        expert_inter: 2048,
        gate,
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    };
    let load = port_load(copies(scheme, racks, i.count("gpus"), i), i.get("throttle"), top_k);
    weight_load_batch(&shape, &chip("gb200"), load, FP8_OUT_BF16_BACK).0
}

fn throttle_of(name: &str) -> f64 {
    let chip = chip(name);
    chip.scale_up.bytes_per_s() as f64 / chip.scale_out.bytes_per_s() as f64
}

pub(super) const EQUATIONS: &[Equation] = &[
    ("B1", |i| {
        let experts = i.get("experts");
        let over_72 = (experts / 72.0).ceil() / (experts / 72.0);
        vec![
            value("experts a GPU", "", experts / i.get("gpus")),
            value("on 72", "", experts / 72.0),
            value("fullest of 72 over the mean", "", over_72),
        ]
    }),
    ("B2", |i| vec![value("hops", "", 2.0 * i.get("switch_layers"))]),
    ("B3", |i| {
        let mut values = vec![value("beta", "", i.get("scale_up_bw") / i.get("scale_out_bw"))];
        let chips = [
            "h100", "h800", "gb200", "gb300", "rubin", "mi300x", "mi355x", "tpu-v5e", "tpu-v5p", "tpu-v6e",
            "tpu7x",
        ];
        values.extend(chips.map(|name| value(chip(name).name, "", throttle_of(name))));
        values
    }),
    ("B4", |i| {
        let (racks, experts) = (i.get("racks"), i.count("experts"));
        let outside = ((racks - 1.0) / racks * f64::from(experts)).round() as u32;
        let tokens = |k: u32| hit_probability(experts, k, outside);
        let mut values = vec![
            value("share of flat copies", "", (racks - 1.0) / racks),
            value("share of tokens", "", tokens(i.count("top_k"))),
        ];
        values.extend([1, 2, 4, 8, 32].map(|k| value(format!("share of tokens, k = {k}"), "", tokens(k))));
        values
    }),
    ("B5", |i| {
        let (racks, size, beta) = (i.count("racks"), i.count("ranks_per_rack"), i.get("throttle"));
        let flat = slowdown_flat(racks, size, beta);
        vec![
            value("flat, same tokens a GPU", "", flat),
            value("flat, same global batch", "", flat / i.get("racks")),
            value("flat, fabrics in turn", "", slowdown_flat_serial(racks, size, beta)),
            value("dedup by GPU", "", slowdown(DispatchScheme::Dedup, i)),
            value("hierarchical", "", slowdown(DispatchScheme::Hierarchical, i)),
        ]
    }),
    ("B6", |i| {
        let flat = overtaking_batch(DispatchScheme::Flat, 2, i);
        vec![
            value("a2a over weight load, two racks flat", "", i.get("global_batch") / flat),
            value(
                "batch where a2a overtakes, one rack",
                "tokens",
                overtaking_batch(DispatchScheme::Flat, 1, i),
            ),
            value("two racks, flat", "tokens", flat),
            value("two racks, hierarchical", "tokens", overtaking_batch(DispatchScheme::Hierarchical, 2, i)),
        ]
    }),
    ("B7", |i| {
        vec![
            value("by dies", "", i.get("dies_next") / i.get("dies_now")),
            value("by packages, 144 of 72", "", 144.0 / 72.0),
            value("from 8 to 72", "", 72.0 / 8.0),
        ]
    }),
    ("B8", |i| {
        let terabytes = |gpus: f64, bytes: f64| gpus * bytes / 1e12;
        vec![
            value("a rack", "TB", terabytes(i.get("ranks_per_rack"), i.get("hbm_bytes"))),
            value("8 H100", "TB", terabytes(8.0, 80e9)),
            value("72 of 288 GB", "TB", terabytes(72.0, 288e9)),
        ]
    }),
    ("B9", |i| {
        let size = |width: f64| Params(i.get("huge_params")) * BytesPerParam(width);
        let rack = Bytes(i.get("ranks_per_rack") * i.get("hbm_bytes"));
        vec![
            value("share of the rack", "", size(i.get("huge_bytes_per_param")) / rack),
            value("in FP4", "TB", size(0.5).as_gb() / 1e3),
            value("in FP8", "TB", size(1.0).as_gb() / 1e3),
        ]
    }),
    ("B10", |i| {
        let bandwidth = i.get("mem_bw") / i.get("mem_bw_before");
        vec![
            value("bandwidth of a GPU", "", bandwidth),
            value("domain, 72 over 8", "", 9.0),
            value("domain, 64 used", "", 8.0),
            value("product", "", 9.0 * bandwidth),
        ]
    }),
    ("B11", |i| vec![value("share", "", i.get("top_k") / i.get("experts"))]),
    ("B12", |_| {
        let pod = |name: &str| f64::from(chip(name).domain_ranks);
        vec![value("TPU v5p pod", "", pod("tpu-v5p")), value("TPU7x pod", "", pod("tpu7x"))]
    }),
];

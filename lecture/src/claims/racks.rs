//! Claims B: experts in a rack and across racks.

use super::{Chapter, Definition, Input, Inputs, Rule, Stated, Verdict, input, value};
use crate::claims::verdict::EXACT;
use blackboard::deployment::even_copies;
use blackboard::scale_up::{
    CopiesPerToken, FP8_OUT_BF16_BACK, a2a_time, hit_probability, port_load, slowdown_flat,
    slowdown_flat_serial, weight_load_batch,
};
use blackboard::units::{Bytes, BytesPerParam, Params, Tokens};
use moe::gate::{GateKind, GateSpec, Softmax};
use moe::{DispatchScheme, LayerShape, RowBytes};
use topology::{Dtype, Fabric, Hardware, LinkSpec, Picos, Rate};

const EXPERTS: Input = input("experts", "", 256.0);
const TOP_K: Input = Input { name: "top_k", unit: "", talk: 8.0, dsv3: 8.0 };
const RACKS: Input = input("racks", "", 2.0);
const PER_RACK: Input = input("ranks_per_rack", "", 72.0);
const THROTTLE: Input = Input { name: "throttle", unit: "", talk: 8.0, dsv3: 18.0 };
const HBM: Input = input("hbm_bytes", "B", 186e9);

/// Copies of `scheme`; nothing where more experts are chosen than there are.
fn copies(scheme: DispatchScheme, racks: u32, ranks_per_rack: u32, i: &Inputs) -> CopiesPerToken {
    even_copies(scheme, racks, ranks_per_rack, i.count("experts"), i.count("top_k")).unwrap_or_default()
}

/// All-to-all over several racks against one with the same tokens a rank, one and two bytes an element.
fn slowdown(scheme: DispatchScheme, i: &Inputs) -> f64 {
    const SCALE_UP: u64 = 900_000_000_000;
    let link = |rate: f64| LinkSpec {
        rate: Rate::new((rate as u64).max(1)).expect("at least 1"),
        latency: Picos::ZERO,
    };
    let fabric =
        Fabric { scale_up: link(SCALE_UP as f64), scale_out: link(SCALE_UP as f64 / i.get("throttle")) };
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
    let shape = LayerShape { hidden: 7168, num_experts, top_k, expert_inter: 2048, gate, dtype: Dtype::Fp8 };
    let load = port_load(copies(scheme, racks, i.count("gpus"), i), i.get("throttle"), top_k);
    weight_load_batch(&shape, &chip("gb200"), load, FP8_OUT_BF16_BACK).0
}

fn chip(name: &str) -> Hardware {
    Hardware::preset(name).expect("a preset of this project")
}

fn throttle_of(name: &str) -> f64 {
    let chip = chip(name);
    chip.scale_up.bytes_per_s() as f64 / chip.scale_out.bytes_per_s() as f64
}

pub(super) const CLAIMS: &[Definition] = &[
    Definition {
        id: "B1",
        chapter: Chapter::ScaleUp,
        claim: "64 of 72 GPUs, 4 experts each",
        source: "T",
        formula: "E / n",
        inputs: &[EXPERTS, input("gpus", "", 64.0)],
        values: |i| {
            let experts = i.get("experts");
            let over_72 = (experts / 72.0).ceil() / (experts / 72.0);
            vec![
                value("experts a GPU", "", experts / i.get("gpus")),
                value("on 72", "", experts / 72.0),
                value("fullest of 72 over the mean", "", over_72),
            ]
        },
        stated: Stated::Number(4.0, "4"),
        rule: Rule::Near(EXACT),
        note: "on all 72 some have 3 and some 4",
    },
    Definition {
        id: "B2",
        chapter: Chapter::ScaleUp,
        claim: "in a rack any GPU reaches any other in two hops",
        source: "T, S1",
        formula: "2 x layers of switches: up to the top one and down",
        inputs: &[input("switch_layers", "", 1.0)],
        values: |i| vec![value("hops", "", 2.0 * i.get("switch_layers"))],
        stated: Stated::Number(2.0, "2"),
        rule: Rule::Near(EXACT),
        note: "one layer of switches; the port model's non-blocking crossbar",
    },
    Definition {
        id: "B3",
        chapter: Chapter::ScaleUp,
        claim: "leaving the rack is about 8 times slower",
        source: "T, S1, S2",
        formula: "beta = W_u / W_o",
        inputs: &[
            Input { name: "scale_up_bw", unit: "B/s", talk: 450e9, dsv3: 900e9 },
            input("scale_out_bw", "B/s", 50e9),
        ],
        values: |i| {
            let mut values = vec![value("beta", "", i.get("scale_up_bw") / i.get("scale_out_bw"))];
            let chips = [
                "h100", "h800", "gb200", "gb300", "rubin", "mi300x", "mi355x", "tpu-v5e", "tpu-v5p",
                "tpu-v6e", "tpu7x",
            ];
            values.extend(chips.map(|name| value(chip(name).name, "", throttle_of(name))));
            values
        },
        stated: Stated::Number(8.0, "8 times"),
        rule: Rule::Near(EXACT),
        note: "a round 9 (H100, GB300, Rubin, MI300X); GB200 with one ConnectX-7 a GPU 18, H800 4: a knob",
    },
    Definition {
        id: "B4",
        chapter: Chapter::ScaleUp,
        claim: "with experts over two racks half the tokens cross",
        source: "T, S1, S2",
        formula: "copies (R-1)/R; tokens 1 - C(E/R, k)/C(E, k)",
        inputs: &[RACKS, EXPERTS, TOP_K],
        values: |i| {
            let (racks, experts) = (i.get("racks"), i.count("experts"));
            let outside = ((racks - 1.0) / racks * f64::from(experts)).round() as u32;
            let tokens = |k: u32| hit_probability(experts, k, outside);
            let mut values = vec![
                value("share of flat copies", "", (racks - 1.0) / racks),
                value("share of tokens", "", tokens(i.count("top_k"))),
            ];
            values
                .extend([1, 2, 4, 8, 32].map(|k| value(format!("share of tokens, k = {k}"), "", tokens(k))));
            values
        },
        stated: Stated::Number(0.5, "half"),
        rule: Rule::Near(EXACT),
        note: "half of the copies; of the tokens only with k = 1 or a gate limited to one rack",
    },
    Definition {
        id: "B5",
        chapter: Chapter::ScaleUp,
        claim: "the second rack makes the all-to-all the bottleneck",
        source: "T, S1, S2",
        formula: "S = max(1/R, beta (R-1)/R G/(G-1))",
        inputs: &[RACKS, PER_RACK, THROTTLE, EXPERTS, TOP_K],
        values: |i| {
            let (racks, size, beta) = (i.count("racks"), i.count("ranks_per_rack"), i.get("throttle"));
            let flat = slowdown_flat(racks, size, beta);
            vec![
                value("flat, same tokens a GPU", "", flat),
                value("flat, same global batch", "", flat / i.get("racks")),
                value("flat, fabrics in turn", "", slowdown_flat_serial(racks, size, beta)),
                value("dedup by GPU", "", slowdown(DispatchScheme::Dedup, i)),
                value("hierarchical", "", slowdown(DispatchScheme::Hierarchical, i)),
            ]
        },
        stated: Stated::Words("bottleneck"),
        rule: Rule::AtLeast(1.0),
        note: "holds for flat dispatch, 4 times and not 8; hierarchical with k = 8 leaves 1.05 of it",
    },
    Definition {
        id: "B6",
        chapter: Chapter::ScaleUp,
        claim: "one rack bounds the expert layer",
        source: "T, S1, S2",
        formula: "a2a = weight load at n T* = E 3 f w W_u / (k x (b_d + b_c) BW)",
        inputs: &[EXPERTS, TOP_K, input("gpus", "", 64.0), THROTTLE, input("global_batch", "tokens", 2400.0)],
        values: |i| {
            let flat = overtaking_batch(DispatchScheme::Flat, 2, i);
            vec![
                value("a2a over weight load, two racks flat", "", i.get("global_batch") / flat),
                value(
                    "batch where a2a overtakes, one rack",
                    "tokens",
                    overtaking_batch(DispatchScheme::Flat, 1, i),
                ),
                value("two racks, flat", "tokens", flat),
                value(
                    "two racks, hierarchical",
                    "tokens",
                    overtaking_batch(DispatchScheme::Hierarchical, 2, i),
                ),
            ]
        },
        stated: Stated::Words("in words"),
        rule: Rule::AtLeast(1.0),
        note: "with flat dispatch 1843 sequences are fewer than the lecture's 2400; with hierarchical the load hides it",
    },
    Definition {
        id: "B7",
        chapter: Chapter::ScaleUp,
        claim: "scale-up went from 8 to 72 to 500 and something, a genuine 4 times",
        source: "T",
        formula: "576 / 144 dies",
        inputs: &[input("dies_next", "", 576.0), input("dies_now", "", 144.0)],
        values: |i| {
            vec![
                value("by dies", "", i.get("dies_next") / i.get("dies_now")),
                value("by packages, 144 of 72", "", 144.0 / 72.0),
                value("from 8 to 72", "", 72.0 / 8.0),
            ]
        },
        stated: Stated::Number(4.0, "4 times"),
        rule: Rule::Near(EXACT),
        note: "NVL576 is 144 packages of 4 dies, NVL72 is 144 dies; \"NVL144\" has 72 packages",
    },
    Definition {
        id: "B8",
        chapter: Chapter::ScaleUp,
        claim: "the memory of a rack grew from 640 GB to 10 to 20 TB",
        source: "T",
        formula: "G C",
        inputs: &[PER_RACK, HBM],
        values: |i| {
            let terabytes = |gpus: f64, bytes: f64| gpus * bytes / 1e12;
            vec![
                value("a rack", "TB", terabytes(i.get("ranks_per_rack"), i.get("hbm_bytes"))),
                value("8 H100", "TB", terabytes(8.0, 80e9)),
                value("72 of 288 GB", "TB", terabytes(72.0, 288e9)),
            ]
        },
        stated: Stated::Range(10.0, 20.0, "10 to 20 TB"),
        rule: Rule::Near(0.05),
        note: "0.64, 13.4 and 20.7 TB",
    },
    Definition {
        id: "B9",
        chapter: Chapter::ScaleUp,
        claim: "a model of 5T parameters fits a rack",
        source: "T",
        formula: "N w / (G C)",
        inputs: &[
            input("huge_params", "params", 5e12),
            input("huge_bytes_per_param", "B", 1.0),
            PER_RACK,
            HBM,
        ],
        values: |i| {
            let size = |width: f64| Params(i.get("huge_params")) * BytesPerParam(width);
            let rack = Bytes(i.get("ranks_per_rack") * i.get("hbm_bytes"));
            vec![
                value("share of the rack", "", size(i.get("huge_bytes_per_param")) / rack),
                value("in FP4", "TB", size(0.5).as_gb() / 1e3),
                value("in FP8", "TB", size(1.0).as_gb() / 1e3),
            ]
        },
        stated: Stated::Words("fits"),
        rule: Rule::AtMost(1.0),
        note: "2.5 TB in FP4, 5 TB in FP8, of 13.4 TB",
    },
    Definition {
        id: "B10",
        chapter: Chapter::ScaleUp,
        claim: "a generation brought 8 times the domain and 1.5 to 2 times the bandwidth of a GPU",
        source: "T",
        formula: "BW ratio; G ratio",
        inputs: &[input("mem_bw_before", "B/s", 3.35e12), input("mem_bw", "B/s", 8e12)],
        values: |i| {
            let bandwidth = i.get("mem_bw") / i.get("mem_bw_before");
            vec![
                value("bandwidth of a GPU", "", bandwidth),
                value("domain, 72 over 8", "", 9.0),
                value("domain, 64 used", "", 8.0),
                value("product", "", 9.0 * bandwidth),
            ]
        },
        stated: Stated::Range(1.5, 2.0, "1.5 to 2 times"),
        rule: Rule::Near(EXACT),
        note: "H100 to GB200: 2.39, so that 21.5 times the bandwidth works on one layer",
    },
    Definition {
        id: "B11",
        chapter: Chapter::ScaleUp,
        claim: "the router picks 1 in 32",
        source: "T",
        formula: "k / E",
        inputs: &[TOP_K, EXPERTS],
        values: |i| vec![value("share", "", i.get("top_k") / i.get("experts"))],
        stated: Stated::Number(1.0 / 32.0, "1/32"),
        rule: Rule::Near(EXACT),
        note: "the real ratio of DeepSeek-V3; contradicts the 32 of 256 of A7",
    },
    Definition {
        id: "B12",
        chapter: Chapter::ScaleUp,
        claim: "Google's larger scale-up domain is why Gemini is ahead",
        source: "S1, S2",
        formula: "pod size",
        inputs: &[],
        values: |_| {
            let pod = |name: &str| f64::from(chip(name).domain_ranks);
            vec![value("TPU v5p pod", "", pod("tpu-v5p")), value("TPU7x pod", "", pod("tpu7x"))]
        },
        stated: Stated::Words("a reason"),
        rule: Rule::Always(Verdict::Assumption),
        note: "over-stated in the articles: Dwarkesh Patel proposed it, Pope was \"not sure\"; and a torus is no crossbar",
    },
];

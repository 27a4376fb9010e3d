//! Claims A1 to A9: when reading weights and computing take equally long, and the batch at which they do.

use super::{Chapter, Definition, Input, Inputs, Rule, Stated, Verdict, input, value};
use crate::claims::verdict::EXACT;
use blackboard::roofline::{
    Step, balance, critical_batch, drain_time, optimal_share_with_kv, relative_cost, unbatched_cost,
};
use blackboard::units::{Bytes, BytesPerParam, BytesPerS, BytesPerToken, FlopPerS, Params, Tokens};
use topology::{Dtype, Hardware};

pub(super) const RHO: Input = Input { name: "rho", unit: "", talk: 300.0, dsv3: 312.5 };
pub(super) const SPARSITY: Input = Input { name: "sparsity", unit: "", talk: 8.0, dsv3: 671.0 / 37.0 };
pub(super) const TOTAL: Input = input("total_params", "params", 671e9);
pub(super) const ACTIVE: Input = input("active_params", "params", 37e9);
const WEIGHTS: Input = input("weight_bytes", "B", 671e9);
const GPUS: Input = input("gpus", "", 64.0);
pub(super) const FLOPS: Input = input("flops", "FLOP/s", 5e15);
pub(super) const MEM_BW: Input = input("mem_bw", "B/s", 8e12);
pub(super) const HBM: Input = input("hbm_bytes", "B", 186e9);
pub(super) const KV_RATIO: Input = input("kv_ratio", "", 0.0);
pub(super) const PERIOD: Input = input("period_ms", "ms", 20.0);
pub(super) const SHARE: Input = input("batch_share", "", 2.5);

pub(super) fn chip(name: &str) -> Hardware {
    Hardware::preset(name).expect("a preset of this project")
}

fn step(i: &Inputs) -> Step {
    Step {
        batch: Tokens(i.get("batch")),
        active: Params(i.get("active_params")),
        weights: Bytes(i.get("weight_bytes")),
        context: Tokens(i.get("context")),
        kv: BytesPerToken(i.get("kv_bytes_per_token")),
        ranks: i.get("gpus"),
        flops: FlopPerS(i.get("flops")),
        bandwidth: BytesPerS(i.get("mem_bw")),
    }
}

/// The lecture's rho of a chip in a format.
fn rho_of(name: &str, dtype: Dtype) -> f64 {
    let chip = chip(name);
    let flops = chip.flops(dtype).expect("the chip has this format");
    balance(FlopPerS(flops), BytesPerParam(dtype.bytes()), BytesPerS(chip.hbm_bytes_per_s as f64))
}

pub(super) fn drain_ms(name: &str) -> f64 {
    let chip = chip(name);
    drain_time(Bytes(chip.hbm_bytes as f64), BytesPerS(chip.hbm_bytes_per_s as f64)).as_millis()
}

/// The chips whose rho and drain time are listed, with the format that rho is for.
pub(crate) const CHIPS: &[(&str, Dtype)] = &[
    ("a100", Dtype::Bf16),
    ("h100", Dtype::Bf16),
    ("h200", Dtype::Bf16),
    ("hgx-b200", Dtype::Bf16),
    ("gb200", Dtype::Fp8),
    ("gb300", Dtype::Fp8),
    ("rubin", Dtype::Bf16),
    ("rubin", Dtype::Fp8),
    ("tpu-v5e", Dtype::Bf16),
    ("tpu-v5p", Dtype::Bf16),
    ("tpu-v6e", Dtype::Bf16),
    ("tpu7x", Dtype::Bf16),
    ("mi300x", Dtype::Bf16),
    ("mi355x", Dtype::Bf16),
];

/// rho and the drain time in milliseconds of each of [`CHIPS`].
pub(crate) fn chips() -> impl Iterator<Item = (String, f64, f64)> {
    CHIPS
        .iter()
        .map(|&(name, dtype)| (format!("{} {dtype}", chip(name).name), rho_of(name, dtype), drain_ms(name)))
}

pub(super) const REPRODUCES: Rule = Rule::Always(Verdict::Reproduces);

pub(super) const CLAIMS: &[Definition] = &[
    Definition {
        id: "A1",
        chapter: Chapter::Roofline,
        claim: "a step takes the longer of arithmetic and memory traffic",
        source: "T",
        formula: "t = max(t_c, t_w + t_kv); t' = t_kv + max(t_c, t_w)",
        inputs: &[
            input("batch", "tokens", 2400.0),
            input("context", "tokens", 5000.0),
            ACTIVE,
            WEIGHTS,
            input("kv_bytes_per_token", "B", 35_136.0),
            GPUS,
            FLOPS,
            MEM_BW,
        ],
        values: |i| {
            let times = step(i).times();
            vec![
                value("step, max", "ms", times.max().as_millis()),
                value("step, sum", "ms", times.sum().as_millis()),
                value("t_c", "ms", times.compute.as_millis()),
                value("t_w", "ms", times.weights.as_millis()),
                value("t_kv", "ms", times.kv.as_millis()),
            ]
        },
        stated: Stated::Words("a roofline"),
        rule: REPRODUCES,
        note: "a definition; max is a lower bound, sum (SB) lets attention overlap with nothing",
    },
    Definition {
        id: "A2",
        chapter: Chapter::Roofline,
        claim: "cost a token over batch is a hyperbola plus two constants",
        source: "T, S1, S2",
        formula: "c(u) = max(1, 1/u + K), u = B/B*",
        inputs: &[input("batch_share_small", "", 1.0 / 2400.0), KV_RATIO],
        values: |i| {
            let k = i.get("kv_ratio");
            vec![
                value("c at the small share", "", relative_cost(i.get("batch_share_small"), k)),
                value("c(1), K = 0", "", relative_cost(1.0, 0.0)),
                value("c(1), K = 0.5", "", relative_cost(1.0, 0.5)),
                value("c(1), K = 1", "", relative_cost(1.0, 1.0)),
                value("floor", "", k.max(1.0)),
            ]
        },
        stated: Stated::Words("shape"),
        rule: REPRODUCES,
        note: "the floor is the larger of arithmetic and cache",
    },
    Definition {
        id: "A3",
        chapter: Chapter::Roofline,
        claim: "no token is faster than reading all weights once",
        source: "T",
        formula: "t_w = N_tot w / (n BW)",
        inputs: &[WEIGHTS, GPUS, MEM_BW],
        values: |i| {
            let read = |gpus: f64, bandwidth: f64| {
                (Bytes(i.get("weight_bytes")) / (gpus * BytesPerS(bandwidth))).as_millis()
            };
            vec![
                value("t_w", "ms", read(i.get("gpus"), i.get("mem_bw"))),
                value("8 H100 (does not fit: 671 of 640 GB)", "ms", read(8.0, 3.35e12)),
                value("8 H200", "ms", read(8.0, 4.8e12)),
                value("72 GB200", "ms", read(72.0, 8e12)),
            ]
        },
        stated: Stated::Words("a lower bound"),
        rule: REPRODUCES,
        note: "DeepSeek-V3's 671 GB in FP8",
    },
    Definition {
        id: "A4",
        chapter: Chapter::Roofline,
        claim: "an unbatched token costs 1000 times as much",
        source: "T, S1, S2",
        formula: "c(1/B*) / floor = (B* + K) / max(1, K), B* = rho S",
        inputs: &[RHO, SPARSITY, KV_RATIO],
        values: |i| {
            let batch = i.get("rho") * i.get("sparsity");
            vec![
                value("ratio", "", unbatched_cost(Tokens(batch), i.get("kv_ratio"))),
                value("a dense model at rho 300", "", unbatched_cost(Tokens(300.0), 0.0)),
                value("DeepSeek-V3 at rho 300", "", unbatched_cost(Tokens(300.0 * 671.0 / 37.0), 0.0)),
                value("S = 8, K = 2.4", "", unbatched_cost(Tokens(2400.0), 2.4)),
            ]
        },
        stated: Stated::Number(1000.0, "1000 times"),
        rule: Rule::Near(EXACT),
        note: "300 to 5440 by sparsity; exactly 1001 at S = 8, K = 2.4: state both",
    },
    Definition {
        id: "A5",
        chapter: Chapter::Roofline,
        claim: "FLOPs over bandwidth is about 300 on most GPUs",
        source: "T",
        formula: "rho = (F/2) w / BW",
        inputs: &[
            Input { name: "flops", unit: "FLOP/s", talk: 989.5e12, dsv3: 5e15 },
            Input { name: "bytes_per_param", unit: "B", talk: 2.0, dsv3: 1.0 },
            Input { name: "mem_bw", unit: "B/s", talk: 3.35e12, dsv3: 8e12 },
        ],
        values: |i| {
            let width = BytesPerParam(i.get("bytes_per_param"));
            let own = balance(FlopPerS(i.get("flops")), width, BytesPerS(i.get("mem_bw")));
            let mut values = vec![value("rho", "", own)];
            values.extend(chips().map(|(name, rho, _)| value(name, "", rho)));
            values
        },
        stated: Stated::Number(300.0, "about 300"),
        rule: Rule::Near(0.05),
        note: "H100, B200, GB200, TPU7x and MI355X; \"stable from A100 on\" is really 153, 295, 292",
    },
    Definition {
        id: "A6",
        chapter: Chapter::Roofline,
        claim: "the batch to aim at is about 300 times the sparsity",
        source: "T, S1, S2",
        formula: "B* = rho N_tot / N_act = rho S",
        inputs: &[RHO, SPARSITY],
        values: |i| {
            let batch = critical_batch(i.get("rho"), Params(i.get("sparsity")), Params(1.0));
            vec![value("B*", "tokens", batch.0)]
        },
        stated: Stated::Range(2000.0, 3000.0, "2 to 3 thousand, 2400"),
        rule: Rule::Near(EXACT),
        note: "right as arithmetic; a sparsity of 8 is not DeepSeek-V3's (A7)",
    },
    Definition {
        id: "A7",
        chapter: Chapter::Roofline,
        claim: "DeepSeek activates 32 of 256 experts, a sparsity of 8",
        source: "T, S1, S2",
        formula: "S = N_tot / N_act",
        inputs: &[
            TOTAL,
            ACTIVE,
            input("experts", "", 256.0),
            input("top_k", "", 8.0),
            input("shared_experts", "", 1.0),
            RHO,
        ],
        values: |i| {
            let (experts, k, shared) = (i.get("experts"), i.get("top_k"), i.get("shared_experts"));
            let by_params = i.get("total_params") / i.get("active_params");
            let (by_experts, with_shared) = (experts / k, (experts + shared) / (k + shared));
            let batch = |sparsity: f64| i.get("rho") * sparsity;
            vec![
                value("by parameters", "", by_params),
                value("by experts", "", by_experts),
                value("by experts, the shared one counted", "", with_shared),
                value("B* by parameters", "tokens", batch(by_params)),
                value("B* by experts", "tokens", batch(by_experts)),
                value("B* with the shared one", "tokens", batch(with_shared)),
            ]
        },
        stated: Stated::Number(8.0, "8"),
        rule: Rule::Always(Verdict::WrongInput),
        note: "V3 section 4.2: 8 routed of 256 and one shared, 37B of 671B; the lecture also says 37B of 700B, which is 18.9",
    },
    Definition {
        id: "A8",
        chapter: Chapter::Roofline,
        claim: "practice runs at two to three times that batch",
        source: "T; INF",
        formula: "in flight = (tok/s/GPU) / (tok/s/user) EP; over B* = rho S",
        inputs: &[
            input("tok_s_per_node", "tokens/s", 14_800.0),
            input("gpus_per_node", "", 8.0),
            input("tok_s_per_user", "tokens/s", 21.0),
            input("ep_size", "", 144.0),
            input("rho_h800", "", 989.5e12 / 3.35e12),
            TOTAL,
            ACTIVE,
        ],
        values: |i| {
            let by_gpu = i.get("tok_s_per_node") / i.get("gpus_per_node") / i.get("tok_s_per_user");
            let in_flight = by_gpu * i.get("ep_size");
            let batch = critical_batch(
                i.get("rho_h800"),
                Params(i.get("total_params")),
                Params(i.get("active_params")),
            )
            .0;
            vec![
                value("in flight over B*", "", in_flight / batch),
                value("sequences a GPU", "tokens", by_gpu),
                value("sequences in flight", "tokens", in_flight),
                value("B*", "tokens", batch),
            ]
        },
        stated: Stated::Range(2.0, 3.0, "2 to 3 times"),
        rule: Rule::Near(EXACT),
        note: "the best check from outside: DeepSeek's own figures (20 to 22 tok/s a user; sequences, not tokens of MTP)",
    },
    Definition {
        id: "A9",
        chapter: Chapter::Roofline,
        claim: "with a cache the best batch grows",
        source: "T",
        formula: "u = 1 + K u: B = B* / (1 - K)",
        inputs: &[RHO, SPARSITY],
        values: |i| {
            let batch = i.get("rho") * i.get("sparsity");
            let with = |k: f64| optimal_share_with_kv(k).map_or(f64::INFINITY, |share| share * batch);
            vec![
                value("K = 0.5", "tokens", with(0.5)),
                value("K = 0.25", "tokens", with(0.25)),
                value("K = 0.75", "tokens", with(0.75)),
            ]
        },
        stated: Stated::Words("should grow larger"),
        rule: REPRODUCES,
        note: "from K = 1 on no batch is bound by arithmetic",
    },
];

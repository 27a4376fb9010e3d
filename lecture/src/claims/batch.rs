//! Claims A: batch size, cost and speed.

use super::{Chapter, Definition, Input, Inputs, Rule, Stated, Verdict, input, value};
use crate::claims::verdict::EXACT;
use crate::prices::compute_cost;
use blackboard::roofline::{
    Step, balance, critical_batch, drain_time, fast_mode, mean_wait, optimal_share_with_kv, relative_cost,
    relative_time, slow_mode_saving, unbatched_cost, utilisation, worst_wait,
};
use blackboard::units::{
    Bytes, BytesPerParam, BytesPerS, BytesPerToken, DollarsPerS, FlopPerS, Params, Seconds, Tokens,
};
use topology::{Dtype, Hardware};

const RHO: Input = Input { name: "rho", unit: "", talk: 300.0, dsv3: 312.5 };
const SPARSITY: Input = Input { name: "sparsity", unit: "", talk: 8.0, dsv3: 671.0 / 37.0 };
const TOTAL: Input = input("total_params", "params", 671e9);
const ACTIVE: Input = input("active_params", "params", 37e9);
const WEIGHTS: Input = input("weight_bytes", "B", 671e9);
const GPUS: Input = input("gpus", "", 64.0);
const FLOPS: Input = input("flops", "FLOP/s", 5e15);
const MEM_BW: Input = input("mem_bw", "B/s", 8e12);
const HBM: Input = input("hbm_bytes", "B", 186e9);
const KV_RATIO: Input = input("kv_ratio", "", 0.0);
const PERIOD: Input = input("period_ms", "ms", 20.0);
const SHARE: Input = input("batch_share", "", 2.5);

fn chip(name: &str) -> Hardware {
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

fn drain_ms(name: &str) -> f64 {
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

const REPRODUCES: Rule = Rule::Always(Verdict::Reproduces);

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
    Definition {
        id: "A10",
        chapter: Chapter::Roofline,
        claim: "a train leaves about every 20 ms",
        source: "T, S1, S2",
        formula: "C / BW",
        inputs: &[HBM, MEM_BW],
        values: |i| {
            let drain = drain_time(Bytes(i.get("hbm_bytes")), BytesPerS(i.get("mem_bw")));
            let mut values = vec![value("drain time", "ms", drain.as_millis())];
            let mut seen = Vec::new();
            for (name, _) in CHIPS {
                if !seen.contains(name) {
                    seen.push(*name);
                    values.push(value(chip(name).name, "ms", drain_ms(name)));
                }
            }
            values
        },
        stated: Stated::Number(20.0, "20 ms"),
        rule: Rule::Near(EXACT),
        note: "13 to 39 ms over chips, and only when memory is full; 2400 sequences of 5000 tokens on 64 GB200 take 2.1 ms",
    },
    Definition {
        id: "A11",
        chapter: Chapter::Roofline,
        claim: "Rubin: 288 GB at 20 TB/s is about 15 ms",
        source: "T",
        formula: "C / BW",
        inputs: &[
            input("rubin_hbm_bytes", "B", 288e9),
            Input { name: "rubin_mem_bw", unit: "B/s", talk: 20e12, dsv3: 22e12 },
        ],
        values: |i| {
            let at = |bandwidth: f64| {
                drain_time(Bytes(i.get("rubin_hbm_bytes")), BytesPerS(bandwidth)).as_millis()
            };
            vec![
                value("drain time", "ms", at(i.get("rubin_mem_bw"))),
                value("at the 22 TB/s that ship", "ms", at(22e12)),
            ]
        },
        stated: Stated::Number(15.0, "about 15 ms"),
        rule: Rule::Near(0.05),
        note: "14.4 as stated, 13.1 as shipping",
    },
    Definition {
        id: "A12",
        chapter: Chapter::Roofline,
        claim: "the worst wait is 40 ms",
        source: "T",
        formula: "2 tau; mean 1.5 tau",
        inputs: &[PERIOD],
        values: |i| {
            let period = Seconds(i.get("period_ms") * 1e-3);
            vec![
                value("worst", "ms", worst_wait(period).as_millis()),
                value("mean", "ms", mean_wait(period).as_millis()),
            ]
        },
        stated: Stated::Number(40.0, "40 ms"),
        rule: Rule::Near(EXACT),
        note: "wait and ride, arrivals even over the period",
    },
    Definition {
        id: "A13",
        chapter: Chapter::Roofline,
        claim: "a system makes 128k tokens a second",
        source: "T",
        formula: "B / tau",
        inputs: &[input("train_batch", "tokens", 2000.0), input("trains_per_s", "1/s", 64.0)],
        values: |i| {
            let batch = i.get("train_batch");
            vec![
                value("tokens a second", "tokens/s", batch * i.get("trains_per_s")),
                value("every 15 ms", "tokens/s", batch / 0.015),
                value("every 20 ms", "tokens/s", batch / 0.020),
            ]
        },
        stated: Stated::Number(128_000.0, "128k"),
        rule: Rule::Near(EXACT),
        note: "2000 sequences, 64 trains a second",
    },
    Definition {
        id: "A14",
        chapter: Chapter::Roofline,
        claim: "that is a thousandth of Gemini",
        source: "T",
        formula: "128k / (1 to 2 x 10^8)",
        inputs: &[input("system_tok_s", "tokens/s", 128_000.0), input("gemini_tok_s", "tokens/s", 1e8)],
        values: |i| {
            let share = |all: f64| i.get("system_tok_s") / all;
            vec![
                value("share", "", share(i.get("gemini_tok_s"))),
                value("share of twice as many", "", share(2.0 * i.get("gemini_tok_s"))),
            ]
        },
        stated: Stated::Number(1e-3, "1/1000"),
        rule: Rule::Near(0.4),
        note: "\"hundreds of millions\" of tokens a second: 1.3e-3 to 6e-4, tolerance as wide as the statement",
    },
    Definition {
        id: "A15",
        chapter: Chapter::Roofline,
        claim: "the batch does not depend on the size of the model",
        source: "T, S1",
        formula: "B* = rho S",
        inputs: &[RHO, TOTAL, ACTIVE],
        values: |i| {
            let batch = |scale: f64| {
                critical_batch(
                    i.get("rho"),
                    Params(scale * i.get("total_params")),
                    Params(scale * i.get("active_params")),
                )
            };
            vec![value("B* of a model ten times as large over B*", "", batch(10.0) / batch(1.0))]
        },
        stated: Stated::Number(1.0, "the same"),
        rule: Rule::Near(EXACT),
        note: "only the ratio of total to active parameters counts",
    },
    Definition {
        id: "A16",
        chapter: Chapter::Roofline,
        claim: "a context twice the optimum halves the utilisation",
        source: "T",
        formula: "MFU = min(1, t_c / t_kv) = 1/K, weights amortised",
        inputs: &[input("kv_ratio_long", "", 2.0)],
        values: |i| vec![value("MFU", "", utilisation(i.get("kv_ratio_long")))],
        stated: Stated::Number(0.5, "50%"),
        rule: Rule::Near(EXACT),
        note: "K grows in proportion to the context",
    },
    Definition {
        id: "A17",
        chapter: Chapter::Roofline,
        claim: "a fast mode costs 6 times as much for 2.5 times the speed",
        source: "T, S1, S2; PR",
        formula: "B_n/B_f = p s; t(u) / t(u / (p s)) = s",
        inputs: &[input("price_ratio", "", 6.0), input("speed_ratio", "", 2.5), KV_RATIO, RHO, SPARSITY],
        values: |i| {
            let (price, speed, k) = (i.get("price_ratio"), i.get("speed_ratio"), i.get("kv_ratio"));
            let batch = i.get("rho") * i.get("sparsity");
            let mode = fast_mode(price, speed, k);
            let of = |get: &dyn Fn(blackboard::roofline::FastMode) -> f64| mode.map_or(f64::NAN, get);
            vec![
                value("price ratio at that speed", "", of(&|mode| mode.price_ratio(k))),
                value("batches differ by", "", price * speed),
                value("normal u", "", of(&|mode| mode.normal_share)),
                value("fast u", "", of(&|mode| mode.fast_share)),
                value("normal batch", "tokens", of(&|mode| mode.normal_share * batch)),
                value("fast batch", "tokens", of(&|mode| mode.fast_share * batch)),
            ]
        },
        stated: Stated::Number(6.0, "6 times the price, 2.5 times the speed"),
        rule: Rule::Near(EXACT),
        note: "a normal batch of 2.5 B* agrees with A8; a fast one reads the weights for a sixth of B*",
    },
    Definition {
        id: "A18",
        chapter: Chapter::Roofline,
        claim: "paying 100 times as much buys little more speed",
        source: "T, asked",
        formula: "s_max = t(u) / t_w = max(u, 1 + K u)",
        inputs: &[SHARE, KV_RATIO],
        values: |i| {
            let fastest = |k: f64, share: f64| relative_time(share, k);
            let normal =
                |k: f64| fast_mode(6.0, 2.5, k).map_or(f64::NAN, |mode| fastest(k, mode.normal_share));
            vec![
                value("largest speed-up", "", fastest(i.get("kv_ratio"), i.get("batch_share"))),
                value("at the normal batch of A17, K = 0.5", "", normal(0.5)),
                value("at the normal batch of A17, K = 1", "", normal(1.0)),
            ]
        },
        stated: Stated::Words("a lower bound"),
        rule: REPRODUCES,
        note: "2.5 is the floor already; only more GPUs, fewer bytes or speculation go further",
    },
    Definition {
        id: "A19",
        chapter: Chapter::Roofline,
        claim: "a slow mode would save little",
        source: "T, S1, S2",
        formula: "saving = 1 - max(1, K) / c(u)",
        inputs: &[SHARE, KV_RATIO],
        values: |i| {
            let mut values =
                vec![value("saving", "", slow_mode_saving(i.get("batch_share"), i.get("kv_ratio")))];
            for share in [2.5, 1.0] {
                for k in [0.0, 0.5, 1.0, 2.0] {
                    values.push(value(format!("u = {share}, K = {k}"), "", slow_mode_saving(share, k)));
                }
            }
            values
        },
        stated: Stated::Words("not much"),
        rule: Rule::AtMost(1.0 / 3.0),
        note: "nothing to a third at u = 2.5; at most a half, at u = 1 and K = 1",
    },
    Definition {
        id: "A20",
        chapter: Chapter::Roofline,
        claim: "a GPU costs $2 an hour",
        source: "T; INF",
        formula: "price 2 N_act / F",
        inputs: &[input("usd_per_gpu_hour", "$", 2.0), ACTIVE, FLOPS],
        values: |i| {
            let price = DollarsPerS::per_hour(i.get("usd_per_gpu_hour"));
            let floor = compute_cost(Params(i.get("active_params")), FlopPerS(i.get("flops")), price, 1.0);
            let large = compute_cost(Params(1e11), FlopPerS(1979e12), price, 1.0);
            vec![
                value("floor of a million tokens", "$", floor.per_mtok()),
                value("100B active on H100, FP8", "$", large.per_mtok()),
            ]
        },
        stated: Stated::Words("an input"),
        rule: Rule::Always(Verdict::Assumption),
        note: "an input; what follows is the price of arithmetic alone at full utilisation",
    },
    Definition {
        id: "A21",
        chapter: Chapter::Roofline,
        claim: "64 times the parameters are worth 4 times the active ones",
        source: "T; Clark et al. 2022",
        formula: "1.3B / 370M",
        inputs: &[input("dense_equivalent", "params", 1.3e9), input("sparse_active", "params", 370e6)],
        values: |i| vec![value("ratio", "", i.get("dense_equivalent") / i.get("sparse_active"))],
        stated: Stated::Number(4.0, "4 times"),
        rule: Rule::Near(EXACT),
        note: "the sizes that the paper compares at equal loss",
    },
    Definition {
        id: "A22",
        chapter: Chapter::Roofline,
        claim: "doubling the sparsity is a pure win, given the users",
        source: "T",
        formula: "cost(u) with S -> 2S, B -> 2B",
        inputs: &[RHO, SPARSITY, KV_RATIO, SHARE],
        values: |i| {
            let (rho, sparsity, k) = (i.get("rho"), i.get("sparsity"), i.get("kv_ratio"));
            let batch = i.get("batch_share") * rho * sparsity;
            let cost = |scale: f64| relative_cost(scale * batch / (rho * scale * sparsity), k);
            vec![value("cost with twice the sparsity and batch over cost", "", cost(2.0) / cost(1.0))]
        },
        stated: Stated::Number(1.0, "the same cost"),
        rule: Rule::Near(EXACT),
        note: "B* and the memory for weights double",
    },
];

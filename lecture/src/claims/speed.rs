//! Claims A10 to A22: when trains leave, what a system serves, fast and slow modes, what a token costs.

use super::batch::{
    ACTIVE, CHIPS, FLOPS, HBM, KV_RATIO, MEM_BW, PERIOD, REPRODUCES, RHO, SHARE, SPARSITY, TOTAL, chip,
    drain_ms,
};
use super::{Chapter, Definition, Input, Rule, Stated, Verdict, input, value};
use crate::claims::verdict::EXACT;
use crate::prices::compute_cost;
use blackboard::roofline::{
    critical_batch, drain_time, fast_mode, mean_wait, relative_cost, relative_time, slow_mode_saving,
    utilisation, worst_wait,
};
use blackboard::units::{Bytes, BytesPerS, DollarsPerS, FlopPerS, Params, Seconds};

pub(super) const CLAIMS: &[Definition] = &[
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

//! Claims E: prices, long contexts, caches.

use super::{Chapter, Definition, Input, Rule, Stated, Verdict, input, value};
use crate::claims::verdict::EXACT;
use crate::prices::{
    Attention, CachePrice, GroupedHeads, LatentHeads, compute_cost, context_step, covered_context,
    covering_price, decode_mfu, kv_break_even_hold, kv_bytes_at_step, load_for_ratio, output_to_input,
    quadratic_context,
};
use blackboard::caches::TIERS;
use blackboard::units::{
    Bytes, BytesPerS, BytesPerToken, DollarsPerS, DollarsPerToken, FlopPerS, Params, Seconds, Tokens,
};

const ACTIVE: Input = Input { name: "active_params_priced", unit: "params", talk: 1e11, dsv3: 37e9 };
const STEP: Input = input("price_step", "tokens", 2e5);
const FLOPS: Input = input("flops", "FLOP/s", 5e15);
const MEM_BW: Input = input("mem_bw", "B/s", 8e12);

/// A rho of 300 at one byte a parameter, as the lecture has it: 600 FLOP a byte.
fn lecture_kv(active: f64, step: f64) -> f64 {
    kv_bytes_at_step(Params(active), FlopPerS(600.0), BytesPerS(1.0), Tokens(step)).0
}

/// Time for which holding costs what recomputing does.
fn hold_s(active: f64, flops: f64, capacity: f64, kv: f64) -> f64 {
    kv_break_even_hold(Params(active), FlopPerS(flops), Bytes(capacity), BytesPerToken(kv)).0
}

/// A price of so many dollars a million tokens.
fn per_mtok(dollars: f64) -> DollarsPerToken {
    DollarsPerToken(dollars * 1e-6)
}

pub(super) const CLAIMS: &[Definition] = &[
    Definition {
        id: "E1",
        chapter: Chapter::Prices,
        claim: "the price step at 200k tokens is where memory overtakes arithmetic",
        source: "T, S1, S2",
        formula: "K(L*) = 1: L* = 2 N_act BW / (F kappa)",
        inputs: &[
            ACTIVE,
            FLOPS,
            MEM_BW,
            Input { name: "kv_bytes_per_token", unit: "B", talk: 2048.0, dsv3: 70_272.0 },
        ],
        values: |i| {
            let (flops, bandwidth) = (FlopPerS(i.get("flops")), BytesPerS(i.get("mem_bw")));
            let kv = BytesPerToken(i.get("kv_bytes_per_token"));
            vec![value(
                "L*",
                "tokens",
                context_step(Params(i.get("active_params_priced")), flops, bandwidth, kv).0,
            )]
        },
        stated: Stated::Number(2e5, "200k"),
        rule: Rule::Always(Verdict::Assumption),
        note: "an assumption about a price list; here the 2048 B of E3, weights left out",
    },
    Definition {
        id: "E2",
        chapter: Chapter::Prices,
        claim: "so a token of context is about 2 KB",
        source: "T, S1",
        formula: "kappa = 2 N_act BW / (F L*); N_act / (rho L*) at one byte a parameter",
        inputs: &[ACTIVE, STEP],
        values: |i| {
            let (active, step) = (i.get("active_params_priced"), i.get("price_step"));
            let on = |flops: f64, bandwidth: f64| {
                kv_bytes_at_step(Params(active), FlopPerS(flops), BytesPerS(bandwidth), Tokens(step)).0
            };
            vec![
                value("rho 300", "B", lecture_kv(active, step)),
                value("H100, FP8", "B", on(1979e12, 3.35e12)),
                value("GB200, FP8", "B", on(5e15, 8e12)),
                value("TPU7x, FP8", "B", on(4614e12, 7.38e12)),
                value("H100, BF16", "B", on(989.5e12, 3.35e12)),
                value("GB200, FP4", "B", on(10e15, 8e12)),
            ]
        },
        stated: Stated::Number(1667.0, "1667, about 2 KB"),
        rule: Rule::Near(EXACT),
        note: "right at one byte a parameter only: rho contains the weights' bytes, the formula does not",
    },
    Definition {
        id: "E3",
        chapter: Chapter::Prices,
        claim: "8 KV heads of 128 make that",
        source: "T, S1",
        formula: "2 d n_kv n_unique_layers bytes",
        inputs: &[
            input("kv_heads", "", 8.0),
            input("head_dim", "", 128.0),
            input("global_layers", "", 1.0),
            input("kv_element_bytes", "B", 1.0),
        ],
        values: |i| {
            let heads = GroupedHeads {
                kv_heads: i.count("kv_heads"),
                head_dim: i.count("head_dim"),
                layers: i.count("global_layers"),
                element: Bytes(i.get("kv_element_bytes")),
            };
            vec![value("kappa", "B", heads.kv_bytes().0)]
        },
        stated: Stated::Number(2048.0, "2 KB"),
        rule: Rule::Near(EXACT),
        note: "one layer that all others share",
    },
    Definition {
        id: "E3b",
        chapter: Chapter::Prices,
        claim: "the cache of the real DeepSeek-V3, for contrast",
        source: "ISCA",
        formula: "(512 + 64) 61 2",
        inputs: &[
            input("kv_latent", "", 512.0),
            input("kv_rope", "", 64.0),
            input("layers", "", 61.0),
            input("latent_element_bytes", "B", 2.0),
        ],
        values: |i| {
            let heads = LatentHeads {
                latent: i.count("kv_latent"),
                rope: i.count("kv_rope"),
                query_heads: 128,
                layers: i.count("layers"),
                element: Bytes(i.get("latent_element_bytes")),
            };
            let step = |flops: f64, bandwidth: f64| {
                context_step(Params(37e9), FlopPerS(flops), BytesPerS(bandwidth), heads.kv_bytes()).0
            };
            vec![
                value("kappa", "B", heads.kv_bytes().0),
                value("L* on GB200, FP8", "tokens", step(5e15, 8e12)),
                value("L* on H100, FP8", "tokens", step(1979e12, 3.35e12)),
                value("attention's arithmetic a byte of cache", "FLOP/B", heads.flop_per_byte()),
            ]
        },
        stated: Stated::Number(70_272.0, "70.272 KB"),
        rule: Rule::Near(EXACT),
        note: "a step at 1.7k to 1.8k tokens; at 242 FLOP a byte the cache is hardly pure bandwidth",
    },
    Definition {
        id: "E4",
        chapter: Chapter::Prices,
        claim: "above 200k tokens cost 50% more",
        source: "T, S1, S2",
        formula: "a surcharge pi covers up to (1 + pi) L*",
        inputs: &[input("surcharge", "", 0.5), STEP],
        values: |i| {
            let step = Tokens(i.get("price_step"));
            vec![
                value("context that it covers", "tokens", covered_context(step, i.get("surcharge")).0),
                value("price at a million over that below the step", "", covering_price(step, Tokens(1e6))),
            ]
        },
        stated: Stated::Words("50%"),
        rule: Rule::Always(Verdict::Assumption),
        note: "not derivable; Gemini 3.1 Pro takes $2/$12, then $4/$18: output 50% more, input twice as much",
    },
    Definition {
        id: "E5",
        chapter: Chapter::Prices,
        claim: "output costs 3 to 5 times as much as input",
        source: "T, S1, S2",
        formula: "out/in = 1/u + K, so decode MFU = 1/r and u = 1/(r - K)",
        inputs: &[input("output_ratio", "", 5.0), input("kv_ratio", "", 0.0)],
        values: |i| {
            let (ratio, k) = (i.get("output_ratio"), i.get("kv_ratio"));
            let load = load_for_ratio(ratio, k).unwrap_or(f64::NAN);
            vec![
                value("decode MFU", "", decode_mfu(ratio)),
                value("decode MFU at 3", "", decode_mfu(3.0)),
                value("decode MFU at 5", "", decode_mfu(5.0)),
                value("u that it takes", "", load),
                value("out/in at that u", "", output_to_input(load, k)),
            ]
        },
        stated: Stated::Words("3 to 5 times"),
        rule: Rule::AtMost(1.0),
        note: "an input read as a utilisation, possible up to 1; Claude 5 times, Gemini 6 and above 200k 4.5",
    },
    Definition {
        id: "E5b",
        chapter: Chapter::Prices,
        claim: "E1 and E5 at once",
        source: "not noticed in T",
        formula: "u = 1 / (r - K)",
        inputs: &[input("output_ratio", "", 5.0), input("kv_ratio_below_step", "", 1.0)],
        values: |i| {
            let load = load_for_ratio(i.get("output_ratio"), i.get("kv_ratio_below_step"));
            vec![value("u that E5 needs while E1 holds", "", load.unwrap_or(f64::NAN))]
        },
        stated: Stated::Words("u far above 1"),
        rule: Rule::AtLeast(1.0),
        note: "E1 takes the weights as amortised, u >> 1; below its step K <= 1, so that E5 needs u <= 1/4: no one (u, K) does both",
    },
    Definition {
        id: "E6",
        chapter: Chapter::Prices,
        claim: "a cache hit is 10 times cheaper, a write costs 1.25 or 2 times",
        source: "T; PR",
        formula: "price ratios; write = fixed + rate hours",
        inputs: &[
            input("usd_input", "$", 5.0),
            input("usd_write_5min", "$", 6.25),
            input("usd_write_1h", "$", 10.0),
            input("usd_hit", "$", 0.5),
        ],
        values: |i| {
            let minutes = |minutes: f64| Seconds(60.0 * minutes);
            let tiers = CachePrice::through(
                (minutes(5.0), per_mtok(i.get("usd_write_5min"))),
                (minutes(60.0), per_mtok(i.get("usd_write_1h"))),
            );
            vec![
                value("hit over input", "", i.get("usd_hit") / i.get("usd_input")),
                value("5 minutes over input", "", i.get("usd_write_5min") / i.get("usd_input")),
                value("1 hour over input", "", i.get("usd_write_1h") / i.get("usd_input")),
                value("fixed, a million tokens", "$", tiers.map_or(f64::NAN, |price| price.fixed.per_mtok())),
                value(
                    "an hour, a million tokens",
                    "$",
                    tiers.map_or(f64::NAN, |price| price.per_hour.per_mtok()),
                ),
            ]
        },
        stated: Stated::Number(0.1, "10 times cheaper"),
        rule: Rule::Near(EXACT),
        note: "Claude Opus's prices; S1 gives them to Gemini, the lecture to nobody",
    },
    Definition {
        id: "E7",
        chapter: Chapter::Prices,
        claim: "a tier holds for as long as it takes to read it out: 20 ms, seconds, a minute, an hour",
        source: "T, S1",
        formula: "t_hold = C / BW",
        inputs: &[Input { name: "hbm_bytes", unit: "B", talk: 186e9, dsv3: 186e9 }, MEM_BW],
        values: |i| {
            let mut values = vec![value("HBM", "s", i.get("hbm_bytes") / i.get("mem_bw"))];
            values.extend(TIERS.iter().map(|tier| value(tier.name, "s", tier.drain_time().0)));
            values
        },
        stated: Stated::Number(0.020, "20 ms for HBM"),
        rule: Rule::Near(0.2),
        note: "HBM and DDR agree; NVMe 9 minutes, QLC 1.2 h, a hard disk 30 h: his minute and hour are other parts",
    },
    Definition {
        id: "E8",
        chapter: Chapter::Prices,
        claim: "holding a cache pays until recomputing is cheaper",
        source: "T, derived",
        formula: "t_hold = (2 N_act / F) C / kappa",
        inputs: &[
            input("active_params_held", "params", 1e11),
            FLOPS,
            input("hbm_bytes", "B", 186e9),
            input("kv_bytes_held", "B", 2048.0),
        ],
        values: |i| {
            vec![
                value(
                    "break-even",
                    "s",
                    hold_s(
                        i.get("active_params_held"),
                        i.get("flops"),
                        i.get("hbm_bytes"),
                        i.get("kv_bytes_held"),
                    ),
                ),
                value("DeepSeek-V3 on H800, FP8", "s", hold_s(37e9, 1979e12, 80e9, 70_272.0)),
            ]
        },
        stated: Stated::Words("a trade"),
        rule: Rule::Always(Verdict::Reproduces),
        note: "the GPU's price cancels",
    },
    Definition {
        id: "E9",
        chapter: Chapter::Prices,
        claim: "prices are close to cost",
        source: "T",
        formula: "2 N_act / F $/s",
        inputs: &[
            input("active_params_held", "params", 1e11),
            FLOPS,
            input("usd_per_gpu_hour_list", "$", 3.0),
            input("usd_list", "$", 2.0),
        ],
        values: |i| {
            let price = DollarsPerS::per_hour(i.get("usd_per_gpu_hour_list"));
            let cost = |mfu: f64| {
                compute_cost(Params(i.get("active_params_held")), FlopPerS(i.get("flops")), price, mfu)
                    .per_mtok()
            };
            vec![
                value("list price over arithmetic", "", i.get("usd_list") / cost(0.4)),
                value("a million tokens at full utilisation", "$", cost(1.0)),
                value("at 40%", "$", cost(0.4)),
            ]
        },
        stated: Stated::Number(1.0, "close"),
        rule: Rule::Near(EXACT),
        note: "list prices of $2 to $5 are 25 to 150 times the arithmetic: ratios can be used, levels can't",
    },
    Definition {
        id: "E10",
        chapter: Chapter::Prices,
        claim: "attention's quadratic term matters at millions of tokens only",
        source: "T",
        formula: "L_q = N_act / (2 n_q d_h n_global)",
        inputs: &[ACTIVE, input("query_width", "", 16_384.0), input("global_layers", "", 1.0)],
        values: |i| {
            let at = |active: f64, width: f64, layers: f64| {
                quadratic_context(Params(active), width as u32, layers as u32).0
            };
            let (active, width) = (i.get("active_params_priced"), i.get("query_width"));
            vec![
                value("L_q", "tokens", at(active, width, i.get("global_layers"))),
                value("6 global layers", "tokens", at(active, width, 6.0)),
                value("all 61", "tokens", at(active, width, 61.0)),
                value("Llama-70B, 80 layers of 8192", "tokens", at(70e9, 8192.0, 80.0)),
            ]
        },
        stated: Stated::Range(1e6, 1e7, "millions"),
        rule: Rule::Near(EXACT),
        note: "for one global layer, the reading of E3; with all layers global 50k",
    },
    Definition {
        id: "E11",
        chapter: Chapter::Prices,
        claim: "contexts are stuck at 100k to 200k, 100M is out of reach",
        source: "T",
        formula: "K grows with L; sparse attention with sqrt L",
        inputs: &[input("context_far", "tokens", 1e8), STEP],
        values: |i| {
            let growth = |attention: Attention| {
                attention.cost_growth(Tokens(i.get("price_step")), Tokens(i.get("context_far")))
            };
            vec![
                value("cost a token, dense", "", growth(Attention::Dense)),
                value("cost a token, sparse", "", growth(Attention::Sparse)),
            ]
        },
        stated: Stated::Words("out of reach"),
        rule: Rule::Always(Verdict::Reproduces),
        note: "500 times the cost a token, or 22 with attention to the square root of the context",
    },
];

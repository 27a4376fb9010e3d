//! Claims E: prices, long contexts, caches.

use super::{Equation, value};
use crate::prices::{
    Attention, CachePrice, GroupedHeads, LatentHeads, compute_cost, context_step, covered_context,
    covering_price, decode_mfu, kv_break_even_hold, kv_bytes_at_step, load_for_ratio, output_to_input,
    quadratic_context,
};
use blackboard::caches::TIERS;
use blackboard::units::{
    Bytes, BytesPerS, BytesPerToken, DollarsPerS, DollarsPerToken, FlopPerS, Params, Seconds, Tokens,
};

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

pub(super) const EQUATIONS: &[Equation] = &[
    ("E1", |i| {
        let (flops, bandwidth) = (FlopPerS(i.get("flops")), BytesPerS(i.get("mem_bw")));
        let kv = BytesPerToken(i.get("kv_bytes_per_token"));
        vec![value(
            "L*",
            "tokens",
            context_step(Params(i.get("active_params_priced")), flops, bandwidth, kv).0,
        )]
    }),
    ("E2", |i| {
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
    }),
    ("E3", |i| {
        let heads = GroupedHeads {
            kv_heads: i.count("kv_heads"),
            head_dim: i.count("head_dim"),
            layers: i.count("global_layers"),
            element: Bytes(i.get("kv_element_bytes")),
        };
        vec![value("kappa", "B", heads.kv_bytes().0)]
    }),
    ("E3b", |i| {
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
    }),
    ("E4", |i| {
        let step = Tokens(i.get("price_step"));
        vec![
            value("context that it covers", "tokens", covered_context(step, i.get("surcharge")).0),
            value("price at a million over that below the step", "", covering_price(step, Tokens(1e6))),
        ]
    }),
    ("E5", |i| {
        let (ratio, k) = (i.get("output_ratio"), i.get("kv_ratio"));
        let load = load_for_ratio(ratio, k).unwrap_or(f64::NAN);
        vec![
            value("decode MFU", "", decode_mfu(ratio)),
            value("decode MFU at 3", "", decode_mfu(3.0)),
            value("decode MFU at 5", "", decode_mfu(5.0)),
            value("u that it takes", "", load),
            value("out/in at that u", "", output_to_input(load, k)),
        ]
    }),
    ("E5b", |i| {
        let load = load_for_ratio(i.get("output_ratio"), i.get("kv_ratio_below_step"));
        vec![value("u that E5 needs while E1 holds", "", load.unwrap_or(f64::NAN))]
    }),
    ("E6", |i| {
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
    }),
    ("E7", |i| {
        let mut values = vec![value("HBM", "s", i.get("hbm_bytes") / i.get("mem_bw"))];
        values.extend(TIERS.iter().map(|tier| value(tier.name, "s", tier.drain_time().0)));
        values
    }),
    ("E8", |i| {
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
    }),
    ("E9", |i| {
        let price = DollarsPerS::per_hour(i.get("usd_per_gpu_hour_list"));
        let cost = |mfu: f64| {
            compute_cost(Params(i.get("active_params_held")), FlopPerS(i.get("flops")), price, mfu).per_mtok()
        };
        vec![
            value("list price over arithmetic", "", i.get("usd_list") / cost(0.4)),
            value("a million tokens at full utilisation", "$", cost(1.0)),
            value("at 40%", "$", cost(0.4)),
        ]
    }),
    ("E10", |i| {
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
    }),
    ("E11", |i| {
        let growth = |attention: Attention| {
            attention.cost_growth(Tokens(i.get("price_step")), Tokens(i.get("context_far")))
        };
        vec![
            value("cost a token, dense", "", growth(Attention::Dense)),
            value("cost a token, sparse", "", growth(Attention::Sparse)),
        ]
    }),
];

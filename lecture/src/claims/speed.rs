//! Claims A10 to A22: when trains leave, what a system serves, fast and slow modes, what a token costs.

use super::batch::{CHIPS, chip, drain_ms};
use super::{Equation, value};
use crate::prices::compute_cost;
use blackboard::roofline::{
    critical_batch, drain_time, fast_mode, mean_wait, relative_cost, relative_time, slow_mode_saving,
    utilisation, worst_wait,
};
use blackboard::units::{Bytes, BytesPerS, DollarsPerS, FlopPerS, Params, Seconds};

pub(super) const EQUATIONS: &[Equation] = &[
    ("A10", |i| {
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
    }),
    ("A11", |i| {
        let at =
            |bandwidth: f64| drain_time(Bytes(i.get("rubin_hbm_bytes")), BytesPerS(bandwidth)).as_millis();
        vec![
            value("drain time", "ms", at(i.get("rubin_mem_bw"))),
            value("at the 22 TB/s that ship", "ms", at(22e12)),
        ]
    }),
    ("A12", |i| {
        let period = Seconds(i.get("period_ms") * 1e-3);
        vec![
            value("worst", "ms", worst_wait(period).as_millis()),
            value("mean", "ms", mean_wait(period).as_millis()),
        ]
    }),
    ("A13", |i| {
        let batch = i.get("train_batch");
        vec![
            value("tokens a second", "tokens/s", batch * i.get("trains_per_s")),
            value("every 15 ms", "tokens/s", batch / 0.015),
            value("every 20 ms", "tokens/s", batch / 0.020),
        ]
    }),
    ("A14", |i| {
        let share = |all: f64| i.get("system_tok_s") / all;
        vec![
            value("share", "", share(i.get("gemini_tok_s"))),
            value("share of twice as many", "", share(2.0 * i.get("gemini_tok_s"))),
        ]
    }),
    ("A15", |i| {
        let batch = |scale: f64| {
            critical_batch(
                i.get("rho"),
                Params(scale * i.get("total_params")),
                Params(scale * i.get("active_params")),
            )
        };
        vec![value("B* of a model ten times as large over B*", "", batch(10.0) / batch(1.0))]
    }),
    ("A16", |i| vec![value("MFU", "", utilisation(i.get("kv_ratio_long")))]),
    ("A17", |i| {
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
    }),
    ("A18", |i| {
        let fastest = |k: f64, share: f64| relative_time(share, k);
        let normal = |k: f64| fast_mode(6.0, 2.5, k).map_or(f64::NAN, |mode| fastest(k, mode.normal_share));
        vec![
            value("largest speed-up", "", fastest(i.get("kv_ratio"), i.get("batch_share"))),
            value("at the normal batch of A17, K = 0.5", "", normal(0.5)),
            value("at the normal batch of A17, K = 1", "", normal(1.0)),
        ]
    }),
    ("A19", |i| {
        let mut values = vec![value("saving", "", slow_mode_saving(i.get("batch_share"), i.get("kv_ratio")))];
        for share in [2.5, 1.0] {
            for k in [0.0, 0.5, 1.0, 2.0] {
                values.push(value(format!("u = {share}, K = {k}"), "", slow_mode_saving(share, k)));
            }
        }
        values
    }),
    ("A20", |i| {
        let price = DollarsPerS::per_hour(i.get("usd_per_gpu_hour"));
        let floor = compute_cost(Params(i.get("active_params")), FlopPerS(i.get("flops")), price, 1.0);
        let large = compute_cost(Params(1e11), FlopPerS(1979e12), price, 1.0);
        vec![
            value("floor of a million tokens", "$", floor.per_mtok()),
            value("100B active on H100, FP8", "$", large.per_mtok()),
        ]
    }),
    ("A21", |i| vec![value("ratio", "", i.get("dense_equivalent") / i.get("sparse_active"))]),
    ("A22", |i| {
        let (rho, sparsity, k) = (i.get("rho"), i.get("sparsity"), i.get("kv_ratio"));
        let batch = i.get("batch_share") * rho * sparsity;
        let cost = |scale: f64| relative_cost(scale * batch / (rho * scale * sparsity), k);
        vec![value("cost with twice the sparsity and batch over cost", "", cost(2.0) / cost(1.0))]
    }),
];

//! Claims A1 to A9: when reading weights and computing take equally long, and the batch at which they do.

use super::{Equation, Inputs, value};
use blackboard::roofline::{
    Step, balance, critical_batch, drain_time, optimal_share_with_kv, relative_cost, unbatched_cost,
};
use blackboard::units::{Bytes, BytesPerParam, BytesPerS, BytesPerToken, FlopPerS, Params, Tokens};
use topology::{Dtype, Hardware};

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

pub(super) const EQUATIONS: &[Equation] = &[
    ("A1", |i| {
        let times = step(i).times();
        vec![
            value("step, max", "ms", times.max().as_millis()),
            value("step, sum", "ms", times.sum().as_millis()),
            value("t_c", "ms", times.compute.as_millis()),
            value("t_w", "ms", times.weights.as_millis()),
            value("t_kv", "ms", times.kv.as_millis()),
        ]
    }),
    ("A2", |i| {
        let k = i.get("kv_ratio");
        vec![
            value("c at the small share", "", relative_cost(i.get("batch_share_small"), k)),
            value("c(1), K = 0", "", relative_cost(1.0, 0.0)),
            value("c(1), K = 0.5", "", relative_cost(1.0, 0.5)),
            value("c(1), K = 1", "", relative_cost(1.0, 1.0)),
            value("floor", "", k.max(1.0)),
        ]
    }),
    ("A3", |i| {
        let read = |gpus: f64, bandwidth: f64| {
            (Bytes(i.get("weight_bytes")) / (gpus * BytesPerS(bandwidth))).as_millis()
        };
        vec![
            value("t_w", "ms", read(i.get("gpus"), i.get("mem_bw"))),
            value("8 H100 (does not fit: 671 of 640 GB)", "ms", read(8.0, 3.35e12)),
            value("8 H200", "ms", read(8.0, 4.8e12)),
            value("72 GB200", "ms", read(72.0, 8e12)),
        ]
    }),
    ("A4", |i| {
        let batch = i.get("rho") * i.get("sparsity");
        vec![
            value("ratio", "", unbatched_cost(Tokens(batch), i.get("kv_ratio"))),
            value("a dense model at rho 300", "", unbatched_cost(Tokens(300.0), 0.0)),
            value("DeepSeek-V3 at rho 300", "", unbatched_cost(Tokens(300.0 * 671.0 / 37.0), 0.0)),
            value("S = 8, K = 2.4", "", unbatched_cost(Tokens(2400.0), 2.4)),
        ]
    }),
    ("A5", |i| {
        let width = BytesPerParam(i.get("bytes_per_param"));
        let own = balance(FlopPerS(i.get("flops")), width, BytesPerS(i.get("mem_bw")));
        let mut values = vec![value("rho", "", own)];
        values.extend(chips().map(|(name, rho, _)| value(name, "", rho)));
        values
    }),
    ("A6", |i| {
        let batch = critical_batch(i.get("rho"), Params(i.get("sparsity")), Params(1.0));
        vec![value("B*", "tokens", batch.0)]
    }),
    ("A7", |i| {
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
    }),
    ("A8", |i| {
        let by_gpu = i.get("tok_s_per_node") / i.get("gpus_per_node") / i.get("tok_s_per_user");
        let in_flight = by_gpu * i.get("ep_size");
        let batch =
            critical_batch(i.get("rho_h800"), Params(i.get("total_params")), Params(i.get("active_params")))
                .0;
        vec![
            value("in flight over B*", "", in_flight / batch),
            value("sequences a GPU", "tokens", by_gpu),
            value("sequences in flight", "tokens", in_flight),
            value("B*", "tokens", batch),
        ]
    }),
    ("A9", |i| {
        let batch = i.get("rho") * i.get("sparsity");
        let with = |k: f64| optimal_share_with_kv(k).map_or(f64::INFINITY, |share| share * batch);
        vec![
            value("K = 0.5", "tokens", with(0.5)),
            value("K = 0.25", "tokens", with(0.25)),
            value("K = 0.75", "tokens", with(0.75)),
        ]
    }),
];

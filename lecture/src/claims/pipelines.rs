//! Claims C: pipelines over racks.

use super::{Equation, Inputs, value};
use crate::v3::step;
use blackboard::pipeline::{
    Pipeline, boundary_transfer, crossing_ratio, decode_bubble, interleaved_bubble, training_bubble,
};
use blackboard::units::{Bytes, BytesPerParam, BytesPerS, BytesPerToken, Params, Seconds, Tokens};

/// DeepSeek-V3 on racks of 64 GB200.
fn pipeline(stages: f64, micro_batch: f64, i: &Inputs) -> Pipeline {
    let step = step(micro_batch, i.get("context"));
    Pipeline { step, stages, micro_batches: stages, hop: Seconds(i.get("hop_us") * 1e-6) }
}

pub(super) const EQUATIONS: &[Equation] = &[
    ("C1", |i| {
        let (beta, k, layers) = (i.get("throttle"), i.get("top_k"), i.get("layers_per_stage"));
        let mut values = vec![
            value("scale-up over scale-out time", "", crossing_ratio(k, layers, beta, 2.0)),
            value("by bytes (FP8 out, BF16 back and across)", "", crossing_ratio(k, layers, beta, 1.5)),
        ];
        for k in [8.0, 9.0, 16.0, 32.0] {
            values.push(value(format!("beta 8, k = {k}"), "", crossing_ratio(k, 1.0, 8.0, 2.0)));
            values.push(value(format!("beta 8, k = {k}, by bytes"), "", crossing_ratio(k, 1.0, 8.0, 1.5)));
        }
        values.push(value("beta 18, k = 8", "", crossing_ratio(8.0, 1.0, 18.0, 2.0)));
        values
    }),
    ("C2", |i| vec![value("idle", "", decode_bubble(i.get("stages"), i.get("micro_batches")))]),
    ("C3", |i| {
        let stages = i.get("stages");
        let least =
            (1..=65_536).find(|&m| decode_bubble(stages, f64::from(m)) == 0.0).map_or(f64::NAN, f64::from);
        vec![value("least micro-batches without idling", "", least)]
    }),
    ("C4", |i| {
        let row = |stages: f64| pipeline(stages, i.get("micro_batch"), i).row();
        let (one, many) = (row(1.0), row(i.get("stages")));
        vec![
            value("cache a GPU over that of one stage", "", many.kv_per_rank / one.kv_per_rank),
            value("cache a GPU", "GB", many.kv_per_rank.as_gb()),
            value("weights a GPU", "GB", many.weights_per_rank.as_gb()),
            value("weights a GPU, one stage", "GB", one.weights_per_rank.as_gb()),
        ]
    }),
    ("C5", |i| {
        let latency = |stages: f64| pipeline(stages, i.get("micro_batch"), i).row().token_latency.as_millis();
        let pass = pipeline(1.0, i.get("micro_batch"), i).step.times().max().as_millis();
        vec![
            value("latency over that without hops", "", latency(i.get("stages")) / pass),
            value("1 stage", "", latency(1.0) / pass),
            value("8 stages", "", latency(8.0) / pass),
            value("latency", "ms", latency(i.get("stages"))),
        ]
    }),
    ("C6", |i| {
        let latency = |hop_ms: f64| i.get("period_ms") + i.get("stages") * hop_ms;
        let transfer = boundary_transfer(Tokens(2400.0), BytesPerToken(2.0 * 7168.0), 64.0, BytesPerS(50e9));
        vec![
            value("latency as stated", "ms", latency(i.get("slow_hop_ms"))),
            value("RoCE, 5.6 us and the transfer", "ms", latency(0.0056 + transfer.as_millis())),
            value("transfer of 2400 rows, 50 GB/s", "us", transfer.as_micros()),
        ]
    }),
    ("C7", |i| {
        let size = Params(i.get("large_params")) * BytesPerParam(i.get("large_bytes_per_param"));
        let rack = Bytes(i.get("ranks_per_rack") * i.get("hbm_bytes"));
        vec![
            value("share of the rack", "", size / rack),
            value("size", "TB", size.as_gb() / 1e3),
            value("rack", "TB", rack.as_gb() / 1e3),
        ]
    }),
    ("C8", |i| {
        let (stages, m) = (i.get("stages"), i.get("training_micro_batches"));
        vec![
            value("idle", "", training_bubble(stages, m)),
            value("32 micro-batches", "", training_bubble(stages, 32.0)),
            value("interleaved in two", "", interleaved_bubble(stages, m, 2.0)),
            value("interleaved in two, 32", "", interleaved_bubble(stages, 32.0, 2.0)),
        ]
    }),
];

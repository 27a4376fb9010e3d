//! Claims C: pipelines over racks.

use super::{Chapter, Definition, Input, Inputs, Rule, Stated, Verdict, input, value};
use crate::claims::verdict::EXACT;
use blackboard::pipeline::{
    Pipeline, boundary_transfer, crossing_ratio, decode_bubble, interleaved_bubble, training_bubble,
};
use blackboard::roofline::Step;
use blackboard::units::{Bytes, BytesPerParam, BytesPerS, BytesPerToken, FlopPerS, Params, Seconds, Tokens};

const STAGES: Input = input("stages", "", 4.0);
const THROTTLE: Input = Input { name: "throttle", unit: "", talk: 8.0, dsv3: 18.0 };
const CONTEXT: Input = input("context", "tokens", 4989.0);
const HOP: Input = input("hop_us", "us", 20.0);

/// DeepSeek-V3 on racks of 64 GB200 in FP8 with a cache of 35,136 B a token.
fn pipeline(stages: f64, micro_batch: f64, i: &Inputs) -> Pipeline {
    let step = Step {
        batch: Tokens(micro_batch),
        active: Params(37e9),
        weights: Bytes(671e9),
        context: Tokens(i.get("context")),
        kv: BytesPerToken(35_136.0),
        ranks: 64.0,
        flops: FlopPerS(5e15),
        bandwidth: BytesPerS(8e12),
    };
    Pipeline { step, stages, micro_batches: stages, hop: Seconds(i.get("hop_us") * 1e-6) }
}

pub(super) const CLAIMS: &[Definition] = &[
    Definition {
        id: "C1",
        chapter: Chapter::Pipeline,
        claim: "the experts' traffic hides the hand-over between stages: the product exceeds 8, easily",
        source: "T",
        formula: "(1/beta) k l 2 >= 1; by bytes (1/beta) k l (b_d + b_c) / b_pp",
        inputs: &[
            THROTTLE,
            Input { name: "top_k", unit: "", talk: 32.0, dsv3: 8.0 },
            input("layers_per_stage", "", 1.0),
        ],
        values: |i| {
            let (beta, k, layers) = (i.get("throttle"), i.get("top_k"), i.get("layers_per_stage"));
            let mut values = vec![
                value("scale-up over scale-out time", "", crossing_ratio(k, layers, beta, 2.0)),
                value("by bytes (FP8 out, BF16 back and across)", "", crossing_ratio(k, layers, beta, 1.5)),
            ];
            for k in [8.0, 9.0, 16.0, 32.0] {
                values.push(value(format!("beta 8, k = {k}"), "", crossing_ratio(k, 1.0, 8.0, 2.0)));
                values.push(value(
                    format!("beta 8, k = {k}, by bytes"),
                    "",
                    crossing_ratio(k, 1.0, 8.0, 1.5),
                ));
            }
            values.push(value("beta 18, k = 8", "", crossing_ratio(8.0, 1.0, 18.0, 2.0)));
            values
        },
        stated: Stated::Words("more than 1"),
        rule: Rule::AtLeast(1.0),
        note: "needs k l >= beta/2: with 8 experts at a throttle of 18 two layers a stage",
    },
    Definition {
        id: "C2",
        chapter: Chapter::Pipeline,
        claim: "one batch in four racks leaves three quarters idle",
        source: "T",
        formula: "1 - m/P",
        inputs: &[STAGES, input("micro_batches", "", 1.0)],
        values: |i| vec![value("idle", "", decode_bubble(i.get("stages"), i.get("micro_batches")))],
        stated: Stated::Number(0.75, "3/4"),
        rule: Rule::Near(EXACT),
        note: "a token of a batch waits for the one before it",
    },
    Definition {
        id: "C3",
        chapter: Chapter::Pipeline,
        claim: "decode needs as many micro-batches as stages",
        source: "T",
        formula: "m_min = P",
        inputs: &[STAGES],
        values: |i| {
            let stages = i.get("stages");
            let least = (1..=65_536)
                .find(|&m| decode_bubble(stages, f64::from(m)) == 0.0)
                .map_or(f64::NAN, f64::from);
            vec![value("least micro-batches without idling", "", least)]
        },
        stated: Stated::Number(4.0, "4 for 4 stages"),
        rule: Rule::Near(EXACT),
        note: "the least m with 1 - m/P = 0",
    },
    Definition {
        id: "C4",
        chapter: Chapter::Pipeline,
        claim: "pipelining does not shrink the cache of a GPU",
        source: "T, S1",
        formula: "(N + B L kappa) / (E P) with B = P b: N/(E P) + b L kappa / E",
        inputs: &[STAGES, CONTEXT, input("micro_batch", "tokens", 2400.0), HOP],
        values: |i| {
            let row = |stages: f64| pipeline(stages, i.get("micro_batch"), i).row();
            let (one, many) = (row(1.0), row(i.get("stages")));
            vec![
                value("cache a GPU over that of one stage", "", many.kv_per_rank / one.kv_per_rank),
                value("cache a GPU", "GB", many.kv_per_rank.as_gb()),
                value("weights a GPU", "GB", many.weights_per_rank.as_gb()),
                value("weights a GPU, one stage", "GB", one.weights_per_rank.as_gb()),
            ]
        },
        stated: Stated::Number(1.0, "unchanged"),
        rule: Rule::Near(EXACT),
        note: "P cancels: each stage holds 1/P of the layers of P times as many sequences",
    },
    Definition {
        id: "C5",
        chapter: Chapter::Pipeline,
        claim: "pipelining is neutral for latency",
        source: "T",
        formula: "P (t/P + hop) = t + P hop",
        inputs: &[STAGES, CONTEXT, input("micro_batch", "tokens", 2400.0), HOP],
        values: |i| {
            let latency =
                |stages: f64| pipeline(stages, i.get("micro_batch"), i).row().token_latency.as_millis();
            let pass = pipeline(1.0, i.get("micro_batch"), i).step.times().max().as_millis();
            vec![
                value("latency over that without hops", "", latency(i.get("stages")) / pass),
                value("1 stage", "", latency(1.0) / pass),
                value("8 stages", "", latency(8.0) / pass),
                value("latency", "ms", latency(i.get("stages"))),
            ]
        },
        stated: Stated::Number(1.0, "neutral"),
        rule: Rule::Near(0.1),
        note: "1.009 to 1.075 for 1 to 8 stages with hops of 20 us",
    },
    Definition {
        id: "C6",
        chapter: Chapter::Pipeline,
        claim: "a hop takes a few ms, so that 20 ms become 30 with four stages",
        source: "T",
        formula: "t + P hop",
        inputs: &[STAGES, input("period_ms", "ms", 20.0), input("slow_hop_ms", "ms", 2.5)],
        values: |i| {
            let latency = |hop_ms: f64| i.get("period_ms") + i.get("stages") * hop_ms;
            let transfer =
                boundary_transfer(Tokens(2400.0), BytesPerToken(2.0 * 7168.0), 64.0, BytesPerS(50e9));
            vec![
                value("latency as stated", "ms", latency(i.get("slow_hop_ms"))),
                value("RoCE, 5.6 us and the transfer", "ms", latency(0.0056 + transfer.as_millis())),
                value("transfer of 2400 rows, 50 GB/s", "us", transfer.as_micros()),
            ]
        },
        stated: Stated::Number(30.0, "30 ms"),
        rule: Rule::Always(Verdict::Assumption),
        note: "he said it may be off by 10; measured latencies (ISCA table 5) say 100 to 1000 times less a hop",
    },
    Definition {
        id: "C7",
        chapter: Chapter::Pipeline,
        claim: "a model of 1T parameters is about 1 TB and fits a rack",
        source: "T",
        formula: "N w / (G C)",
        inputs: &[
            input("large_params", "params", 1e12),
            input("large_bytes_per_param", "B", 1.0),
            input("ranks_per_rack", "", 72.0),
            input("hbm_bytes", "B", 186e9),
        ],
        values: |i| {
            let size = Params(i.get("large_params")) * BytesPerParam(i.get("large_bytes_per_param"));
            let rack = Bytes(i.get("ranks_per_rack") * i.get("hbm_bytes"));
            vec![
                value("share of the rack", "", size / rack),
                value("size", "TB", size.as_gb() / 1e3),
                value("rack", "TB", rack.as_gb() / 1e3),
            ]
        },
        stated: Stated::Words("fits"),
        rule: Rule::AtMost(1.0),
        note: "so that no pipeline is needed for the weights",
    },
    Definition {
        id: "C8",
        chapter: Chapter::Pipeline,
        claim: "training pipelines have a bubble, and micro-batches shrink it",
        source: "T; V3",
        formula: "(P-1) / (m+P-1); interleaved (P-1) / (v m+P-1)",
        inputs: &[STAGES, input("training_micro_batches", "", 8.0)],
        values: |i| {
            let (stages, m) = (i.get("stages"), i.get("training_micro_batches"));
            vec![
                value("idle", "", training_bubble(stages, m)),
                value("32 micro-batches", "", training_bubble(stages, 32.0)),
                value("interleaved in two", "", interleaved_bubble(stages, m, 2.0)),
                value("interleaved in two, 32", "", interleaved_bubble(stages, 32.0, 2.0)),
            ]
        },
        stated: Stated::Words("in words"),
        rule: Rule::Always(Verdict::Reproduces),
        note: "V3 table 2 has the same for 1F1B, ZB1P and DualPipe",
    },
];

//! Figures of chapter A: batch, balance, trains, fast and slow modes.

use super::{bars, computed, dashed, even, geometric, level, line, stated};
use crate::claims::{Chapter, chips};
use crate::v3::step;
use blackboard::figure::{Axis, Figure, Layer};
use blackboard::roofline::{Step, critical_batch, fast_mode, relative_cost, relative_time, slow_mode_saving};
use blackboard::units::{DollarsPerS, Params};

const CHAPTER: &str = Chapter::Roofline.name();
const GPUS: f64 = 64.0;
const V3_ON_GB200: &str =
    "DeepSeek-V3 (671 GB in FP8, 37B active, cache of 35,136 B a token) on 64 GB200 (5 PFLOP/s, 8 TB/s)";

pub(super) fn figures() -> Vec<Figure> {
    vec![
        step_time(),
        cost(),
        balance(),
        sparsity(),
        drain(),
        trains(),
        waits(),
        modes(),
        slow_mode(),
        sparse_scaling(),
    ]
}

fn batches() -> impl Iterator<Item = f64> {
    geometric(1.0, 65_536.0, 96)
}

fn step_time() -> Figure {
    let of = |get: fn(&Step) -> f64| batches().map(move |batch| (batch, get(&step(batch, 4989.0))));
    let optimum = critical_batch(312.5, Params(671e9), Params(37e9)).0;
    Figure {
        id: "a-step-time",
        chapter: CHAPTER,
        title: "A step over its batch".to_owned(),
        caption: format!(
            "{V3_ON_GB200}; 4989 tokens of context. Marked: B* = {optimum:.0}, where arithmetic meets the weights."
        ),
        x: Axis::log("batch, sequences"),
        y: Axis::log("time, ms"),
        layers: vec![
            dashed("arithmetic t_c", of(|step| step.times().compute.as_millis())),
            dashed("weights t_w", of(|step| step.times().weights.as_millis())),
            dashed("cache t_kv", of(|step| step.times().kv.as_millis())),
            line("max(t_c, t_w + t_kv)", of(|step| step.times().max().as_millis())),
            line("t_kv + max(t_c, t_w)", of(|step| step.times().sum().as_millis())),
            computed(&[(optimum, step(optimum, 4989.0).times().compute.as_millis(), "B*")]),
        ],
    }
}

fn cost() -> Figure {
    let price = GPUS * DollarsPerS::per_hour(2.0);
    let cost = |batch: f64, context: f64| {
        let step = step(batch, context);
        (price / (step.batch / step.times().max())).per_mtok()
    };
    let optimum = critical_batch(312.5, Params(671e9), Params(37e9)).0;
    let floor = cost(65_536.0, 0.0);
    Figure {
        id: "a-cost",
        chapter: CHAPTER,
        title: "What a token costs over the batch".to_owned(),
        caption: format!(
            "{V3_ON_GB200} at $2 a GPU and hour. Unbatched a token costs {:.0} times the floor; \"1000 times\" was stated.",
            cost(1.0, 0.0) / floor
        ),
        x: Axis::log("batch, sequences"),
        y: Axis::log("$ a million tokens"),
        layers: vec![
            line("no context", batches().map(|batch| (batch, cost(batch, 0.0)))),
            line("4989 tokens", batches().map(|batch| (batch, cost(batch, 4989.0)))),
            line("32,768 tokens", batches().map(|batch| (batch, cost(batch, 32_768.0)))),
            dashed("floor", [(1.0, floor), (65_536.0, floor)]),
            computed(&[(1.0, cost(1.0, 0.0), "unbatched"), (optimum, cost(optimum, 0.0), "B*")]),
            stated(&[(1.0, 1000.0 * floor, "1000 times")]),
        ],
    }
}

fn balance() -> Figure {
    let chips: Vec<_> = chips().collect();
    Figure {
        id: "a-balance",
        chapter: CHAPTER,
        title: "FLOPs over bandwidth: 300 on most GPUs?".to_owned(),
        caption: "rho = (F/2) w / BW by dense datasheet rates and format. Dashed: the lecture's 300."
            .to_owned(),
        x: Axis::categories("", chips.iter().map(|(name, ..)| name.as_str())),
        y: Axis::linear("rho, tokens a weight"),
        layers: vec![
            bars([("rho", &chips.iter().map(|(_, rho, _)| *rho).collect::<Vec<_>>())]),
            level("stated: 300", 300.0, chips.len()),
        ],
    }
}

fn sparsity() -> Figure {
    let batch = |rho: f64| even(1.0, 40.0, 39).map(move |sparsity| (sparsity, rho * sparsity));
    let v3 = 671.0 / 37.0;
    Figure {
        id: "a-sparsity",
        chapter: CHAPTER,
        title: "The batch to aim at over sparsity".to_owned(),
        caption: "B* = rho N_tot/N_act. Stated: 2400 at a sparsity of 8. Computed: DeepSeek's own 12,686 sequences in flight \
                  on 144 H800, at its real sparsity of 18.1."
            .to_owned(),
        x: Axis::linear("sparsity, total over active parameters"),
        y: Axis::linear("batch, sequences"),
        layers: vec![
            line("A100, rho 153", batch(153.0)),
            line("H100, rho 295", batch(295.4)),
            line("GB200, rho 312", batch(312.5)),
            line("TPU v6e, rho 560", batch(560.0)),
            stated(&[(8.0, 2400.0, "lecture: S = 8")]),
            computed(&[(v3, 12_686.0, "DeepSeek in production"), (v3, 300.0 * v3, "B* of DeepSeek-V3")]),
        ],
    }
}

fn drain() -> Figure {
    let mut names: Vec<String> = Vec::new();
    let mut times = Vec::new();
    for (name, _, drain_ms) in chips() {
        let chip = name.split(' ').next().unwrap_or_default().to_owned();
        if !names.contains(&chip) {
            names.push(chip);
            times.push(drain_ms);
        }
    }
    Figure {
        id: "a-drain",
        chapter: CHAPTER,
        title: "The time to read a full memory once".to_owned(),
        caption:
            "C / BW of each chip. Dashed: the lecture's 20 ms, which a step takes only if memory is full."
                .to_owned(),
        x: Axis::categories("", names),
        y: Axis::linear("drain time, ms"),
        layers: vec![bars([("C / BW", &times)]), level("stated: 20 ms", 20.0, times.len())],
    }
}

fn trains() -> Figure {
    let period = 20.0;
    let train =
        |n: usize| (n, period * (n as f64 + 1.0), period * (n as f64 + 2.0), format!("train {}", n + 1));
    let mut spans: Vec<_> = (0..4).map(train).collect();
    spans.push((0, 0.0, period, "boards".to_owned()));
    spans.push((1, period, 2.0 * period, "boards".to_owned()));
    spans.push((2, 2.0 * period, 3.0 * period, "boards".to_owned()));
    spans.push((3, 3.0 * period, 4.0 * period, "boards".to_owned()));
    Figure {
        id: "a-trains",
        chapter: CHAPTER,
        title: "A batch leaves every period".to_owned(),
        caption: "Period 20 ms. Who comes just after a departure waits a period and rides another: 40 ms; on average 30 ms."
            .to_owned(),
        x: Axis::linear("time, ms"),
        y: Axis::categories("", ["batch 1", "batch 2", "batch 3", "batch 4"]),
        layers: vec![Layer::Spans { spans }],
    }
}

fn waits() -> Figure {
    let buckets = 10;
    let names: Vec<String> = (0..buckets).map(|n| format!("{}-{}", 20 + 2 * n, 22 + 2 * n)).collect();
    Figure {
        id: "a-waits",
        chapter: CHAPTER,
        title: "How long requests wait and ride".to_owned(),
        caption: "Period 20 ms, arrivals even over it: between one and two periods, 30 ms on average, 40 ms at worst.".to_owned(),
        x: Axis::categories("wait and ride, ms", names),
        y: Axis::linear("share of requests, %"),
        layers: vec![bars([("requests", &vec![100.0 / f64::from(buckets); buckets as usize])])],
    }
}

fn modes() -> Figure {
    let rate = |share: f64| 100.0 / relative_time(share, 0.0);
    let curve = geometric(0.05, 10.0, 80).map(|share| (rate(share), relative_cost(share, 0.0)));
    let mode = fast_mode(6.0, 2.5, 0.0).expect("the stated prices have a batch");
    let (normal, fast) = (mode.normal_share, mode.fast_share);
    Figure {
        id: "a-modes",
        chapter: CHAPTER,
        title: "Fast, normal and slow".to_owned(),
        caption: "Speed and price of a token as the batch goes from 10 B* to B*/20, no cache (K = 0). A fast mode at 6 times the price \
                  and 2.5 times the speed means batches of 2.5 B* and B*/6."
            .to_owned(),
        x: Axis::linear("speed of a user, % of the fastest"),
        y: Axis::log("price of a token over its arithmetic"),
        layers: vec![
            line("c(u)", curve),
            computed(&[
                (rate(normal), relative_cost(normal, 0.0), "normal, u = 2.5"),
                (rate(fast), relative_cost(fast, 0.0), "fast, u = 1/6"),
                (rate(10.0), relative_cost(10.0, 0.0), "slow"),
            ]),
            stated(&[(rate(fast), 6.0 * relative_cost(normal, 0.0), "6 times the price")]),
        ],
    }
}

fn slow_mode() -> Figure {
    let shares = [0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 8.0];
    let ratios = [0.0, 0.25, 0.5, 1.0, 2.0, 4.0];
    let values = ratios.map(|k| shares.map(|share| 100.0 * slow_mode_saving(share, k)).to_vec()).to_vec();
    Figure {
        id: "a-slow-mode",
        chapter: CHAPTER,
        title: "What a slow mode could save".to_owned(),
        caption:
            "1 - max(1, K) / c(u): what an endless batch saves at the batch in use. At 2.5 B* nothing to 29%."
                .to_owned(),
        x: Axis::categories("batch over B*, u", shares.map(|share| share.to_string())),
        y: Axis::categories("cache over arithmetic, K", ratios.map(|ratio| ratio.to_string())),
        layers: vec![Layer::Heat { label: "saving, %".to_owned(), values }],
    }
}

fn sparse_scaling() -> Figure {
    let worth = |exponent: f64| geometric(1.0, 256.0, 32).map(move |ratio| (ratio, ratio.powf(exponent)));
    let exponent = |worth: f64| worth.ln() / 64f64.ln();
    let paper = 1.3e9 / 370e6;
    Figure {
        id: "a-sparse-scaling",
        chapter: CHAPTER,
        title: "What sparse parameters are worth".to_owned(),
        caption: "Dense parameters of equal loss over active ones, as a power of total over active. Stated: 64 times the total for 4 \
                  times the active; the sizes compared (1.3B and 370M) are 3.51 apart."
            .to_owned(),
        x: Axis::log("total over active parameters"),
        y: Axis::log("dense equivalent over active"),
        layers: vec![
            line("through the stated point", worth(exponent(4.0))),
            line("through the sizes compared", worth(exponent(paper))),
            stated(&[(64.0, 4.0, "4 times")]),
            computed(&[(64.0, paper, "3.51 times")]),
        ],
    }
}

//! Figures of chapter B: what a second rack costs, what crosses, and when the all-to-all binds.

use super::{bars, computed, dashed, geometric, line, stated};
use crate::claims::Chapter;
use blackboard::CopiesPerToken;
use blackboard::deployment::{Deployment, Mode, even_copies};
use blackboard::figure::{Axis, Figure, Layer};
use blackboard::scale_up::{hit_probability, port_load, uniform_copies};
use blackboard::units::{Bytes, BytesPerS, DollarsPerS, Tokens};
use moe::gate::SelectionRule;
use moe::work::{CommonWeights, Drafts};
use moe::{DispatchScheme, Model};
use topology::{Dtype, Hardware, Rate};

const CHAPTER: &str = Chapter::ScaleUp.name();
const EXPERTS: u32 = 256;
const TOP_K: u32 = 8;

fn copies(scheme: DispatchScheme, racks: u32, size: u32) -> CopiesPerToken {
    even_copies(scheme, racks, size, &SelectionRule::plain(EXPERTS, TOP_K)).expect("8 of 256")
}

/// Hierarchical dispatch with a gate limited to one rack of two.
fn limited(size: u32) -> CopiesPerToken {
    let by_rank: Vec<u32> = (0..size).map(|rank| 128 / size + u32::from(rank < 128 % size)).collect();
    uniform_copies(DispatchScheme::Hierarchical, 2, &by_rank, TOP_K, Some(1)).expect("8 of 128")
}

pub(super) fn figures() -> Vec<Figure> {
    vec![slowdown(), bytes(), traffic(), bound(), domain()]
}

fn slowdown() -> Figure {
    let base = |scheme| port_load(copies(scheme, 1, 72), 1.0, TOP_K);
    let over = |copies: CopiesPerToken, base: f64| {
        geometric(1.0, 32.0, 60).map(move |beta| (beta, port_load(copies, beta, TOP_K) / base))
    };
    use DispatchScheme::{Dedup, Flat, Hierarchical};
    let flat = copies(Flat, 2, 72);
    Figure {
        id: "b-slowdown",
        chapter: CHAPTER,
        title: "What a second rack costs the all-to-all".to_owned(),
        caption: "Two racks of 72 against one, the same tokens a GPU, 8 of 256 experts, uniform routing, zero latency, fabrics overlapped. \
                  Stated: 8 times slower links; computed: 4.06 times for flat dispatch at 8."
            .to_owned(),
        x: Axis::log("throttle, scale-up over scale-out rate"),
        y: Axis::log("all-to-all over one rack"),
        layers: vec![
            line("flat", over(flat, base(Flat))),
            line("dedup by GPU", over(copies(Dedup, 2, 72), base(Dedup))),
            line("hierarchical", over(copies(Hierarchical, 2, 72), base(Dedup))),
            line("gate limited to one rack", over(limited(72), base(Dedup))),
            dashed("one rack", [(1.0, 1.0), (32.0, 1.0)]),
            computed(&[(8.0, port_load(flat, 8.0, TOP_K) / base(Flat), "4.06")]),
            stated(&[(8.0, 8.0, "\"8 times slower\"")]),
        ],
    }
}

fn bytes() -> Figure {
    use DispatchScheme::{Dedup, Flat, Hierarchical};
    let rows = [
        ("1 rack, flat", copies(Flat, 1, 144)),
        ("1 rack, dedup", copies(Dedup, 1, 144)),
        ("2 racks, flat", copies(Flat, 2, 72)),
        ("2 racks, dedup", copies(Dedup, 2, 72)),
        ("2 racks, hierarchical", copies(Hierarchical, 2, 72)),
        ("2 racks, limited gate", limited(72)),
    ];
    let kilobytes = |copies: f64| copies * (7408.0 + 14_336.0) / 1e3;
    Figure {
        id: "b-bytes",
        chapter: CHAPTER,
        title: "What a token puts on the ports".to_owned(),
        caption: "Dispatch (7,408 B a copy) and combine (14,336 B) of one layer, 144 GPUs, 8 of 256 experts, uniform routing.".to_owned(),
        x: Axis::categories("", rows.map(|(name, _)| name)),
        y: Axis::linear("KB a token"),
        layers: vec![bars([
            ("inside racks", &rows.map(|(_, copies)| kilobytes(copies.intra))),
            ("between racks", &rows.map(|(_, copies)| kilobytes(copies.inter))),
        ])],
    }
}

fn traffic() -> Figure {
    let ranks = 16;
    let own = hit_probability(EXPERTS, TOP_K, EXPERTS / ranks);
    let rack = hit_probability(EXPERTS, TOP_K, EXPERTS / 2);
    let pair = |from: u32, to: u32| match (from == to, from / 8 == to / 8) {
        (true, _) => 0.0,
        // A rank's own rows, and those it forwards for its counterpart in the other rack.
        (_, true) => 2.0 * own,
        (_, false) if from % 8 == to % 8 => rack,
        _ => 0.0,
    };
    let names: Vec<String> = (0..ranks).map(|rank| format!("{}.{}", rank / 8, rank % 8)).collect();
    Figure {
        id: "b-traffic",
        chapter: CHAPTER,
        title: "Who sends to whom, hierarchical".to_owned(),
        caption: "Expected copies a token of dispatch from one rank (row) to another (column): two racks of 8, 8 of 256 experts. Across \
                  racks a rank sends to its counterpart alone."
            .to_owned(),
        x: Axis::categories("to, rack.rank", names.clone()),
        y: Axis::categories("from, rack.rank", names),
        layers: vec![Layer::Heat {
            label: "copies a token".to_owned(),
            values: (0..ranks).map(|from| (0..ranks).map(|to| pair(from, to)).collect()).collect(),
        }],
    }
}

fn bound() -> Figure {
    let batches = [256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16_384.0];
    let racks = [1_u32, 2, 4, 8];
    let mut hardware = Hardware::preset("gb200").expect("a preset");
    hardware.scale_out = Rate::new(hardware.scale_up.bytes_per_s() / 8).expect("positive");
    let share = |racks: u32, batch: f64| {
        let deployment = Deployment {
            model: Model::preset("deepseek-v3").expect("a preset"),
            hardware: hardware.clone(),
            dtype: Dtype::Fp8,
            kv_dtype: Dtype::Fp8,
            ranks: 64 * racks,
            racks: Some(racks),
            stages: 1,
            tp: 1,
            common: CommonWeights::Even,
            drafts: Drafts::default(),
            memory_share: 1.0,
            micro_batches: None,
            batch: Tokens(batch * f64::from(racks)),
            context: Tokens::ZERO,
            prompt: Tokens::ZERO,
            scheme: DispatchScheme::Flat,
            tokens_per_rank: None,
            latency: false,
            price: DollarsPerS::per_hour(2.0),
            mode: Mode::Max,
        };
        let step = deployment.estimate().expect("possible");
        step.t_a2a_ms / step.t_compute_ms.max(step.t_weights_ms)
    };
    Figure {
        id: "b-bound",
        chapter: CHAPTER,
        title: "When the all-to-all decides the step".to_owned(),
        caption: "Time of all all-to-alls over the longer of arithmetic and weights: above 1 they decide. DeepSeek-V3, FP8, racks of 64 GB200, \
                  throttle 8, flat dispatch, no context, zero latency."
            .to_owned(),
        x: Axis::categories("batch a rack, sequences", batches.map(|batch| batch.to_string())),
        y: Axis::categories("racks", racks.map(|racks| racks.to_string())),
        layers: vec![Layer::Heat {
            label: "all-to-all over the rest".to_owned(),
            values: racks.map(|racks| batches.map(|batch| share(racks, batch)).to_vec()).to_vec(),
        }],
    }
}

fn domain() -> Figure {
    let read_ms = |gpus: f64, bandwidth: f64| (Bytes(671e9) / (gpus * BytesPerS(bandwidth))).as_millis();
    let by_chip =
        |bandwidth: f64| geometric(8.0, 576.0, 40).map(move |gpus| (gpus, read_ms(gpus, bandwidth)));
    Figure {
        id: "b-domain",
        chapter: CHAPTER,
        title: "A larger domain reads the weights faster".to_owned(),
        caption: "t_w of DeepSeek-V3's 671 GB over the GPUs of one scale-up domain. From 8 H100 to 64 of 72 GB200: 8 times the GPUs, 2.39 times \
                  the bandwidth of each. (8 H100 lack the memory.)"
            .to_owned(),
        x: Axis::log("GPUs of the domain"),
        y: Axis::log("time to read the weights, ms"),
        layers: vec![
            line("H100, 3.35 TB/s", by_chip(3.35e12)),
            line("GB200, 8 TB/s", by_chip(8e12)),
            line("Rubin, 22 TB/s", by_chip(22e12)),
            computed(&[
                (8.0, read_ms(8.0, 3.35e12), "8 H100"),
                (64.0, read_ms(64.0, 8e12), "64 GB200"),
                (144.0, read_ms(144.0, 22e12), "144 Rubin"),
            ]),
        ],
    }
}

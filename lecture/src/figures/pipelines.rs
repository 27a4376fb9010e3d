//! Figures of chapter C: stages at work, what they hold, and whether the hand-over shows.

use super::{bars, computed, dashed, even, line};
use crate::claims::Chapter;
use crate::v3::step;
use blackboard::figure::{Axis, Figure, Layer};
use blackboard::pipeline::{Pipeline, crossing_ratio};
use blackboard::units::Seconds;

const CHAPTER: &str = Chapter::Pipeline.name();

pub(super) fn figures() -> Vec<Figure> {
    vec![stages(), memory(), crossing()]
}

/// Two micro-batches in four stages: each waits for its own last token.
fn stages() -> Figure {
    let (stages, micro_batches, tokens) = (4_usize, 2_usize, 2_usize);
    let mut spans = Vec::new();
    for token in 0..tokens {
        for micro_batch in 0..micro_batches {
            for stage in 0..stages {
                let begin = (token * stages + micro_batch + stage) as f64;
                let name = char::from(b'a' + micro_batch as u8);
                spans.push((stage, begin, begin + 1.0, format!("{name}{}", token + 1)));
            }
        }
    }
    Figure {
        id: "c-stages",
        chapter: CHAPTER,
        title: "Two micro-batches in four stages".to_owned(),
        caption: "Decode: token 2 of micro-batch a can't begin before its token 1 has left the last stage, so that every stage is idle \
                  1 - m/P = half of the time. No time for hops."
            .to_owned(),
        x: Axis::linear("time, stages"),
        y: Axis::categories("", ["stage 1", "stage 2", "stage 3", "stage 4"]),
        layers: vec![Layer::Spans { spans }],
    }
}

fn memory() -> Figure {
    let stages = [1.0, 2.0, 4.0, 8.0];
    let row = |stages: f64| {
        Pipeline { step: step(5440.0, 32_768.0), stages, micro_batches: stages, hop: Seconds(20e-6) }.row()
    };
    Figure {
        id: "c-memory",
        chapter: CHAPTER,
        title: "Stages divide the weights, not the cache".to_owned(),
        caption: "Memory of a GPU: DeepSeek-V3, FP8 with a cache of 35,136 B a token, racks of 64, 5440 sequences of 32,768 tokens a \
                  micro-batch, as many micro-batches as stages."
            .to_owned(),
        x: Axis::categories("stages, a rack each", stages.map(|stages| stages.to_string())),
        y: Axis::linear("GB a GPU"),
        layers: vec![bars([
            ("cache", &stages.map(|stages| row(stages).kv_per_rank.as_gb())),
            ("weights", &stages.map(|stages| row(stages).weights_per_rank.as_gb())),
        ])],
    }
}

fn crossing() -> Figure {
    let ratio = |k: f64, beta: f64| {
        even(1.0, 8.0, 7).map(move |layers| (layers, crossing_ratio(k, layers, beta, 2.0)))
    };
    Figure {
        id: "c-crossing",
        chapter: CHAPTER,
        title: "Experts hide the hand-over between stages".to_owned(),
        caption: "Scale-up time of a stage's all-to-alls over the scale-out time of handing its rows on, k l 2 / beta: from 1 on it is hidden. \
                  Stated: \"easily\"."
            .to_owned(),
        x: Axis::linear("layers a stage"),
        y: Axis::log("scale-up over scale-out time"),
        layers: vec![
            line("k = 32, throttle 8", ratio(32.0, 8.0)),
            line("k = 8, throttle 8", ratio(8.0, 8.0)),
            line("k = 8, throttle 18", ratio(8.0, 18.0)),
            line("k = 1, throttle 8", ratio(1.0, 8.0)),
            dashed("hidden from here", [(1.0, 1.0), (8.0, 1.0)]),
            computed(&[(1.0, crossing_ratio(8.0, 1.0, 18.0, 2.0), "0.89: not hidden")]),
        ],
    }
}

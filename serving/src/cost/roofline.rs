//! A step as one roofline: the larger of arithmetic, memory traffic and communication, everything even.

use super::analytic::Analytic;
use super::stack::{Hops, tokens_of};
use super::{CostError, StageTime, StepCost, StepShape, StepTimes};
use moe::stack::Stack;
use moe::work::{RankLoad, TokenLoad, Work};
use topology::{Hardware, Picos};

/// The core model (T; `blackboard::roofline`): `t = max(t_c, t_w + t_kv)` of a stage's layers on its mean rank, and no less than its
/// all-to-alls. A lower bound: nothing waits for anything.
#[derive(Debug)]
pub struct Roofline {
    stack: Stack,
    hardware: Hardware,
    hops: Hops,
    layers: Analytic,
}

impl Roofline {
    /// Of `stack`, with `layers` for what crosses between ranks.
    #[must_use]
    pub const fn new(stack: Stack, hardware: Hardware, hops: Hops, layers: Analytic) -> Self {
        Self { stack, hardware, hops, layers }
    }

    fn time(&self, step: u32, work: Work) -> Result<Picos, CostError> {
        self.hardware
            .time(work.flops, work.bytes, self.stack.dtype)
            .map_err(|error| CostError { step, problem: error.to_string() })
    }

    /// The routed experts of `layer` on the mean rank.
    fn experts(&self, layer: u32, tokens: u64, ranks: f64) -> Work {
        let shape = self.stack.shape();
        let (rows, touched) = self.layers.rows_of_slot(layer, tokens);
        let slots = f64::from(self.layers.num_slots(layer)) / ranks;
        Work {
            flops: slots * rows * shape.expert_flops(1),
            bytes: slots * touched * shape.expert_weight_bytes() as f64,
        }
    }
}

impl StepCost for Roofline {
    fn step(&mut self, shape: &StepShape) -> Result<StepTimes, CostError> {
        let tokens = tokens_of(&shape.ranks);
        let ranks = shape.ranks.len() as f64;
        let mut sum = RankLoad::default();
        shape.ranks.iter().for_each(|&load| sum += load);
        // Work is linear in loads but for weights, which are read where there are tokens: a rank's share of them all.
        let busy = shape.ranks.iter().filter(|load| load.tokens() > 0).count() as f64;
        let mut stages = Vec::new();
        for (index, stage) in self.stack.stages().iter().enumerate() {
            let (mut work, mut own, mut experts) = (Work::default(), Work::default(), Work::default());
            let mut all_to_all = Picos::ZERO;
            for layer in stage.layers.clone() {
                let weights = self.weights_bytes(layer);
                for part in self.stack.local_work(layer, sum) {
                    own += Work { flops: part.flops / ranks, bytes: part.bytes / ranks };
                }
                // `local_work` of the sum has the weights once; each busy rank reads them.
                own.bytes += weights * (busy - f64::from(u8::from(busy > 0.0))) / ranks;
                if self.stack.model.is_moe_layer(layer) {
                    experts += self.experts(layer, tokens.total(), ranks);
                    let (dispatch, combine) = self.layers.all_to_all(layer, &tokens);
                    all_to_all += dispatch + combine;
                }
            }
            if index + 1 == self.stack.stages().len() {
                let answers: u64 = shape.answers.iter().sum();
                let head = self.stack.head_work(answers);
                let weights = self.stack.head_work(1).bytes;
                own += Work {
                    flops: head.flops / ranks,
                    bytes: (head.bytes + weights * (busy - f64::from(u8::from(busy > 0.0)))) / ranks,
                };
            }
            work += own;
            work += experts;
            let total = self.time(shape.step, work)?.max(all_to_all);
            let (local, experts) = (self.time(shape.step, own)?, self.time(shape.step, experts)?);
            stages.push(StageTime { total, local, experts, all_to_all });
        }
        Ok(StepTimes { stages, hops: self.hops.times(tokens.max().into()) })
    }

    fn name(&self) -> &'static str {
        "analytic"
    }
}

impl Roofline {
    /// Weights that a rank with tokens reads in a layer beside routed experts.
    fn weights_bytes(&self, layer: u32) -> f64 {
        let one =
            RankLoad { decode: TokenLoad { tokens: 1, read: 0, pairs: 0 }, prefill: TokenLoad::default() };
        let [attention, block] = self.stack.local_work(layer, one);
        attention.bytes + block.bytes - self.stack.model.kv_bytes_per_layer(self.stack.kv_dtype)
    }
}

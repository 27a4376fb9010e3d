//! A step as one roofline: the larger of arithmetic, memory traffic and communication, everything even.

use super::analytic::Analytic;
use super::exchange::Exchange;
use super::stack::{Hops, tokens_of};
use super::{CostError, StageTime, StepCost, StepShape, StepTimes};
use moe::stack::Stack;
use moe::work::{CommonWeights, RankLoad, RankPart, Work};
use topology::{Hardware, Picos};

/// The core model (T; `blackboard::roofline`): `t = max(t_c, t_w + t_kv)` of a stage's layers on the mean of the ranks that have tokens, and no
/// less than its communication. A lower bound: nothing waits for anything.
#[derive(Debug)]
pub struct Roofline {
    stack: Stack,
    part: RankPart,
    hardware: Hardware,
    hops: Hops,
    exchange: Exchange,
    layers: Analytic,
}

impl Roofline {
    /// Of `stack`, with `layers` and `exchange` for what crosses between ranks.
    #[must_use]
    pub fn new(stack: Stack, hardware: Hardware, hops: Hops, exchange: Exchange, layers: Analytic) -> Self {
        Self { part: stack.part(), stack, hardware, hops, exchange, layers }
    }

    fn time(&self, step: u32, work: Work) -> Result<Picos, CostError> {
        self.hardware
            .time(work.flops, work.bytes(), self.stack.dtype)
            .map_err(|error| CostError { step, problem: error.to_string() })
    }

    /// The routed experts of `layer` on the mean rank.
    fn experts(&self, layer: u32, tokens: u64) -> Work {
        let shape = self.stack.shape();
        let (rows, touched) = self.layers.rows_of_slot(layer, tokens);
        let slots = f64::from(self.layers.num_slots(layer)) / f64::from(self.stack.columns());
        let flops = slots * rows * shape.expert_flops(1);
        let weights = slots * touched * shape.expert_weight_bytes() as f64;
        let (flops, weights) =
            self.hardware.expert_work(flops, slots * touched * shape.expert_flops(1), weights);
        Work { flops, weights, cache: 0.0 }
    }
}

/// `all` work of `groups` groups on the mean of them: weights are read once by each.
fn mean(all: Work, groups: f64) -> Work {
    Work { weights: all.weights, ..all * (1.0 / groups) }
}

impl StepCost for Roofline {
    fn step(&mut self, shape: &StepShape) -> Result<StepTimes, CostError> {
        let model = &self.stack.model;
        let tokens = tokens_of(&shape.ranks, self.stack.tp);
        let mut sum = RankLoad::default();
        shape.ranks.iter().for_each(|&load| sum += load);
        // Whoever has all weights to itself works alone; an even part of them, all work on.
        let groups = match self.stack.common {
            CommonWeights::Even => shape.ranks.len(),
            CommonWeights::Replicated => shape.ranks.iter().filter(|load| load.tokens() > 0).count(),
        };
        let groups = groups.max(1) as f64;
        let mut stages = Vec::new();
        for (index, stage) in self.stack.stages().iter().enumerate() {
            let (mut own, mut experts, mut all_to_all) = (Work::default(), Work::default(), Picos::ZERO);
            let mut starts = Picos::ZERO;
            for layer in stage.layers.clone() {
                let local = model.mixer_work(layer, &sum, &self.part);
                own += mean(local + model.block_work(layer, sum.tokens(), &self.part), groups);
                all_to_all += self.exchange.time(model.exchanges(layer), &tokens);
                if model.is_moe_layer(layer) {
                    experts += self.experts(layer, tokens.total());
                    starts += self.hardware.experts_start();
                    let (dispatch, combine) = self.layers.all_to_all(layer, shape.step, &tokens)?;
                    all_to_all += dispatch + combine;
                }
            }
            if index + 1 == self.stack.stages().len() {
                own += mean(self.stack.head_work(shape.answers.iter().sum()), groups);
                let load = sum.drafting();
                let drafting: Vec<RankLoad> = shape.ranks.iter().map(RankLoad::drafting).collect();
                let drafted = tokens_of(&drafting, self.stack.tp);
                for layer in self.stack.drafting() {
                    let local = model.mixer_work(layer, &load, &self.part);
                    own += mean(local + model.block_work(layer, load.tokens(), &self.part), groups);
                    all_to_all += self.exchange.time(model.exchanges(layer), &drafted);
                    if model.is_moe_layer(layer) {
                        experts += self.experts(layer, drafted.total());
                        let (dispatch, combine) = self.layers.all_to_all(layer, shape.step, &drafted)?;
                        all_to_all += dispatch + combine;
                    }
                }
                let pass = mean(model.draft_work(load.tokens(), &self.part), groups);
                own += pass * f64::from(self.stack.drafts);
            }
            let total = self.time(shape.step, own + experts)?.max(all_to_all) + starts;
            let (local, experts) = (self.time(shape.step, own)?, self.time(shape.step, experts)? + starts);
            stages.push(StageTime { total, local, experts, all_to_all });
        }
        Ok(StepTimes { stages, hops: self.hops.times(tokens.max().into()) })
    }

    fn name(&self) -> &'static str {
        "analytic"
    }
}

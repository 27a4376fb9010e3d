//! What one rank of a deployment does in a step and holds: work through all layers, weights, caches.

use super::Deployment;
use crate::units::{Bytes, BytesPerS, FlopPerS, Tokens};
use moe::model::{Block, Layer};
use moe::work::{CommonWeights, RankLoad, RankPart, TokenLoad, Work};
use std::ops::Range;

impl Deployment {
    /// Ranks of a stage.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.ranks / self.stages
    }

    /// What a rank of a stage has of the work that every token asks for.
    fn part(&self) -> RankPart {
        RankPart::new(&self.model, (self.dtype, self.kv_dtype), self.common, self.tp, self.group())
    }

    /// Sequences of `all` that a group of tensor parallelism works on: one at least where it has the weights to itself, since then a single
    /// sequence keeps one group busy and the others idle.
    pub(super) fn of_group(&self, all: Tokens) -> Tokens {
        let mean = all.0 * f64::from(self.tp) / f64::from(self.group());
        match self.common {
            CommonWeights::Even => Tokens(mean),
            CommonWeights::Replicated => Tokens(mean.max(all.0.min(1.0))),
        }
    }

    /// Tokens that a step computes of so many sequences: their newest, and drafts.
    pub(super) fn computed(&self, sequences: Tokens) -> Tokens {
        sequences * if self.prompt > Tokens::ZERO { self.prompt.0 } else { f64::from(self.drafts.tokens()) }
    }

    /// The next token of one sequence, with the drafts after it, or what is computed of its prompt. A context of 0 stands for none: nothing is
    /// looked at.
    fn one_sequence(&self) -> RankLoad {
        if self.prompt > Tokens::ZERO {
            let (cached, tokens) = (self.context.0.round() as u64, self.prompt.0.round().max(1.0) as u64);
            let prefill = self.model.reaches().of_sequence(cached, tokens);
            return RankLoad { prefill, decode: TokenLoad::default() };
        }
        let (context, tokens) = (self.context.0.round() as u64, u64::from(self.drafts.tokens()));
        let one = match context.checked_sub(1) {
            Some(cached) => self.model.reaches().of_sequence(cached, tokens),
            None => TokenLoad { sequences: 1, tokens, ..TokenLoad::default() },
        };
        RankLoad { decode: one, prefill: TokenLoad::default() }
    }

    /// The work of a busy rank for a micro-batch, through all layers: its group's sequences, and an even part of the experts that the tokens of all
    /// are expected to go to.
    pub(super) fn step_work(&self, micro_batch: Tokens) -> Work {
        let sequences = self.of_group(micro_batch).0;
        self.parts(micro_batch).into_iter().fold(Work::default(), |sum, (mixers, block, experts, times)| {
            sum + (self.of_sequences(mixers + block, sequences) + experts) * times
        })
    }

    /// The same product by product, each with how often it is done.
    pub(super) fn products(&self, micro_batch: Tokens) -> impl Iterator<Item = (Work, f64)> {
        let sequences = self.of_group(micro_batch).0;
        self.parts(micro_batch).into_iter().flat_map(move |(mixers, block, experts, times)| {
            let [mixers, block] = [mixers, block].map(|one| self.of_sequences(one, sequences));
            [mixers, block, experts].map(|work| (work, times))
        })
    }

    /// Mixers and dense or shared blocks for one sequence, routed experts for a micro-batch, and how often they are in a step. The head and what
    /// drafts stand as blocks of their own.
    fn parts(&self, micro_batch: Tokens) -> Vec<(Work, Work, Work, f64)> {
        let (part, one, none) = (self.part(), self.one_sequence(), Work::default());
        let layer = |layer: u32, times: f64, load: &RankLoad, tokens: Tokens| {
            let mixers = self.model.mixer_work(layer, load, &part);
            let block = self.model.block_work(layer, load.tokens(), &part);
            let routed = self.model.layer_at(layer).routed();
            let experts = routed.map_or(none, |block| self.experts(layer, block, tokens));
            (mixers, block, experts, times)
        };
        let head = self.model.head_work(self.answers(&one), &part);
        let layers = self.layers().into_iter();
        let layers = layers.map(|(first, times)| layer(first, times, &one, self.computed(micro_batch)));
        let drafting = self.drafting().into_iter();
        let drafting = drafting.map(|drafting| layer(drafting, 1.0, &one.drafting(), micro_batch));
        let drafts = (none, self.model.draft_work(1, &part), none, f64::from(self.drafts.depth));
        std::iter::once((none, head, none, 1.0)).chain(layers).chain(drafting).chain([drafts]).collect()
    }

    /// Layers like those that draft, in the order in which they run.
    pub(super) fn drafting(&self) -> Vec<u32> {
        self.model.draft_layers(self.drafts.depth).unwrap_or_default()
    }

    /// Tokens of `one` sequence that the head answers: of a prompt, the last.
    fn answers(&self, one: &RankLoad) -> u64 {
        if self.prompt > Tokens::ZERO { 1 } else { one.tokens() }
    }

    /// `one` sequence's work for so many: weights are read once.
    fn of_sequences(&self, one: Work, sequences: f64) -> Work {
        Work { weights: one.weights, ..one * sequences }
    }

    /// Layers that are alike by their first, and how many there are.
    fn layers(&self) -> Vec<(u32, f64)> {
        let kinds = self.model.alike(0..self.model.num_layers());
        kinds.into_iter().map(|(_, layers)| (layers[0], layers.len() as f64)).collect()
    }

    /// The mean rank's part of a layer's routed experts for the tokens of all ranks.
    fn experts(&self, layer: u32, block: &Block, tokens: Tokens) -> Work {
        let params = block.expert_params(self.model.hidden) as f64;
        let bits = self.model.storage.held_bits(Some(layer as usize), moe::model::Part::Experts, self.dtype);
        let ranks = f64::from(self.group());
        let touched = block.experts() * touched(block, tokens);
        let flops = 2.0 * params * tokens.0 * block.active_experts() / ranks;
        let weights = touched * params * bits / 8.0 / ranks;
        let (flops, weights) = self.hardware.expert_work(flops, 2.0 * params * touched / ranks, weights);
        Work { flops, weights, cache: 0.0 }
    }

    /// A rank's part of the routed experts of all layers, drafting ones included, and how many layers have some.
    pub(super) fn routed_work(&self, micro_batch: Tokens) -> (Work, f64) {
        let (mut work, mut layers) = (Work::default(), 0.0);
        let mut add = |layer: u32, times: f64, tokens: Tokens| {
            if let Some(block) = self.model.layer_at(layer).routed() {
                work += self.experts(layer, block, tokens) * times;
                layers += times;
            }
        };
        for (first, times) in self.layers() {
            add(first, times, self.computed(micro_batch));
        }
        for drafting in self.drafting() {
            add(drafting, 1.0, micro_batch);
        }
        (work, layers)
    }

    /// The share of a layer's experts that a micro-batch is expected to go to; 1 where there are none.
    pub(super) fn touched(&self, micro_batch: Tokens) -> f64 {
        self.model.routed().map_or(1.0, |block| touched(block, micro_batch))
    }

    /// FLOP of a rank's routed experts where each rank sends `tokens`: what it sends, others send it.
    pub(super) fn expert_flops(&self, tokens: Tokens) -> f64 {
        let of = |layer: &Layer| {
            let block = layer.routed();
            block.map_or(0.0, |block| {
                2.0 * block.active_experts() * block.expert_params(self.model.hidden) as f64
            })
        };
        let kinds = self.layers();
        tokens.0 * kinds.iter().map(|&(first, layers)| layers * of(self.model.layer_at(first))).sum::<f64>()
    }

    /// The batch at which arithmetic takes as long as reading all weights that the ranks hold, and their caches: without a context B*,
    /// `rho N_tot / N_act` where each rank has an even part of the weights. `None` where arithmetic never catches up. Source: T, S1, S2.
    pub(super) fn optimal_batch(&self, flops: FlopPerS, bandwidth: BytesPerS) -> Option<Tokens> {
        let all = self.step_work(Tokens(f64::INFINITY)).weights / bandwidth.0;
        let groups = f64::from(self.group() / self.tp);
        // A sequence on each group.
        let each = self.step_work(Tokens(groups));
        let gain = each.flops / flops.0 - each.cache / bandwidth.0;
        (gain > 0.0).then(|| Tokens(groups * all / gain))
    }

    pub(super) fn with_context(&self, context: f64) -> Self {
        Self { context: Tokens(context), ..self.clone() }
    }

    /// Layers of each stage, as evenly as possible, the first stages one more.
    fn stage_layers(&self) -> impl Iterator<Item = Range<u32>> {
        let (layers, stages) = (self.model.num_layers(), self.stages);
        let first = move |stage: u32| stage * (layers / stages) + stage.min(layers % stages);
        (0..stages).map(move |stage| first(stage)..first(stage + 1))
    }

    /// Weights and one sequence's cache on a rank of each stage, the mean over the stage's ranks.
    pub(super) fn held(&self) -> Vec<(Bytes, Bytes)> {
        let (part, model) = (self.part(), &self.model);
        let [embedding, head] = model.embedding_bytes(&part);
        let (drafting, drafting_bytes, drafting_cache) = model.draft_held(self.drafts.depth, &part);
        let context = self.cached();
        let experts = |layer: u32| {
            let block = model.layer_at(layer).routed();
            block.map_or(0.0, |block| self.experts(layer, block, Tokens(f64::INFINITY)).weights)
        };
        let last = self.stages - 1;
        let of = |(stage, layers): (u32, Range<u32>)| {
            let ends = match (stage == 0, stage == last) {
                (true, true) if model.tied_embeddings => embedding,
                (first, last) => f64::from(u8::from(first)) * embedding + f64::from(u8::from(last)) * head,
            };
            let mut weights = model.common_bytes(layers.clone(), &part) + ends;
            weights += model
                .alike(layers.clone())
                .iter()
                .map(|(_, alike)| alike.len() as f64 * experts(alike[0]))
                .sum::<f64>();
            let mut cache = model.cache_growth(layers, self.kv_dtype, self.tp).bytes(context);
            if stage == last {
                weights += drafting_bytes + drafting.iter().map(|&layer| experts(layer)).sum::<f64>();
                cache += drafting_cache.bytes(context);
            }
            (Bytes(weights), Bytes(cache))
        };
        (0..).zip(self.stage_layers()).map(of).collect()
    }

    /// Tokens of a sequence whose entries are in the cache after the step.
    fn cached(&self) -> u64 {
        (self.context + self.prompt).0.round() as u64
    }

    /// One sequence's cache, all layers.
    #[must_use]
    pub fn cache_per_sequence(&self) -> Bytes {
        let growth = self.model.cache_growth(0..self.model.num_layers(), self.kv_dtype, 1);
        Bytes(growth.bytes(self.cached()))
    }

    /// The sequences in flight whose caches fit beside the weights of every stage, on all ranks; buffers are left out. Infinite without a
    /// cache.
    pub(super) fn capacity_batch(&self, capacity: Bytes, held: &[(Bytes, Bytes)]) -> Tokens {
        let groups = f64::from(self.group() / self.tp);
        let of = |&(weights, cache): &(Bytes, Bytes)| match (capacity - weights).max(Bytes::ZERO) {
            Bytes::ZERO => 0.0,
            left => left / cache,
        };
        Tokens(groups * held.iter().map(of).fold(f64::INFINITY, f64::min))
    }
}

/// The share of a block's experts that `tokens` are expected to go to, `1 - (1 - k/E)^T`, all alike to the gate.
fn touched(block: &Block, tokens: Tokens) -> f64 {
    let chosen = block.active_experts() / block.experts().max(1.0);
    -(tokens.0 * (-chosen.min(1.0)).ln_1p()).exp_m1()
}

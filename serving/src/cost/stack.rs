//! A step added up from its parts: every stage's layers, then the hop to the next.

use super::exchange::Exchange;
use super::overlap::HalfLayer;
use super::{
    CostError, HalfShape, LayerCost, LayerTimes, Overlap, RankTokens, StageTime, StepCost, StepShape,
    StepTimes, two_batches,
};
use moe::stack::{Stack, Stage};
use moe::work::{RankLoad, RankPart, TokenLoad, Work};
use std::collections::BTreeMap;
use topology::{Cluster, Fabric, Hardware, LinkClass, Picos, RankId};

/// Parts of a step: the ranks' own work by the roofline, layers with experts by a [`LayerCost`], hops by the links.
///
/// Parts can't all overlap: [`Overlap::Full`] is [`Roofline`](super::Roofline)'s, and here as [`Overlap::None`].
#[derive(Debug)]
pub struct StackCost<L> {
    stack: Stack,
    part: RankPart,
    hardware: Hardware,
    overlap: Overlap,
    hops: Hops,
    exchange: Exchange,
    /// Layers of each stage that ask the same of a rank, `[stages][kinds]`.
    kinds: Vec<Vec<Vec<u32>>>,
    /// Layers like those that draft further tokens, in the order in which they run after the last stage's.
    drafting: Vec<u32>,
    layers: L,
}

/// What handing a micro-batch from stage to stage takes.
#[derive(Clone, Debug)]
pub struct Hops {
    /// Link of each stage's hop, `[stages]`; `None` where there is one stage, whose tokens stay.
    links: Vec<Option<topology::LinkSpec>>,
    /// Bytes of a token's row.
    row_bytes: u64,
    /// Takes the place of all of this.
    fixed: Option<Picos>,
}

/// Bytes of a token that goes back to the first stage: its number.
const TOKEN_BYTES: u64 = 4;

impl Hops {
    /// Between the stages of `stack` over the links of `fabric`; `fixed` takes the place of every hop's time, one stage's included.
    ///
    /// A hop is the BF16 rows of the fullest rank over its port, `2 h` bytes a token, and the link's latency. The last stage hands
    /// each token's number to the first.
    #[must_use]
    pub fn new(stack: &Stack, cluster: &Cluster, fabric: &Fabric, fixed: Option<Picos>) -> Self {
        let stages = stack.num_stages();
        let link = |stage: u32| {
            let (from, to): (RankId, RankId) = (stack.rank_at(stage, 0), stack.rank_at(stage + 1, 0));
            (from != to).then(|| match cluster.link_class(from, to) {
                LinkClass::ScaleUp => fabric.scale_up,
                // All ranks of a stage hop at once.
                LinkClass::ScaleOut => fabric.scale_out_share(),
            })
        };
        let row_bytes = 2 * u64::from(stack.model.hidden);
        Self { links: (0..stages).map(link).collect(), row_bytes, fixed }
    }

    pub(super) fn times(&self, tokens_max: u64) -> Vec<Picos> {
        (0..self.links.len()).map(|stage| self.time(stage, tokens_max)).collect()
    }

    /// The hop after a stage.
    fn time(&self, stage: usize, tokens_max: u64) -> Picos {
        match (self.fixed, self.links[stage]) {
            (Some(fixed), _) => fixed,
            (None, None) => Picos::ZERO,
            (None, Some(link)) => {
                let last = stage + 1 == self.links.len();
                let bytes = if last { TOKEN_BYTES } else { self.row_bytes };
                link.rate.transfer(tokens_max * bytes) + link.latency
            }
        }
    }
}

impl<L: LayerCost> StackCost<L> {
    /// A step of `stack`, its layers with experts by `layers`, parts of tensor parallelism by `exchange`.
    #[must_use]
    pub fn new(
        stack: Stack,
        hardware: Hardware,
        overlap: Overlap,
        (hops, exchange): (Hops, Exchange),
        layers: L,
    ) -> Self {
        let alike =
            |stage: &Stage| stack.model.alike(stage.layers.clone()).into_iter().map(|(_, layers)| layers);
        let kinds = stack.stages().iter().map(|stage| alike(stage).collect()).collect();
        let drafting = stack.drafting();
        Self { part: stack.part(), stack, hardware, overlap, hops, exchange, kinds, drafting, layers }
    }

    /// What the layers are told by.
    pub const fn layers_mut(&mut self) -> &mut L {
        &mut self.layers
    }

    fn time(&self, step: u32, work: Work) -> Result<Picos, CostError> {
        self.hardware
            .time(work.flops, work.bytes(), self.stack.dtype)
            .map_err(|error| CostError { step, problem: error.to_string() })
    }

    /// The slowest rank's own work in a layer, `layer` standing for all of its kind.
    fn local(&self, step: u32, layer: u32, loads: &[RankLoad]) -> Result<Picos, CostError> {
        let mut slowest = Picos::ZERO;
        let mut last = RankLoad::default();
        for &load in loads {
            if load != last {
                let mixers = self.stack.model.mixer_work(layer, &load, &self.part);
                let block = self.stack.model.block_work(layer, load.tokens(), &self.part);
                slowest = slowest.max(self.time(step, mixers)? + self.time(step, block)?);
                last = load;
            }
        }
        Ok(slowest)
    }

    fn head(&self, step: u32, answers: &[u64]) -> Result<Picos, CostError> {
        self.time(step, self.stack.head_work(answers.iter().copied().max().unwrap_or(0)))
    }

    /// One part after the other.
    fn serial(
        &mut self,
        stage: usize,
        shape: &StepShape,
        tokens: &RankTokens,
    ) -> Result<StageTime, CostError> {
        let (mut time, mut hidden) = (StageTime::default(), Picos::ZERO);
        for layers in self.kinds[stage].clone() {
            let local = self.local(shape.step, layers[0], &shape.ranks)?;
            time.local += Picos(local.0 * layers.len() as u64);
            let exchanges = self.stack.model.exchanges(layers[0]) * layers.len() as u32;
            time.all_to_all += self.exchange.time(exchanges, tokens);
        }
        for layer in self.stack.stages()[stage].layers.clone() {
            if self.stack.model.is_moe_layer(layer) {
                let LayerTimes { dispatch, experts, combine } =
                    self.layers.layer(layer, shape.step, tokens)?;
                time.experts += experts;
                time.all_to_all += dispatch + combine;
                hidden += self.hidden(dispatch + combine, experts);
            }
        }
        if stage + 1 == self.kinds.len() {
            time.local += self.head(shape.step, &shape.answers)?;
            time.add(self.draft(shape.step, &shape.ranks)?);
        }
        time.total = (time.local + time.experts + time.all_to_all).saturating_sub(hidden);
        Ok(time)
    }

    /// What a fused layer hides of communication and experts.
    fn hidden(&self, communication: Picos, experts: Picos) -> Picos {
        if !self.hardware.fuses_layers() {
            return Picos::ZERO;
        }
        let together = self.hardware.layer_time(communication.0 as f64, experts.0 as f64);
        (communication + experts).saturating_sub(Picos(together.round() as u64))
    }

    /// The passes of the drafting layers, one after the other: a token of each sequence that decodes.
    fn draft(&mut self, step: u32, loads: &[RankLoad]) -> Result<StageTime, CostError> {
        let mut time = StageTime::default();
        let loads: Vec<RankLoad> = loads.iter().map(RankLoad::drafting).collect();
        let tokens = tokens_of(&loads, self.stack.tp);
        if self.drafting.is_empty() || tokens.total() == 0 {
            return Ok(time);
        }
        for layer in self.drafting.clone() {
            time.local += self.local(step, layer, &loads)?;
            time.all_to_all += self.exchange.time(self.stack.model.exchanges(layer), &tokens);
            if self.stack.model.is_moe_layer(layer) {
                let LayerTimes { dispatch, experts, combine } = self.layers.layer(layer, step, &tokens)?;
                time.experts += experts;
                time.all_to_all += dispatch + combine;
            }
        }
        let most = loads.iter().map(RankLoad::tokens).max().unwrap_or(0);
        let own = self.time(step, self.stack.model.draft_work(most, &self.part))?;
        time.local += Picos(own.0 * u64::from(self.stack.drafts));
        time.total = time.local + time.experts + time.all_to_all;
        Ok(time)
    }

    /// Two half batches. The parts are both halves'.
    ///
    /// With them comes what the hop takes, one of each half, beyond the end of the stage.
    fn halves(&mut self, stage: usize, shape: &StepShape) -> Result<(StageTime, Picos), CostError> {
        let halves = halves(shape).map(|half| (tokens_of(&half.ranks, self.stack.tp), half));
        let mut time = StageTime::default();
        let mut local = BTreeMap::new();
        for layers in &self.kinds[stage] {
            for (half, (tokens, of_half)) in halves.iter().enumerate() {
                // Sums of parts are waited for: they hide behind nothing.
                let exchange = self.exchange.time(self.stack.model.exchanges(layers[0]), tokens);
                let own = self.local(shape.step, layers[0], &of_half.ranks)? + exchange;
                local.extend(layers.iter().map(|&layer| ((layer, half), own)));
            }
        }
        let layers = self.stack.stages()[stage].layers.clone();
        let mut parts = Vec::with_capacity(layers.len());
        for layer in layers {
            let routed = self.stack.model.is_moe_layer(layer);
            let mut pair = [HalfLayer { local: Picos::ZERO, routed: None }; 2];
            for (half, (tokens, _)) in halves.iter().enumerate() {
                pair[half].local = local[&(layer, half)];
                time.local += pair[half].local;
                if routed {
                    let times = self.layers.layer(layer, shape.step, tokens)?;
                    time.experts += times.experts;
                    time.all_to_all += times.dispatch + times.combine;
                    pair[half].routed = Some(times);
                }
            }
            parts.push(pair);
        }
        let mut timeline = two_batches(&parts);
        if stage + 1 == self.kinds.len() {
            for (at, (_, half)) in halves.iter().enumerate() {
                let head = self.head(shape.step, &half.answers)?;
                time.local += head;
                timeline.add(at, true, head);
                let drafts = self.draft(shape.step, &half.ranks)?;
                time.add(drafts);
                timeline.add(at, true, drafts.total);
            }
        }
        time.total = timeline.end();
        for (at, (tokens, _)) in halves.iter().enumerate() {
            timeline.add(at, false, self.hops.time(stage, tokens.max().into()));
        }
        Ok((time, timeline.end().saturating_sub(time.total)))
    }
}

/// Tokens of each rank, an even part of those of its group of `tp`.
pub(super) fn tokens_of(loads: &[RankLoad], tp: u32) -> RankTokens {
    let tokens = |load: &RankLoad| u32::try_from(load.tokens()).unwrap_or(u32::MAX);
    let parts = |all: u32| (0..tp).map(move |rank| all / tp + u32::from(rank < all % tp));
    RankTokens::new(loads.iter().flat_map(|load| parts(tokens(load))).collect())
}

/// The halves of a step: by sequences where a station says so ([`crate::Station::with_halves`]), for other callers every rank's tokens in two, those of all lengths alike in both.
fn halves(shape: &StepShape) -> [HalfShape; 2] {
    if let Some(halves) = &shape.halves {
        return halves.clone();
    }
    let part = |load: TokenLoad, up: bool| load.map(|all| if up { all.div_ceil(2) } else { all / 2 });
    [true, false].map(|up| {
        let half =
            |load: &RankLoad| RankLoad { decode: part(load.decode, up), prefill: part(load.prefill, up) };
        let answers = |answers: &u64| if up { answers.div_ceil(2) } else { answers / 2 };
        HalfShape {
            ranks: shape.ranks.iter().map(half).collect(),
            answers: shape.answers.iter().map(answers).collect(),
        }
    })
}

impl<L: LayerCost> StepCost for StackCost<L> {
    fn step(&mut self, shape: &StepShape) -> Result<StepTimes, CostError> {
        let tokens = tokens_of(&shape.ranks, self.stack.tp);
        let (mut stages, mut hops) = (Vec::with_capacity(self.kinds.len()), Vec::new());
        for stage in 0..self.kinds.len() {
            let (time, hop) = match self.overlap {
                Overlap::TwoBatch => self.halves(stage, shape)?,
                Overlap::None | Overlap::Full => {
                    (self.serial(stage, shape, &tokens)?, self.hops.time(stage, tokens.max().into()))
                }
            };
            stages.push(time);
            hops.push(hop);
        }
        Ok(StepTimes { stages, hops })
    }

    fn name(&self) -> &'static str {
        self.layers.name()
    }
}

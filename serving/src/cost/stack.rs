//! A step added up from its parts: every stage's layers, then the hop to the next.

use super::overlap::HalfLayer;
use super::{
    CostError, HalfShape, LayerCost, LayerTimes, Overlap, RankTokens, StageTime, StepCost, StepShape,
    StepTimes, two_batches,
};
use moe::stack::{Stack, Stage};
use moe::work::{RankLoad, TokenLoad, Work};
use topology::{Cluster, Fabric, Hardware, LinkClass, Picos, RankId};

/// Parts of a step: the ranks' own work by the roofline, layers with experts by a [`LayerCost`], hops by the links.
///
/// Parts can't all overlap: [`Overlap::Full`] is [`Roofline`](super::Roofline)'s, and here as [`Overlap::None`].
#[derive(Debug)]
pub struct StackCost<L> {
    stack: Stack,
    hardware: Hardware,
    overlap: Overlap,
    hops: Hops,
    /// Layers of each stage: dense ones, and those with experts.
    kinds: Vec<Kinds>,
    layers: L,
}

/// Layers of a stage by kind.
#[derive(Clone, Debug)]
struct Kinds {
    dense: Vec<u32>,
    moe: Vec<u32>,
}

impl Kinds {
    fn of(stack: &Stack, stage: &Stage) -> Self {
        let (moe, dense) = stage.layers.clone().partition(|&layer| stack.model.is_moe_layer(layer));
        Self { dense, moe }
    }
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
                LinkClass::ScaleOut => fabric.scale_out,
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
    /// A step of `stack`, its layers with experts by `layers`.
    #[must_use]
    pub fn new(stack: Stack, hardware: Hardware, overlap: Overlap, hops: Hops, layers: L) -> Self {
        let kinds = stack.stages().iter().map(|stage| Kinds::of(&stack, stage)).collect();
        Self { stack, hardware, overlap, hops, kinds, layers }
    }

    /// What the layers are told by.
    pub const fn layers_mut(&mut self) -> &mut L {
        &mut self.layers
    }

    fn time(&self, step: u32, work: Work) -> Result<Picos, CostError> {
        self.hardware
            .time(work.flops, work.bytes, self.stack.dtype)
            .map_err(|error| CostError { step, problem: error.to_string() })
    }

    /// The slowest rank's own work in a layer, `layer` standing for all of its kind.
    fn local(&self, step: u32, layer: u32, loads: &[RankLoad]) -> Result<Picos, CostError> {
        let mut slowest = Picos::ZERO;
        let mut last = RankLoad::default();
        for &load in loads {
            if load != last {
                let [attention, block] = self.stack.local_work(layer, load);
                slowest = slowest.max(self.time(step, attention)? + self.time(step, block)?);
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
        let mut time = StageTime::default();
        let kinds = self.kinds[stage].clone();
        for layers in [&kinds.dense, &kinds.moe] {
            if let Some(&first) = layers.first() {
                let local = self.local(shape.step, first, &shape.ranks)?;
                time.local += Picos(local.0 * layers.len() as u64);
            }
        }
        for &layer in &kinds.moe {
            let LayerTimes { dispatch, experts, combine } = self.layers.layer(layer, shape.step, tokens)?;
            time.experts += experts;
            time.all_to_all += dispatch + combine;
        }
        if stage + 1 == self.kinds.len() {
            time.local += self.head(shape.step, &shape.answers)?;
        }
        time.total = time.local + time.experts + time.all_to_all;
        Ok(time)
    }

    /// Two half batches. The parts are both halves'.
    ///
    /// With them comes what the hop takes, one of each half, beyond the end of the stage.
    fn halves(&mut self, stage: usize, shape: &StepShape) -> Result<(StageTime, Picos), CostError> {
        let halves = halves(shape).map(|half| (tokens_of(&half.ranks), half));
        let mut time = StageTime::default();
        let layers: Vec<u32> = self.stack.stages()[stage].layers.clone().collect();
        let kinds = self.kinds[stage].clone();
        let mut local = [[Picos::ZERO; 2]; 2];
        for (kind, layers) in [&kinds.dense, &kinds.moe].into_iter().enumerate() {
            if let Some(&first) = layers.first() {
                for (half, (_, of_half)) in halves.iter().enumerate() {
                    local[kind][half] = self.local(shape.step, first, &of_half.ranks)?;
                }
            }
        }
        let mut parts = Vec::with_capacity(layers.len());
        for layer in layers {
            let routed = self.stack.model.is_moe_layer(layer);
            let mut pair = [HalfLayer { local: Picos::ZERO, routed: None }; 2];
            for (half, (tokens, _)) in halves.iter().enumerate() {
                pair[half].local = local[usize::from(routed)][half];
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
            }
        }
        time.total = timeline.end();
        for (at, (tokens, _)) in halves.iter().enumerate() {
            timeline.add(at, false, self.hops.time(stage, tokens.max().into()));
        }
        Ok((time, timeline.end().saturating_sub(time.total)))
    }
}

/// Tokens of each rank.
pub(super) fn tokens_of(loads: &[RankLoad]) -> RankTokens {
    let tokens = |load: &RankLoad| u32::try_from(load.tokens()).unwrap_or(u32::MAX);
    RankTokens::new(loads.iter().map(tokens).collect())
}

/// The halves of a step: by sequences where a station says so ([`crate::Station::with_halves`]), for other callers every rank's tokens in two, those of all lengths alike in both.
fn halves(shape: &StepShape) -> [HalfShape; 2] {
    if let Some(halves) = &shape.halves {
        return halves.clone();
    }
    let part = |load: TokenLoad, up: bool| {
        let half = |all: u64| if up { all.div_ceil(2) } else { all / 2 };
        TokenLoad { tokens: half(load.tokens), read: half(load.read), pairs: half(load.pairs) }
    };
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
        let tokens = tokens_of(&shape.ranks);
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

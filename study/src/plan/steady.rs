//! A layout under a steady load, by closed forms: what a step takes, and from it the rate, TTFT and TPOT.
//!
//! With In and Out the mean tokens of prompt and answer, g tokens gained a step, a prompt lives c = max(ceil(In / budget), In / left) steps, where
//! answers beside it leave so much of a step's budget of tokens, and its answer o = (Out - 1) / g. Of q sequences that a group of ranks has on a
//! train, a share o / (c + o) decodes, and G groups end G q / (c + o) of them a step. Prompts lie on as many groups as they arrive at, the others
//! wait for those: the mean step is between one without a prompt and one with the prompts that come at once (Poisson). m trains of interval t
//! carry m G q / ((c + o) t) requests a second. A prompt's own steps are those with prompts, so TTFT is made of them and not of mean steps.

use super::{Ask, Layout, Limits, Role};
use crate::serving::{Cost, Deployment, ServeError, Sources};
use moe::stack::Stack;
use moe::work::{RankLoad, TokenLoad};
use serde::Serialize;
use serving::Ledger;
use serving::cost::{HalfShape, Overlap, StepShape};

/// What stops a layout from carrying more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Binds {
    /// Memory for caches.
    Memory,
    /// The limit on the time to the first token.
    Ttft,
    /// The limit on the time per output token.
    Tpot,
    /// Prompts fill all steps.
    Prompts,
    /// As many sequences as a step has tokens.
    Seats,
}

/// A layout's state at one load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Steady {
    /// Sequences of a group of ranks, over all trains.
    pub sequences: f64,
    /// Requests a second.
    pub rate: f64,
    /// Mean time to first token, ms.
    pub ttft_ms: f64,
    /// Mean time per output token, ms; 0 for prompts alone.
    pub tpot_ms: f64,
    /// Mean step, ms: from a train's departure to its next.
    pub step_ms: f64,
}

/// A train's way through all stages.
#[derive(Clone, Copy, Debug)]
struct Ride {
    /// All of it.
    pass_ms: f64,
    /// In the stage that takes longest.
    slowest_ms: f64,
}

impl Ride {
    /// From a train's departure to its next where all `trains` ride alike.
    fn interval_ms(self, trains: f64) -> f64 {
        self.pass_ms.max(trains * self.slowest_ms)
    }

    /// So large a `share` of the way to `other`.
    fn towards(self, other: Self, share: f64) -> Self {
        let between = |from: f64, to: f64| from + (to - from) * share;
        Self {
            pass_ms: between(self.pass_ms, other.pass_ms),
            slowest_ms: between(self.slowest_ms, other.slowest_ms),
        }
    }
}

/// The closed forms of one layout.
#[derive(Debug)]
pub struct Curve {
    /// Which layout.
    pub layout: Layout,
    stack: Stack,
    cost: Box<dyn Cost>,
    input: f64,
    output: f64,
    /// Tokens computed, and gained, a step.
    drafted: (u64, f64),
    /// Sequences that fit in a group's memory.
    room: f64,
    /// Handing over a prompt's cache, ms; 0 for a whole replica.
    pub(super) handover_ms: f64,
}

/// Loads are on a grid of so many an octave.
pub(super) const AN_OCTAVE: i32 = 4;
/// Share of the places in memory that are taken on average, at most: requests come at random, and with all places taken a queue never ends.
const FULL: f64 = 0.9;
/// The least load, sequences of a group, as a power of two.
const LEAST: i32 = -4;
/// The largest.
const MOST: i32 = 14;

/// The load `at` of the grid.
pub(super) fn sequences_at(at: i32) -> f64 {
    (f64::from(at) / f64::from(AN_OCTAVE)).exp2()
}

/// All indices of the grid.
pub(super) fn grid() -> std::ops::RangeInclusive<i32> {
    LEAST * AN_OCTAVE..=MOST * AN_OCTAVE
}

impl Curve {
    /// The closed forms of `layout`.
    ///
    /// # Errors
    /// Why it can't be: memory, heads that don't divide, routing that closed forms don't know.
    pub fn new(layout: Layout, ask: &Ask, sources: &dyn Sources) -> Result<Self, ServeError> {
        let spec = layout.spec(ask, 1, ask.arrivals(1.0, 1, false));
        let deployment = Deployment::new(&spec, sources)?;
        deployment.check_times(&spec)?;
        let drafts = spec.scenario.drafts()?;
        let stack = deployment.stack.clone();
        let ledger = Ledger::new(deployment.memory.clone(), stack.groups(), spec.scheduler.block_tokens)?;
        let (input, output) =
            (ask.load.input_len, if layout.role == Role::Prefill { 1.0 } else { ask.load.output_len });
        let need = ledger.rounded((input + output).ceil() as u64);
        let handover =
            deployment.memory.iter().map(|stage| stage.cache.bytes(input as u64)).fold(0.0, f64::max);
        let link = deployment.fabric.scale_out_share();
        let handover_ms =
            (handover / link.rate.bytes_per_s() as f64) * 1e3 + link.latency.as_micros_f64() / 1e3;
        Ok(Self {
            cost: deployment.cost(&spec)?,
            input,
            output,
            drafted: (u64::from(drafts.tokens()), drafts.gained()),
            room: ledger.capacity_tokens() as f64 / need as f64,
            handover_ms: if layout.role == Role::Whole { 0.0 } else { handover_ms },
            layout,
            stack,
        })
    }

    /// Steps of a prompt where nobody rides beside it, and of its answer.
    fn steps(&self) -> (f64, f64) {
        let chunk = f64::from(self.layout.step_tokens);
        let answers = self.output / self.drafted.1;
        match self.layout.role {
            Role::Whole => ((self.input / chunk).ceil(), (answers - 1.0 / self.drafted.1).max(0.0)),
            Role::Prefill => ((self.input / chunk).ceil(), 0.0),
            Role::Decode => (0.0, answers),
        }
    }

    /// The state with `sequences` a group, or what stands in its way.
    ///
    /// # Errors
    /// [`Binds`].
    pub fn at(&mut self, sequences: f64) -> Result<Steady, Binds> {
        if sequences > self.room * FULL {
            return Err(Binds::Memory);
        }
        let trains = f64::from(self.layout.micro_batches);
        let groups = f64::from(self.stack.groups());
        let of_train = sequences / trains;
        let (alone, answer) = self.steps();
        let budget = f64::from(self.layout.step_tokens);
        let own = (of_train * answer / (alone + answer)).ceil() * self.drafted.0 as f64;
        if own >= budget {
            return Err(Binds::Seats);
        }
        // Answers go first: a prompt as long as a step needs a little of a second one.
        let prompt = if alone == 0.0 { 0.0 } else { alone.max(self.input / (budget - own)) };
        let life = prompt + answer;
        let decoding = groups * of_train * answer / life;
        let arrive = groups * of_train / life;
        let busy = arrive * prompt;
        // The mean step; and what a prompt's own steps and the last of them take.
        let (step_ms, long_ms, last_ms) = if prompt == 0.0 {
            let step_ms = self.ride(decoding, 0, 0.0).interval_ms(trains);
            (step_ms, step_ms, step_ms)
        } else {
            // Prompts come at once where they come at all.
            let some = -(-busy).exp_m1();
            let at_once = (busy / some).min(groups);
            let tokens = arrive * self.input / some / at_once;
            if tokens > (budget - own) * (1.0 + 1e-9) {
                return Err(Binds::Prompts);
            }
            let (below, above) = (at_once.floor(), at_once.ceil().min(groups));
            let low = self.ride(decoding, below.max(1.0) as u64, tokens);
            let high = self.ride(decoding, above.max(1.0) as u64, tokens);
            let with = low.towards(high, at_once - below);
            let none = if some < 1.0 { self.ride(decoding, 0, 0.0) } else { with };
            let mean = some * with.interval_ms(trains) + (1.0 - some) * none.interval_ms(trains);
            // The other trains of a pipeline have prompts as often as any.
            let others = (trains - 1.0) * none.towards(with, some).slowest_ms;
            (mean, with.pass_ms.max(with.slowest_ms + others), with.pass_ms)
        };
        let rate = trains * arrive / (step_ms / 1e3);
        // Sakasegawa's queue of g servers with Poisson arrivals and even service; several short prompts share a step.
        let used = arrive * self.input / groups / (budget - own);
        if self.layout.role != Role::Decode && used >= 1.0 {
            return Err(Binds::Prompts);
        }
        let queue = used.powf((2.0 * (groups + 1.0)).sqrt() - 1.0) / (groups * (1.0 - used)) / 2.0;
        let ttft_ms = if self.layout.role == Role::Decode {
            1.5 * step_ms
        } else {
            // Who comes to an empty train leaves at once, others wait for half a step.
            let under_way = -(-groups * of_train).exp_m1();
            last_ms + (prompt - 1.0 + prompt * queue) * long_ms + under_way * 0.5 / trains * step_ms
        };
        let tpot_ms = if self.layout.role == Role::Prefill { 0.0 } else { step_ms / self.drafted.1 };
        Ok(Steady { sequences, rate, ttft_ms, tpot_ms, step_ms })
    }

    /// A train's ride with `decoding` sequences on it and prompts on `prompts` groups, `tokens` of each.
    fn ride(&mut self, decoding: f64, prompts: u64, tokens: f64) -> Ride {
        let groups = u64::from(self.stack.groups());
        let all = decoding.round().max(if prompts == 0 { 1.0 } else { 0.0 }) as u64;
        let reaches = self.stack.reaches();
        let context = (self.input + self.output / 2.0) as u64;
        let one = reaches.of_sequence(context, self.drafted.0);
        let chunk = (tokens.round() as u64).max(1);
        // Half of a long prompt was there before, on average.
        let cached = ((self.input - tokens).max(0.0) / 2.0) as u64;
        let part = reaches.of_sequence(cached, chunk);
        // A prompt alone on its ranks goes whole with one half of the batch.
        let alone = tokens <= self.input;
        let column = |group: u64, half: Option<u64>| {
            let sequences = all / groups + u64::from(group < all % groups);
            let (decoding, mine, parts) = match half {
                None => (sequences, true, 1),
                // As `moe::stack::Halves` has it: whoever comes goes to the half that has fewer, and where both have as many columns take turns.
                Some(half) => {
                    let turn = group % 2 == half;
                    let next = if sequences.is_multiple_of(2) { turn } else { !turn };
                    (
                        sequences / 2 + u64::from(!sequences.is_multiple_of(2) && turn),
                        next || !alone,
                        if alone { 1 } else { 2 },
                    )
                }
            };
            let prefill = if mine && group < prompts {
                part.map(|one| one.div_ceil(parts))
            } else {
                TokenLoad::default()
            };
            (RankLoad { decode: one.map(|one| one * decoding), prefill }, decoding)
        };
        let of = |half: Option<u64>| -> (Vec<RankLoad>, Vec<u64>) {
            (0..groups).map(|group| column(group, half)).unzip()
        };
        let (ranks, answers) = of(None);
        let halves = (self.layout.overlap == Overlap::TwoBatch).then(|| {
            [0, 1].map(|half| {
                let (ranks, answers) = of(Some(half));
                HalfShape { ranks, answers }
            })
        });
        let shape = StepShape { ranks, answers, step: 0, halves, batch: None };
        let never = Ride { pass_ms: f64::INFINITY, slowest_ms: f64::INFINITY };
        let Ok(times) = self.cost.step(&shape) else { return never };
        let ms = |picos: u64| picos as f64 / 1e9;
        let pass: u64 = times.stages.iter().map(|stage| stage.total.0).sum::<u64>()
            + times.hops.iter().map(|hop| hop.0).sum::<u64>();
        let slowest = times.stages.iter().map(|stage| stage.total.0).max().unwrap_or(0);
        Ride { pass_ms: ms(pass), slowest_ms: ms(slowest) }
    }

    /// What this layout must keep of `limits`: of two pools, prompts leave room for the handover and for two steps of the others, in which
    /// answers begin.
    #[must_use]
    pub fn share_of(&self, limits: Limits) -> Limits {
        let begins_ms = 2.0 * limits.tpot_ms;
        let ttft_ms = match self.layout.role {
            Role::Whole => limits.ttft_ms,
            Role::Prefill => limits.ttft_ms - self.handover_ms - begins_ms,
            Role::Decode => begins_ms,
        };
        Limits { ttft_ms, ..limits }
    }

    /// The largest load of the grid that keeps its share of `limits`, and what stands in the way of the next; only the latter where none
    /// does.
    pub fn best(&mut self, limits: Limits) -> (Option<(i32, Steady)>, Binds) {
        let (mut low, mut high) = (*grid().start() - 1, *grid().end() + 1);
        let (mut best, mut binds) = (None, Binds::Seats);
        let limits = self.share_of(limits);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.keeps(middle, limits) {
                Ok(steady) => (low, best) = (middle, Some((middle, steady))),
                Err(why) => (high, binds) = (middle, why),
            }
        }
        (best, binds)
    }

    fn keeps(&mut self, at: i32, limits: Limits) -> Result<Steady, Binds> {
        let steady = self.at(sequences_at(at))?;
        if steady.tpot_ms > limits.tpot_ms {
            Err(Binds::Tpot)
        } else if steady.ttft_ms > limits.ttft_ms {
            Err(Binds::Ttft)
        } else {
            Ok(steady)
        }
    }

    /// Sequences of a rank on one train that have a seat: half as many again as ride on average, as far as memory goes.
    #[must_use]
    pub fn seats(&self, sequences: f64) -> u32 {
        let trains = f64::from(self.layout.micro_batches);
        let most = (self.room / trains).floor().max(1.0);
        ((sequences / trains * 1.5).ceil() + 2.0).min(most).min(f64::from(self.layout.step_tokens)) as u32
    }

    /// Sequences that the groups of the replica have aboard with `sequences` each.
    #[must_use]
    pub fn aboard(&self, sequences: f64) -> f64 {
        sequences * f64::from(self.stack.groups())
    }
}

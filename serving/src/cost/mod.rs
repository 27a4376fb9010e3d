//! What a step takes: the door to closed forms, to simulated frames, and to a memory of simulated frames.
//!
//! [`StackCost`] adds a step up, layer by layer; what dispatch, experts and combine of a layer take says a [`LayerCost`], of which
//! there are three: [`Analytic`], frames (where the ranks run, outside of this crate), and [`Memoised`] of another. [`Roofline`] is
//! the whole step as one roofline, the equations' own.

mod analytic;
mod check;
mod exchange;
mod layer;
mod memo;
mod overlap;
mod roofline;
mod stack;
#[cfg(test)]
mod tests;

pub use analytic::Analytic;
pub use check::{Checked, MemoCheck};
pub use exchange::Exchange;
pub use layer::{AskedLayer, LayerCost, LayerTimes, RankTokens};
pub use memo::Memoised;
pub use overlap::{HalfLayer, Overlap, Timeline, two_batches};
pub use roofline::Roofline;
pub use stack::{Hops, StackCost};

use moe::stack::StepBatch;
use moe::work::RankLoad;
use thiserror::Error;
use topology::Picos;

/// The tokens of one step (one micro-batch's pass through all stages).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepShape {
    /// What each rank of a stage has to do, `[ranks of a stage]`; a sequence sits on the same index in every stage. With tensor parallelism
    /// an entry is a group of ranks that work on the same tokens.
    pub ranks: Vec<RankLoad>,
    /// Tokens of each rank whose next token is asked for, `[ranks of a stage]`: the head computes for these.
    pub answers: Vec<u64>,
    /// Number of the step in the run: routing may depend on it.
    pub step: u32,
    /// The same in two halves, where the station was asked for it ([`crate::Station::with_halves`]).
    pub halves: Option<[HalfShape; 2]>,
    /// The same by sequence, where the station was asked for it ([`crate::Station::with_batches`]).
    pub batch: Option<StepBatch>,
}

impl StepShape {
    /// New tokens of answers and of prompts, over all ranks.
    #[must_use]
    pub fn new_tokens(&self) -> [u64; 2] {
        let of = |tokens: fn(&RankLoad) -> u64| self.ranks.iter().map(tokens).sum();
        [of(|load| load.decode.tokens), of(|load| load.prefill.tokens)]
    }
}

/// Half of the sequences of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HalfShape {
    /// As in [`StepShape`].
    pub ranks: Vec<RankLoad>,
    /// As in [`StepShape`].
    pub answers: Vec<u64>,
}

/// How long it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepTimes {
    /// Time of each stage, `[stages]`.
    pub stages: Vec<StageTime>,
    /// Handing the micro-batch from each stage to the next, `[stages]`: the last one hands its tokens back to the first.
    pub hops: Vec<Picos>,
}

/// What a stage spends its time on. Parts that overlap add up to more than the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTime {
    /// From the arrival of the micro-batch to its end.
    pub total: Picos,
    /// Attention, dense and shared blocks, head: the slowest rank's.
    pub local: Picos,
    /// Routed experts: the slowest rank's.
    pub experts: Picos,
    /// Dispatch and combine.
    pub all_to_all: Picos,
}

impl StageTime {
    /// Adds parts of another, which the whole is yet to be made of.
    fn add(&mut self, other: Self) {
        self.local += other.local;
        self.experts += other.experts;
        self.all_to_all += other.all_to_all;
    }
}

/// Something that knows what steps take.
pub trait StepCost {
    /// What `shape` takes.
    ///
    /// # Errors
    /// [`CostError`].
    fn step(&mut self, shape: &StepShape) -> Result<StepTimes, CostError>;

    /// Where the times are from, in a word: `analytic`, `frames`, `memoised`.
    fn name(&self) -> &'static str;
}

/// A step whose cost can't be told.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("step {step}: {problem}")]
pub struct CostError {
    /// Number of the step, from 0.
    pub step: u32,
    /// What is wrong, and the remedy.
    pub problem: String,
}

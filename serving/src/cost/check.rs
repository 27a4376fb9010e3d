//! Steps with remembered layers, some of which are computed in full afterwards: how far off they were.

use super::{CostError, LayerCost, Memoised, StackCost, StepCost, StepShape, StepTimes};
use moe::seed::{Purpose, generator};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Steps that are kept to be computed in full.
const CHECKS: usize = 12;
/// Tokens that the layers of one of them may have together: a step with more is computed from fewer layers.
const CHECK_TOKENS: u64 = 120_000;

/// How far steps with remembered layers were from computed ones, as shares of the whole steps' times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoCheck {
    /// Steps compared, each as likely as any other.
    pub steps: u32,
    /// Layers computed for them.
    pub layers: u32,
    /// Mean of the error's size.
    pub mean_error: f64,
    /// Largest relative error of a step.
    pub max_error: f64,
    /// Error of all of them together: what does not average out, as a step's own luck with its routing does.
    pub total_error: f64,
    /// Corners of the grid that were computed.
    pub corners: u32,
    /// Steps that were asked for, remembered or computed.
    pub lookups: u64,
}

/// A step's cost from remembered layers, and the steps that are to be checked (a reservoir sample).
#[derive(Debug)]
pub struct Checked<L> {
    cost: StackCost<Memoised<L>>,
    seed: u64,
    seen: u64,
    kept: Vec<StepShape>,
}

impl<L: LayerCost> Checked<L> {
    /// Keeps some of the steps of `cost`, drawn with `seed`.
    #[must_use]
    pub const fn new(cost: StackCost<Memoised<L>>, seed: u64) -> Self {
        Self { cost, seed, seen: 0, kept: Vec::new() }
    }

    /// Computes the kept steps in full and compares.
    ///
    /// # Errors
    /// As the source of times.
    pub fn check(&mut self) -> Result<MemoCheck, CostError> {
        let kept = std::mem::take(&mut self.kept);
        let corners = u32::try_from(self.cost.layers_mut().corners()).unwrap_or(u32::MAX);
        let mut check =
            MemoCheck { steps: kept.len() as u32, corners, lookups: self.seen, ..MemoCheck::default() };
        let mut sums = (0.0, 0.0);
        // All that is to be computed in full is asked for first, and computed at once.
        self.cost.layers_mut().tell_in_full();
        for shape in &kept {
            self.stand_for(shape);
            self.cost.step(shape)?;
        }
        self.cost.layers_mut().compute_asked()?;
        self.cost.layers_mut().look_up();
        for shape in kept {
            check.layers += self.stand_for(&shape);
            let looked_up = total(&self.cost.step(&shape)?);
            self.cost.layers_mut().tell_in_full();
            let computed = self.cost.step(&shape);
            self.cost.layers_mut().look_up();
            let computed = total(&computed?).max(1.0);
            let error = looked_up / computed - 1.0;
            check.mean_error += error.abs() / f64::from(check.steps);
            sums = (sums.0 + looked_up, sums.1 + computed);
            check.max_error = check.max_error.max(error.abs());
        }
        check.total_error = if sums.1 > 0.0 { sums.0 / sums.1 - 1.0 } else { 0.0 };
        Ok(check)
    }

    /// Has few enough layers stand for all of a step, how many: layers that are not alike are looked up and computed for the same of them.
    fn stand_for(&mut self, shape: &StepShape) -> u32 {
        let tokens: u64 = shape.ranks.iter().map(moe::work::RankLoad::tokens).sum();
        let layers = usize::try_from(CHECK_TOKENS / tokens.max(1)).unwrap_or(usize::MAX);
        let memo = self.cost.layers_mut();
        memo.let_stand(layers);
        layers.clamp(1, memo.num_layers()) as u32
    }
}

/// Time of all stages, ps.
fn total(times: &StepTimes) -> f64 {
    times.stages.iter().map(|stage| stage.total.0 as f64).sum()
}

impl<L: LayerCost> StepCost for Checked<L> {
    fn step(&mut self, shape: &StepShape) -> Result<StepTimes, CostError> {
        let place = if self.kept.len() < CHECKS {
            self.kept.len()
        } else {
            generator(Purpose::Checks, self.seed, [self.seen, 0, 0]).random_range(0..=self.seen) as usize
        };
        self.seen += 1;
        if place < CHECKS {
            match self.kept.get_mut(place) {
                Some(kept) => kept.clone_from(shape),
                None => self.kept.push(shape.clone()),
            }
        }
        self.cost.step(shape)
    }

    fn name(&self) -> &'static str {
        "memoised"
    }
}

//! A whole model on ranks: which stage has which layers, the batches that pass through them, and what a layer does to tokens
//! outside its routed experts.
//!
//! A **stage** is a run of layers on a run of ranks, which are its expert-parallel group. Sequences sit in **columns**: column i is
//! rank i of every stage, so that a sequence's cache lies on rank i of each stage, for that stage's layers. A **batch** says for
//! each column what is new of which sequences; it passes through the stages one after the other.
//!
//! A layer l does to a token's state x, which is BF16 between layers as in published models, so that a hop changes nothing:
//!
//! ```text
//! x1 = x + attention(norm(x), cache)       b = norm(x1)
//! dense layer:          x' = bf16(x1 + block(b))
//! layer with experts:   x' = bf16((x1 + shared(b)) + routed(b))
//! ```
//!
//! What the model answers is norm(x) after the last layer.

mod batch;
mod cache;
mod error;
mod halves;
mod layer;
#[cfg(test)]
mod tests;

pub use crate::ids::TokenId;
pub use batch::{Chunk, Column, MAX_CHUNKS, MAX_COLUMN_TOKENS, StepBatch};
pub use cache::{KV_WIDTH, KvCache};
pub use error::{BatchError, StackError};
pub use halves::{Halves, Split};
pub use layer::{LocalLayer, add_routed, answers, fill_embedding};

use crate::model::Model;
use crate::shape::LayerShape;
use crate::work::{CommonWeights, RankLoad, RankPart, Reaches, Work};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use topology::{Cluster, Dtype, RankId};

/// A run of layers on a run of ranks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its layers, by index in the model.
    pub layers: Range<u32>,
    /// Its ranks, by number.
    pub ranks: Range<u32>,
}

/// The layers of a model on the ranks of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Layers, widths, experts and attention.
    pub model: Model,
    /// Type of the weights, and of the arithmetic.
    pub dtype: Dtype,
    /// Type of the cache.
    pub kv_dtype: Dtype,
    /// Where the weights lie that every token uses.
    pub common: CommonWeights,
    /// Tokens that layers beside the model draft a step.
    pub drafts: u32,
    /// Ranks that share out heads and inner widths and work on the same sequences; 1: each rank has its own.
    pub tp: u32,
    stages: Vec<Stage>,
}

impl Stack {
    /// `model` in `num_stages` stages, layers as evenly as possible, the first stages one more.
    ///
    /// One stage is one group over all racks. More are whole racks each, in order, or equal parts of a rack each; either way all have
    /// the same number of ranks, in racks of the same sizes.
    ///
    /// # Errors
    /// [`StackError`] where layers or racks can't be divided so.
    pub fn new(
        model: Model,
        dtype: Dtype,
        kv_dtype: Dtype,
        (common, tp): (CommonWeights, u32),
        num_stages: u32,
        cluster: &Cluster,
    ) -> Result<Self, StackError> {
        model.validate()?;
        model.check_ranks()?;
        let layers = model.num_layers();
        if num_stages == 0 || num_stages > layers {
            return Err(StackError::Stages { stages: num_stages, layers });
        }
        let ranks = stage_ranks(cluster, num_stages)
            .ok_or_else(|| StackError::Racks { stages: num_stages, racks: cluster.rack_sizes().to_vec() })?;
        let (each, more) = (layers / num_stages, layers % num_stages);
        let first = |stage: u32| stage * each + stage.min(more);
        let stages = (0..num_stages)
            .zip(ranks)
            .map(|(stage, ranks)| Stage { layers: first(stage)..first(stage + 1), ranks })
            .collect();
        let stack = Self { model, dtype, kv_dtype, common, drafts: 0, tp, stages };
        stack.check_groups(cluster)?;
        Ok(stack)
    }

    /// The same with `drafts` further tokens drafted a step.
    ///
    /// # Errors
    /// [`StackError::Model`] where the model has no layers that do.
    pub fn with_drafts(self, drafts: u32) -> Result<Self, StackError> {
        self.model.draft_layers(drafts)?;
        Ok(Self { drafts, ..self })
    }

    /// Layers like those that draft, in the order in which they run.
    #[must_use]
    pub fn drafting(&self) -> Vec<u32> {
        self.model.draft_layers(self.drafts).unwrap_or_default()
    }

    /// Checks a stack that was read against the cluster that it is to run on.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn validate(&self, cluster: &Cluster) -> Result<(), StackError> {
        let Self { model, dtype, kv_dtype, common, tp, .. } = self;
        let made = Self::new(model.clone(), *dtype, *kv_dtype, (*common, *tp), self.num_stages(), cluster)?;
        if made.stages == self.stages { Ok(()) } else { Err(StackError::Other) }
    }

    /// Checks that groups of tensor parallelism are whole, each in one rack of a stage.
    fn check_groups(&self, cluster: &Cluster) -> Result<(), StackError> {
        let Self { tp, .. } = *self;
        let parts = cluster.rack_sizes().iter().map(|&size| size.min(self.columns()));
        match parts.into_iter().find(|&ranks| tp == 0 || ranks % tp != 0) {
            Some(ranks) => Err(StackError::Groups { tp, ranks }),
            None => Ok(()),
        }
    }

    /// Number of stages.
    #[must_use]
    pub fn num_stages(&self) -> u32 {
        u32::try_from(self.stages.len()).expect("stages are bounded by layers")
    }

    /// The stages, in the order in which tokens pass through them.
    #[must_use]
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The stage that `rank` belongs to.
    ///
    /// # Panics
    /// If the rank is in none.
    #[must_use]
    pub fn stage_of(&self, rank: RankId) -> u32 {
        let at = self.stages.iter().position(|stage| stage.ranks.contains(&rank.0));
        u32::try_from(at.expect("every rank is in a stage")).expect("stages are bounded")
    }

    /// Number of columns: ranks of a stage.
    #[must_use]
    pub fn columns(&self) -> u32 {
        let ranks = &self.stages[0].ranks;
        ranks.end - ranks.start
    }

    /// The column of `rank`.
    ///
    /// # Panics
    /// If the rank is in no stage.
    #[must_use]
    pub fn column_of(&self, rank: RankId) -> u32 {
        rank.0 - self.stages[self.stage_of(rank) as usize].ranks.start
    }

    /// The rank of `column` in `stage`, which wraps: the stage after the last is the first.
    #[must_use]
    pub fn rank_at(&self, stage: u32, column: u32) -> RankId {
        RankId(self.stages[(stage % self.num_stages()) as usize].ranks.start + column)
    }

    /// Layers of the longest stage.
    #[must_use]
    pub fn longest(&self) -> u32 {
        self.stages.iter().map(|stage| stage.layers.end - stage.layers.start).max().unwrap_or(0)
    }

    /// The shape of a layer with experts.
    #[must_use]
    pub fn shape(&self) -> LayerShape {
        LayerShape { dtype: self.dtype, ..self.model.layer() }
    }

    /// Groups of ranks of a stage that work on the same sequences: places of sequences. Without tensor parallelism, columns.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.columns() / self.tp
    }

    /// What one rank has of the work that every token asks for.
    #[must_use]
    pub fn part(&self) -> RankPart {
        let dtypes = (self.dtype, self.kv_dtype);
        RankPart::new(&self.model, dtypes, self.common, self.tp, self.columns())
    }

    /// How its layers look back.
    #[must_use]
    pub fn reaches(&self) -> Reaches {
        self.model.reaches()
    }

    /// What a rank does in `layer` to the tokens of its group: mixers, then dense blocks or router and shared experts. Each
    /// is a kernel of its own, so that their times add up.
    ///
    /// # Panics
    /// If the model has no such layer.
    #[must_use]
    pub fn local_work(&self, layer: u32, load: &RankLoad) -> [Work; 2] {
        let part = self.part();
        [self.model.mixer_work(layer, load, &part), self.model.block_work(layer, load.tokens(), &part)]
    }

    /// What a rank of the last stage does for `answers` tokens whose next token is asked for.
    #[must_use]
    pub fn head_work(&self, answers: u64) -> Work {
        self.model.head_work(answers, &self.part())
    }
}

/// The ranks of each stage; `None` where the racks can't be divided.
fn stage_ranks(cluster: &Cluster, stages: u32) -> Option<Vec<Range<u32>>> {
    let (racks, sizes) = (cluster.num_racks(), cluster.rack_sizes());
    if stages > 1 && racks.is_multiple_of(stages) {
        let groups: Vec<&[u32]> = sizes.chunks((racks / stages) as usize).collect();
        if groups.iter().any(|group| *group != groups[0]) {
            return None;
        }
    } else if stages > 1 {
        let parts = stages / racks;
        if !stages.is_multiple_of(racks) || !cluster.is_uniform() || !sizes[0].is_multiple_of(parts) {
            return None;
        }
    }
    let each = cluster.num_ranks() / stages;
    Some((0..stages).map(|stage| stage * each..(stage + 1) * each).collect())
}

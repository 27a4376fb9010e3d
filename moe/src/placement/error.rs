//! Limits of a placement, and why one can't be built.

use crate::ids::{ExpertId, SlotId};
use crate::registry::NameError;
use crate::shape::MAX_EXPERTS;
use thiserror::Error;
use topology::RackId;

/// Most slots that a placement may have (65,536 ranks of 16, or 4,096 of 256).
pub const MAX_SLOTS: usize = 1 << 20;

/// Most (rack, replicated expert) pairs of a placement.
pub(super) const MAX_SHARED: u64 = 1 << 22;

/// Why a placement can't be built.
#[derive(Debug, Error)]
pub enum PlacementError {
    /// No logical experts, or more than [`MAX_EXPERTS`].
    #[error(
        "{origin}: {num_experts} logical experts; a placement covers 1 to {MAX_EXPERTS}: check the model"
    )]
    NumExperts {
        /// What was being built or read.
        origin: String,
        /// The count asked for.
        num_experts: u32,
    },
    /// More than [`MAX_SLOTS`] slots.
    #[error("{origin}: {slots} slots, more than {MAX_SLOTS}: use fewer replicas or fewer ranks")]
    TooManySlots {
        /// What was being built or read.
        origin: String,
        /// The count asked for.
        slots: u64,
    },
    /// More (rack, expert) pairs to choose replicas for than a placement may have.
    #[error(
        "{origin}: {racks} racks that each choose among replicas of {replicated} experts, more than {MAX_SHARED} pairs: \
         use fewer racks or replicate fewer experts"
    )]
    TooManyShares {
        /// What was being built or read.
        origin: String,
        /// Racks of the cluster.
        racks: u32,
        /// Experts with replicas.
        replicated: u32,
    },
    /// A demand whose parts don't fit each other or the cluster.
    #[error("demand: {0}")]
    Demand(String),
    /// More slots than the experts can fill without two replicas on a rank, or fewer than experts.
    #[error(
        "rack-aware placement: {slots} slots for {experts} experts on {ranks} ranks: give at least one an expert, and at most \
         one an expert and rank"
    )]
    Slots {
        /// Slots asked for.
        slots: u32,
        /// Logical experts.
        experts: u32,
        /// Ranks.
        ranks: u32,
    },
    /// A policy that needs another number of slots.
    #[error(
        "{slots} slots: {policy} has {needed}, neither more nor fewer: give that number, or another policy"
    )]
    FixedSlots {
        /// The policy.
        policy: String,
        /// Slots asked for.
        slots: u32,
        /// Slots that it has.
        needed: u64,
    },
    /// A file of several layers without the one asked for.
    #[error("{origin}: no layer {layer}; the file has {given}")]
    NoSuchLayer {
        /// The file.
        origin: String,
        /// The layer asked for.
        layer: u32,
        /// Its layers.
        given: String,
    },
    /// A policy that there is not.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file of another system, or a program's answer, that can't be used.
    #[error("{origin}: {problem}")]
    Foreign {
        /// The file or program.
        origin: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A placement that another system's file can't express.
    #[error("{0}")]
    Export(String),
    /// Shares that came from another process don't fit their slots.
    #[error("stored placement: the shares of replicas don't fit the slots: use the same version everywhere")]
    Shares,
    /// Layers that came from another process name placements that did not come with them.
    #[error("stored placements: layers name placements that there are not: use the same version everywhere")]
    Layers,
    /// A rack outside the cluster.
    #[error("{rack} does not exist: the cluster has racks 0 to {}", .num_racks - 1)]
    NoSuchRack {
        /// The rack asked for.
        rack: RackId,
        /// Racks in the cluster.
        num_racks: u32,
    },
    /// The text is not JSON of the expected shape.
    #[error(
        "{origin}: {source}; expected {{\"physical_to_logical_map\": [expert, ...], \"slots_per_rank\": [n, ...]}} \
         for one layer, the second key optional; or vLLM's expert_to_ep_rank, TensorRT-LLM's initial_global_assignments, \
         SGLang's physical_to_logical_map of all layers"
    )]
    Json {
        /// The file or argument the text came from.
        origin: String,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// The text is larger than any placement within the limits.
    #[error("{origin}: {bytes} bytes, more than {limit}: not a placement file")]
    TooLong {
        /// The file or argument the text came from.
        origin: String,
        /// Its size.
        bytes: usize,
        /// The largest size read.
        limit: usize,
    },
    /// A slot names an expert that the model doesn't have.
    #[error(
        "{origin}: physical_to_logical_map[{}] is {}, but the model has experts 0 to {}: correct that slot",
        .slot.0, .expert.0, .num_experts - 1
    )]
    NoSuchExpert {
        /// What was being built or read.
        origin: String,
        /// The offending slot.
        slot: SlotId,
        /// What it names.
        expert: ExpertId,
        /// Logical experts of the model.
        num_experts: u32,
    },
    /// A logical expert has no slot, so its tokens would have nowhere to go.
    #[error(
        "{origin}: {expert} has no slot ({missing} experts have none): add it to physical_to_logical_map"
    )]
    MissingExpert {
        /// What was being built or read.
        origin: String,
        /// The first expert without a slot.
        expert: ExpertId,
        /// How many have none.
        missing: usize,
    },
    /// Numbers that EPLB can't work with.
    #[error(
        "EPLB placement of {experts} experts in {groups} groups, {slots} slots on {ranks} ranks in {racks} racks: {problem}"
    )]
    Eplb {
        /// Logical experts.
        experts: usize,
        /// Slots.
        slots: usize,
        /// Groups of experts.
        groups: usize,
        /// Ranks.
        ranks: usize,
        /// Racks.
        racks: usize,
        /// What must be otherwise.
        problem: &'static str,
    },
    /// `slots_per_rank` has an entry too few or too many.
    #[error("{origin}: slots_per_rank has {entries} entries for {num_ranks} ranks: give one number per rank")]
    RankCount {
        /// What was being built or read.
        origin: String,
        /// Entries given.
        entries: usize,
        /// Ranks of the cluster.
        num_ranks: u32,
    },
    /// `slots_per_rank` and `physical_to_logical_map` disagree on the number of slots.
    #[error(
        "{origin}: slots_per_rank adds up to {sum}, but physical_to_logical_map has {slots} slots: make them agree"
    )]
    SlotCount {
        /// What was being built or read.
        origin: String,
        /// Sum of `slots_per_rank`.
        sum: u64,
        /// Length of the map.
        slots: usize,
    },
}

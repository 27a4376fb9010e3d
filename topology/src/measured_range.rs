//! Which ranks, tokens and layers a profile was measured on: outside of it nobody knows how far off the profile is.

use serde::{Deserialize, Serialize};

/// Least and most of what was measured, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredRange {
    /// Nodes, or racks, that ranks were spread over.
    pub nodes: [u32; 2],
    /// Ranks of each.
    pub ranks_per_node: [u32; 2],
    /// Tokens of one rank.
    pub tokens_per_rank: [u32; 2],
    /// Elements of a row.
    pub hidden: [u32; 2],
    /// Experts a token goes to.
    pub top_k: [u32; 2],
    /// Routed experts.
    pub experts: [u32; 2],
    /// Inner width of an expert; nothing where no expert ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert_inter: Option<[u32; 2]>,
}

/// Least and most of `values`; `None` of nothing.
pub fn span(values: impl Iterator<Item = u32> + Clone) -> Option<[u32; 2]> {
    Some([values.clone().min()?, values.max()?])
}

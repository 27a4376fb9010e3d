//! What transforms each token by itself: a dense block, or a router with its experts.

use serde::{Deserialize, Serialize};

/// How a router's logits become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// Softmax over all experts, then the k largest.
    Softmax,
    /// The k largest logits, then softmax over those alone.
    SoftmaxAfterTopk,
    /// Sigmoid of each logit.
    Sigmoid,
    /// Square root of the softplus of each logit (DeepSeek-V4).
    SqrtSoftplus,
    /// A table from the token's id; nothing is scored (DeepSeek-V4's first layers).
    Hash,
}

/// A gate: its scoring and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// How logits become scores.
    pub scoring: Scoring,
    /// Selects by score plus a bias of each expert.
    pub bias: bool,
    /// Divides the selected weights by their sum.
    pub norm_topk: bool,
    /// Groups of experts.
    pub n_group: u32,
    /// Groups that a token may use.
    pub topk_group: u32,
    /// A token takes equally many experts of each group (Pangu's MoGE).
    pub equal_shares: bool,
    /// Factor on every weight.
    pub scaling: f64,
}

/// A feed-forward block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Block {
    /// The same weights for every token.
    Dense {
        /// Inner width.
        inter: u32,
        /// Three matrices, two of them for a gated activation; else two.
        gated: bool,
    },
    /// A router and its experts.
    Routed {
        /// Experts with weights.
        experts: u32,
        /// Experts that pass a token on as it is.
        zero_experts: u32,
        /// Experts a token goes to, those without weights included.
        top_k: u32,
        /// Inner width of an expert.
        inter: u32,
        /// Width of the rows that experts take and give: the hidden size, or a narrower latent one.
        width: u32,
        /// Three matrices an expert, else two.
        gated: bool,
        /// Experts that every token goes to.
        shared_experts: u32,
        /// Inner width of one of these; 0 where there are none.
        shared_inter: u32,
        /// How experts are chosen.
        gate: Gate,
    },
}

impl Block {
    /// Weights of one expert, elements; of a dense block none.
    #[must_use]
    pub fn expert_params(&self) -> u64 {
        match *self {
            Self::Dense { .. } => 0,
            Self::Routed { inter, width, gated, .. } => ffn(width, inter, gated),
        }
    }

    /// Weights of a dense block, or of the shared experts.
    #[must_use]
    pub fn shared_params(&self, hidden: u32) -> u64 {
        match *self {
            Self::Dense { inter, gated } => ffn(hidden, inter, gated),
            Self::Routed { shared_experts, shared_inter, gated, .. } => {
                u64::from(shared_experts) * ffn(hidden, shared_inter, gated)
            }
        }
    }

    /// Weights of the router, and of the projections to the latent width and back.
    #[must_use]
    pub fn router_params(&self, hidden: u32) -> u64 {
        let h = u64::from(hidden);
        match *self {
            Self::Dense { .. } => 0,
            Self::Routed { experts, zero_experts, width, .. } => {
                let latent = if width == hidden { 0 } else { 2 * h * u64::from(width) };
                h * (u64::from(experts) + u64::from(zero_experts)) + latent
            }
        }
    }

    /// Experts with weights.
    #[must_use]
    pub fn experts(&self) -> f64 {
        match *self {
            Self::Dense { .. } => 0.0,
            Self::Routed { experts, .. } => experts.into(),
        }
    }

    /// Experts with weights that a token goes to, on the mean over all that can be picked.
    #[must_use]
    pub fn active_experts(&self) -> f64 {
        match *self {
            Self::Dense { .. } => 0.0,
            Self::Routed { experts, zero_experts, top_k, .. } => {
                f64::from(top_k) * f64::from(experts) / (f64::from(experts) + f64::from(zero_experts))
            }
        }
    }

    /// Its name with its widths, for tables.
    #[must_use]
    pub fn name(&self) -> String {
        match *self {
            Self::Dense { inter, .. } => format!("dense {inter}"),
            Self::Routed { experts, zero_experts, top_k, inter, shared_experts, shared_inter, .. } => {
                let zero = if zero_experts > 0 { format!(" + {zero_experts} zero") } else { String::new() };
                let shared = if shared_experts > 0 {
                    format!(", {shared_experts} shared of {shared_inter}")
                } else {
                    String::new()
                };
                format!("{experts}{zero} experts of {inter}, top-{top_k}{shared}")
            }
        }
    }
}

fn ffn(width: u32, inter: u32, gated: bool) -> u64 {
    (2 + u64::from(gated)) * u64::from(width) * u64::from(inter)
}

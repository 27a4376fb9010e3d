//! What transforms each token by itself: a dense block, or a router with its experts.

use crate::gate::GateSpec;
use serde::{Deserialize, Serialize};

/// A feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Block {
    /// The same weights for every token.
    Dense {
        /// Inner width.
        inter: u32,
        /// Three matrices, two of them for a gated activation; else two.
        #[serde(default = "yes")]
        gated: bool,
    },
    /// A router and its experts.
    Routed {
        /// Experts with weights.
        experts: u32,
        /// Experts that pass a token on as it is.
        #[serde(default)]
        zero_experts: u32,
        /// Experts a token goes to, those without weights included.
        top_k: u32,
        /// Inner width of an expert.
        inter: u32,
        /// Width of the rows that experts take and give, where it is narrower than the hidden size.
        latent: Option<u32>,
        /// Three matrices an expert, else two.
        #[serde(default = "yes")]
        gated: bool,
        /// Experts that every token goes to.
        #[serde(default)]
        shared_experts: u32,
        /// Inner width of one of these; 0 where there are none.
        #[serde(default)]
        shared_inter: u32,
        /// How experts are chosen.
        gate: GateSpec,
        /// True where a table from the token's id chooses, and nothing is scored (DeepSeek-V4's first layers).
        #[serde(default)]
        hashed: bool,
    },
}

impl Block {
    /// Weights of one expert, elements; of a dense block none.
    #[must_use]
    pub fn expert_params(&self, hidden: u32) -> u64 {
        match *self {
            Self::Dense { .. } => 0,
            Self::Routed { inter, latent, gated, .. } => ffn(latent.unwrap_or(hidden), inter, gated),
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

    /// Inner width of what every token goes through: of a dense block, or of all shared experts together.
    #[must_use]
    pub const fn common_inter(&self) -> u32 {
        match *self {
            Self::Dense { inter, .. } => inter,
            Self::Routed { shared_experts, shared_inter, .. } => shared_experts * shared_inter,
        }
    }

    /// Weights of the router, and of the projections to the latent width and back.
    #[must_use]
    pub fn router_params(&self, hidden: u32) -> u64 {
        let h = u64::from(hidden);
        match *self {
            Self::Dense { .. } => 0,
            Self::Routed { experts, zero_experts, latent, .. } => {
                let latent = latent.map_or(0, |width| 2 * h * u64::from(width));
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
            Self::Routed {
                experts,
                zero_experts,
                top_k,
                inter,
                shared_experts,
                shared_inter,
                gate,
                hashed,
                ..
            } => {
                let zero = if zero_experts > 0 { format!(" + {zero_experts} zero") } else { String::new() };
                let shared = if shared_experts > 0 {
                    format!(", {shared_experts} shared of {shared_inter}")
                } else {
                    String::new()
                };
                let groups = match (gate.n_group, gate.equal_shares) {
                    (1, _) => String::new(),
                    (groups, true) => format!(" in equal shares of {groups} groups"),
                    (groups, false) => format!(" in {} of {groups} groups", gate.topk_group),
                };
                let rule = if hashed { "a table" } else { gate.kind.gate().name() };
                format!("{experts}{zero} experts of {inter}, top-{top_k}{groups} by {rule}{shared}")
            }
        }
    }
}

const fn yes() -> bool {
    true
}

fn ffn(width: u32, inter: u32, gated: bool) -> u64 {
    (2 + u64::from(gated)) * u64::from(width) * u64::from(inter)
}

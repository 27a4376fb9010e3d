//! The attention block: its weights and what a token leaves in the cache.

use serde::{Deserialize, Serialize};

use super::ModelError;
use crate::shape::{MAX_ATTENTION, in_range};

/// The attention block of every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Attention {
    /// Grouped-query attention (multi-head when `kv_heads == heads`).
    Grouped {
        /// Query heads.
        heads: u32,
        /// Key and value heads.
        kv_heads: u32,
        /// Width of a head.
        head_dim: u32,
    },
    /// Multi-head latent attention of DeepSeek-V2 (arXiv 2405.04434).
    Latent {
        /// Query heads, each with the latent part and the rotated one.
        heads: u32,
        /// Rank of the query compression; `None` where queries are not compressed.
        q_lora: Option<u32>,
        /// Rank of the key-value compression.
        kv_lora: u32,
        /// Width of a head's key without position.
        qk_nope: u32,
        /// Width of the shared rotary key.
        qk_rope: u32,
        /// Width of a head's value.
        v_head: u32,
    },
}

impl Attention {
    /// Weights of one layer's attention, without norms and biases.
    pub fn params(&self, hidden: u32) -> u64 {
        let h = u64::from(hidden);
        match *self {
            Self::Grouped { heads, kv_heads, head_dim } => {
                2 * h * u64::from(head_dim) * (u64::from(heads) + u64::from(kv_heads))
            }
            Self::Latent { heads, q_lora, kv_lora, qk_nope, qk_rope, v_head } => {
                let (heads, kv_lora) = (u64::from(heads), u64::from(kv_lora));
                let (nope, rope, v) = (u64::from(qk_nope), u64::from(qk_rope), u64::from(v_head));
                let query = match q_lora.map(u64::from) {
                    Some(rank) => rank * (h + heads * (nope + rope)),
                    None => h * heads * (nope + rope),
                };
                query + h * (kv_lora + rope) + kv_lora * heads * (nope + v) + heads * v * h
            }
        }
    }

    /// Elements that one token leaves in one layer's cache: keys and values, or the latent and the rotary key.
    pub fn kv_elements(&self) -> u64 {
        match *self {
            Self::Grouped { kv_heads, head_dim, .. } => 2 * u64::from(kv_heads) * u64::from(head_dim),
            Self::Latent { kv_lora, qk_rope, .. } => u64::from(kv_lora) + u64::from(qk_rope),
        }
    }

    /// Query heads.
    pub fn heads(&self) -> u32 {
        match *self {
            Self::Grouped { heads, .. } | Self::Latent { heads, .. } => heads,
        }
    }
    /// Checks heads and widths; `origin` is named in errors.
    pub(super) fn validate_as(&self, origin: &str) -> Result<(), ModelError> {
        let check = |field, value| in_range(origin, field, value, 1, MAX_ATTENTION);
        match *self {
            Self::Grouped { heads, kv_heads, head_dim } => {
                check("heads", heads)?;
                in_range(origin, "kv_heads", kv_heads, 1, heads)?;
                check("head_dim", head_dim)?;
                if heads % kv_heads != 0 {
                    return Err(ModelError::Invalid {
                        origin: origin.to_owned(),
                        field: "kv_heads",
                        value: kv_heads.to_string(),
                        remedy: format!("a divisor of the {heads} heads"),
                    });
                }
                Ok(())
            }
            Self::Latent { heads, q_lora, kv_lora, qk_nope, qk_rope, v_head } => {
                check("heads", heads)?;
                check("q_lora", q_lora.unwrap_or(1))?;
                check("kv_lora", kv_lora)?;
                check("qk_nope", qk_nope)?;
                check("qk_rope", qk_rope)?;
                check("v_head", v_head)
            }
        }
    }
}

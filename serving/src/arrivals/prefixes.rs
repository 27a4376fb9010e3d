//! Prompts that begin alike: a pool of prefixes, chosen by Zipf's law, in blocks with ids.

use std::sync::Arc;

use rand::RngExt;
use rand_distr::Zipf;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::error::{setting, within};
use super::{ArrivalError, MAX_TOKENS};
use crate::request::Prefix;

/// Tokens of a block of Mooncake's traces.
pub const MOONCAKE_BLOCK_TOKENS: u32 = 512;

/// A pool of beginnings that prompts share, as an experiment gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixSpec {
    /// Prefixes in the pool.
    pub num_prefixes: u32,
    /// Tokens of each; they come before those of `input_len`.
    pub prefix_len: u32,
    /// Exponent of Zipf's law: the r-th prefix is chosen in proportion to `r^-zipf`; 0 chooses all alike.
    #[serde(default = "one")]
    pub zipf: f64,
    /// Tokens of a block; a prompt shares whole blocks only.
    #[serde(default = "mooncake_block")]
    pub block_tokens: u32,
}

fn one() -> f64 {
    1.0
}

fn mooncake_block() -> u32 {
    MOONCAKE_BLOCK_TOKENS
}

/// A pool, checked.
///
/// Ids are computed, not remembered. Block b of prefix p is `p * shared + b`; above all of these, block b of request i, where it
/// is the request's own, is `pool * shared + i * stride + b`.
#[derive(Clone, Debug)]
pub(super) struct Prefixes {
    popularity: Zipf<f64>,
    pool: u64,
    tokens: u32,
    block_tokens: u32,
    /// Whole blocks of a prefix.
    shared: u64,
    /// Ids that a request may use.
    stride: u64,
}

impl Prefixes {
    /// `longest` is the longest prompt behind the prefix, in tokens.
    pub(super) fn new(spec: &PrefixSpec, longest: u32) -> Result<Self, ArrivalError> {
        let pool = within("num_prefixes", spec.num_prefixes, 1, 1 << 24)?;
        let tokens = within("prefix_len", spec.prefix_len, 1, MAX_TOKENS)?;
        let block_tokens = within("block_tokens", spec.block_tokens, 1, MAX_TOKENS)?;
        if tokens + longest > MAX_TOKENS {
            let must =
                format!("with an input_len of {longest} a prompt would pass {MAX_TOKENS} tokens; give less");
            return Err(setting("prefix_len", tokens, must));
        }
        if tokens < block_tokens {
            let must = format!("give at least a block of {block_tokens} tokens: nothing shorter is shared");
            return Err(setting("prefix_len", tokens, must));
        }
        let zipf = within("zipf", spec.zipf, 0.0, 100.0)?;
        let popularity =
            Zipf::new(pool.into(), zipf).map_err(|error| setting("zipf", zipf, error.to_string()))?;
        let shared = (tokens / block_tokens).into();
        let stride = (tokens + longest).div_ceil(block_tokens).into();
        Ok(Self { popularity, pool: pool.into(), tokens, block_tokens, shared, stride })
    }

    /// Tokens that a prefix adds to a prompt.
    pub(super) fn tokens(&self) -> u32 {
        self.tokens
    }

    /// The blocks of request `index`, whose whole prompt has `input_tokens`.
    pub(super) fn draw(&self, rng: &mut Pcg64, index: u64, input_tokens: u32) -> Prefix {
        // Zipf's ranks are whole numbers from 1 to the size of the pool.
        let prefix = (rng.sample(self.popularity) as u64).clamp(1, self.pool) - 1;
        // Below 2^57: at most 2^24 prefixes of 2^24 blocks, and 2^32 requests (`MAX_GENERATED`) of 2^24.
        let own = self.pool * self.shared + index * self.stride;
        let blocks = u64::from(input_tokens.div_ceil(self.block_tokens));
        let id = |block| if block < self.shared { prefix * self.shared + block } else { own + block };
        Prefix { block_tokens: self.block_tokens, blocks: (0..blocks).map(id).collect::<Arc<[u64]>>() }
    }
}

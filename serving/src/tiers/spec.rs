//! What a cache of prompts is made of: tiers and their prices, the size of a block, what computing again costs.

use blackboard::caches::remat_time;
use blackboard::units::{Bytes, BytesPerS, DollarsPerS, FlopPerS, Params, Seconds};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use topology::Rate;

use super::MAX_BLOCKS;

/// Most tiers of a cache.
pub const MAX_TIERS: usize = 16;

pub(super) const BYTES_PER_GB: f64 = 1e9;

/// A memory in which blocks wait, of all ranks that share the cache together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSpec {
    /// How it is called, unique in its cache.
    pub name: String,
    /// C, bytes set aside for blocks that wait.
    pub capacity_bytes: u64,
    /// BW, at which its port reads.
    pub read_bytes_per_s: Rate,
    /// What holding 10^9 bytes for an hour costs.
    pub usd_per_gb_hour: f64,
    /// Attention reads blocks where they are: a hit loads nothing. So it is in the ranks' own memory.
    #[serde(default)]
    pub in_place: bool,
}

impl TierSpec {
    /// So many of it side by side: capacities and rates add up.
    #[must_use]
    pub fn times(self, parts: u32) -> Self {
        let rate = self.read_bytes_per_s;
        Self {
            capacity_bytes: self.capacity_bytes.saturating_mul(u64::from(parts)),
            read_bytes_per_s: Rate::new(rate.bytes_per_s().saturating_mul(u64::from(parts))).unwrap_or(rate),
            ..self
        }
    }

    /// C in the units of the equations.
    pub fn capacity(&self) -> Bytes {
        Bytes(self.capacity_bytes as f64)
    }

    /// What the whole tier costs: `price C`.
    pub fn price(&self) -> DollarsPerS {
        DollarsPerS::per_hour(self.usd_per_gb_hour * self.capacity_bytes as f64 / BYTES_PER_GB)
    }

    /// How long reading all of it takes, C/BW: claim E7's duration for which a tier is right.
    pub fn drain_time(&self) -> Seconds {
        self.capacity() / BytesPerS(self.read_bytes_per_s.bytes_per_s() as f64)
    }
}

/// What it costs to compute a token's KV cache again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recompute {
    /// t_remat of a token on all ranks that share the cache, `2 N_act / F`. Attention's own arithmetic, which grows with the
    /// context, is left out: a lower bound.
    pub seconds_per_token: f64,
    /// What these ranks cost in an hour.
    pub usd_per_hour: f64,
}

impl Recompute {
    /// Prefill of a model of `active` parameters on ranks that together reach `flops` and cost `ranks`.
    pub fn of(active: Params, flops: FlopPerS, ranks: DollarsPerS) -> Self {
        Self { seconds_per_token: remat_time(active, flops).0, usd_per_hour: ranks.0 * 3600.0 }
    }

    /// The price of the ranks.
    pub fn price(&self) -> DollarsPerS {
        DollarsPerS::per_hour(self.usd_per_hour)
    }
}

/// How long blocks stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// A block goes down a tier once holding it there has cost as much as fetching it from below will cost more. Tiers that
    /// are the cheapest for no duration are left empty.
    #[default]
    HoldOrRecompute,
    /// Everything is kept while there is room; the block idle for longest goes down.
    Lru,
    /// No cache: each prompt is computed from its start.
    None,
}

/// When a block that is held is loaded rather than computed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadRule {
    /// Where the share of the tier that reading takes costs less than the ranks' time.
    #[default]
    Cheaper,
    /// Where waiting for the tier's port and reading takes less time.
    Faster,
    /// A held block is loaded, however long that takes.
    Always,
}

/// A cache of prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSpec {
    /// From the first, where blocks start, to the last.
    pub tiers: Vec<TierSpec>,
    /// Tokens of a block. Only full blocks are kept.
    pub block_tokens: u32,
    /// kappa, bytes of KV cache a token.
    pub bytes_per_token: u64,
    /// What loading is weighed against.
    pub recompute: Recompute,
    /// How long blocks stay.
    #[serde(default)]
    pub policy: Policy,
    /// When they are loaded.
    #[serde(default)]
    pub load: LoadRule,
}

impl CacheSpec {
    /// Bytes of a block. What no memory could hold counts as the largest number.
    pub fn block_bytes(&self) -> u64 {
        u64::from(self.block_tokens).saturating_mul(self.bytes_per_token)
    }

    /// Whether all of it makes sense.
    ///
    /// # Errors
    /// [`CacheError::Setting`] for the first value that doesn't.
    pub fn check(&self) -> Result<(), CacheError> {
        let setting = |what: String, value: String, must: &str| {
            Err(CacheError::Setting { what, value, must: must.to_owned() })
        };
        let price = "a finite number of dollars, 0 or more";
        if self.block_tokens == 0 {
            return setting("block_tokens".to_owned(), "0".to_owned(), "at least 1");
        }
        if self.bytes_per_token == 0 {
            return setting("bytes_per_token".to_owned(), "0".to_owned(), "at least 1");
        }
        if !is_amount(self.recompute.seconds_per_token) {
            let value = self.recompute.seconds_per_token.to_string();
            return setting("recompute.seconds_per_token".to_owned(), value, "finite, 0 or more");
        }
        if !is_amount(self.recompute.usd_per_hour) {
            return setting(
                "recompute.usd_per_hour".to_owned(),
                self.recompute.usd_per_hour.to_string(),
                price,
            );
        }
        if self.tiers.len() > MAX_TIERS {
            let must = format!("at most {MAX_TIERS}: leave slow ones out");
            return setting("tiers".to_owned(), self.tiers.len().to_string(), &must);
        }
        for (index, tier) in self.tiers.iter().enumerate() {
            let what = |field: &str| format!("tiers[{index}].{field}");
            if self.tiers[..index].iter().any(|other| other.name == tier.name) {
                return setting(
                    what("name"),
                    format!("`{}`", tier.name),
                    "another name than the tiers before",
                );
            }
            if tier.capacity_bytes < self.block_bytes() {
                let must = format!("at least a block's {} bytes; or leave the tier out", self.block_bytes());
                return setting(what("capacity_bytes"), tier.capacity_bytes.to_string(), &must);
            }
            if !is_amount(tier.usd_per_gb_hour) {
                return setting(what("usd_per_gb_hour"), tier.usd_per_gb_hour.to_string(), price);
            }
        }
        Ok(())
    }
}

fn is_amount(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// A cache that can't be, or can't go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CacheError {
    /// A setting that can't be.
    #[error("cache: {what} = {value}: must be {must}")]
    Setting {
        /// Key of `[cache]` at fault.
        what: String,
        /// Its value as written.
        value: String,
        /// What it must be.
        must: String,
    },
    /// No preset has this name.
    #[error("cache: no tier preset `{name}`; presets: {known}")]
    UnknownTier {
        /// What was asked for.
        name: String,
        /// All names, comma-separated.
        known: String,
    },
    /// A prompt in blocks of another length.
    #[error("cache: a prompt in blocks of {got} tokens, but block_tokens = {block_tokens}: make them equal")]
    BlockTokens {
        /// Tokens of a block of the prompt.
        got: u32,
        /// Tokens of a block of the cache.
        block_tokens: u32,
    },
    /// Capacities that hold more blocks than the store keeps track of.
    #[error("cache: more than {MAX_BLOCKS} blocks held: give longer blocks or smaller tiers")]
    Blocks,
}

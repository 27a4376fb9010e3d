//! Memory tiers in which KV caches of prompts wait to be used again.
//!
//! After a request ends, the blocks of its prompt go to the first tier ([`KvStore::store`]); idle ones sink tier by tier until
//! they leave the cache. A later request asks for its longest beginning that is held ([`KvStore::lookup`]) and loads it where
//! that is worth it; it computes the rest. How long a block stays says a [`Policy`]; by default the deterministic ski-rental
//! rule, derived in `docs/tiers.md`. What that cost and saved says a [`CacheReport`].
//!
//! Time comes in as an argument and never runs backwards.

mod blocks;
mod curve;
mod ladder;
mod presets;
mod report;
mod shelf;
mod spec;
mod store;

pub use curve::{HoldCurves, HoldLine, hold_curves};
pub use ladder::{Residence, residences};
pub use presets::{PART_LIFETIME_YEARS, RANK_USD_PER_HOUR, hbm_tier, tier_preset, tier_preset_names};
pub use report::{CacheReport, TierReport};
pub use spec::{CacheError, CacheSpec, LoadRule, MAX_TIERS, Policy, Recompute, TierSpec};
pub use store::{KvStore, Lookup};

/// Most blocks that a store keeps track of, about 2.5 GB of memory at 70 bytes a block.
pub const MAX_BLOCKS: usize = 1 << 25;

#[cfg(test)]
mod tests;

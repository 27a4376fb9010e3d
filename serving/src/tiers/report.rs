//! What a cache did and what that cost, by tier and in total.

use serde::{Deserialize, Serialize};
use topology::Picos;

use super::ladder::recompute_cost;
use super::shelf::Shelf;
use super::{CacheSpec, Residence};

const SECONDS_PER_HOUR: f64 = 3600.0;
const PICOS_PER_HOUR: f64 = SECONDS_PER_HOUR * 1e12;

/// Counts of the whole cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) lookups: u64,
    pub(super) input_tokens: u64,
    pub(super) hit_tokens: u64,
    pub(super) declined_tokens: u64,
    pub(super) stored_blocks: u64,
    pub(super) dropped_blocks: u64,
}

/// One tier up to the time of the report. A tier that the policy doesn't use has only its name and what it costs.
///
/// `arrived = blocks + raised + evicted + demoted`, all in blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TierReport {
    /// Name of the tier, as the file has it.
    pub name: String,
    /// Whether the policy uses it.
    pub used: bool,
    /// How long an idle block stays before it goes down; `None` for good.
    pub stay: Option<Picos>,
    /// Blocks that it can hold.
    pub capacity_blocks: u64,
    /// Blocks that it holds.
    pub blocks: u64,
    /// Most blocks at once.
    pub high_water_blocks: u64,
    /// Blocks put here, from a request or from another tier: what is written, which no time is charged for.
    pub arrived_blocks: u64,
    /// Blocks that went up, as a request that had them ended.
    pub raised_blocks: u64,
    /// Blocks that went down, or out of the last tier, to make room.
    pub evicted_blocks: u64,
    /// Blocks that went down, or out of the last tier, as they were idle for too long.
    pub demoted_blocks: u64,
    /// Blocks found and used.
    pub hit_blocks: u64,
    /// Prompt tokens that need not be computed for these hits.
    pub hit_tokens: u64,
    /// Blocks found and computed again by choice.
    pub declined_blocks: u64,
    /// Share of all prompts' tokens found and used here.
    pub hit_rate: f64,
    /// How long the port read.
    pub busy: Picos,
    /// Bytes held times time, in 10^9 bytes times hours.
    pub held_gb_hours: f64,
    /// What that costs: the tier's price for what was held only.
    pub hold_usd: f64,
    /// What reading costs, as a share of the tier.
    pub read_usd: f64,
    /// What computing the tokens used would have cost.
    pub saved_usd: f64,
    /// What the whole tier costs from 0 to the report, however full.
    pub capacity_usd: f64,
}

/// A cache up to the time of the report.
///
/// `stored = held + dropped`, in blocks, where held is the sum over the tiers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheReport {
    /// Requests whose prompts were looked for in the cache.
    pub lookups: u64,
    /// Tokens of their prompts.
    pub input_tokens: u64,
    /// Tokens found and used.
    pub hit_tokens: u64,
    /// Tokens found and computed again by choice.
    pub declined_tokens: u64,
    /// Blocks that were new.
    pub stored_blocks: u64,
    /// Blocks that left the cache.
    pub dropped_blocks: u64,
    /// What computing the prompts' other tokens cost.
    pub compute_usd: f64,
    /// By tier of the cache, `[tiers]`.
    pub tiers: Vec<TierReport>,
}

impl CacheReport {
    pub(super) fn of(
        spec: &CacheSpec,
        ladder: &[Residence],
        shelves: &[Shelf],
        totals: &Totals,
        now: Picos,
    ) -> Self {
        let unused = spec.tiers.iter().map(|tier| TierReport {
            name: tier.name.clone(),
            capacity_blocks: tier.capacity_bytes / spec.block_bytes(),
            capacity_usd: tier.price().0 * SECONDS_PER_HOUR * (now.0 as f64 / PICOS_PER_HOUR),
            ..TierReport::default()
        });
        let mut tiers: Vec<TierReport> = unused.collect();
        for (place, shelf) in ladder.iter().zip(shelves) {
            let counts = &shelf.counts;
            let block_hours = shelf.held(now) as f64 / PICOS_PER_HOUR;
            let hit_tokens = counts.hits * u64::from(spec.block_tokens);
            let tier = std::mem::take(&mut tiers[place.tier]);
            tiers[place.tier] = TierReport {
                used: true,
                stay: (place.stay < Picos::MAX).then_some(place.stay),
                blocks: shelf.blocks,
                high_water_blocks: counts.high_water,
                arrived_blocks: counts.arrived,
                raised_blocks: counts.raised,
                evicted_blocks: counts.evicted,
                demoted_blocks: counts.demoted,
                hit_blocks: counts.hits,
                hit_tokens,
                declined_blocks: counts.declined,
                hit_rate: share(hit_tokens, totals.input_tokens),
                busy: counts.busy,
                held_gb_hours: block_hours * spec.block_bytes() as f64 / 1e9,
                hold_usd: block_hours * SECONDS_PER_HOUR * place.hold.0,
                read_usd: counts.hits as f64 * place.read.0,
                saved_usd: counts.hits as f64 * recompute_cost(spec).0,
                ..tier
            };
        }
        let computed = (totals.input_tokens - totals.hit_tokens) as f64;
        Self {
            lookups: totals.lookups,
            input_tokens: totals.input_tokens,
            hit_tokens: totals.hit_tokens,
            declined_tokens: totals.declined_tokens,
            stored_blocks: totals.stored_blocks,
            dropped_blocks: totals.dropped_blocks,
            compute_usd: computed * spec.recompute.seconds_per_token * spec.recompute.price().0,
            tiers,
        }
    }

    /// Why nothing was found, where nothing was, for people.
    #[must_use]
    pub fn why_nothing(&self) -> Option<String> {
        let stay = |tier: &TierReport| {
            let seconds = tier.stay?.as_micros_f64() / 1e6;
            Some(format!("blocks stay {seconds:.2} s in {}", tier.name))
        };
        let stays: Vec<String> = self.tiers.iter().filter(|tier| tier.used).filter_map(stay).collect();
        if self.hit_tokens > 0 {
            None
        } else if self.declined_tokens > 0 {
            Some(
                "computing what was held again cost less than reading it: cache.load = \"always\" reads"
                    .to_owned(),
            )
        } else if !self.tiers.iter().any(|tier| tier.used) {
            Some("the policy uses no tier: cache.policy = \"lru\" does".to_owned())
        } else if stays.is_empty() {
            Some("blocks left for want of room before they were asked for".to_owned())
        } else {
            let stays = stays.join(", ");
            Some(format!(
                "{stays}, until holding has cost what is saved: cache.policy = \"lru\" holds while there is room"
            ))
        }
    }

    /// Share of the prompts' tokens found and used.
    pub fn hit_rate(&self) -> f64 {
        share(self.hit_tokens, self.input_tokens)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

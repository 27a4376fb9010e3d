//! Where a block waits and for how long, until it goes a tier down: the deterministic ski-rental rule.
//!
//! For a block, h_i is what holding it in tier i costs a second and r_i what fetching it from there costs once; computing it
//! again is the last resort, h = 0 and r = R. A block is idle for a time t that nobody knows. Who knew it would hold it in one
//! place, at min_i (h_i t + r_i). The rule stays in tier i for `(r_{i+1} - r_i) / h_i`, until holding has cost as much as
//! fetching from below costs more, and never pays more than twice that (`docs/tiers.md`). With HBM alone the stay is
//! `R / h = t_remat C / kappa`: claim E8.

use blackboard::caches::hold_cost;
use blackboard::units::{BytesPerToken, Dollars, DollarsPerS, Seconds};
use topology::Picos;

use super::{CacheSpec, LoadRule, Policy};

/// A tier in use, as it is for one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residence {
    /// Which of the cache's tiers.
    pub tier: usize,
    /// h, what holding costs.
    pub hold: DollarsPerS,
    /// r, what fetching costs: the share of the tier for as long as its port reads the block, `h C/BW`, claim E7's equality of
    /// holding and reading. Nothing where attention reads in place.
    pub read: Dollars,
    /// How long an idle block stays before it goes down; [`Picos::MAX`] for good.
    pub stay: Picos,
}

/// The tiers that the policy uses, first to last; below the last a block is dropped.
///
/// [`Policy::Lru`] uses all, for good. [`Policy::HoldOrRecompute`] uses those that are the cheapest place for some duration (the
/// lower envelope of the lines h t + r) and, where loads must be [`LoadRule::Faster`], from which reading is faster than
/// computing.
pub fn residences(spec: &CacheSpec) -> Vec<Residence> {
    let all = (0..spec.tiers.len()).map(|tier| residence(spec, tier));
    match spec.policy {
        Policy::None => Vec::new(),
        Policy::Lru => all.collect(),
        Policy::HoldOrRecompute => {
            let bytes = spec.block_bytes();
            let too_slow = |place: &Residence| {
                let tier = &spec.tiers[place.tier];
                spec.load == LoadRule::Faster
                    && !tier.in_place
                    && tier.read_bytes_per_s.transfer(bytes) >= recompute_time(spec, 1)
            };
            envelope(all.filter(|place| !too_slow(place)).collect(), recompute_cost(spec))
        }
    }
}

/// R, what computing a block again costs.
pub(super) fn recompute_cost(spec: &CacheSpec) -> Dollars {
    spec.recompute.price() * Seconds(spec.recompute.seconds_per_token * f64::from(spec.block_tokens))
}

/// How long computing `blocks` again takes.
pub(super) fn recompute_time(spec: &CacheSpec, blocks: usize) -> Picos {
    picos(Seconds(spec.recompute.seconds_per_token * f64::from(spec.block_tokens) * blocks as f64))
}

fn picos(span: Seconds) -> Picos {
    Picos::from_micros_f64(span.as_micros()).unwrap_or(Picos::MAX)
}

fn residence(spec: &CacheSpec, index: usize) -> Residence {
    let tier = &spec.tiers[index];
    let cost = |span| {
        // The block takes the place of one token here.
        let block = BytesPerToken(spec.block_bytes() as f64);
        Dollars(hold_cost(block, tier.capacity(), tier.price(), span).0)
    };
    Residence {
        tier: index,
        hold: cost(Seconds(1.0)) / Seconds(1.0),
        read: if tier.in_place { Dollars::ZERO } else { cost(tier.drain_time()) },
        stay: Picos::MAX,
    }
}

/// The places whose lines are the lowest for some duration, from the one that is for the shortest, each with its stay.
fn envelope(places: Vec<Residence>, recompute: Dollars) -> Vec<Residence> {
    let mut ladder: Vec<Residence> = Vec::new();
    // The line that is the lowest for no time at all; of equal ones the one that rises least, and computing before all.
    let mut next = places
        .iter()
        .filter(|place| place.read < recompute)
        .min_by(|a, b| a.read.0.total_cmp(&b.read.0).then(a.hold.0.total_cmp(&b.hold.0)))
        .copied();
    while let Some(place) = next {
        // Where a flatter line crosses it: the first that does is the lowest from there on.
        let crossing = |hold: DollarsPerS, read: Dollars| (read - place.read).0 / (place.hold - hold).0;
        let last = crossing(DollarsPerS::ZERO, recompute);
        next = places
            .iter()
            .filter(|below| below.hold < place.hold && crossing(below.hold, below.read) < last)
            .min_by(|a, b| {
                let (at_a, at_b) = (crossing(a.hold, a.read), crossing(b.hold, b.read));
                at_a.total_cmp(&at_b).then(a.hold.0.total_cmp(&b.hold.0))
            })
            .copied();
        let below = next.map_or(recompute, |below| below.read);
        let stay = if place.hold.0 == 0.0 { Picos::MAX } else { picos((below - place.read) / place.hold) };
        ladder.push(Residence { stay, ..place });
    }
    ladder
}

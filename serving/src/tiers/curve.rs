//! What a million tokens of context cost by how long they wait, a line a tier: closed forms, nothing runs.

use blackboard::caches::hold_cost;
use blackboard::units::{BytesPerToken, Seconds};

use super::{CacheSpec, TierSpec};

/// The cost of one way to have a context again, for each duration.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldLine {
    /// The tier, or `recompute`.
    pub name: String,
    /// Dollars for a million tokens, held and then fetched once, `[durations]`.
    pub usd_per_mtok: Vec<f64>,
}

/// All ways, and the cheapest.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldCurves {
    /// How long the context waits, `[durations]`.
    pub holds: Vec<Seconds>,
    /// The tiers in their order, then computing again.
    pub lines: Vec<HoldLine>,
    /// The lower envelope: which line is the lowest, `[durations]`; the first of equal ones.
    pub cheapest: Vec<usize>,
}

/// The lines of `spec`: in a tier `kappa price (t + C/BW)`, without the second term where attention reads in place; again for
/// `2 N_act / F` of the ranks, at any t.
///
/// ```
/// # use serving::tiers::{CacheSpec, hold_curves, tier_preset, Recompute, Policy, LoadRule};
/// # use blackboard::units::{DollarsPerS, FlopPerS, Params, Seconds};
/// // Claim E8's 100B and 2 KB on a GB200 at FP8: HBM for less than an hour, and a disk for a year.
/// let spec = CacheSpec {
///     tiers: vec![tier_preset("hbm")?, tier_preset("hdd")?],
///     block_tokens: 512,
///     bytes_per_token: 2048,
///     recompute: Recompute::of(Params(1e11), FlopPerS(5e15), DollarsPerS::per_hour(3.0)),
///     policy: Policy::HoldOrRecompute,
///     load: LoadRule::Cheaper,
/// };
/// let curves = hold_curves(&spec, &[1.0, 3600.0, 1e10].map(Seconds));
/// assert_eq!(curves.cheapest, [0, 1, 2]);
/// assert_eq!(format!("{:.4}", curves.lines[0].usd_per_mtok[1]), "0.0330"); // about as much as 0.0333 for computing
/// # Ok::<(), serving::tiers::CacheError>(())
/// ```
pub fn hold_curves(spec: &CacheSpec, holds: &[Seconds]) -> HoldCurves {
    let kv = BytesPerToken(spec.bytes_per_token as f64);
    let in_tier = |tier: &TierSpec, hold: Seconds| {
        let reading = if tier.in_place { Seconds::ZERO } else { tier.drain_time() };
        hold_cost(kv, tier.capacity(), tier.price(), hold + reading).per_mtok()
    };
    let mut lines: Vec<HoldLine> = spec
        .tiers
        .iter()
        .map(|tier| HoldLine {
            name: tier.name.clone(),
            usd_per_mtok: holds.iter().map(|&hold| in_tier(tier, hold)).collect(),
        })
        .collect();
    let again = spec.recompute.price().0 * spec.recompute.seconds_per_token * 1e6;
    lines.push(HoldLine { name: "recompute".to_owned(), usd_per_mtok: vec![again; holds.len()] });
    let cheapest = (0..holds.len()).map(|at| {
        let cost = |line: &usize| lines[*line].usd_per_mtok[at];
        (0..lines.len()).min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(0)
    });
    HoldCurves { holds: holds.to_vec(), cheapest: cheapest.collect(), lines }
}

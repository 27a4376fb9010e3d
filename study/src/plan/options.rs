//! What the yard can be used for: replicas of one layout, or two pools, as far as layouts of each size are known.

use super::layout::Yard;
use super::{Ask, Layout, Role, Steady, Trial};
use serde::Serialize;
use std::cmp::Ordering;

/// Racks of a replica, and its ranks in each.
pub(super) type Size = (u32, u32);

/// Replicas of one layout.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// What each is.
    pub layout: Layout,
    /// How many.
    pub replicas: u32,
    /// One by closed forms.
    pub estimate: Steady,
    /// One served; `None` where it was not tried.
    pub trial: Option<Trial>,
    /// Handing over a prompt's cache, ms.
    pub handover_ms: f64,
}

impl Part {
    /// Requests a second of all replicas.
    pub(super) fn rate(&self) -> f64 {
        f64::from(self.replicas) * self.trial.as_ref().map_or(self.estimate.rate, |trial| trial.rate)
    }

    /// Their ranks.
    #[must_use]
    pub const fn ranks(&self) -> u32 {
        self.replicas * self.layout.ranks()
    }

    fn ttft_ms(&self) -> f64 {
        self.trial.as_ref().map_or(self.estimate.ttft_ms, |trial| trial.ttft_ms)
    }

    fn tpot_ms(&self) -> f64 {
        self.trial.as_ref().map_or(self.estimate.tpot_ms, |trial| trial.tpot_ms)
    }
}

/// Two pools served together at the load of a choice: the seed with which the fewest requests keep the limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Together {
    /// Share of requests that kept the limits.
    pub kept: f64,
    /// Mean TTFT, ms.
    pub ttft_ms: f64,
    /// 90th percentile of TTFT, ms.
    pub p90_ttft_ms: f64,
    /// Mean TPOT, ms.
    pub tpot_ms: f64,
    /// 90th percentile of TPOT, ms.
    pub p90_tpot_ms: f64,
}

/// One use of the yard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Whole replicas alone, or prompts and answers.
    pub parts: Vec<Part>,
    /// Ranks in use.
    pub ranks: u32,
    /// Most requests a second within limits.
    pub rate: f64,
    /// Mean TTFT at that rate, ms: of two pools together.
    pub ttft_ms: f64,
    /// Mean TPOT at that rate, ms.
    pub tpot_ms: f64,
    /// Tokens of answers a second and rank in use, at that rate.
    pub tokens_per_s_per_rank: f64,
    /// Tokens a second that one sequence gets.
    pub tokens_per_s_per_user: f64,
    /// $ a million tokens of answers: at the rate asked for, or else at the most.
    pub usd_per_mtok: f64,
    /// Two pools served together; `None` for one layout alone.
    pub together: Option<Together>,
}

impl Choice {
    /// Of `parts` that carry so large a `share` of their own rates, and how they did `together`.
    pub(super) fn new(ask: &Ask, parts: Vec<Part>, (share, together): (f64, Option<Together>)) -> Self {
        let ranks = parts.iter().map(Part::ranks).sum::<u32>();
        let rate = share * parts.iter().map(Part::rate).fold(f64::INFINITY, f64::min);
        let tpot_ms = parts.iter().map(Part::tpot_ms).fold(0.0, f64::max);
        let ttft_ms = parts.iter().map(|part| part.ttft_ms()).sum::<f64>()
            + parts.iter().map(|part| part.handover_ms).fold(0.0, f64::max);
        let (ttft_ms, tpot_ms) = together.map_or((ttft_ms, tpot_ms), |both| (both.ttft_ms, both.tpot_ms));
        let tokens = |rate: f64| rate * ask.load.output_len;
        let usd_per_s = f64::from(ranks) * ask.usd_per_rank_hour / 3600.0;
        Self {
            ranks,
            rate,
            ttft_ms,
            tpot_ms,
            tokens_per_s_per_rank: tokens(rate) / f64::from(ranks),
            tokens_per_s_per_user: 1e3 / tpot_ms,
            usd_per_mtok: usd_per_s / tokens(ask.load.rate.unwrap_or(rate)) * 1e6,
            parts,
            together,
        }
    }

    /// Which is better for `ask`: fewer ranks where a rate is to be carried, else more requests a second; then the other of the two, then the
    /// shorter TPOT by closed forms, then the order of layouts.
    pub(super) fn better(&self, other: &Self, ask: &Ask) -> Ordering {
        let (ranks, rate) = (self.ranks.cmp(&other.ranks), other.rate.total_cmp(&self.rate));
        let by = if ask.load.rate.is_some() { ranks.then(rate) } else { rate.then(ranks) };
        let layouts = |choice: &Self| choice.parts.iter().map(|part| part.layout).collect::<Vec<_>>();
        let tpot = |choice: &Self| choice.parts.iter().map(|part| part.estimate.tpot_ms).fold(0.0, f64::max);
        by.then(tpot(self).total_cmp(&tpot(other))).then_with(|| layouts(self).cmp(&layouts(other)))
    }

    /// Whether all of it was served.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        self.parts.iter().all(|part| part.trial.is_some())
            && (self.parts.len() == 1 || self.together.is_some())
    }
}

/// Replicas of each part that `yard` is to have, for parts that carry `rates` each: as few as carry `rate`, or as many as carry most. `None` where
/// they don't fit.
pub(super) fn replicas(rate: Option<f64>, yard: Yard, sizes: &[Size], rates: &[f64]) -> Option<Vec<u32>> {
    if let Some(rate) = rate {
        let needed: Vec<u32> = rates.iter().map(|own| (rate / own).ceil().min(1e6) as u32).collect();
        return fits(yard, sizes, &needed).then_some(needed);
    }
    let &[(racks, ranks), answers] = sizes else {
        let (racks, ranks) = sizes[0];
        return Some(vec![yard.room_for(racks, ranks)]).filter(|room| room[0] > 0);
    };
    let carried = |counts: &[u32; 2]| {
        counts.iter().zip(rates).map(|(count, own)| f64::from(*count) * own).fold(f64::INFINITY, f64::min)
    };
    let pairs = (1..=yard.room_for(racks, ranks)).filter_map(|prompts| {
        let most = yard.room_for(answers.0, answers.1);
        (1..=most).rev().find(|&count| fits(yard, sizes, &[prompts, count])).map(|count| [prompts, count])
    });
    // Of equals the one with fewer ranks, which comes first or takes no more answers than it must.
    let best = pairs.max_by(|a, b| carried(a).total_cmp(&carried(b)).then(b[0].cmp(&a[0])))?;
    let enough = (carried(&best) / rates[1]).ceil() as u32;
    Some(vec![best[0], enough.clamp(1, best[1])])
}

/// Whether so many replicas of each size fit in `yard`: whole racks first, then the larger parts of racks.
fn fits(yard: Yard, sizes: &[Size], counts: &[u32]) -> bool {
    let whole = |&(racks, ranks): &Size| if ranks == yard.ranks_per_rack { racks } else { 0 };
    let taken: u64 =
        sizes.iter().zip(counts).map(|(size, &count)| u64::from(whole(size)) * u64::from(count)).sum();
    if taken > u64::from(yard.racks) {
        return false;
    }
    let racks = u64::from(yard.racks) - taken;
    let mut parts: Vec<(u64, u64)> = sizes
        .iter()
        .zip(counts)
        .filter(|(size, _)| whole(size) == 0)
        .map(|(&(_, ranks), &count)| (u64::from(ranks), u64::from(count)))
        .collect();
    parts.sort_unstable();
    let each = u64::from(yard.ranks_per_rack);
    match *parts {
        [] => true,
        [(ranks, count)] => count <= racks * (each / ranks),
        [(small, few), (large, many)] => {
            let full = each / large;
            let opened = many.div_ceil(full);
            if opened > racks {
                return false;
            }
            let left =
                (0..opened).map(|rack| (each - large * full.min(many - rack * full)) / small).sum::<u64>();
            few <= left + (racks - opened) * (each / small)
        }
        _ => false,
    }
}

/// The roles that use the yard together.
pub(super) const USES: [&[Role]; 2] = [&[Role::Whole], &[Role::Prefill, Role::Decode]];

//! How even the ranks are to be: the two ends of the front between few copies and even ranks, and what is asked for between them.

use super::{CHOSEN_SLACK, SLACK, over};
use crate::ids::ExpertId;
use crate::placement::policies::eplb;
use crate::placement::{Demand, Placement, PlacementError, shares};
use topology::Cluster;

/// What a placement is to be best at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Aim {
    /// As even as EPLB can be, and fewest copies within that.
    #[default]
    Even,
    /// Fewest copies, as even as that variant of EPLB which sends fewer.
    FewestCopies,
    /// Fewest copies with at least this balancedness, replicas of an expert alike, or as even as can be where that can't.
    Balance(f64),
}

/// The most that a rank may carry.
pub(super) struct Limits {
    /// With each expert's load split evenly over its replicas, as EPLB reckons.
    pub(super) even: f64,
    /// The same, so that replicas can be chosen as evenly as EPLB's; kept to where it can be reached.
    pub(super) tight: f64,
    /// With replicas chosen so that the ranks are as even as they can be.
    pub(super) chosen: f64,
}

/// A placement of EPLB's.
pub(super) struct Variant {
    pub(super) map: Vec<ExpertId>,
    pub(super) placement: Placement,
    /// Whether the groups of the demand stay in racks.
    pub(super) in_groups: bool,
    /// Load of its fullest rank, replicas alike, and with replicas chosen as evenly as can be.
    fullest: f64,
    chosen: f64,
}

impl Variant {
    /// The global variant and then the one in groups of the demand, where they have an answer.
    pub(super) fn both(
        cluster: &Cluster,
        slots: u32,
        demand: &Demand,
        by_rack: &[Vec<f64>],
        load: &[f64],
    ) -> Result<Vec<Self>, PlacementError> {
        let ranks = cluster.num_ranks();
        if !slots.is_multiple_of(ranks) {
            return Ok(Vec::new());
        }
        let mut variants: Vec<Self> = Vec::new();
        for map in eplb::maps(cluster, load, slots, demand.groups()) {
            let mut count = vec![0_u32; load.len()];
            map.iter().for_each(|expert| count[expert.0 as usize] += 1);
            let share = |expert: &ExpertId| load[expert.0 as usize] / f64::from(count[expert.0 as usize]);
            let by_rank = (slots / ranks) as usize;
            let fullest = map.chunks(by_rank).map(|held| held.iter().map(share).sum()).fold(0.0, f64::max);
            let counts = vec![slots / ranks; ranks as usize];
            let placement = Placement::indexed(map.clone(), &counts, load.len() as u32, "EPLB placement")?;
            let chosen = shares::fullest_rank(&placement, load);
            let in_groups = !variants.is_empty();
            variants.push(Self {
                map,
                in_groups,
                placement: placement.for_demand(cluster, by_rack, 0.0)?,
                fullest,
                chosen,
            });
        }
        Ok(variants)
    }

    /// Whether it has no expert twice on a rank, and no rank above `limit`.
    pub(super) fn may_stay(&self, limit: f64) -> bool {
        let by_rank = self.map.len() / self.placement.num_ranks() as usize;
        let alone = |held: &[ExpertId]| (1..held.len()).all(|at| !held[..at].contains(&held[at]));
        over(self.fullest, limit) <= 0.0 && self.map.chunks(by_rank).all(alone)
    }

    /// Limits that are its own.
    pub(super) fn limits(&self) -> Limits {
        Limits { even: self.fullest, tight: self.fullest, chosen: self.chosen }
    }
}

impl Limits {
    /// A little more than the fullest rank of the global EPLB, or than `evenest` where that is less.
    pub(super) fn even(global: Option<&Variant>, mean: f64, evenest: f64) -> Self {
        let relaxed = |fullest: f64, slack: f64| {
            if fullest <= 0.0 {
                return 0.0;
            }
            let even = mean / fullest;
            mean / (even - slack.min(even * slack))
        };
        let fullest = global.map_or(evenest, |global| global.fullest.min(evenest));
        let even = relaxed(fullest, SLACK);
        match global {
            // A choice of replicas can't empty a rank that has none: ranks must be even without.
            Some(global) => Self {
                even,
                tight: relaxed(global.chosen, 2.0 * CHOSEN_SLACK),
                chosen: relaxed(global.chosen, CHOSEN_SLACK),
            },
            None => Self { even, tight: even, chosen: relaxed(evenest, CHOSEN_SLACK) },
        }
    }

    /// Of a balancedness that is asked for.
    pub(super) fn of(balance: f64, mean: f64) -> Self {
        let most = mean / balance;
        Self { even: most, tight: most, chosen: most }
    }
}

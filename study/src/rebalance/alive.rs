//! Who is alive when: phases of a run, in each of which some ranks take part and some die.
//!
//! The form is that of NIXL's elastic tests: `[[0, 1], [0, 1, 2, 3], [0, 1, -2, 3], [0, 3]]` are four phases; in the third rank 2 takes part and
//! dies in its middle, so that half of the phase is run by the others. Between two phases ranks come and go in good order.

use moe::Placement;
use moe::names::TokenNames;
use moe::placement::{Demand, PlacementPolicy};
use std::collections::BTreeSet;
use topology::{Cluster, RankId};

/// Fewest ranks that can go on: one alone has nobody to load weights from.
pub const SURVIVORS_MIN: usize = 2;

/// Ranks of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    /// Those that take part.
    pub ranks: BTreeSet<RankId>,
    /// Those of them that die in its middle.
    pub dying: BTreeSet<RankId>,
}

/// Checks that `phases` can be those of a run of `steps` steps; where experts are to be placed anew in them, that `policy` can do it after a
/// `first` placement.
///
/// # Errors
/// What can't be.
pub fn check_phases(
    cluster: &Cluster,
    phases: &[Phase],
    steps: u32,
    policy: Option<(&dyn PlacementPolicy, &Placement)>,
) -> Result<(), String> {
    let stretches = stretches(cluster, phases, steps)?;
    let Some((policy, first)) = policy else { return Ok(()) };
    let mut tried: Vec<&Cluster> = Vec::new();
    for stretch in &stretches {
        if tried.contains(&&stretch.cluster) {
            continue;
        }
        tried.push(&stretch.cluster);
        let even = Demand::even(&stretch.cluster, first.num_experts());
        let placed = Placement::by(policy, &stretch.cluster, Some(stretch.slots(first, true)), &even);
        if let Err(error) = placed {
            let ranks = stretch.ranks.len();
            return Err(format!(
                "{} can't place anew on the {ranks} ranks that are left in one phase: {error}; give interval = \"never\" or another placement",
                policy.name()
            ));
        }
    }
    Ok(())
}

/// Steps in which the same ranks take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Ranks of the whole cluster, ascending: the i-th is rank i of `cluster`.
    pub(super) ranks: Vec<RankId>,
    /// The racks as they are left; one without ranks is none.
    pub(super) cluster: Cluster,
    pub(super) steps: u32,
    /// Whether it begins with the death of a rank in the middle of a step.
    pub(super) after_death: bool,
}

impl Stretch {
    /// All ranks all the time.
    pub(super) fn whole(cluster: &Cluster, steps: u32) -> Self {
        Self { ranks: cluster.ranks().collect(), cluster: cluster.clone(), steps, after_death: false }
    }

    fn of(cluster: &Cluster, ranks: Vec<RankId>, steps: u32, after_death: bool) -> Result<Self, String> {
        if ranks.len() < SURVIVORS_MIN {
            return Err(format!(
                "{} ranks are left, and {SURVIVORS_MIN} must be; keep more alive",
                ranks.len()
            ));
        }
        let left = |rack| ranks.iter().filter(|&&rank| cluster.rack_of(rank) == rack).count() as u32;
        let sizes: Vec<u32> = cluster.racks().map(left).filter(|&size| size > 0).collect();
        let cluster = Cluster::new(&sizes).map_err(|error| error.to_string())?;
        Ok(Self { ranks, cluster, steps, after_death })
    }

    /// Slots on these ranks. A rank has room for as many as in the `first` placement, which is of all ranks; only where they would be fewer
    /// than experts it has more. Where a policy is to place `anew`, all ranks have the same number, which some policies need.
    pub(super) fn slots(&self, first: &Placement, anew: bool) -> u32 {
        let (ranks, experts) = (self.cluster.num_ranks(), first.num_experts());
        let room = first.max_slots_per_rank();
        let slots = match (ranks == first.num_ranks(), anew) {
            (true, _) => first.num_slots(),
            (false, true) => room.max(experts.div_ceil(ranks)).saturating_mul(ranks),
            (false, false) => room.saturating_mul(ranks).min(first.num_slots()).max(experts),
        };
        slots.min(experts.saturating_mul(ranks))
    }

    /// The tokens of all ranks, `tokens` of each there was, on those who take part.
    pub(super) fn tokens(&self, tokens: &[u32]) -> (Vec<u32>, TokenNames) {
        if self.ranks.len() == tokens.len() {
            return (tokens.to_vec(), TokenNames::default());
        }
        let names = TokenNames::taken_over(tokens, &self.ranks);
        (names.tokens().unwrap_or_default(), names)
    }
}

/// The stretches of `phases`, which share `steps` steps: as many each, and one more in the first ones.
///
/// # Errors
/// For ranks that the cluster has not, and phases with too few ranks or without a step. A rank that takes part again after it died was started
/// again.
pub(super) fn stretches(cluster: &Cluster, phases: &[Phase], steps: u32) -> Result<Vec<Stretch>, String> {
    if phases.is_empty() {
        return Ok(vec![Stretch::whole(cluster, steps)]);
    }
    let count = u32::try_from(phases.len()).unwrap_or(u32::MAX);
    let mut stretches: Vec<Stretch> = Vec::new();
    for (at, Phase { ranks, dying }) in (0..).zip(phases) {
        if let Some(rank) = ranks.iter().find(|rank| rank.0 >= cluster.num_ranks()) {
            let last = cluster.num_ranks() - 1;
            return Err(format!("phase {at}: there is no rank {}, the last is {last}", rank.0));
        }
        let steps = steps / count + u32::from(at < steps % count);
        let before = if dying.is_empty() { steps } else { steps / 2 };
        if before == 0 || (before == steps && !dying.is_empty()) {
            let needed = count * if phases.iter().any(|phase| !phase.dying.is_empty()) { 2 } else { 1 };
            return Err(format!("phase {at} has {steps} steps; give steps = {needed} or more"));
        }
        let place = |problem: String| format!("phase {at}: {problem}");
        let stretch =
            |ranks: Vec<RankId>, steps, dead| Stretch::of(cluster, ranks, steps, dead).map_err(place);
        stretches.push(stretch(ranks.iter().copied().collect(), before, false)?);
        if !dying.is_empty() {
            stretches.push(stretch(ranks.difference(dying).copied().collect(), steps - before, true)?);
        }
    }
    Ok(stretches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(ranks: &[u32], dying: &[u32]) -> Phase {
        let set = |ranks: &[u32]| ranks.iter().copied().map(RankId).collect();
        Phase { ranks: set(ranks), dying: set(dying) }
    }

    #[test]
    fn a_list_of_phases_is_a_list_of_stretches() {
        let cluster = Cluster::new(&[2, 2]).unwrap();
        // [[0, 1], [0, 1, 2, 3], [0, 1, -2, 3], [0, 3]]
        let phases =
            [phase(&[0, 1], &[]), phase(&[0, 1, 2, 3], &[]), phase(&[0, 1, 2, 3], &[2]), phase(&[0, 3], &[])];
        let stretches = stretches(&cluster, &phases, 10).unwrap();
        let all: Vec<_> = stretches
            .iter()
            .map(|stretch| {
                (stretch.ranks.len(), stretch.cluster.rack_sizes(), stretch.steps, stretch.after_death)
            })
            .collect();
        assert_eq!(
            all,
            [
                (2, &[2][..], 3, false),
                (4, &[2, 2], 3, false),
                (4, &[2, 2], 1, false),
                (3, &[2, 1], 1, true),
                (2, &[1, 1], 2, false)
            ]
        );
        assert_eq!(stretches[4].tokens(&[3; 4]).0, [6, 6]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let cluster = Cluster::new(&[2, 2]).unwrap();
        let problem = |phases: &[Phase], steps| stretches(&cluster, phases, steps).unwrap_err();
        assert!(problem(&[phase(&[0, 4], &[])], 4).contains("no rank 4"));
        assert!(problem(&[phase(&[0], &[])], 4).contains("1 ranks are left"));
        assert!(problem(&[phase(&[0, 1], &[1])], 4).contains("1 ranks are left"));
        assert!(problem(&[phase(&[0, 1, 2], &[1])], 1).contains("steps = 2 or more"));
    }
}

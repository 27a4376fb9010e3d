//! A placement for other ranks than there were: who stays keeps what it has, and only what is missing travels.
//!
//! When ranks are lost, experts with a replica elsewhere go on there, and those whose last copy is gone are loaded again by survivors.
//! When ranks come, they take experts from those who have most. Nothing else moves; a policy may then place all anew.

use super::moves::WeightMove;
use super::{Placement, PlacementError, even_split};
use crate::ids::ExpertId;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use topology::{Cluster, RankId};

/// Expert weights that ranks need and have not, round by round; each rank sends and receives at most one expert a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// What travels in each round.
    pub rounds: Vec<Vec<WeightMove>>,
    /// How many of them nobody had: read from the memory of a host, which stands beside the rank that sends them.
    pub read_again: u64,
}

impl Placement {
    /// What the ranks of `cluster` hold, `held[r]` so far, in `slots` slots that are spread evenly; the experts with most `load` are given
    /// first, to the rank with the least.
    ///
    /// # Errors
    /// [`PlacementError`] for fewer slots than experts, or more than a placement takes.
    ///
    /// # Panics
    /// If `held` has not one entry a rank, or names an expert beyond `load`.
    pub fn surviving(
        cluster: &Cluster,
        held: &[BTreeSet<ExpertId>],
        slots: u32,
        load: &[u64],
    ) -> Result<Self, PlacementError> {
        let targets = even_split(slots, cluster.num_ranks());
        let mut yard = Yard::new(held, load);
        yard.give_up(&targets);
        yard.fill(&targets);
        let counts: Vec<u32> = yard.held.iter().map(|experts| experts.len() as u32).collect();
        let experts = yard.held.into_iter().flatten().collect();
        let placement = Self::from_parts(
            cluster,
            experts,
            &counts,
            load.len() as u32,
            "placement on the ranks that are left",
        )?;
        Ok(placement)
    }

    /// The experts of a rank.
    #[must_use]
    pub fn experts_of(&self, rank: RankId) -> BTreeSet<ExpertId> {
        self.slots_of(rank).iter().map(|&slot| self.expert_of(slot)).collect()
    }
}

/// Who holds what while it is dealt.
struct Yard<'a> {
    held: Vec<BTreeSet<ExpertId>>,
    copies: Vec<u32>,
    load: &'a [u64],
}

impl<'a> Yard<'a> {
    fn new(held: &[BTreeSet<ExpertId>], load: &'a [u64]) -> Self {
        let mut copies = vec![0; load.len()];
        held.iter().flatten().for_each(|expert| copies[expert.0 as usize] += 1);
        Self { held: held.to_vec(), copies, load }
    }

    /// What a copy of an expert has to do, in thousandths; one that is not there yet counts.
    fn share(&self, expert: ExpertId) -> u64 {
        let at = expert.0 as usize;
        self.load[at].saturating_mul(1000) / u64::from(self.copies[at].max(1))
    }

    fn work(&self, rank: usize) -> u64 {
        self.held[rank].iter().fold(0, |sum, &expert| sum.saturating_add(self.share(expert)))
    }

    fn drop(&mut self, rank: usize, expert: ExpertId) {
        self.held[rank].remove(&expert);
        self.copies[expert.0 as usize] -= 1;
    }

    fn missing(&self) -> usize {
        self.copies.iter().filter(|&&copies| copies == 0).count()
    }

    /// Ranks with more than their target give up copies that others have as well, then those with least to do; and where what is missing
    /// would have no place, so do the others.
    fn give_up(&mut self, targets: &[u32]) {
        for (rank, &target) in targets.iter().enumerate() {
            while self.held[rank].len() > target as usize {
                let key =
                    |expert: ExpertId| (self.copies[expert.0 as usize] == 1, self.share(expert), expert);
                let least = self.held[rank].iter().copied().min_by_key(|&expert| key(expert));
                let Some(expert) = least else { break };
                self.drop(rank, expert);
            }
        }
        let room = |yard: &Self| -> usize {
            let held: usize = yard.held.iter().map(BTreeSet::len).sum();
            targets.iter().sum::<u32>() as usize - held
        };
        while self.missing() > room(self) {
            let all =
                self.held.iter().enumerate().flat_map(|(rank, held)| held.iter().map(move |&e| (rank, e)));
            let spare = all.filter(|(_, expert)| self.copies[expert.0 as usize] > 1);
            let Some((rank, expert)) = spare.min_by_key(|&(rank, expert)| (self.share(expert), expert, rank))
            else {
                break;
            };
            self.drop(rank, expert);
        }
    }

    /// Fills all slots: first with what is missing, then with replicas of what has most to do.
    fn fill(&mut self, targets: &[u32]) {
        while let Some((expert, rank)) = self.next(targets) {
            self.held[rank].insert(expert);
            self.copies[expert.0 as usize] += 1;
        }
    }

    /// The expert that is to be copied next, and the rank that has a slot for it.
    fn next(&self, targets: &[u32]) -> Option<(ExpertId, usize)> {
        let free: Vec<usize> =
            (0..self.held.len()).filter(|&rank| self.held[rank].len() < targets[rank] as usize).collect();
        let mut experts: Vec<ExpertId> = (0..self.load.len() as u32).map(ExpertId).collect();
        experts
            .sort_by_key(|&expert| (self.copies[expert.0 as usize] > 0, Reverse(self.share(expert)), expert));
        experts.into_iter().find_map(|expert| {
            let able = free.iter().copied().filter(|&rank| !self.held[rank].contains(&expert));
            Some((expert, able.min_by_key(|&rank| (self.work(rank), rank))?))
        })
    }
}

/// What has to travel so that the ranks, who hold `held`, have the experts of `to`. A holder in the same rack sends where there is one, else any
/// other. What nobody holds lies in the memory of all hosts: one beside a rank of another rack reads it and sends it, or where all of them are busy one
/// of the same rack.
///
/// # Panics
/// If `held` has not one entry a rank.
#[must_use]
pub fn loading(cluster: &Cluster, held: &[BTreeSet<ExpertId>], to: &Placement) -> Loading {
    let mut held = held.to_vec();
    let mut wanted: BTreeSet<(RankId, ExpertId)> = BTreeSet::new();
    for rank in cluster.ranks() {
        let has = &held[rank.0 as usize];
        wanted.extend(to.experts_of(rank).difference(has).map(|&expert| (rank, expert)));
    }
    let mut loading = Loading::default();
    while !wanted.is_empty() {
        let (mut sending, mut receiving) = (BTreeSet::new(), BTreeSet::new());
        let mut round = Vec::new();
        for &(to, expert) in &wanted {
            if receiving.contains(&to) {
                continue;
            }
            let holders = || cluster.ranks().filter(|from| held[from.0 as usize].contains(&expert));
            let nobody = holders().next().is_none();
            let able = |from: &RankId| *from != to && !sending.contains(from);
            let near = |from: &RankId| cluster.same_rack(*from, to);
            let from = if nobody {
                // Not always the same: they take turns by the expert's number.
                let hosts = || {
                    cluster
                        .ranks()
                        .cycle()
                        .skip(expert.0 as usize)
                        .take(cluster.num_ranks() as usize)
                        .filter(able)
                };
                hosts().find(|from| !near(from)).or_else(|| hosts().next())
            } else {
                holders().filter(able).find(near).or_else(|| holders().find(able))
            };
            let Some(from) = from else { continue };
            sending.insert(from);
            receiving.insert(to);
            loading.read_again += u64::from(nobody);
            round.push(WeightMove { from, to, expert });
        }
        if round.is_empty() {
            // One rank alone has nobody to load from.
            break;
        }
        for WeightMove { to, expert, .. } in &round {
            wanted.remove(&(*to, *expert));
            held[to.0 as usize].insert(*expert);
        }
        round.sort_unstable();
        loading.rounds.push(round);
    }
    loading
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(placement: &Placement, ranks: &[u32]) -> Vec<BTreeSet<ExpertId>> {
        ranks.iter().map(|&rank| placement.experts_of(RankId(rank))).collect()
    }

    #[test]
    fn survivors_keep_their_experts_and_take_over_the_lost() {
        let full = Cluster::new(&[2, 2]).unwrap();
        let before = Placement::linear(&full, 8).unwrap();
        let left = Cluster::new(&[2, 1]).unwrap();
        let kept = held(&before, &[0, 1, 3]);
        let after = Placement::surviving(&left, &kept, 8, &[1; 8]).unwrap();
        let experts =
            left.ranks().map(|rank| after.experts_of(rank).into_iter().map(|expert| expert.0).collect());
        // Experts 4 and 5 were those of rank 2.
        assert_eq!(experts.collect::<Vec<Vec<u32>>>(), [vec![0, 1, 4], vec![2, 3, 5], vec![6, 7]]);
        let loading = loading(&left, &kept, &after);
        let moved =
            |from, to, expert| WeightMove { from: RankId(from), to: RankId(to), expert: ExpertId(expert) };
        // The one host in the other rack reads one of them, and a host in the same rack the other.
        assert_eq!(loading.rounds, [vec![moved(0, 1, 5), moved(2, 0, 4)]]);
        assert_eq!(loading.read_again, 2);
    }

    #[test]
    fn an_expert_with_a_replica_is_not_loaded_again() {
        let full = Cluster::new(&[2, 2]).unwrap();
        let map = r#"{"physical_to_logical_map": [0, 1, 2, 3, 0, 1, 2, 3]}"#;
        let before = Placement::from_json(map, "test", &full, 4).unwrap();
        let left = Cluster::new(&[2, 1]).unwrap();
        let kept = held(&before, &[0, 1, 3]);
        let after = Placement::surviving(&left, &kept, 6, &[9, 1, 1, 1]).unwrap();
        assert_eq!(loading(&left, &kept, &after), Loading::default());
        assert_eq!(held(&after, &[0, 1, 2]), kept);
    }

    proptest! {
        #[test]
        fn whoever_is_left_has_every_expert_and_what_travels_brings_it(
            experts in 1u32..24,
            extra in 0u32..12,
            racks in proptest::collection::vec(1u32..4, 1..4),
            holders in proptest::collection::vec(0u32..4096, 24),
            load in proptest::collection::vec(0u64..1000, 24),
        ) {
            let cluster = Cluster::new(&racks).unwrap();
            let ranks = cluster.num_ranks();
            prop_assume!(ranks > 1);
            // A rank has an expert once at most.
            let slots = (experts + extra).min(experts * ranks);
            let held: Vec<BTreeSet<ExpertId>> = (0..ranks)
                .map(|rank| (0..experts).filter(|&e| holders[e as usize] & (1 << rank) > 0).map(ExpertId).collect())
                .collect();
            let after = Placement::surviving(&cluster, &held, slots, &load[..experts as usize]).unwrap();
            prop_assert_eq!(after.num_slots(), slots);
            let split = even_split(slots, ranks);
            prop_assert!(cluster.ranks().all(|rank| after.slots_of(rank).len() == split[rank.0 as usize] as usize));
            let Loading { rounds, read_again } = loading(&cluster, &held, &after);
            let mut has = held.clone();
            let mut read = 0;
            for round in rounds {
                let senders: BTreeSet<_> = round.iter().map(|one| one.from).collect();
                let receivers: BTreeSet<_> = round.iter().map(|one| one.to).collect();
                prop_assert!(senders.len() == round.len() && receivers.len() == round.len());
                let before = has.clone();
                for WeightMove { from, to, expert } in round {
                    let somebody = before.iter().any(|held| held.contains(&expert));
                    prop_assert_eq!(before[from.0 as usize].contains(&expert), somebody);
                    read += u64::from(!somebody);
                    prop_assert!(has[to.0 as usize].insert(expert));
                }
            }
            prop_assert_eq!(read, read_again);
            for rank in cluster.ranks() {
                prop_assert!(after.experts_of(rank).is_subset(&has[rank.0 as usize]));
            }
        }
    }
}

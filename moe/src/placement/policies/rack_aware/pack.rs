//! Replicas on ranks: packed by load, evened out by swaps, never two of an expert on one rank.

use super::counts::Replicas;
use crate::ids::ExpertId;
use crate::placement::even_split;
use topology::{Cluster, RankId};

/// Swaps that evening out may make, for each slot.
const SWAPS_PER_SLOT: usize = 8;

/// Which experts each rank holds.
#[derive(Clone, Debug)]
pub(super) struct Packing {
    /// Load of one replica, by expert.
    pub(super) load: Vec<f64>,
    /// Experts by rank, in no order.
    pub(super) held: Vec<Vec<u32>>,
    /// Load by rank.
    pub(super) carried: Vec<f64>,
    /// Slots by rank.
    pub(super) room: Vec<usize>,
}

impl Packing {
    pub(super) fn new(cluster: &Cluster, replicas: &[Replicas], slots: u32) -> Self {
        // What is left over goes to the first ranks of all racks, then to the second ones.
        let mut order: Vec<RankId> = cluster.ranks().collect();
        order.sort_by_key(|&rank| cluster.index_in_rack(rank));
        let mut room = vec![0; order.len()];
        for (rank, count) in order.iter().zip(even_split(slots, cluster.num_ranks())) {
            room[rank.0 as usize] = count as usize;
        }
        Self {
            load: replicas.iter().map(|replicas| replicas.load).collect(),
            held: room.iter().map(|&room| Vec::with_capacity(room)).collect(),
            carried: vec![0.0; room.len()],
            room,
        }
    }

    /// All replicas by load, heaviest first, each to the lightest rank that has room.
    pub(super) fn by_load(cluster: &Cluster, replicas: &[Replicas], slots: u32) -> Self {
        let mut packing = Self::new(cluster, replicas, slots);
        let experts = (0..replicas.len() as u32)
            .flat_map(|e| std::iter::repeat_n(e, replicas[e as usize].count as usize));
        let ranks: Vec<usize> = (0..packing.room.len()).collect();
        let rest = packing.fill(experts.collect(), &ranks);
        packing.fill_up(rest, &ranks);
        packing
    }

    /// The packing of `map`, slots evenly by rank, which has `replicas`; an expert that is on a rank twice gives way, if it can in its
    /// rack. `None` if it can nowhere.
    pub(super) fn of_map(cluster: &Cluster, replicas: &[Replicas], map: &[ExpertId]) -> Option<Self> {
        let mut packing = Self::new(cluster, replicas, map.len() as u32);
        let mut experts = map.iter().map(|expert| expert.0);
        for rank in 0..packing.room.len() {
            experts.by_ref().take(packing.room[rank]).for_each(|expert| packing.put(rank, expert));
        }
        let again = |held: &[u32]| (1..held.len()).find(|&at| held[..at].contains(&held[at]));
        for a in 0..packing.room.len() {
            while let Some(i) = again(&packing.held[a]) {
                let away = |b: usize| !cluster.same_rack(RankId(a as u32), RankId(b as u32));
                let others = (0..packing.room.len()).filter(|&b| b != a);
                let swaps = others.flat_map(|b| (0..packing.held[b].len()).map(move |j| (b, j)));
                let rating = |&(b, j): &(usize, usize)| {
                    let given =
                        packing.load[packing.held[a][i] as usize] - packing.load[packing.held[b][j] as usize];
                    (away(b), (packing.carried[a] - given).max(packing.carried[b] + given))
                };
                let fitting = swaps.filter(|&other| packing.fits((a, i), other));
                let best = fitting.min_by(|x, y| {
                    let (x, y) = (rating(x), rating(y));
                    x.0.cmp(&y.0).then(x.1.total_cmp(&y.1))
                })?;
                packing.swap((a, i), best);
            }
        }
        Some(packing)
    }

    /// Packs what `ranks` hold once more, by load.
    pub(super) fn repack(&mut self, ranks: &[usize]) {
        let mut experts = Vec::new();
        for &rank in ranks {
            experts.append(&mut self.held[rank]);
            self.carried[rank] = 0.0;
        }
        let rest = self.fill(experts, ranks);
        self.fill_up(rest, ranks);
    }

    /// Packs `experts` onto `ranks`; returns those that only fit beside another replica.
    pub(super) fn fill(&mut self, mut experts: Vec<u32>, ranks: &[usize]) -> Vec<u32> {
        experts.sort_by(|&a, &b| self.load[b as usize].total_cmp(&self.load[a as usize]).then(a.cmp(&b)));
        experts.retain(|&expert| match self.lightest(ranks, |packing, rank| !packing.holds(rank, expert)) {
            Some(rank) => {
                self.put(rank, expert);
                false
            }
            None => true,
        });
        experts
    }

    /// Packs what is left over onto the room that is left on `ranks`, all that have any.
    pub(super) fn fill_up(&mut self, experts: Vec<u32>, ranks: &[usize]) {
        for expert in experts {
            if self.fill(vec![expert], ranks).is_empty() {
                continue;
            }
            // Every rank with room holds it. One without it is full, so that it has at least as many replicas as the open one,
            // of which one is not there: that one gives way.
            let open = self.lightest(ranks, |_, _| true).expect("as much room as replicas");
            let other = ranks.iter().copied().find(|&rank| !self.holds(rank, expert));
            let other = other.expect("an expert has no more replicas than there are ranks");
            let at =
                self.held[other].iter().position(|&held| !self.holds(open, held)).expect("one is not there");
            let held = self.held[other].swap_remove(at);
            self.carried[other] -= self.load[held as usize];
            self.put(open, held);
            self.put(other, expert);
        }
    }

    /// The rank of `ranks` with room that carries least and fulfils `also`.
    fn lightest(&self, ranks: &[usize], also: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let mut lightest: Option<usize> = None;
        for &rank in ranks {
            // The load first: it rules most ranks out for less.
            if lightest.is_none_or(|other| self.carried[rank].total_cmp(&self.carried[other]).is_lt())
                && self.held[rank].len() < self.room[rank]
                && also(self, rank)
            {
                lightest = Some(rank);
            }
        }
        lightest
    }

    fn put(&mut self, rank: usize, expert: u32) {
        self.carried[rank] += self.load[expert as usize];
        self.held[rank].push(expert);
    }

    pub(super) fn holds(&self, rank: usize, expert: u32) -> bool {
        self.held[rank].contains(&expert)
    }

    /// Load of the fullest rank.
    pub(super) fn fullest(&self) -> f64 {
        self.carried.iter().copied().fold(0.0, f64::max)
    }

    /// Exchanges the `i`-th replica of rank `a` with the `j`-th of rank `b`.
    pub(super) fn swap(&mut self, (a, i): (usize, usize), (b, j): (usize, usize)) {
        let (mine, theirs) = (self.held[a][i], self.held[b][j]);
        self.held[a][i] = theirs;
        self.held[b][j] = mine;
        let change = self.load[theirs as usize] - self.load[mine as usize];
        self.carried[a] += change;
        self.carried[b] -= change;
    }

    /// Whether the exchange leaves no expert twice on a rank.
    pub(super) fn fits(&self, (a, i): (usize, usize), (b, j): (usize, usize)) -> bool {
        let (mine, theirs) = (self.held[a][i], self.held[b][j]);
        mine != theirs && !self.holds(a, theirs) && !self.holds(b, mine)
    }

    /// Swaps replicas of the fullest rank for lighter ones elsewhere until no rank carries more than `limit`, or none helps.
    /// Of the swaps that bring it below the limit, the one that changes least; else the one that evens out most.
    pub(super) fn even_out(&mut self, limit: f64) {
        let slots: usize = self.room.iter().sum();
        for _ in 0..slots * SWAPS_PER_SLOT {
            let a =
                (0..self.carried.len()).rev().max_by(|&a, &b| self.carried[a].total_cmp(&self.carried[b]));
            let Some(a) = a.filter(|&a| self.carried[a] > limit) else { return };
            let mut best = None;
            for b in (0..self.held.len()).filter(|&b| b != a) {
                for i in 0..self.held[a].len() {
                    for j in 0..self.held[b].len() {
                        let given = self.load[self.held[a][i] as usize] - self.load[self.held[b][j] as usize];
                        let after = (self.carried[a] - given).max(self.carried[b] + given);
                        if given <= 0.0 || after >= self.carried[a] {
                            continue;
                        }
                        let rating = if after <= limit { (false, given) } else { (true, after) };
                        let better = best.is_none_or(|(found, _)| rating < found);
                        if better && self.fits((a, i), (b, j)) {
                            best = Some((rating, ((a, i), (b, j))));
                        }
                    }
                }
            }
            let Some((_, (mine, theirs))) = best else { return };
            self.swap(mine, theirs);
        }
    }

    /// The experts of all slots, and the slots of each rank; experts ascend within a rank.
    pub(super) fn into_map(self) -> (Vec<u32>, Vec<u32>) {
        let counts = self.held.iter().map(|held| held.len() as u32).collect();
        let sorted = self.held.into_iter().flat_map(|mut held| {
            held.sort_unstable();
            held
        });
        (sorted.collect(), counts)
    }
}

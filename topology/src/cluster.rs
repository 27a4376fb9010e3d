//! Which rank sits in which rack, and in what order a rank visits its peers.
//!
//! Ranks are numbered rack by rack: rank = (first rank of its rack) + (index in the rack). Racks may differ
//! in size. Methods that take an id panic if the cluster has no such rank or rack: ids from outside are
//! checked against [`Cluster::num_ranks`] where they are read.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{LinkClass, RackId, RankId};

/// The largest cluster: more ranks than any published deployment, few enough for every per-rank table.
pub const MAX_RANKS: u32 = 65_536;

/// Rack sizes that make no cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClusterError {
    /// The list of racks is empty.
    #[error("a cluster needs at least one rack; give sizes such as [8, 8]")]
    NoRacks,
    /// A rack has no ranks.
    #[error("rack {rack} has 0 ranks; every rack needs at least 1, or leave the rack out")]
    EmptyRack {
        /// Position in the list of sizes.
        rack: usize,
    },
    /// More than [`MAX_RANKS`] ranks in all.
    #[error("{ranks} ranks are more than the limit of {MAX_RANKS}; use fewer or smaller racks")]
    TooManyRanks {
        /// The sum of the sizes.
        ranks: u64,
    },
}

/// Racks of ranks: the shape of the cluster without its speeds. Serialised as the list of rack sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct Cluster {
    rack_sizes: Vec<u32>,
    /// First rank of each rack, then the number of ranks: `racks + 1` entries.
    rack_starts: Vec<u32>,
    /// Rack of each rank.
    racks: Vec<RackId>,
}

impl Cluster {
    /// A cluster with one rack per entry, of that many ranks.
    ///
    /// # Errors
    /// [`ClusterError`] if there is no rack, an empty rack, or more than [`MAX_RANKS`] ranks.
    pub fn new(rack_sizes: &[u32]) -> Result<Self, ClusterError> {
        if rack_sizes.is_empty() {
            return Err(ClusterError::NoRacks);
        }
        if let Some(rack) = rack_sizes.iter().position(|&size| size == 0) {
            return Err(ClusterError::EmptyRack { rack });
        }
        let ranks: u64 = rack_sizes.iter().map(|&size| u64::from(size)).sum();
        if ranks > u64::from(MAX_RANKS) {
            return Err(ClusterError::TooManyRanks { ranks });
        }
        let mut rack_starts = vec![0];
        let mut racks = Vec::with_capacity(ranks as usize);
        for (rack, &size) in (0..).zip(rack_sizes) {
            rack_starts.push(racks.len() as u32 + size);
            racks.extend((0..size).map(|_| RackId(rack)));
        }
        Ok(Self { rack_sizes: rack_sizes.to_vec(), rack_starts, racks })
    }

    /// `racks` racks of `ranks_per_rack` ranks each.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn uniform(racks: u32, ranks_per_rack: u32) -> Result<Self, ClusterError> {
        let ranks = u64::from(racks) * u64::from(ranks_per_rack);
        if ranks > u64::from(MAX_RANKS) {
            return Err(ClusterError::TooManyRanks { ranks });
        }
        if racks > MAX_RANKS {
            // Only reachable with racks of size 0; don't build a huge list to say so.
            return Err(ClusterError::EmptyRack { rack: 0 });
        }
        Self::new(&vec![ranks_per_rack; racks as usize])
    }

    /// Number of ranks in all racks, 1 to [`MAX_RANKS`].
    pub fn num_ranks(&self) -> u32 {
        self.racks.len() as u32
    }

    /// Number of racks, at least 1.
    pub fn num_racks(&self) -> u32 {
        self.rack_sizes.len() as u32
    }

    /// Ranks in each rack, by rack.
    pub fn rack_sizes(&self) -> &[u32] {
        &self.rack_sizes
    }

    /// Whether all racks have the same size.
    pub fn is_uniform(&self) -> bool {
        self.rack_sizes.iter().all(|&size| size == self.rack_sizes[0])
    }

    /// The rack that `rank` sits in.
    pub fn rack_of(&self, rank: RankId) -> RackId {
        self.racks[rank.0 as usize]
    }

    /// Position of `rank` in its rack, from 0.
    pub fn index_in_rack(&self, rank: RankId) -> u32 {
        rank.0 - self.rack_starts[self.rack_of(rank).0 as usize]
    }

    /// The rank at position `index` of `rack`.
    pub fn rank_at(&self, rack: RackId, index: u32) -> RankId {
        assert!(index < self.rack_size(rack), "{rack} has {} ranks, no index {index}", self.rack_size(rack));
        RankId(self.rack_starts[rack.0 as usize] + index)
    }

    /// Number of ranks in `rack`.
    pub fn rack_size(&self, rack: RackId) -> u32 {
        self.rack_sizes[rack.0 as usize]
    }

    /// All ranks, ascending.
    pub fn ranks(&self) -> impl DoubleEndedIterator<Item = RankId> + Clone + use<> {
        (0..self.num_ranks()).map(RankId)
    }

    /// All racks, ascending.
    pub fn racks(&self) -> impl DoubleEndedIterator<Item = RackId> + Clone + use<> {
        (0..self.num_racks()).map(RackId)
    }

    /// The ranks of `rack`, ascending.
    pub fn ranks_in(&self, rack: RackId) -> impl DoubleEndedIterator<Item = RankId> + Clone + use<> {
        (self.rack_starts[rack.0 as usize]..self.rack_starts[rack.0 as usize + 1]).map(RankId)
    }

    /// Whether `a` and `b` sit in one rack (a rank shares a rack with itself).
    pub fn same_rack(&self, a: RankId, b: RankId) -> bool {
        self.rack_of(a) == self.rack_of(b)
    }

    /// The fabric that carries a transfer between `a` and `b`: scale-up inside a rack, scale-out between
    /// racks.
    pub fn link_class(&self, a: RankId, b: RankId) -> LinkClass {
        if self.same_rack(a, b) { LinkClass::ScaleUp } else { LinkClass::ScaleOut }
    }

    /// The rank of `rack` with the same index as `source`, modulo the rack's size: where a hierarchical
    /// dispatch of `source` enters `rack`, and where its combine leaves it.
    pub fn gateway(&self, source: RankId, rack: RackId) -> RankId {
        self.rank_at(rack, self.index_in_rack(source) % self.rack_size(rack))
    }

    /// The peers of `rank` on `class`, in the order in which it sends to them; `rank` itself is not among
    /// them.
    ///
    /// Scale-up: index i+1, i+2, ... of the own rack, wrapping. Scale-out: the next rack first, from index i
    /// on (modulo that rack's size), wrapping, then the rack after it. In a uniform all-to-all over racks of
    /// one size every receiver thus hears exactly one sender at every turn, and the whole completes at the
    /// [`fluid_bound`](crate::fluid_bound).
    pub fn rotation(&self, rank: RankId, class: LinkClass) -> Vec<RankId> {
        (0..self.rotation_len(rank, class)).map(|turn| self.rotation_peer(rank, class, turn)).collect()
    }

    /// Number of peers of `rank` on `class`.
    pub fn rotation_len(&self, rank: RankId, class: LinkClass) -> u32 {
        let size = self.rack_size(self.rack_of(rank));
        match class {
            LinkClass::ScaleUp => size - 1,
            LinkClass::ScaleOut => self.num_ranks() - size,
        }
    }

    /// The peer of `rank` at `turn` of its [`rotation`](Self::rotation), without making the whole list.
    ///
    /// Panics if the rotation is not that long.
    pub fn rotation_peer(&self, rank: RankId, class: LinkClass, turn: u32) -> RankId {
        assert!(turn < self.rotation_len(rank, class), "{rank} has no turn {turn} on {class}");
        let (rack, index) = (self.rack_of(rank), self.index_in_rack(rank));
        match class {
            LinkClass::ScaleUp => self.rank_at(rack, (index + 1 + turn) % self.rack_size(rack)),
            LinkClass::ScaleOut => {
                // The other racks one after the other, each turned by the own index.
                let unturned = (self.rack_starts[rack.0 as usize + 1] + turn) % self.num_ranks();
                let other = self.rack_of(RankId(unturned));
                let offset = self.index_in_rack(RankId(unturned));
                self.rank_at(other, (index + offset) % self.rack_size(other))
            }
        }
    }

    /// The turn at which `rank` visits `peer` in its [`rotation`](Self::rotation) on the link class of the two.
    ///
    /// Panics if `peer` is `rank` itself.
    pub fn rotation_turn(&self, rank: RankId, peer: RankId) -> u32 {
        assert_ne!(rank, peer, "a rank does not visit itself");
        let (rack, index) = (self.rack_of(rank), self.index_in_rack(rank));
        let (other, at) = (self.rack_of(peer), self.index_in_rack(peer));
        let size = self.rack_size(other);
        // A remainder takes longer than all else here, and is rarely needed.
        let wrapped = |ahead: u32, turns: u32| if ahead >= turns { ahead - turns } else { ahead };
        if rack == other {
            return wrapped(at + size - index - 1, size);
        }
        let index = if index < size { index } else { index % size };
        let offset = wrapped(at + size - index, size);
        let unturned = self.rack_starts[other.0 as usize] + offset;
        wrapped(unturned + self.num_ranks() - self.rack_starts[rack.0 as usize + 1], self.num_ranks())
    }
}

impl TryFrom<Vec<u32>> for Cluster {
    type Error = ClusterError;

    fn try_from(rack_sizes: Vec<u32>) -> Result<Self, ClusterError> {
        Self::new(&rack_sizes)
    }
}

impl From<Cluster> for Vec<u32> {
    fn from(cluster: Cluster) -> Self {
        cluster.rack_sizes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const CLASSES: [LinkClass; 2] = [LinkClass::ScaleUp, LinkClass::ScaleOut];

    fn cluster(sizes: &[u32]) -> Cluster {
        Cluster::new(sizes).expect("valid sizes")
    }

    #[test]
    fn impossible_sizes_are_named() {
        assert_eq!(Cluster::new(&[]), Err(ClusterError::NoRacks));
        assert_eq!(Cluster::new(&[8, 0]), Err(ClusterError::EmptyRack { rack: 1 }));
        assert_eq!(Cluster::new(&[u32::MAX; 3]), Err(ClusterError::TooManyRanks { ranks: 12_884_901_885 }));
        assert_eq!(Cluster::uniform(0, 8), Err(ClusterError::NoRacks));
        assert_eq!(Cluster::uniform(u32::MAX, 0), Err(ClusterError::EmptyRack { rack: 0 }));
        assert!(Cluster::uniform(2, 40_000).is_err());
        assert!(Cluster::uniform(1, MAX_RANKS).is_ok());
    }

    #[test]
    fn ragged_racks_number_their_ranks_one_after_the_other() {
        let cluster = cluster(&[3, 1, 4]);
        assert_eq!((cluster.num_ranks(), cluster.num_racks(), cluster.is_uniform()), (8, 3, false));
        assert_eq!(cluster.rack_of(RankId(3)), RackId(1));
        assert_eq!(cluster.index_in_rack(RankId(6)), 2);
        assert_eq!(cluster.rank_at(RackId(2), 3), RankId(7));
        assert_eq!(cluster.ranks_in(RackId(0)).collect::<Vec<_>>(), [RankId(0), RankId(1), RankId(2)]);
        assert_eq!(cluster.link_class(RankId(0), RankId(2)), LinkClass::ScaleUp);
        assert_eq!(cluster.link_class(RankId(2), RankId(3)), LinkClass::ScaleOut);
    }

    #[test]
    fn a_gateway_has_the_same_index_modulo_the_size_of_its_rack() {
        let cluster = cluster(&[3, 2]);
        assert_eq!(cluster.gateway(RankId(1), RackId(1)), RankId(4));
        assert_eq!(cluster.gateway(RankId(2), RackId(1)), RankId(3));
        assert_eq!(cluster.gateway(RankId(4), RackId(0)), RankId(1));
    }

    #[test]
    fn rotation_starts_after_the_own_index_and_at_the_next_rack() {
        let cluster = cluster(&[3, 3, 2]);
        let ids = |rank, class| cluster.rotation(RankId(rank), class).iter().map(|r| r.0).collect::<Vec<_>>();
        assert_eq!(ids(1, LinkClass::ScaleUp), [2, 0]);
        assert_eq!(ids(1, LinkClass::ScaleOut), [4, 5, 3, 7, 6]);
        assert_eq!(ids(7, LinkClass::ScaleOut), [1, 2, 0, 4, 5, 3]);
    }

    proptest! {
        #[test]
        fn ids_and_positions_agree(sizes in prop::collection::vec(1u32..9, 1..7)) {
            let cluster = cluster(&sizes);
            let mut seen = 0;
            for rack in cluster.racks() {
                for (index, rank) in (0..).zip(cluster.ranks_in(rack)) {
                    prop_assert_eq!(rank, RankId(seen));
                    prop_assert_eq!(cluster.rank_at(rack, index), rank);
                    prop_assert_eq!((cluster.rack_of(rank), cluster.index_in_rack(rank)), (rack, index));
                    seen += 1;
                }
            }
            prop_assert_eq!(seen, cluster.num_ranks());
        }

        #[test]
        fn rotation_visits_every_peer_of_its_class_once(sizes in prop::collection::vec(1u32..9, 1..7)) {
            let cluster = cluster(&sizes);
            for rank in cluster.ranks() {
                for class in CLASSES {
                    let visited = cluster.rotation(rank, class);
                    for (turn, &peer) in (0..).zip(&visited) {
                        prop_assert_eq!(cluster.rotation_turn(rank, peer), turn);
                    }
                    let is_peer = |&to: &RankId| to != rank && cluster.link_class(rank, to) == class;
                    let peers: BTreeSet<_> = cluster.ranks().filter(is_peer).collect();
                    prop_assert_eq!(visited.len(), peers.len());
                    prop_assert_eq!(visited.into_iter().collect::<BTreeSet<_>>(), peers);
                }
            }
        }

        #[test]
        fn in_uniform_racks_every_receiver_hears_one_sender_at_every_turn(racks in 1u32..6, size in 1u32..9) {
            let cluster = Cluster::uniform(racks, size).expect("small");
            for class in CLASSES {
                let orders: Vec<_> = cluster.ranks().map(|rank| cluster.rotation(rank, class)).collect();
                for turn in 0..orders[0].len() {
                    let heard: BTreeSet<_> = orders.iter().map(|order| order[turn]).collect();
                    prop_assert_eq!(heard.len(), cluster.num_ranks() as usize);
                }
            }
        }
    }
}

//! The peers of one port, in the order in which it visits them, and the way from a rank to its place in that order.

use topology::{Cluster, LinkClass, RankId};

/// Peers of a rank on one link class with which it has a flow.
#[derive(Debug)]
pub(crate) struct Peers {
    me: RankId,
    class: LinkClass,
    /// Turns of the rotation, ascending; empty if every peer of the class is one.
    turns: Vec<u32>,
    len: usize,
}

impl Peers {
    /// Those of `ranks` that `me` reaches through `class`.
    pub(crate) fn new(cluster: &Cluster, me: RankId, class: LinkClass, ranks: &[RankId]) -> Self {
        let reached = ranks.iter().filter(|&&peer| peer != me && cluster.link_class(me, peer) == class);
        let len = reached.clone().count();
        let mut turns = Vec::new();
        if len < cluster.rotation_len(me, class) as usize {
            turns.extend(reached.map(|&peer| cluster.rotation_turn(me, peer)));
            turns.sort_unstable();
        }
        Self { me, class, turns, len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Place of `peer`, a rank of this class; `None` without a flow.
    pub(crate) fn place_of(&self, cluster: &Cluster, peer: RankId) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let turn = cluster.rotation_turn(self.me, peer);
        if self.turns.is_empty() { Some(turn as usize) } else { self.turns.binary_search(&turn).ok() }
    }

    /// The peer at a place.
    pub(crate) fn at(&self, cluster: &Cluster, place: usize) -> RankId {
        let turn = if self.turns.is_empty() { place as u32 } else { self.turns[place] };
        cluster.rotation_peer(self.me, self.class, turn)
    }
}

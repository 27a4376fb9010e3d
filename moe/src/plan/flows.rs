//! Which ranks may send to which: the pairs that a scheme and a placement connect, whatever the routing turns out to be.
//!
//! Both ends of a flow know it from the placement alone, so that each can wait for the mark that ends it. A rank that
//! hosts nothing for a source has no flow with it: with the experts replicated in each rack none crosses.

use super::{DispatchScheme, entry_rank};
use crate::ids::ExpertId;
use crate::placement::Placement;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use topology::{Cluster, RackId, RankId};

/// The flows of a layer's dispatch; its combine has the same ones reversed. Takes 8 B a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flows {
    cluster: Arc<Cluster>,
    /// Ranks that host an expert for the sources of a rack; one list for all racks where no expert has replicas.
    hosts: Lists,
    downstream: Lists,
    upstream: Lists,
    forwarded: Lists,
}

/// Lists of ranks, ascending, in one piece of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lists {
    ranks: Vec<RankId>,
    /// List i: `start[i]..start[i + 1]`.
    start: Vec<usize>,
}

impl Lists {
    fn new() -> Self {
        Self { ranks: Vec::new(), start: vec![0] }
    }

    /// Adds a list of distinct ranks.
    fn push(&mut self, ranks: impl IntoIterator<Item = RankId>) {
        let first = self.ranks.len();
        self.ranks.extend(ranks);
        self.ranks[first..].sort_unstable();
        self.start.push(self.ranks.len());
    }

    fn get(&self, at: usize) -> &[RankId] {
        &self.ranks[self.start[at]..self.start[at + 1]]
    }

    fn len(&self) -> usize {
        self.start.len() - 1
    }

    /// For each rank the lists that name it.
    fn transposed(&self) -> Self {
        let mut start = vec![0; self.len() + 1];
        for rank in &self.ranks {
            start[rank.0 as usize + 1] += 1;
        }
        for at in 1..start.len() {
            start[at] += start[at - 1];
        }
        let (mut ranks, mut next) = (vec![RankId(0); self.ranks.len()], start.clone());
        for list in 0..self.len() {
            for rank in self.get(list) {
                let place = &mut next[rank.0 as usize];
                ranks[*place] = RankId(list as u32);
                *place += 1;
            }
        }
        Self { ranks, start }
    }
}

impl Flows {
    /// The flows of `scheme` on `cluster` with `placement`.
    ///
    /// # Panics
    /// If `placement` was made for another number of ranks.
    #[must_use]
    pub fn new(scheme: DispatchScheme, cluster: &Cluster, placement: &Placement) -> Self {
        Self::among(scheme, cluster, placement, 0..cluster.num_ranks())
    }

    /// The flows of a group of ranks that has all experts and all tokens of its layers; the others have none.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn among(
        scheme: DispatchScheme,
        cluster: &Cluster,
        placement: &Placement,
        members: Range<u32>,
    ) -> Self {
        assert_eq!(placement.num_ranks(), cluster.num_ranks(), "a placement of another cluster");
        let hosts = all_hosts(cluster, placement);
        let hosts_of =
            |source: RankId| hosts.get(if hosts.len() == 1 { 0 } else { cluster.rack_of(source).0 as usize });
        let (mut downstream, mut forwarded) = (Lists::new(), Lists::new());
        // The last rank for which each rank was listed.
        let mut listed_for = vec![None; cluster.num_ranks() as usize];
        for me in cluster.ranks() {
            if !members.contains(&me.0) {
                downstream.push([]);
                forwarded.push([]);
                continue;
            }
            let mut once = |to: &RankId| *to != me && listed_for[to.0 as usize].replace(me) != Some(me);
            let mut to: Vec<RankId> = Vec::new();
            to.extend(
                hosts_of(me).iter().map(|&host| entry_rank(scheme, cluster, me, host)).filter(&mut once),
            );
            let mut sources = Vec::new();
            if scheme == DispatchScheme::Hierarchical {
                let rack = cluster.rack_of(me);
                for source in served_sources(cluster, me).filter(|source| members.contains(&source.0)) {
                    let inside = in_rack(hosts_of(source), cluster, rack);
                    to.extend(inside.iter().copied().filter(&mut once));
                    sources.extend((!inside.is_empty()).then_some(source));
                }
            }
            downstream.push(to);
            forwarded.push(sources);
        }
        let upstream = downstream.transposed();
        Self { cluster: Arc::new(cluster.clone()), hosts, downstream, upstream, forwarded }
    }

    /// The racks that they connect.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Ranks that host at least one expert that `source` may send to, itself included, ascending.
    ///
    /// # Panics
    /// If `source` is not in the cluster.
    #[must_use]
    pub fn hosts(&self, source: RankId) -> &[RankId] {
        assert!(source.0 < self.cluster.num_ranks(), "{source} is not in the cluster");
        let rack = self.cluster.rack_of(source).0 as usize;
        self.hosts.get(if self.hosts.len() == 1 { 0 } else { rack })
    }

    /// Ranks that `me` sends to in dispatch, what it forwards included, and hears from in combine; ascending.
    ///
    /// # Panics
    /// If `me` is not in the cluster.
    #[must_use]
    pub fn downstream(&self, me: RankId) -> &[RankId] {
        self.downstream.get(me.0 as usize)
    }

    /// Ranks that `me` hears from in dispatch, and sends to in combine; ascending.
    ///
    /// # Panics
    /// If `me` is not in the cluster.
    #[must_use]
    pub fn upstream(&self, me: RankId) -> &[RankId] {
        self.upstream.get(me.0 as usize)
    }

    /// Sources of other racks for which `me` is the gateway into its own: those of which it may have rows to forward
    /// or to keep, and whose sums it makes on the way back; ascending. None but in the hierarchical scheme.
    ///
    /// # Panics
    /// If `me` is not in the cluster.
    #[must_use]
    pub fn forwarded(&self, me: RankId) -> &[RankId] {
        self.forwarded.get(me.0 as usize)
    }
}

fn all_hosts(cluster: &Cluster, placement: &Placement) -> Lists {
    let hosts_of = |rack| {
        let experts = (0..placement.num_experts()).map(ExpertId);
        let slots = experts.flat_map(|expert| placement.choices(rack, expert));
        slots.map(|(slot, _)| placement.rank_of(slot)).collect::<BTreeSet<RankId>>()
    };
    let has_replicas = placement.num_slots() > placement.num_experts();
    let racks = if has_replicas { cluster.num_racks() } else { 1 };
    let mut hosts = Lists::new();
    for rack in 0..racks {
        hosts.push(hosts_of(RackId(rack)));
    }
    hosts
}

/// Ranks of other racks whose rows enter the rack of `me` at `me`.
fn served_sources(cluster: &Cluster, me: RankId) -> impl Iterator<Item = RankId> {
    let (rack, index) = (cluster.rack_of(me), cluster.index_in_rack(me));
    let size = cluster.rack_size(rack) as usize;
    let others = cluster.racks().filter(move |&other| other != rack);
    others.flat_map(move |other| cluster.ranks_in(other).skip(index as usize).step_by(size))
}

/// Those of `hosts`, ascending, that are in `rack`.
fn in_rack<'a>(hosts: &'a [RankId], cluster: &Cluster, rack: RackId) -> &'a [RankId] {
    let first = hosts.partition_point(|&host| cluster.rack_of(host) < rack);
    let end = hosts.partition_point(|&host| cluster.rack_of(host) <= rack);
    &hosts[first..end]
}

//! Which ranks may send to which: the pairs that a scheme and a placement connect, whatever the routing turns out to be.
//!
//! Both ends of a flow know it from the placement alone, so that each can wait for the mark that ends it. A rank that
//! hosts nothing for a source has no flow with it: with the experts replicated in each rack none crosses.

use super::{DispatchScheme, entry_rank};
use crate::ids::ExpertId;
use crate::placement::Placement;
use std::collections::BTreeSet;
use std::sync::Arc;
use topology::{Cluster, RackId, RankId};

/// The flows of a layer's dispatch; its combine has the same ones reversed.
#[derive(Clone, Debug)]
pub struct Flows {
    scheme: DispatchScheme,
    cluster: Arc<Cluster>,
    /// Ranks that host an expert for the sources of a rack, ascending; one list for all racks where no expert has replicas.
    hosts: Vec<Vec<RankId>>,
}

impl Flows {
    /// The flows of `scheme` on `cluster` with `placement`.
    ///
    /// # Panics
    /// If `placement` was made for another number of ranks.
    #[must_use]
    pub fn new(scheme: DispatchScheme, cluster: &Cluster, placement: &Placement) -> Self {
        assert_eq!(placement.num_ranks(), cluster.num_ranks(), "a placement of another cluster");
        let hosts_of = |rack| {
            let experts = (0..placement.num_experts()).map(ExpertId);
            let slots = experts.flat_map(|expert| placement.choices(rack, expert));
            let hosts: BTreeSet<RankId> = slots.map(|(slot, _)| placement.rank_of(slot)).collect();
            hosts.into_iter().collect()
        };
        let has_replicas = placement.num_slots() > placement.num_experts();
        let racks = if has_replicas { cluster.num_racks() } else { 1 };
        let hosts = (0..racks).map(|rack| hosts_of(RackId(rack))).collect();
        Self { scheme, cluster: Arc::new(cluster.clone()), hosts }
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
        let rack = self.cluster.rack_of(source);
        if let [shared] = self.hosts.as_slice() { shared } else { &self.hosts[rack.0 as usize] }
    }

    /// Ranks that `me` sends to in dispatch, what it forwards included, and hears from in combine.
    ///
    /// # Panics
    /// If `me` is not in the cluster.
    #[must_use]
    pub fn downstream(&self, me: RankId) -> BTreeSet<RankId> {
        let entries = self.hosts(me).iter().map(|&host| entry_rank(self.scheme, &self.cluster, me, host));
        let forwarded = self.forwarded(me).into_iter().flat_map(|source| self.hosts_in_rack(source, me));
        entries.chain(forwarded).filter(|&to| to != me).collect()
    }

    /// Ranks that `me` hears from in dispatch, and sends to in combine.
    ///
    /// # Panics
    /// If `me` is not in the cluster.
    #[must_use]
    pub fn upstream(&self, me: RankId) -> BTreeSet<RankId> {
        let sources = self.cluster.ranks().filter(|&source| self.hosts(source).binary_search(&me).is_ok());
        // The last hop before this rank: the source itself, or the gateway that forwards for it.
        let last_hops = sources.map(|source| match entry_rank(self.scheme, &self.cluster, source, me) {
            entry if entry == me => source,
            gateway => gateway,
        });
        last_hops.chain(self.forwarded(me)).filter(|&from| from != me).collect()
    }

    /// Sources of other racks for which `me` is the gateway into its own: those of which it may have rows to forward
    /// or to keep, and whose sums it makes on the way back. None but in the hierarchical scheme.
    ///
    /// # Panics
    /// If `me` is not in the cluster.
    #[must_use]
    pub fn forwarded(&self, me: RankId) -> BTreeSet<RankId> {
        if self.scheme != DispatchScheme::Hierarchical {
            return BTreeSet::new();
        }
        let rack = self.cluster.rack_of(me);
        let served = |&source: &RankId| {
            self.cluster.rack_of(source) != rack && self.cluster.gateway(source, rack) == me
        };
        let sources = self.cluster.ranks().filter(served);
        sources.filter(|&source| self.hosts_in_rack(source, me).next().is_some()).collect()
    }

    /// The hosts of `source` in the rack of `me`.
    fn hosts_in_rack(&self, source: RankId, me: RankId) -> impl Iterator<Item = RankId> {
        self.hosts(source).iter().copied().filter(move |&host| self.cluster.same_rack(host, me))
    }
}

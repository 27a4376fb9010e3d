//! The fluid bound: how soon a traffic matrix can be delivered at best.
//!
//! Each port must carry all of its own bytes, whatever the order, and the last of them still has to travel;
//! so must the uplink of each rack. The slowest of them therefore bounds every schedule from below. (Without latency it is also attained by a
//! fluid that divides at will, by the Birkhoff-von Neumann theorem, hence the name.)

use crate::{Cluster, Fabric, LinkClass, Picos, TrafficMatrix};

/// The maximum of `transfer(bytes) + latency` over all ports that carry anything: egress and ingress of every
/// rank, on both link classes, and both ways of every rack's uplink where it is oversubscribed. Zero if nothing leaves its rank.
///
/// ```
/// # use topology::{Cluster, Fabric, LinkSpec, Picos, RankId, Rate, TrafficMatrix, fluid_bound};
/// let cluster = Cluster::new(&[1, 1])?;
/// let link = LinkSpec { rate: Rate::new(50_000_000_000)?, latency: Picos(3_700_000) };
/// let mut traffic = TrafficMatrix::new(2);
/// traffic.add(RankId(0), RankId(1), 50_000); // 1 us at 50 GB/s, and 3.7 us on the way
/// let bound = fluid_bound(&traffic, &cluster, &Fabric::new(link, link));
/// assert_eq!(bound, Picos(4_700_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// If the matrix has not one row per rank of `cluster`.
pub fn fluid_bound(traffic: &TrafficMatrix, cluster: &Cluster, fabric: &Fabric) -> Picos {
    let mut bound = Picos::ZERO;
    for class in LinkClass::ALL {
        let (link, bytes) = (fabric.link(class), busiest_port(traffic, cluster, class));
        if bytes > 0 {
            bound = bound.max(link.rate.transfer(bytes).saturating_add(link.latency));
        }
    }
    if fabric.oversubscription.blocks() {
        for (rack, bytes) in cluster.racks().zip(rack_bytes(traffic, cluster)).filter(|(_, bytes)| *bytes > 0)
        {
            let uplink = fabric.oversubscription.uplink(cluster.rack_size(rack), fabric.scale_out.rate);
            bound = bound.max(uplink.transfer(bytes).saturating_add(fabric.scale_out.latency));
        }
    }
    bound
}

/// The bytes that leave each rack, or those that enter it where they are more.
///
/// # Panics
/// If the matrix has not one row per rank of `cluster`.
#[must_use]
pub fn rack_bytes(traffic: &TrafficMatrix, cluster: &Cluster) -> Vec<u64> {
    traffic.assert_fits(cluster);
    let racks = cluster.num_racks() as usize;
    let (mut leaving, mut entering) = (vec![0u64; racks], vec![0u64; racks]);
    for from in cluster.ranks() {
        for (to, bytes) in traffic.sent(from).filter(|(to, _)| !cluster.same_rack(from, *to)) {
            leaving[cluster.rack_of(from).0 as usize] += bytes;
            entering[cluster.rack_of(to).0 as usize] += bytes;
        }
    }
    leaving.into_iter().zip(entering).map(|(leaving, entering)| leaving.max(entering)).collect()
}

/// The most bytes that a port of `class` sends or receives.
///
/// # Panics
/// If the matrix has not one row per rank of `cluster`.
#[must_use]
pub fn busiest_port(traffic: &TrafficMatrix, cluster: &Cluster, class: LinkClass) -> u64 {
    traffic.assert_fits(cluster);
    let n = cluster.num_ranks() as usize;
    let (mut egress, mut ingress) = (vec![0u64; n], vec![0u64; n]);
    for from in cluster.ranks() {
        for (to, bytes) in traffic.sent(from) {
            if from != to && cluster.link_class(from, to) == class {
                egress[from.0 as usize] += bytes;
                ingress[to.0 as usize] += bytes;
            }
        }
    }
    egress.into_iter().chain(ingress).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{LinkSpec, Oversubscription, RankId, Rate};

    fn fabric() -> Fabric {
        let link = |bytes_per_s, latency| LinkSpec {
            rate: Rate::new(bytes_per_s).expect("nonzero"),
            latency: Picos(latency),
        };
        Fabric::new(link(1_000_000_000_000, 10), link(100_000_000_000, 500))
    }

    #[test]
    fn the_slowest_port_decides() {
        let cluster = Cluster::new(&[2, 1]).expect("valid");
        let bound = |sends: &[(u32, u32, u64)]| {
            let mut traffic = TrafficMatrix::new(3);
            sends.iter().for_each(|&(from, to, bytes)| traffic.add(RankId(from), RankId(to), bytes));
            fluid_bound(&traffic, &cluster, &fabric())
        };
        assert_eq!(bound(&[(0, 0, 7)]), Picos::ZERO, "a rank's own rows take no port");
        assert_eq!(bound(&[(0, 1, 900)]), Picos(910));
        assert_eq!(bound(&[(0, 1, 900), (0, 2, 10)]), Picos(910), "the two classes overlap");
        assert_eq!(bound(&[(0, 2, 50), (1, 2, 50)]), Picos(1_500), "two senders meet at one ingress port");
    }

    #[test]
    fn an_oversubscribed_uplink_carries_what_all_ports_of_its_rack_send() {
        let cluster = Cluster::new(&[2, 2, 1]).expect("valid");
        let bound = |ratio: f64, sends: &[(u32, u32)]| {
            let mut traffic = TrafficMatrix::new(5);
            sends.iter().for_each(|&(from, to)| traffic.add(RankId(from), RankId(to), 100));
            let oversubscription = Oversubscription::new(ratio).expect("a ratio");
            fluid_bound(&traffic, &cluster, &Fabric { oversubscription, ..fabric() })
        };
        // 200 bytes through 2 x 100 GB/s / 4 are 4 ns; through a rack of one, with half of that, 8 ns.
        assert_eq!(bound(4.0, &[(0, 2), (1, 3)]), Picos(4_500));
        assert_eq!(bound(4.0, &[(0, 4), (2, 4)]), Picos(8_500));
        assert_eq!(bound(4.0, &[(0, 2)]), Picos(2_500), "one rank has the uplink for itself");
        assert_eq!(bound(2.0, &[(0, 2)]), bound(1.0, &[(0, 2)]), "which then is as fast as its port");
        assert_eq!(bound(4.0, &[(0, 1), (2, 3)]), Picos(110), "what stays in a rack doesn't meet it");
    }

    proptest! {
        #[test]
        fn more_bytes_never_end_sooner(
            sizes in prop::collection::vec(1u32..4, 1..4),
            sends in prop::collection::vec((0u32..9, 0u32..9, 0..1u64 << 40), 1..30),
        ) {
            let cluster = Cluster::new(&sizes).expect("small");
            let n = cluster.num_ranks();
            let mut traffic = TrafficMatrix::new(n);
            let mut last = Picos::ZERO;
            for (from, to, bytes) in sends {
                traffic.add(RankId(from % n), RankId(to % n), bytes);
                let bound = fluid_bound(&traffic, &cluster, &fabric());
                prop_assert!(bound >= last);
                last = bound;
            }
            let slower = Fabric { scale_out: fabric().scale_up, ..fabric() };
            prop_assert!(fluid_bound(&traffic, &cluster, &slower) <= last);
        }
    }
}

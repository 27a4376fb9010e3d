//! The port arithmetic: when a transfer leaves a port and when it is delivered.
//!
//! The simulator and the QUIC shell call the same two functions, so that a frame has the same stamps in both.
//! A port is a queue of one number: the time until which it is taken.

use serde::{Deserialize, Serialize};

use crate::{Pace, Picos, Rate};

/// One direction of one rank's link. A full-duplex port is two of these, one for egress and one for ingress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Port {
    free: Picos,
}

impl Port {
    /// A port that has carried nothing.
    pub const fn new() -> Self {
        Self { free: Picos::ZERO }
    }

    /// The end of the last transfer.
    pub const fn free(&self) -> Picos {
        self.free
    }

    /// Sends `bytes` that are ready at `now`: returns when the last byte has left, `max(now, free) +
    /// transfer`. They arrive one latency later.
    pub fn egress(&mut self, now: Picos, bytes: u64, rate: Rate) -> Picos {
        self.send(now, rate.transfer(bytes))
    }

    /// As [`Self::egress`], of what takes `transfer`.
    pub fn send(&mut self, now: Picos, transfer: Picos) -> Picos {
        self.free = now.max(self.free).saturating_add(transfer);
        self.free
    }

    /// As [`Self::egress`], of a port that is as fast as `pace` says.
    pub fn egress_paced(&mut self, now: Picos, bytes: u64, rate: Rate, pace: &Pace) -> Picos {
        if pace.is_steady() {
            return self.egress(now, bytes, rate);
        }
        self.free = pace.end(now.max(self.free), rate.transfer(bytes));
        self.free
    }

    /// Receives `bytes` whose last byte arrives at `arrive`: returns when they are delivered,
    /// `max(arrive, free + transfer)`.
    ///
    /// The sender's port already spread them over `transfer`, so that a port which is idle delivers at
    /// `arrive` and only a port which several senders meet at delays. To be called in the order of `arrive`.
    pub fn ingress(&mut self, arrive: Picos, bytes: u64, rate: Rate) -> Picos {
        self.receive(arrive, rate.transfer(bytes))
    }

    /// As [`Self::ingress`], of what takes `transfer`.
    pub fn receive(&mut self, arrive: Picos, transfer: Picos) -> Picos {
        self.free = arrive.max(self.free.saturating_add(transfer));
        self.free
    }

    /// Passes on what comes from `first` byte to `last` and takes `transfer`: returns when it begins and is through,
    /// `begin = max(first, free)`, `max(last, begin + transfer)`.
    ///
    /// As [`Self::receive`] where what feeds the port is no faster than it.
    pub fn relay(&mut self, first: Picos, last: Picos, transfer: Picos) -> (Picos, Picos) {
        let begin = first.max(self.free);
        self.free = last.max(begin.saturating_add(transfer));
        (begin, self.free)
    }

    /// As [`Self::ingress`], of a port that is as fast as `pace` says: it can begin once the first byte has come.
    pub fn ingress_paced(&mut self, arrive: Picos, bytes: u64, rate: Rate, pace: &Pace) -> Picos {
        if pace.is_steady() {
            return self.ingress(arrive, bytes, rate);
        }
        let transfer = rate.transfer(bytes);
        let begins = self.free.max(arrive.saturating_sub(transfer));
        // Before the span its last byte is there no earlier; in one in which nothing is done it waits as well.
        self.free = pace.end(begins, transfer).max(pace.end(arrive, Picos::ZERO));
        self.free
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Cluster, Fabric, LinkClass, LinkSpec, TrafficMatrix, fluid_bound};

    const KB_PER_S: u64 = 1_000;

    fn rate(bytes_per_s: u64) -> Rate {
        Rate::new(bytes_per_s).expect("nonzero")
    }

    #[test]
    fn egress_queues_behind_what_it_already_carries() {
        let mut port = Port::new();
        let rate = rate(KB_PER_S);
        let second = Picos(1_000_000_000_000);
        assert_eq!(port.egress(Picos::ZERO, 1_000, rate), second);
        assert_eq!(port.egress(Picos::ZERO, 1_000, rate), second + second);
        assert_eq!(port.egress(second + second + second, 500, rate), Picos(3_500_000_000_000));
    }

    #[test]
    fn an_idle_ingress_adds_nothing_and_a_shared_one_serialises() {
        let rate = rate(KB_PER_S);
        let second = Picos(1_000_000_000_000);
        let mut port = Port::new();
        assert_eq!(port.ingress(second, 1_000, rate), second);
        assert_eq!(port.ingress(second, 1_000, rate), second + second);
    }

    #[test]
    fn a_relay_is_as_fast_as_the_slower_of_it_and_what_feeds_it() {
        let mut port = Port::new();
        assert_eq!(port.relay(Picos(5), Picos(9), Picos(2)), (Picos(5), Picos(9)), "fed slowly");
        assert_eq!(port.relay(Picos(5), Picos(9), Picos(2)), (Picos(9), Picos(11)), "and at once by another");
        assert_eq!(port.relay(Picos(20), Picos(21), Picos(6)), (Picos(20), Picos(26)), "fed fast");
    }

    /// Every rank sends one chunk to each peer in turn, whole rotations at a time; returns the last delivery.
    fn all_to_all(
        cluster: &Cluster,
        class: LinkClass,
        chunk_bytes: u64,
        rounds: u32,
        link: LinkSpec,
    ) -> Picos {
        let mut arrivals = Vec::new();
        for rank in cluster.ranks() {
            let mut egress = Port::new();
            for _ in 0..rounds {
                for to in cluster.rotation(rank, class) {
                    let finish = egress.egress(Picos::ZERO, chunk_bytes, link.rate);
                    arrivals.push((finish + link.latency, rank, to));
                }
            }
        }
        arrivals.sort();
        let mut ingress = vec![Port::new(); cluster.num_ranks() as usize];
        let deliveries = arrivals
            .iter()
            .map(|&(arrive, _, to)| ingress[to.0 as usize].ingress(arrive, chunk_bytes, link.rate));
        deliveries.max().unwrap_or(Picos::ZERO)
    }

    proptest! {
        #[test]
        fn a_port_never_finishes_before_now_plus_transfer(
            frames in prop::collection::vec((0..1u64 << 40, 0..1u64 << 30), 1..50),
            r in 1_000_000..1u64 << 41,
        ) {
            let rate = rate(r);
            let (mut egress, mut ingress) = (Port::new(), Port::new());
            let mut last = Picos::ZERO;
            for (now, bytes) in frames {
                let free = egress.free();
                let finish = egress.egress(Picos(now), bytes, rate);
                prop_assert!(finish >= Picos(now).max(free) + rate.transfer(bytes));
                prop_assert_eq!(egress.free(), finish);
                let deliver = ingress.ingress(finish, bytes, rate);
                prop_assert!(deliver >= finish && deliver >= last + rate.transfer(bytes));
                last = deliver;
            }
        }

        #[test]
        fn a_uniform_all_to_all_in_rotation_ends_at_the_fluid_bound(
            (racks, size) in (1u32..5, 1u32..7), chunk_bytes in 1u64..100_000, rounds in 1u32..4,
            latency in 0..10_000_000u64,
        ) {
            let cluster = Cluster::uniform(racks, size).expect("small");
            // 1 GB/s divides 10^12, so that chunks don't round.
            let link = LinkSpec { rate: rate(1_000_000_000), latency: Picos(latency) };
            let fabric = Fabric::new(link, link);
            for class in LinkClass::ALL {
                let mut traffic = TrafficMatrix::new(cluster.num_ranks());
                for rank in cluster.ranks() {
                    for to in cluster.rotation(rank, class) {
                        traffic.add(rank, to, chunk_bytes * u64::from(rounds));
                    }
                }
                let done = all_to_all(&cluster, class, chunk_bytes, rounds, link);
                prop_assert_eq!(done, fluid_bound(&traffic, &cluster, &fabric));
            }
        }

        #[test]
        fn no_schedule_beats_the_fluid_bound(
            sizes in prop::collection::vec(1u32..5, 1..4), chunk_bytes in 1u64..100_000, rounds in 1u32..4,
        ) {
            let cluster = Cluster::new(&sizes).expect("small");
            let link = LinkSpec { rate: rate(900_000_000_000), latency: Picos(1_000_000) };
            let fabric = Fabric::new(link, link);
            for class in LinkClass::ALL {
                let mut traffic = TrafficMatrix::new(cluster.num_ranks());
                for rank in cluster.ranks() {
                    for to in cluster.rotation(rank, class) {
                        traffic.add(rank, to, chunk_bytes * u64::from(rounds));
                    }
                }
                let done = all_to_all(&cluster, class, chunk_bytes, rounds, link);
                prop_assert!(done >= fluid_bound(&traffic, &cluster, &fabric));
            }
        }
    }
}

//! What happens to a packet between two hosts: it is delayed, lost, or cut off. Knows no socket and no clock.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Most packets that are on their way; what comes then is lost, as in a router that is full.
pub(super) const QUEUE_MAX: usize = 65_536;
const MILLION: u32 = 1_000_000;

/// A host's number, as it was named.
pub(super) type Host = usize;

/// A network whose losses depend on the seed, the two hosts, and how many packets went between them before.
#[derive(Debug)]
pub(super) struct Network<T> {
    /// One way, microseconds.
    pub(super) delay_us: u64,
    /// Of a million packets.
    pub(super) loss_ppm: u32,
    seed: u64,
    cut: BTreeSet<Host>,
    draws: BTreeMap<(Host, Host), Pcg64Mcg>,
    queue: BinaryHeap<Packet<T>>,
    entered: u64,
}

/// A packet on its way. The one that is due first is the greatest; of two, the one that came first.
#[derive(Debug)]
struct Packet<T> {
    due_us: u64,
    number: u64,
    between: (Host, Host),
    what: T,
}

impl<T> Network<T> {
    pub(super) fn new(seed: u64, delay_us: u64, loss_ppm: u32) -> Self {
        let (cut, draws, queue) = (BTreeSet::new(), BTreeMap::new(), BinaryHeap::new());
        Self { delay_us, loss_ppm, seed, cut, draws, queue, entered: 0 }
    }

    /// Nothing reaches a host that is cut off, nor comes from it.
    pub(super) fn cut(&mut self, host: Host) {
        self.cut.insert(host);
    }

    pub(super) fn heal(&mut self, host: Host) {
        self.cut.remove(&host);
    }

    /// Input: a packet leaves for another host. False if it is lost.
    pub(super) fn enter(&mut self, now_us: u64, between: (Host, Host), what: T) -> bool {
        let seed =
            self.seed ^ ((between.0 as u64) << 32 | between.1 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let draws = self.draws.entry(between).or_insert_with(|| Pcg64Mcg::seed_from_u64(seed));
        // Drawn for every packet, so that a cut changes none of those after it.
        let lost = draws.random_range(0..MILLION) < self.loss_ppm;
        if lost || self.is_cut(between) || self.queue.len() >= QUEUE_MAX {
            return false;
        }
        self.entered += 1;
        let (due_us, number) = (now_us.saturating_add(self.delay_us), self.entered);
        self.queue.push(Packet { due_us, number, between, what });
        true
    }

    /// When the next packet arrives.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.queue.peek().map(|packet| packet.due_us)
    }

    /// A packet that has arrived. What is on its way when its host is cut off is lost.
    pub(super) fn arrived(&mut self, now_us: u64) -> Option<T> {
        while self.next_us().is_some_and(|due| due <= now_us) {
            let packet = self.queue.pop()?;
            if !self.is_cut(packet.between) {
                return Some(packet.what);
            }
        }
        None
    }

    fn is_cut(&self, (from, to): (Host, Host)) -> bool {
        self.cut.contains(&from) || self.cut.contains(&to)
    }
}

impl<T> Ord for Packet<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due_us, other.number).cmp(&(self.due_us, self.number))
    }
}

impl<T> PartialOrd for Packet<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Packet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Packet<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(network: &mut Network<u32>, now_us: u64) -> Vec<u32> {
        std::iter::from_fn(|| network.arrived(now_us)).collect()
    }

    #[test]
    fn packets_arrive_in_order_after_the_delay() {
        let mut network = Network::new(1, 100, 0);
        for what in 0..3 {
            assert!(network.enter(u64::from(what), (0, 1), what));
        }
        assert_eq!((network.next_us(), arrivals(&mut network, 99)), (Some(100), vec![]));
        assert_eq!(arrivals(&mut network, 101), [0, 1]);
        assert_eq!(arrivals(&mut network, 1_000), [2]);
        assert_eq!(network.next_us(), None);
    }

    #[test]
    fn losses_follow_the_seed_and_the_path() {
        let lost = |seed, between| {
            let mut network = Network::new(seed, 0, 50_000);
            (0..20_000).filter(|&what| !network.enter(0, between, what)).collect::<Vec<u32>>()
        };
        assert_eq!(lost(7, (0, 1)), lost(7, (0, 1)));
        assert!((900..1_100).contains(&lost(7, (0, 1)).len()), "{}", lost(7, (0, 1)).len());
        assert_ne!(lost(7, (0, 1)), lost(7, (1, 0)));
        assert_ne!(lost(7, (0, 1)), lost(8, (0, 1)));
    }

    #[test]
    fn a_cut_host_hears_nobody_and_others_go_on() {
        let mut network = Network::new(1, 100, 0);
        assert!(network.enter(0, (0, 1), 1) && network.enter(0, (0, 2), 2));
        network.cut(1);
        assert!(!network.enter(0, (1, 2), 3) && network.enter(0, (2, 0), 4));
        assert_eq!(arrivals(&mut network, 100), [2, 4], "what was on its way is lost too");
        network.heal(1);
        assert!(network.enter(200, (0, 1), 5));
        assert_eq!(arrivals(&mut network, 300), [5]);
    }

    #[test]
    fn a_network_that_is_full_loses_what_comes() {
        let mut network = Network::new(1, 100, 0);
        assert!((0..QUEUE_MAX).all(|_| network.enter(0, (0, 1), 0)));
        assert!(!network.enter(0, (0, 1), 0));
        assert!(network.arrived(100).is_some() && network.enter(100, (0, 1), 0));
    }
}

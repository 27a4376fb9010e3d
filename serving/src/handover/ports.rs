//! Caches on their way from pool to pool, through the ports of the ranks that have them and of those that get them.
//!
//! The arithmetic is that of every port ([`Port`]). A sender serves the caches that leave it in rotation, a chunk each; a receiver passes
//! chunks on in the order of their stamps. So those that share a port share its rate.

use crate::request::RequestId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use topology::{LinkSpec, Picos, Port};

/// Chunks of a lane, at most: what a long cache costs this machine is bounded. All lanes of a port have the longest one's, to share alike.
const CHUNKS_MAX: u64 = 64;
/// Bytes of a chunk, at least.
const CHUNK_BYTES: u64 = 1 << 18;

/// What one rank sends another of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The sender, counted over all ranks of its pool.
    pub from: usize,
    /// The receiver, counted over all ranks of its own.
    pub to: usize,
    /// Bytes.
    pub bytes: u64,
}

/// A chunk between two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Chunk {
    id: RequestId,
    to: usize,
    bytes: u64,
}

/// What happens next; of things at one moment receivers come first, in the order in which chunks were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A chunk's last byte has come to the receiver's port.
    Stamp(u64, Chunk),
    /// A sender's port is free.
    Free(usize),
    /// All of a cache has come.
    Whole(RequestId),
}

/// A sender's port, and the lanes that leave through it: each with what is left of it.
#[derive(Clone, Debug, Default)]
struct Sender {
    port: Port,
    lanes: VecDeque<(RequestId, Lane, u64)>,
    /// Bytes of a chunk, until it is idle again.
    chunk: u64,
    /// Whether its next chunk is due already.
    busy: bool,
    carried: Picos,
}

/// All ports of two pools between which caches cross.
#[derive(Clone, Debug)]
pub struct Ports {
    link: LinkSpec,
    senders: Vec<Sender>,
    receivers: Vec<(Port, Picos)>,
    events: BinaryHeap<Reverse<(Picos, Event)>>,
    /// Bytes of each cache that have not come yet, and when the last did so far.
    under_way: BTreeMap<RequestId, (u64, Picos)>,
    sent: u64,
}

impl Ports {
    /// Idle ports of so many senders and receivers on `link`.
    #[must_use]
    pub fn new(link: LinkSpec, senders: usize, receivers: usize) -> Self {
        Self {
            link,
            senders: vec![Sender::default(); senders],
            receivers: vec![(Port::new(), Picos::ZERO); receivers],
            events: BinaryHeap::new(),
            under_way: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Sends the cache of `id` from `now` on. One without bytes has come at once.
    ///
    /// # Panics
    /// If it is under way already, or a lane has no such rank.
    pub fn send(&mut self, now: Picos, id: RequestId, lanes: &[Lane]) {
        let bytes: u64 = lanes.iter().map(|lane| lane.bytes).sum();
        assert!(self.under_way.insert(id, (bytes, now)).is_none(), "{id} crosses once");
        if bytes == 0 {
            self.events.push(Reverse((now, Event::Whole(id))));
        }
        for lane in lanes.iter().filter(|lane| lane.bytes > 0) {
            let sender = &mut self.senders[lane.from];
            sender.lanes.push_back((id, *lane, lane.bytes));
            sender.chunk = sender.chunk.max(lane.bytes.div_ceil(CHUNKS_MAX)).max(CHUNK_BYTES);
            if !sender.busy {
                sender.busy = true;
                self.events.push(Reverse((now.max(sender.port.free()), Event::Free(lane.from))));
            }
        }
    }

    /// When something happens next.
    #[must_use]
    pub fn next_at(&self) -> Option<Picos> {
        self.events.peek().map(|&Reverse((at, _))| at)
    }

    /// Goes on to `now`; returns the caches that have come, in order.
    pub fn advance(&mut self, now: Picos) -> Vec<RequestId> {
        let mut whole = Vec::new();
        while self.next_at().is_some_and(|at| at <= now) {
            let Some(Reverse((at, event))) = self.events.pop() else { break };
            match event {
                Event::Free(sender) => self.send_chunk(at, sender),
                Event::Stamp(_, chunk) => self.receive(at, chunk),
                Event::Whole(id) => {
                    self.under_way.remove(&id);
                    whole.push(id);
                }
            }
        }
        whole
    }

    fn send_chunk(&mut self, at: Picos, index: usize) {
        let sender = &mut self.senders[index];
        let Some((id, lane, left)) = sender.lanes.pop_front() else {
            (sender.busy, sender.chunk) = (false, 0);
            return;
        };
        let bytes = left.min(sender.chunk);
        let finish = sender.port.egress(at, bytes, self.link.rate);
        sender.carried += self.link.rate.transfer(bytes);
        if left > bytes {
            sender.lanes.push_back((id, lane, left - bytes));
        }
        self.events.push(Reverse((finish, Event::Free(index))));
        self.sent += 1;
        let chunk = Chunk { id, to: lane.to, bytes };
        self.events.push(Reverse((finish.saturating_add(self.link.latency), Event::Stamp(self.sent, chunk))));
    }

    fn receive(&mut self, stamp: Picos, Chunk { id, to, bytes }: Chunk) {
        let (port, carried) = &mut self.receivers[to];
        let due = port.ingress(stamp, bytes, self.link.rate);
        *carried += self.link.rate.transfer(bytes);
        if let Some((left, last)) = self.under_way.get_mut(&id) {
            *left -= bytes;
            *last = (*last).max(due);
            if *left == 0 {
                self.events.push(Reverse((*last, Event::Whole(id))));
            }
        }
    }

    /// Caches under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// How long the busiest sender's port has sent, and the busiest receiver's received.
    #[must_use]
    pub fn busiest(&self) -> [Picos; 2] {
        let sent = self.senders.iter().map(|sender| sender.carried).max();
        let received = self.receivers.iter().map(|&(_, carried)| carried).max();
        [sent.unwrap_or_default(), received.unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topology::Rate;

    /// 1 byte a picosecond, 5 ps of latency.
    fn ports(senders: usize, receivers: usize) -> Ports {
        let link = LinkSpec { rate: Rate::new(1_000_000_000_000).unwrap(), latency: Picos(5) };
        Ports::new(link, senders, receivers)
    }

    /// When each cache has come, in order.
    fn all(ports: &mut Ports) -> Vec<(u64, Picos)> {
        let mut come = Vec::new();
        while let Some(at) = ports.next_at() {
            come.extend(ports.advance(at).into_iter().map(|id| (id.0, at)));
        }
        assert_eq!(ports.under_way(), 0);
        come
    }

    const LONG: u64 = 1 << 30;

    #[test]
    fn a_cache_alone_takes_its_bytes_and_the_latency() {
        let mut ports = ports(1, 1);
        ports.send(Picos(7), RequestId(3), &[Lane { from: 0, to: 0, bytes: LONG }]);
        assert_eq!(all(&mut ports), [(3, Picos(7 + LONG + 5))]);
        ports.send(Picos(LONG * 2), RequestId(4), &[Lane { from: 0, to: 0, bytes: 0 }]);
        assert_eq!(all(&mut ports), [(4, Picos(LONG * 2))]);
    }

    #[test]
    fn those_that_leave_one_port_take_turns_and_those_that_meet_wait() {
        let (from, to) = (0, 0);
        let mut sent = ports(1, 2);
        sent.send(Picos(0), RequestId(0), &[Lane { from, to: 0, bytes: LONG }]);
        sent.send(Picos(0), RequestId(1), &[Lane { from, to: 1, bytes: LONG / 2 }]);
        let come = all(&mut sent);
        // The shorter one has half of the rate until it is through; the last chunk of the longer one ends with all.
        assert_eq!(come[1], (0, Picos(LONG + LONG / 2 + 5)));
        assert!((come[0].1.0 as f64 / LONG as f64 - 1.0).abs() < 0.05, "{come:?}");
        let mut met = ports(2, 1);
        met.send(Picos(0), RequestId(0), &[Lane { from: 0, to, bytes: LONG }]);
        met.send(Picos(0), RequestId(1), &[Lane { from: 1, to, bytes: LONG }]);
        let come = all(&mut met);
        // Both first chunks come at once; from then on the port is never idle.
        assert_eq!(come[1], (1, Picos(2 * LONG + 5)));
        assert_eq!(met.busiest(), [Picos(LONG), Picos(2 * LONG)]);
    }
}

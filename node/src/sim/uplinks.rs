//! The uplinks of racks that are oversubscribed, on the virtual clock: one queue a rack each way, which all frames between racks pass.
//!
//! A frame is at its rack's uplink as it leaves its sender's port, a latency later at that of the other rack, and at its receiver's port as
//! that passes it on. Both queues go by the time of its last byte, then by sender, and may begin with its first ([`Port::relay`]). Marks
//! take no time of them, credits don't meet them.

use crate::wire::{Frame, TrafficClass};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use topology::{Cluster, Fabric, Picos, Port, RackId, RankId, Rate};

/// When the first and the last byte of a frame pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) last: Picos,
    pub(super) first: Picos,
}

impl Span {
    /// A latency on.
    pub(super) fn after(self, latency: Picos) -> Self {
        Self { last: self.last.saturating_add(latency), first: self.first.saturating_add(latency) }
    }
}

/// A rack's two queues.
#[derive(Clone, Copy, Debug)]
struct Uplink {
    rate: Rate,
    up: Port,
    down: Port,
}

/// The uplinks of all racks.
#[derive(Clone, Debug)]
pub(super) struct Queues {
    /// Of a rank's port.
    port: Rate,
    racks: Vec<Uplink>,
}

impl Queues {
    /// `None` where no uplink can hold anything back.
    pub(super) fn new(cluster: &Cluster, fabric: &Fabric) -> Option<Self> {
        let ratio = fabric.oversubscription;
        let rate = |rack| ratio.uplink(cluster.rack_size(rack), fabric.scale_out.rate);
        let uplink = |rack| Uplink { rate: rate(rack), up: Port::new(), down: Port::new() };
        let crosses = ratio.blocks() && cluster.num_racks() > 1;
        let port = fabric.scale_out.rate;
        crosses.then(|| Self { port, racks: cluster.racks().map(uplink).collect() })
    }

    /// When `bytes` of a port that is through with them at `finish` leave `rack`.
    pub(super) fn leave(&mut self, rack: RackId, finish: Picos, bytes: u64) -> Span {
        let Uplink { rate, up, .. } = &mut self.racks[rack.0 as usize];
        pass(up, Span { last: finish, first: finish.saturating_sub(self.port.transfer(bytes)) }, bytes, *rate)
    }

    /// When `bytes` that come at `span` have entered `rack`.
    pub(super) fn enter(&mut self, rack: RackId, span: Span, bytes: u64) -> Picos {
        let Uplink { rate, down, .. } = &mut self.racks[rack.0 as usize];
        pass(down, span, bytes, *rate).last
    }
}

/// When `bytes` pass a queue; a mark waits for what is before it and holds nothing back.
fn pass(queue: &mut Port, Span { last, first }: Span, bytes: u64, rate: Rate) -> Span {
    if bytes == 0 {
        let now = last.max(queue.free());
        return Span { last: now, first: now };
    }
    let (first, last) = queue.relay(first, last, rate.transfer(bytes));
    Span { last, first }
}

/// A frame on its way: when its last byte comes, whose, the how manieth, and when its first byte comes.
#[derive(Debug)]
struct Held {
    at: (Picos, RankId, u64),
    first: Picos,
    frame: Frame,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    /// The earliest is the greatest, so that a heap has it first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

/// The uplinks with the frames that wait for them.
#[derive(Debug)]
pub(super) struct Uplinks<'a> {
    cluster: &'a Cluster,
    latency: Picos,
    queues: Queues,
    leaving: BinaryHeap<Held>,
    entering: BinaryHeap<Held>,
    taken: u64,
}

impl<'a> Uplinks<'a> {
    /// `None` where no uplink can hold anything back.
    pub(super) fn new(cluster: &'a Cluster, fabric: &Fabric) -> Option<Self> {
        let (latency, queues) = (fabric.scale_out.latency, Queues::new(cluster, fabric)?);
        Some(Self {
            cluster,
            latency,
            queues,
            leaving: BinaryHeap::new(),
            entering: BinaryHeap::new(),
            taken: 0,
        })
    }

    /// Takes a frame that has left a port, if it goes to another rack; gives back another.
    pub(super) fn take(&mut self, frame: Frame) -> Option<Frame> {
        let (from, to) = (frame.source, frame.destination);
        if frame.class == TrafficClass::Control || self.cluster.same_rack(from, to) {
            return Some(frame);
        }
        self.taken += 1;
        let finish = frame.arrive.saturating_sub(self.latency);
        self.leaving.push(Held { at: (finish, from, self.taken), first: finish, frame });
        None
    }

    /// Passes on what has come to the uplinks of its racks before `end`: all that ever comes so early must have been taken.
    pub(super) fn leave_before(&mut self, end: Picos) {
        while let Some(Held { at: (finish, from, order), frame, .. }) = first_before(&mut self.leaving, end) {
            let left = self.queues.leave(self.cluster.rack_of(from), finish, frame.charged_bytes());
            let Span { last, first } = left.after(self.latency);
            self.entering.push(Held { at: (last, from, order), first, frame });
        }
    }

    /// The next frame that has come to the uplink of its receiver's rack before `end`, stamped with when that has passed it on.
    pub(super) fn enter_before(&mut self, end: Picos) -> Option<Frame> {
        let Held { at: (last, ..), first, mut frame } = first_before(&mut self.entering, end)?;
        let rack = self.cluster.rack_of(frame.destination);
        frame.arrive = self.queues.enter(rack, Span { last, first }, frame.charged_bytes());
        Some(frame)
    }

    /// When the next frame comes to an uplink, if that is within time.
    pub(super) fn next(&self) -> Option<Picos> {
        let first =
            [&self.leaving, &self.entering].into_iter().filter_map(|held| Some(held.peek()?.at.0)).min();
        first.filter(|&first| first != Picos::MAX)
    }
}

fn first_before(held: &mut BinaryHeap<Held>, end: Picos) -> Option<Held> {
    held.peek().is_some_and(|first| first.at.0 < end).then(|| held.pop()).flatten()
}

//! A phase in which nobody forwards and no flow waits for credit, as two passes: all egress in the order of sending, then all ingress in
//! the order of stamps.
//!
//! What a rank takes in then has no effect on what it sends, so that no clock is needed: a sender's stamps follow from its flows alone,
//! and ascend. Stamps, dues and frames are those of the event clock ([`super::drive`]), which does all else and is what this is tested
//! against. A frame is two numbers here.

use crate::nic::Peers;
use std::collections::VecDeque;
use topology::{Cluster, LinkClass, LinkSpec, Picos, Port, RankId, TrafficMatrix};

/// The ports of a class in a phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) class: LinkClass,
    pub(super) link: LinkSpec,
    /// Most bytes of a frame, at least 1.
    pub(super) chunk: u64,
    /// Before which no flow ends.
    pub(super) open_until: Picos,
}

/// What the ports of a class have delivered to each rank: `[num_ranks]`.
#[derive(Debug)]
pub(super) struct Delivered {
    /// When the last frame was; zero without any.
    pub(super) last: Vec<Picos>,
    pub(super) frames: Vec<u64>,
}

/// About how many frames are on their way at a time: memory depends on it, results don't.
const WINDOW_FRAMES: u64 = 1 << 18;

/// Carries `traffic`; `peers` are the ranks that a rank has a flow to, with or without bytes.
pub(super) fn carry<P: AsRef<[RankId]>>(
    ports: Ports<'_>,
    traffic: &TrafficMatrix,
    peers: impl Fn(RankId) -> P,
) -> Delivered {
    let ranks = ports.cluster.num_ranks() as usize;
    let sender = |me| Sender::new(ports, traffic, me, peers(me).as_ref());
    let mut senders: Vec<Sender<'_>> = ports.cluster.ranks().map(sender).collect();
    let frames: u64 = senders.iter().map(|sender| sender.frames).sum();
    let busiest = senders.iter().map(|sender| sender.bytes_left).max().unwrap_or(0);
    let span = ports.link.rate.transfer(busiest).max(ports.open_until);
    let window = Picos(span.0 / frames.div_ceil(WINDOW_FRAMES).max(1)).max(Picos(1));
    let mut arriving: Vec<Vec<Stamped>> = vec![Vec::new(); ranks];
    let mut ingress = vec![Port::new(); ranks];
    let mut delivered = Delivered { last: vec![Picos::ZERO; ranks], frames: vec![0; ranks] };
    while let Some(first) = senders.iter().filter_map(Sender::next_stamp).min() {
        let end = first.saturating_add(window);
        for sender in &mut senders {
            while let Some((to, frame)) = sender.send_before(end) {
                arriving[to.0 as usize].push(frame);
            }
        }
        for (to, frames) in arriving.iter_mut().enumerate() {
            // Equal stamps go by sender, and one sender's in the order of sending: as they stand here.
            frames.sort_by_key(|frame| frame.stamp);
            delivered.frames[to] += frames.len() as u64;
            for Stamped { stamp, transfer } in frames.drain(..) {
                delivered.last[to] = ingress[to].receive(stamp, transfer);
            }
        }
    }
    delivered
}

/// A frame as its receiver's port sees it.
#[derive(Clone, Copy, Debug)]
struct Stamped {
    stamp: Picos,
    transfer: Picos,
}

/// A port with its flows: a chunk of each in turn.
#[derive(Debug)]
struct Sender<'a> {
    ports: Ports<'a>,
    /// What it sends to whom, ascending, and where what comes next stands in it.
    row: &'a [(RankId, u64)],
    near: usize,
    peers: Peers,
    port: Port,
    /// Place of the next flow that has not had its first turn.
    fresh: usize,
    /// Flows that have, and are not at their end, with the bytes they have left; in the order of turns.
    open: VecDeque<(RankId, u64)>,
    bytes_left: u64,
    /// About as many in all.
    frames: u64,
    /// Bytes of the last frame, and what they take: most frames are alike.
    last: (u64, Picos),
    next: Option<(RankId, Stamped)>,
}

impl<'a> Sender<'a> {
    fn new(ports: Ports<'a>, traffic: &'a TrafficMatrix, me: RankId, peers: &[RankId]) -> Self {
        let Ports { cluster, class, chunk, .. } = ports;
        let row = traffic.row(me);
        let of_class = row.iter().filter(|&&(to, _)| to != me && cluster.link_class(me, to) == class);
        let (bytes_left, frames) =
            of_class.fold((0, 0), |(sum, frames), (_, bytes)| (sum + bytes, frames + bytes.div_ceil(chunk)));
        let peers = Peers::new(cluster, me, class, peers);
        let mut sender = Self {
            ports,
            row,
            near: 0,
            frames: frames.max(peers.len() as u64),
            peers,
            port: Port::new(),
            fresh: 0,
            open: VecDeque::new(),
            bytes_left,
            last: (0, Picos::ZERO),
            next: None,
        };
        sender.next = sender.cut();
        sender
    }

    fn next_stamp(&self) -> Option<Picos> {
        self.next.map(|(_, frame)| frame.stamp)
    }

    /// The next frame with a stamp before `end`, and its receiver.
    fn send_before(&mut self, end: Picos) -> Option<(RankId, Stamped)> {
        let sent = self.next.filter(|(_, frame)| frame.stamp < end)?;
        self.next = self.cut();
        Some(sent)
    }

    /// Bytes that `to` is sent. Turns mostly go by ascending rank, as the row does.
    fn bytes_to(&mut self, to: RankId) -> u64 {
        let row = self.row;
        let before = |at: usize| row.get(at).is_some_and(|(peer, _)| *peer < to);
        if before(self.near) || self.near.checked_sub(1).is_some_and(|at| !before(at)) {
            self.near = row.partition_point(|(peer, _)| *peer < to);
        }
        let found = row.get(self.near).filter(|(peer, _)| *peer == to);
        self.near += usize::from(found.is_some());
        found.map_or(0, |(_, bytes)| *bytes)
    }

    /// The next chunk, as [`crate::nic`] cuts it where everything is there from the start.
    fn cut(&mut self) -> Option<(RankId, Stamped)> {
        let Ports { cluster, link, chunk, open_until, .. } = self.ports;
        loop {
            let (to, left) = if self.fresh < self.peers.len() {
                let to = self.peers.at(cluster, self.fresh);
                self.fresh += 1;
                (to, self.bytes_to(to))
            } else {
                self.open.pop_front()?
            };
            // Once there is nothing but marks, the port waits for their time.
            let turn = if self.bytes_left == 0 { self.port.free().max(open_until) } else { self.port.free() };
            if left == 0 && turn < open_until {
                self.open.push_back((to, 0));
                continue;
            }
            let cut = left.min(chunk);
            if cut != self.last.0 {
                self.last = (cut, link.rate.transfer(cut));
            }
            let transfer = self.last.1;
            self.bytes_left -= cut;
            if left > cut || turn < open_until {
                self.open.push_back((to, left - cut));
            }
            let stamp = self.port.send(turn, transfer).saturating_add(link.latency);
            return Some((to, Stamped { stamp, transfer }));
        }
    }
}

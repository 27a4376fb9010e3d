//! A phase in which nobody forwards and no flow waits for credit, as two passes: all egress in the order of sending, then all ingress in
//! the order of stamps.
//!
//! What a rank takes in then has no effect on what it sends, so that no clock is needed: a sender's stamps follow from its flows alone,
//! and ascend. Stamps, dues and frames are those of the event clock ([`super::drive`]), which does all else and is what this is tested
//! against. That no flow has waited is [checked](Credit) as frames are delivered; one that would have is for the event clock.

use super::cores::{cores, on_threads};
use super::crossing::{Crossing, Stamped};
use crate::nic::{NicConfig, Peers};
use std::collections::{BTreeMap, VecDeque};
use topology::{Cluster, LinkClass, LinkSpec, Picos, Port, RankId, Rate, TrafficMatrix};

/// The ports of a class in a phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) class: LinkClass,
    pub(super) config: &'a NicConfig,
    /// Most bytes of a frame, at least 1.
    pub(super) chunk: u32,
    /// Before which no flow ends.
    pub(super) open_until: Picos,
    /// How many may work on it at once, at least 1.
    pub(super) cores: usize,
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
/// From so many frames on several cores save more than they cost.
const FRAMES_FOR_CORES: u64 = 1 << 16;

/// Cores that are worth it for `traffic` in frames of at most `chunk` bytes.
pub(super) fn cores_for(traffic: &TrafficMatrix, chunk: u32) -> usize {
    if traffic.total() / u64::from(chunk.max(1)) < FRAMES_FOR_CORES { 1 } else { cores() }
}

impl Ports<'_> {
    fn link(&self) -> LinkSpec {
        self.config.fabric.link(self.class)
    }
}

/// Carries `traffic`; `peers` are the ranks that a rank has a flow to, with or without bytes. `None` if a flow would have waited for
/// credit.
pub(super) fn carry<P: AsRef<[RankId]>>(
    ports: Ports<'_>,
    traffic: &TrafficMatrix,
    peers: impl Fn(RankId) -> P,
) -> Option<Delivered> {
    let ranks = ports.cluster.num_ranks() as usize;
    let sender = |me| Sender::new(ports, traffic, me, peers(me).as_ref());
    let mut senders: Vec<Sender<'_>> = ports.cluster.ranks().map(sender).collect();
    let frames: u64 = senders.iter().map(|sender| sender.frames).sum();
    let busiest = senders.iter().map(|sender| sender.bytes_left).max().unwrap_or(0);
    let span = ports.link().rate.transfer(busiest).max(ports.open_until);
    let window = Picos(span.0 / frames.div_ceil(WINDOW_FRAMES).max(1)).max(Picos(1));
    let parts = ports.cores.min(ranks);
    let of_part = ranks.div_ceil(parts);
    // What each part of the senders sends, by receiver.
    let mut arriving: Vec<Vec<Vec<Stamped>>> = vec![vec![Vec::new(); ranks]; parts];
    let mut receivers: Vec<Receiver<'_>> = vec![Receiver::new(ports); ranks];
    for from in ports.cluster.ranks() {
        for &(to, bytes) in traffic.row(from) {
            if bytes > ports.config.credit_bytes {
                receivers[to.0 as usize].credits.insert(from, Credit::default());
            }
        }
    }
    let crosses = ports.class == LinkClass::ScaleOut;
    let mut crossing = crosses.then(|| Crossing::new(ports.cluster, &ports.config.fabric)).flatten();
    loop {
        let first = senders.iter().filter_map(Sender::next_stamp).min();
        if first.is_none() && !crossing.as_ref().is_some_and(Crossing::holds_any) {
            break;
        }
        if first == Some(Picos::MAX) {
            return None;
        }
        // Once all is sent, what uplinks hold still comes.
        let end = first.map_or(Picos::MAX, |first| first.saturating_add(window));
        on_threads(senders.chunks_mut(of_part).zip(&mut arriving), |(senders, arriving)| {
            senders.iter_mut().for_each(|sender| sender.send_before(end, arriving));
        });
        if let Some(crossing) = &mut crossing {
            crossing.take(&mut arriving)?;
            while let Some((to, frame, sent)) = crossing.pass_before(end) {
                receivers[to.0 as usize].receive(frame, sent)?;
            }
            if first.is_none() && crossing.holds_any() {
                return None;
            }
            continue;
        }
        let mut rest: Vec<&mut [Vec<Stamped>]> = arriving.iter_mut().map(Vec::as_mut_slice).collect();
        let with_frames = receivers.chunks_mut(of_part).map(|receivers| {
            let of_these = rest.iter_mut().filter_map(|rest| rest.split_off_mut(..receivers.len()));
            let frames: Vec<&mut [Vec<Stamped>]> = of_these.collect();
            (receivers, frames)
        });
        let received = on_threads(with_frames, |(receivers, frames)| receive(receivers, frames));
        received.into_iter().collect::<Option<()>>()?;
    }
    let last = receivers.iter().map(|receiver| receiver.port.free()).collect();
    Some(Delivered { last, frames: receivers.iter().map(|receiver| receiver.frames).collect() })
}

/// Has receivers take in what each part of the senders has sent them, `[parts][receivers]`; `None` if a frame would have waited for
/// credit.
fn receive(receivers: &mut [Receiver<'_>], mut frames: Vec<&mut [Vec<Stamped>]>) -> Option<()> {
    let (first, others) = frames.split_first_mut()?;
    for (at, receiver) in receivers.iter_mut().enumerate() {
        let frames = &mut first[at];
        others.iter_mut().for_each(|part| frames.append(&mut part[at]));
        // Equal stamps go by sender, and one sender's in the order of sending: as they stand here.
        frames.sort_by_key(|frame| frame.stamp);
        frames.drain(..).try_for_each(|frame| receiver.receive(frame, frame.stamp))?;
    }
    Some(())
}

/// What frames of so many bytes take at a port: most are alike.
#[derive(Clone, Copy, Debug, Default)]
struct Transfer {
    bytes: u32,
    time: Picos,
}

impl Transfer {
    fn of(&mut self, bytes: u32, rate: Rate) -> Picos {
        if bytes != self.bytes {
            *self = Self { bytes, time: rate.transfer(bytes.into()) };
        }
        self.time
    }
}

/// A port that frames come to.
#[derive(Clone, Debug)]
struct Receiver<'a> {
    ports: Ports<'a>,
    port: Port,
    transfer: Transfer,
    frames: u64,
    /// Of flows with more bytes than their credit.
    credits: BTreeMap<RankId, Credit>,
}

impl<'a> Receiver<'a> {
    fn new(ports: Ports<'a>) -> Self {
        let (port, transfer, credits) = (Port::new(), Transfer::default(), BTreeMap::new());
        Self { ports, port, transfer, frames: 0, credits }
    }

    /// Takes in the frame with the next stamp, which came from its port with that of `sent`; `None` if it would have waited for credit.
    fn receive(&mut self, Stamped { stamp, from, bytes }: Stamped, sent: Picos) -> Option<()> {
        let Ports { config, .. } = self.ports;
        let link = self.ports.link();
        let transfer = self.transfer.of(bytes, link.rate);
        let due = self.port.receive(stamp, transfer);
        self.frames += 1;
        if self.credits.is_empty() {
            return Some(());
        }
        let Some(credit) = self.credits.get_mut(&from) else { return Some(()) };
        // Its card may have cut it as early as this, with the credit that had come by then.
        let turn = sent.saturating_sub(link.latency).saturating_sub(transfer);
        let known = turn.saturating_sub(config.lookahead(link));
        let granted = due.saturating_add(link.latency);
        credit.take(known, bytes.into(), granted, config.credit_bytes).then_some(())
    }
}

/// What a flow has on the way, as [`crate::nic`] counts it.
#[derive(Clone, Debug, Default)]
struct Credit {
    outstanding_bytes: u64,
    /// Taken in and not granted again.
    owed_bytes: u64,
    /// Granted, by the time at which it counts.
    coming: VecDeque<(Picos, u64)>,
}

impl Credit {
    /// The next frame goes with what has been granted before `known`, and brings a grant at `granted`: whether it had credit.
    fn take(&mut self, known: Picos, bytes: u64, granted: Picos, credit_bytes: u64) -> bool {
        while let Some((_, bytes)) = self.coming.pop_front_if(|(at, _)| *at < known) {
            self.outstanding_bytes -= bytes;
        }
        self.outstanding_bytes += bytes;
        self.owed_bytes += bytes;
        if self.owed_bytes >= credit_bytes / 4 {
            self.coming.push_back((granted, std::mem::take(&mut self.owed_bytes)));
        }
        self.outstanding_bytes <= credit_bytes
    }
}

/// A port with its flows: a chunk of each in turn.
#[derive(Debug)]
struct Sender<'a> {
    ports: Ports<'a>,
    traffic: &'a TrafficMatrix,
    me: RankId,
    /// Where what comes next stands in its row of the traffic.
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
    transfer: Transfer,
    next: Option<(RankId, Stamped)>,
}

impl<'a> Sender<'a> {
    fn new(ports: Ports<'a>, traffic: &'a TrafficMatrix, me: RankId, peers: &[RankId]) -> Self {
        let Ports { cluster, class, chunk, .. } = ports;
        let of_class = traffic.sent(me).filter(|&(to, _)| to != me && cluster.link_class(me, to) == class);
        let (bytes_left, frames) = of_class
            .fold((0, 0), |(sum, frames), (_, bytes)| (sum + bytes, frames + bytes.div_ceil(chunk.into())));
        let peers = Peers::new(cluster, me, class, peers);
        let mut sender = Self {
            ports,
            traffic,
            me,
            near: 0,
            frames: frames.max(peers.len() as u64),
            peers,
            port: Port::new(),
            fresh: 0,
            open: VecDeque::new(),
            bytes_left,
            transfer: Transfer::default(),
            next: None,
        };
        sender.next = sender.cut();
        sender
    }

    fn next_stamp(&self) -> Option<Picos> {
        self.next.map(|(_, frame)| frame.stamp)
    }

    /// Sends all frames with stamps before `end`.
    fn send_before(&mut self, end: Picos, arriving: &mut [Vec<Stamped>]) {
        while let Some((to, frame)) = self.next.filter(|(_, frame)| frame.stamp < end) {
            arriving[to.0 as usize].push(frame);
            self.next = self.cut();
        }
    }

    /// Bytes that `to` is sent. Turns mostly go by ascending rank, as the row does.
    fn bytes_to(&mut self, to: RankId) -> u64 {
        let row = self.traffic.row(self.me);
        let before = |at: usize| row.get(at).is_some_and(|(peer, _)| *peer < to);
        if before(self.near) || self.near.checked_sub(1).is_some_and(|at| !before(at)) {
            self.near = self.traffic.place(self.me, to);
        }
        let found = row.get(self.near).filter(|(peer, _)| *peer == to);
        self.near += usize::from(found.is_some());
        found.map_or(0, |(_, bytes)| *bytes)
    }

    /// The next chunk, as [`crate::nic`] cuts it where everything is there from the start.
    fn cut(&mut self) -> Option<(RankId, Stamped)> {
        let (Ports { cluster, chunk, open_until, .. }, link) = (self.ports, self.ports.link());
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
            let bytes = u32::try_from(left).unwrap_or(u32::MAX).min(chunk);
            let left = left - u64::from(bytes);
            self.bytes_left -= u64::from(bytes);
            if left > 0 || turn < open_until {
                self.open.push_back((to, left));
            }
            let transfer = self.transfer.of(bytes, link.rate);
            let stamp = self.port.send(turn, transfer).saturating_add(link.latency);
            return Some((to, Stamped { stamp, from: self.me, bytes }));
        }
    }
}

//! One rank's emulated network card: two full-duplex ports, their queues, credits and stamps. No clock, no sockets.
//!
//! Egress cuts rows into frames chunk by chunk, one peer after the other in rotation, and stamps each frame with the
//! emulated time at which it arrives. Ingress serves frames in the order of these stamps. Times are picoseconds since the
//! start of the phase. Poll in this order until all say `None`: [`Nic::poll_deliver`], [`Nic::poll_transmit`],
//! [`Nic::poll_timeout`].
//!
//! A frame is stamped from the readiness of its rows and the port's own arithmetic, never from the caller's clock: a shell
//! that wakes late delivers late (and its lateness is measured), but the port loses no emulated time.

mod config;
mod egress;
mod error;
mod ingress;
mod peers;
mod ready;

pub use config::{FlowPeers, NicConfig, credit_window};
pub use egress::OutRow;
pub use error::NicError;
pub(crate) use peers::Peers;

use crate::trace::{FrameTrace, PhaseTrace, Recorder};
use crate::wire::{Flow, Frame, Phase, Rows, TrafficClass};
use egress::{Cut, Egress};
use ingress::Ingress;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use topology::{Cluster, LinkClass, Pace, Picos, RankId};

/// The card of one rank during one phase.
#[derive(Debug)]
pub struct Nic {
    me: RankId,
    cluster: Arc<Cluster>,
    flow: Flow,
    phase: Phase,
    class: TrafficClass,
    egress: [Egress; 2],
    ingress: [Ingress; 2],
    credits_due: VecDeque<Frame>,
    /// Credit on its way here, by the time at which it counts.
    credits_coming: BTreeMap<(Picos, RankId), u64>,
    patience: Picos,
    /// Whether frames are handed on in the order of their turns: those of one port may otherwise go far ahead of the other's.
    by_turn: bool,
}

fn index(link: LinkClass) -> usize {
    usize::from(link == LinkClass::ScaleOut)
}

impl Nic {
    /// A card with free ports at time zero of `phase`.
    #[must_use]
    pub fn new(
        me: RankId,
        cluster: Arc<Cluster>,
        config: &NicConfig,
        flow: Flow,
        phase: Phase,
        peers: FlowPeers<'_>,
    ) -> Self {
        let egress = LinkClass::ALL.map(|class| Egress::new(&cluster, me, class, config, phase, peers.to));
        let ingress = LinkClass::ALL.map(|class| Ingress::new(&cluster, me, class, config, peers.from));
        let (credits_due, credits_coming) = (VecDeque::new(), BTreeMap::new());
        let patience = Picos::ZERO;
        Self {
            me,
            cluster,
            flow,
            phase,
            class: config.class,
            egress,
            ingress,
            credits_due,
            credits_coming,
            patience,
            by_turn: config.horizon > Picos::ZERO,
        }
    }

    /// True if some flow has been given more rows than its credit: it then depends on when its peer takes them in.
    #[must_use]
    pub fn needs_credit(&self) -> bool {
        self.egress.iter().any(Egress::needs_credit)
    }

    /// Lets the card work in batches of about this much time: it sends ahead of the clock and asks to be polled late. Stamps stay
    /// what they are; what it delivers is known later by as much. For a shell that knows that nothing waits for it and no flow of any card needs credit.
    pub fn batch(&mut self, patience: Picos) {
        self.patience = patience;
        for port in &mut self.egress {
            port.look_ahead(patience);
        }
    }

    /// Has ports be as fast as `paces` says, by link.
    pub(crate) fn set_paces(&mut self, paces: &[Pace; 2]) {
        for ((egress, ingress), pace) in self.egress.iter_mut().zip(&mut self.ingress).zip(paces) {
            egress.set_pace(pace.clone());
            ingress.set_pace(pace.clone());
        }
    }

    /// Has every port keep one frame in `every` for a timeline.
    pub(crate) fn trace(&mut self, every: u32) {
        for (egress, ingress) in self.egress.iter_mut().zip(&mut self.ingress) {
            egress.recorder = Some(Box::new(Recorder::new(self.me, every)));
            ingress.recorder = Some(Box::new(Recorder::new(self.me, every)));
        }
    }

    /// Moves what the ports have kept into `trace`, in the order of time.
    pub(crate) fn take_trace(&mut self, trace: &mut PhaseTrace) {
        let mut take = |recorder: &mut Option<Box<Recorder>>, list: &mut Vec<FrameTrace>| {
            let Some(recorder) = recorder else { return };
            let (kept, left_out) = recorder.take();
            list.extend(kept);
            trace.left_out += left_out;
        };
        self.egress.iter_mut().for_each(|port| take(&mut port.recorder, &mut trace.sent));
        self.ingress.iter_mut().for_each(|port| take(&mut port.recorder, &mut trace.received));
        trace.sent.sort_unstable();
        trace.received.sort_unstable();
    }

    /// When a card that was handed a frame with this stamp wants to be polled.
    #[must_use]
    pub fn wake_for(&self, arrive: Picos) -> Picos {
        arrive.saturating_add(self.patience)
    }

    /// The link that joins this rank to `peer`.
    #[must_use]
    pub fn link_class(&self, peer: RankId) -> LinkClass {
        self.cluster.link_class(self.me, peer)
    }

    /// The peer at a place, from 0, of the order in which the port of `link` visits those that it sends to; `None` after the last.
    #[must_use]
    pub fn visits(&self, link: LinkClass, place: usize) -> Option<RankId> {
        self.egress[index(link)].visits(&self.cluster, place)
    }

    /// Frames that had to enter after their turn.
    #[must_use]
    pub fn overtaken(&self) -> u64 {
        self.ingress.iter().map(Ingress::overtaken).sum()
    }

    /// Data frames received.
    #[must_use]
    pub fn frames_received(&self) -> u64 {
        self.ingress.iter().map(Ingress::frames_received).sum()
    }

    /// Row bytes sent to each rank that was sent any, ascending by rank.
    #[must_use]
    pub fn sent_bytes(&self) -> Vec<(RankId, u64)> {
        let mut sent: Vec<_> = self.egress.iter().flat_map(|port| port.sent_bytes(&self.cluster)).collect();
        sent.sort_unstable();
        sent
    }

    /// Ranks whose flow to this one has not ended, ascending.
    #[must_use]
    pub fn waits_for(&self) -> Vec<RankId> {
        let mut open: Vec<_> = self.ingress.iter().flat_map(|port| port.open(&self.cluster)).collect();
        open.sort_unstable();
        open
    }

    /// Queues a row for `to`.
    ///
    /// # Panics
    /// If there is no flow to `to`, or it was closed before.
    pub fn enqueue(&mut self, to: RankId, row: OutRow) {
        let port = index(self.cluster.link_class(self.me, to));
        let queued = self.egress[port].enqueue(&self.cluster, to, row);
        assert!(queued, "{} sends to {to} without an open flow", self.me);
    }

    /// Ends the flow to `to`: the last frame carries the mark, an empty frame where nothing was owed.
    ///
    /// # Panics
    /// If there is no flow to `to`, or it was closed before.
    pub fn close(&mut self, to: RankId, now: Picos) {
        let port = index(self.cluster.link_class(self.me, to));
        let closed = self.egress[port].close(&self.cluster, to, now);
        assert!(closed, "{} closes its flow to {to} twice, or has none", self.me);
    }

    /// Takes a frame that came in physically; `now` is the emulated time of that moment.
    ///
    /// # Errors
    /// [`NicError`] when the frame is of no flow, out of sequence or beyond its credit.
    pub fn handle_arrival(&mut self, now: Picos, frame: Frame) -> Result<(), NicError> {
        let from = frame.source;
        if from == self.me || from.0 >= self.cluster.num_ranks() {
            return Err(NicError::NoFlow { from });
        }
        if frame.damaged {
            return Err(NicError::Checksum { from });
        }
        if frame.class == TrafficClass::Control {
            let port = index(self.cluster.link_class(self.me, from));
            self.egress[port].announce(&self.cluster, from, frame.credit_bytes)?;
            *self.credits_coming.entry((frame.arrive, from)).or_default() += frame.credit_bytes;
            return Ok(());
        }
        let port = index(self.cluster.link_class(self.me, from));
        self.ingress[port].handle_arrival(&self.cluster, now, frame)
    }

    /// The next frame whose last byte has left the ingress port by `now`, with the time at which it did.
    pub fn poll_deliver(&mut self, now: Picos) -> Option<(Picos, Frame)> {
        self.take_credits(now);
        for port in &mut self.ingress {
            port.turn(now);
        }
        let [scale_up, scale_out] = [0, 1].map(|port: usize| self.ingress[port].due());
        let first = match (scale_up, scale_out) {
            (Some(up), Some(out)) => usize::from(out < up),
            (None, Some(_)) => 1,
            _ => 0,
        };
        self.ingress[first].due().filter(|&due| due <= now)?;
        self.ingress[first].pop()
    }

    fn take_credits(&mut self, now: Picos) {
        while let Some(entry) = self.credits_coming.first_entry().filter(|entry| entry.key().0 <= now) {
            let (at, from) = *entry.key();
            let bytes = entry.remove();
            let port = index(self.cluster.link_class(self.me, from));
            self.egress[port].credit(&self.cluster, from, bytes, at);
        }
    }

    /// Gives `bytes` of credit back to `to`, in a control frame once a quarter of the window has come together. Not in
    /// [batches](Self::batch): nobody needs it there.
    pub fn grant(&mut self, to: RankId, bytes: u64, now: Picos) {
        if self.patience > Picos::ZERO {
            return;
        }
        let port = index(self.cluster.link_class(self.me, to));
        let Some(credit_bytes) = self.ingress[port].owe(&self.cluster, to, bytes) else { return };
        self.credits_due.push_back(Frame {
            flow: self.flow,
            phase: self.phase,
            class: TrafficClass::Control,
            source: self.me,
            destination: to,
            sequence: 0,
            arrive: now.saturating_add(self.egress[port].latency()),
            last: None,
            credit_bytes,
            rows: Rows::new(),
            damaged: false,
        });
    }

    /// The next frame to hand to the link, if its port may be reserved for it at `now`.
    pub fn poll_transmit(&mut self, now: Picos) -> Option<Frame> {
        if let Some(credit) = self.credits_due.pop_front() {
            return Some(credit);
        }
        let first = match [&self.egress[0], &self.egress[1]].map(Egress::turn) {
            [Some(up), Some(out)] if self.by_turn => usize::from(out < up),
            _ => 0,
        };
        let mut cut = |port: usize| Some((port, self.egress[port].cut(&self.cluster, now)?));
        let (port, cut) = cut(first).or_else(|| cut(1 - first))?;
        let Cut { to, sequence, last, finish, rows, releases } = cut;
        for (peer, bytes) in releases {
            self.grant(peer, u64::from(bytes), finish);
        }
        Some(Frame {
            flow: self.flow,
            phase: self.phase,
            class: self.class,
            source: self.me,
            destination: to,
            sequence,
            arrive: finish.saturating_add(self.egress[port].latency()),
            last,
            credit_bytes: 0,
            rows,
            damaged: false,
        })
    }

    /// Emulated time at which a poll can next do something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Picos> {
        if !self.credits_due.is_empty() {
            return Some(Picos::ZERO);
        }
        let ports = self.ingress.iter().filter_map(|port| Some(self.wake_for(port.wake()?)));
        let coming = self.credits_coming.first_key_value().map(|(key, _)| key.0);
        ports.chain(self.egress.iter().filter_map(Egress::wake)).chain(coming).min()
    }

    /// True when nothing waits in any queue.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.poll_timeout().is_none() && self.egress.iter().all(Egress::is_idle)
    }
}

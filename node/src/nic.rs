//! One rank's emulated network card: two full-duplex ports, their queues, credits and stamps. No clock, no sockets.
//!
//! Egress cuts rows into frames chunk by chunk, one peer after the other in rotation, and stamps each frame with the
//! emulated time at which it arrives. Ingress serves frames in the order of these stamps. Times are picoseconds since the
//! start of the phase. Poll in this order until all say `None`: [`Nic::poll_deliver`], [`Nic::poll_transmit`],
//! [`Nic::poll_timeout`].
//!
//! A frame is stamped from the readiness of its rows and the port's own arithmetic, never from the caller's clock: a shell
//! that wakes late delivers late (and its lateness is measured), but the port loses no emulated time.

use crate::wire::{Flow, Frame, Phase, Row, TrafficClass};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use thiserror::Error;
use topology::{Cluster, Fabric, LinkClass, Picos, Port, RankId};

/// Settings of a card, equal on every rank and every backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NicConfig {
    /// Rates and latencies of the two ports.
    pub fabric: Fabric,
    /// Most rows in one frame.
    pub chunk_rows: u32,
    /// Bytes that may be on the way to one peer before it grants more.
    pub credit_bytes: u64,
    /// Bytes of a full frame of `chunk_rows` rows. A port is reserved at most two such frames ahead of the clock ...
    pub chunk_bytes: u64,
    /// ... or this long, where that is more: what a shell with coarse timers needs. Zero on a virtual clock.
    pub horizon: Picos,
    /// The shell's resolution: a frame that comes this much after its turn, or less, merely swaps turns with those that went
    /// before it, and the port carries as much as ever. Zero on a virtual clock.
    pub resolution: Picos,
}

/// What a peer or the owner of the card did that a correct program does not do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NicError {
    /// A frame out of sequence: one was lost or sent twice.
    #[error("frame {got} from {from} where {expected} was due: a frame was lost or doubled")]
    Sequence {
        /// Sender of the frame.
        from: RankId,
        /// Sequence number due.
        expected: u32,
        /// Sequence number found.
        got: u32,
    },
    /// Rows after the flow's last frame, or a last frame that counts other rows than came.
    #[error("flow from {from} says it had {said} rows, {came} came")]
    FlowRows {
        /// Sender of the flow.
        from: RankId,
        /// Rows according to its last frame.
        said: u32,
        /// Rows that arrived.
        came: u32,
    },
    /// More bytes on the way than the credit allows.
    #[error("{from} has {bytes} bytes on the way, its credit is {credit}")]
    Credit {
        /// Sender without credit.
        from: RankId,
        /// Bytes outstanding.
        bytes: u64,
        /// Its window.
        credit: u64,
    },
}

/// A row waiting for a port.
#[derive(Debug)]
pub struct OutRow {
    /// The row.
    pub row: Row,
    /// Emulated time from which it may leave.
    pub ready: Picos,
    /// Credit to give back to the peer that sent it here, once it has left (forwarded rows).
    pub release: Option<(RankId, u64)>,
}

#[derive(Debug, Default)]
struct PeerQueue {
    rows: VecDeque<OutRow>,
    /// When the flow was closed, until its last frame has left.
    close_at: Option<Picos>,
    closed: bool,
    sequence: u32,
    rows_sent: u32,
    outstanding_bytes: u64,
    /// When the last credit came: what waited for it can't have left earlier.
    credit_at: Picos,
}

impl PeerQueue {
    /// Time from which the head of this queue may leave.
    fn ready(&self) -> Option<Picos> {
        let head = self.rows.front().map(|head| head.ready).or(self.close_at)?;
        Some(head.max(self.credit_at))
    }

    /// True if `bytes` more may be on the way. One row may always go where nothing is.
    fn has_credit(&self, bytes: u64, credit_bytes: u64) -> bool {
        self.outstanding_bytes == 0 || self.outstanding_bytes + bytes <= credit_bytes
    }

    fn head_has_credit(&self, phase: Phase, credit_bytes: u64) -> bool {
        self.has_credit(self.rows.front().map_or(0, |head| head.row.charged_bytes(phase)), credit_bytes)
    }
}

#[derive(Debug, Default)]
struct PeerReceipt {
    sequence: u32,
    rows: u32,
    closed: bool,
    owed_bytes: u64,
    outstanding_bytes: u64,
    /// Stamp of the flow's newest frame: a flow stays in order even where a frame came after its turn.
    newest: Picos,
}

#[derive(Debug)]
struct EgressPort {
    link: LinkClass,
    port: Port,
    /// How far ahead of the clock this port may be reserved.
    lookahead: Picos,
    rotation: Vec<RankId>,
    /// Position of each rank in `rotation`.
    position: BTreeMap<RankId, usize>,
    /// Positions in `rotation` whose queue could go at once, were the port free.
    eligible: BTreeSet<usize>,
    /// Positions whose queue is ready later, by that time. Queues without credit are in neither set.
    later: BTreeSet<(Picos, usize)>,
    cursor: usize,
}

impl EgressPort {
    /// The next time at which a frame can begin to leave.
    fn turn(&self) -> Option<Picos> {
        if self.eligible.is_empty() {
            self.later.first().map(|(ready, _)| self.port.free().max(*ready))
        } else {
            Some(self.port.free())
        }
    }
}

#[derive(Debug)]
struct IngressPort {
    port: Port,
    waiting: BTreeMap<(Picos, RankId, u32), Frame>,
    turned: VecDeque<(Picos, Frame)>,
    last_turn: Picos,
}

/// The card of one rank during one phase.
#[derive(Debug)]
pub struct Nic {
    me: RankId,
    cluster: Arc<Cluster>,
    config: NicConfig,
    flow: Flow,
    phase: Phase,
    egress: [EgressPort; 2],
    ingress: [IngressPort; 2],
    queues: BTreeMap<RankId, PeerQueue>,
    receipts: BTreeMap<RankId, PeerReceipt>,
    credits_due: VecDeque<Frame>,
    /// Credit on its way here, by the time at which it counts.
    credits_coming: BTreeMap<(Picos, RankId), u64>,
    /// Frames that came after a frame with a later stamp had had its turn, by more than the shell's resolution.
    overtaken: u64,
    frames_received: u64,
    sent_bytes: Vec<u64>,
}

fn index(link: LinkClass) -> usize {
    usize::from(link == LinkClass::ScaleOut)
}

impl Nic {
    /// A card with free ports at time zero of `phase`.
    #[must_use]
    pub fn new(me: RankId, cluster: Arc<Cluster>, config: NicConfig, flow: Flow, phase: Phase) -> Self {
        let egress = [LinkClass::ScaleUp, LinkClass::ScaleOut].map(|link| {
            let rotation = cluster.rotation(me, link);
            let position = rotation.iter().enumerate().map(|(at, &peer)| (peer, at)).collect();
            EgressPort {
                link,
                port: Port::new(),
                lookahead: Picos(
                    config.fabric.link(link).rate.transfer(config.chunk_bytes).0.saturating_mul(2),
                )
                .max(config.horizon),
                rotation,
                position,
                eligible: BTreeSet::new(),
                later: BTreeSet::new(),
                cursor: 0,
            }
        });
        let ingress = [(); 2].map(|()| IngressPort {
            port: Port::new(),
            waiting: BTreeMap::new(),
            turned: VecDeque::new(),
            last_turn: Picos::ZERO,
        });
        let sent_bytes = vec![0; cluster.num_ranks() as usize];
        Self {
            me,
            cluster,
            config,
            flow,
            phase,
            egress,
            ingress,
            queues: BTreeMap::new(),
            receipts: BTreeMap::new(),
            credits_due: VecDeque::new(),
            credits_coming: BTreeMap::new(),
            overtaken: 0,
            frames_received: 0,
            sent_bytes,
        }
    }

    /// Phase that the card serves.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Step that the card serves.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Frames that had to enter after their turn.
    #[must_use]
    pub fn overtaken(&self) -> u64 {
        self.overtaken
    }

    /// Data frames received.
    #[must_use]
    pub fn frames_received(&self) -> u64 {
        self.frames_received
    }

    /// Row bytes sent, by destination rank.
    #[must_use]
    pub fn sent_bytes(&self) -> &[u64] {
        &self.sent_bytes
    }

    /// Queues a row for `to`.
    ///
    /// # Panics
    /// If the flow to `to` was closed before, or `to` is this rank.
    pub fn enqueue(&mut self, to: RankId, row: OutRow) {
        let queue = self.queues.entry(to).or_default();
        assert!(
            queue.close_at.is_none() && !queue.closed,
            "{} sends to {to} after closing the flow",
            self.me
        );
        queue.rows.push_back(row);
        if queue.rows.len() == 1 {
            self.place(to);
        }
    }

    /// Ends the flow to `to`: the last frame carries the mark, an empty frame where nothing was owed.
    pub fn close(&mut self, to: RankId, now: Picos) {
        let queue = self.queues.entry(to).or_default();
        assert!(queue.close_at.is_none() && !queue.closed, "{} closes its flow to {to} twice", self.me);
        queue.close_at = Some(now);
        if queue.rows.is_empty() {
            self.place(to);
        }
    }

    /// Puts a queue whose head is new, or whose credit has changed, among those that can go now or later.
    fn place(&mut self, to: RankId) {
        assert_ne!(to, self.me, "a rank has no port to itself");
        let queue = &self.queues[&to];
        let port = &mut self.egress[index(self.cluster.link_class(self.me, to))];
        let at = port.position[&to];
        match queue.ready() {
            Some(_) if !queue.head_has_credit(self.phase, self.config.credit_bytes) => {}
            Some(ready) if ready <= port.port.free() => {
                port.eligible.insert(at);
            }
            Some(ready) => {
                port.later.insert((ready, at));
            }
            None => {}
        }
    }

    /// Takes a frame that came in physically; `now` is the emulated time of that moment.
    ///
    /// # Errors
    /// [`NicError`] when the frame is out of sequence or beyond its credit.
    pub fn handle_arrival(&mut self, now: Picos, mut frame: Frame) -> Result<(), NicError> {
        let from = frame.source;
        if frame.class == TrafficClass::Control {
            *self.credits_coming.entry((frame.arrive, from)).or_default() += frame.credit_bytes;
            return Ok(());
        }
        let bytes = frame.charged_bytes();
        let receipt = self.receipts.entry(from).or_default();
        if frame.sequence != receipt.sequence || receipt.closed {
            return Err(NicError::Sequence { from, expected: receipt.sequence, got: frame.sequence });
        }
        receipt.sequence += 1;
        receipt.rows += u32::try_from(frame.rows.len()).expect("bounded by the frame");
        receipt.outstanding_bytes += bytes;
        if let Some(said) = frame.last {
            receipt.closed = true;
            if said != receipt.rows {
                return Err(NicError::FlowRows { from, said, came: receipt.rows });
            }
        }
        let credit = self.config.credit_bytes.max(bytes);
        if receipt.outstanding_bytes > credit {
            return Err(NicError::Credit { from, bytes: receipt.outstanding_bytes, credit });
        }
        self.frames_received += 1;
        let port = &mut self.ingress[index(self.cluster.link_class(self.me, from))];
        if frame.arrive < port.last_turn {
            let late = now > frame.arrive.saturating_add(self.config.resolution);
            self.overtaken += u64::from(late);
            frame.arrive = if late { now.max(port.last_turn) } else { port.last_turn };
        }
        frame.arrive = frame.arrive.max(receipt.newest);
        receipt.newest = frame.arrive;
        port.waiting.insert((frame.arrive, from, frame.sequence), frame);
        Ok(())
    }

    /// The next frame whose last byte has left the ingress port by `now`, with the time at which it did.
    pub fn poll_deliver(&mut self, now: Picos) -> Option<(Picos, Frame)> {
        self.take_credits(now);
        for class in [LinkClass::ScaleUp, LinkClass::ScaleOut] {
            let rate = self.config.fabric.link(class).rate;
            let port = &mut self.ingress[index(class)];
            while let Some(entry) = port.waiting.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                let frame = entry.remove();
                port.last_turn = frame.arrive;
                let deliver = port.port.ingress(frame.arrive, frame.charged_bytes(), rate);
                port.turned.push_back((deliver, frame));
            }
        }
        let first = self
            .ingress
            .iter_mut()
            .filter(|port| !port.turned.is_empty())
            .min_by_key(|port| port.turned[0].0)?;
        if first.turned[0].0 > now {
            return None;
        }
        first.turned.pop_front()
    }

    fn take_credits(&mut self, now: Picos) {
        while let Some(entry) = self.credits_coming.first_entry().filter(|entry| entry.key().0 <= now) {
            let (at, from) = *entry.key();
            let bytes = entry.remove();
            let Some(queue) = self.queues.get(&from) else { continue };
            let blocked = !queue.head_has_credit(self.phase, self.config.credit_bytes);
            let queue = self.queues.get_mut(&from).expect("looked up above");
            queue.outstanding_bytes = queue.outstanding_bytes.saturating_sub(bytes);
            if blocked {
                queue.credit_at = at;
                self.place(from);
            }
        }
    }

    /// Gives `bytes` of credit back to `to`, in a control frame once a quarter of the window has come together.
    pub fn grant(&mut self, to: RankId, bytes: u64, now: Picos) {
        let receipt = self.receipts.entry(to).or_default();
        receipt.owed_bytes += bytes;
        if receipt.closed || receipt.owed_bytes < self.config.credit_bytes / 4 {
            return;
        }
        let credit_bytes = std::mem::take(&mut receipt.owed_bytes);
        receipt.outstanding_bytes = receipt.outstanding_bytes.saturating_sub(credit_bytes);
        let latency = self.config.fabric.link(self.cluster.link_class(self.me, to)).latency;
        self.credits_due.push_back(Frame {
            flow: self.flow,
            phase: self.phase,
            class: TrafficClass::Control,
            source: self.me,
            destination: to,
            sequence: 0,
            arrive: now + latency,
            last: None,
            credit_bytes,
            rows: Vec::new(),
        });
    }

    /// The next frame to hand to the link, if its port may be reserved for it at `now`.
    pub fn poll_transmit(&mut self, now: Picos) -> Option<Frame> {
        if let Some(credit) = self.credits_due.pop_front() {
            return Some(credit);
        }
        (0..2).find_map(|port| self.cut(port, now))
    }

    /// Rows and bytes of the chunk at the head of a queue, as far as its rows are ready by `turn` and have credit.
    fn chunk(&self, queue: &PeerQueue, turn: Picos) -> (usize, u64) {
        let (mut count, mut bytes) = (0, 0);
        let most = self.config.chunk_rows as usize;
        for waiting in queue.rows.iter().take(most).take_while(|waiting| waiting.ready <= turn) {
            let more = bytes + waiting.row.charged_bytes(self.phase);
            if !queue.has_credit(more, self.config.credit_bytes) && (count > 0 || queue.outstanding_bytes > 0)
            {
                break;
            }
            (count, bytes) = (count + 1, more);
        }
        (count, bytes)
    }

    fn cut(&mut self, side: usize, now: Picos) -> Option<Frame> {
        let egress = &mut self.egress[side];
        let reserve_until = now.saturating_add(egress.lookahead);
        let turn = egress.turn().filter(|&turn| turn <= reserve_until)?;
        while let Some(&(ready, at)) = egress.later.first().filter(|(ready, _)| *ready <= turn) {
            egress.later.remove(&(ready, at));
            egress.eligible.insert(at);
        }
        let mut order = egress.eligible.range(egress.cursor..).chain(egress.eligible.range(..egress.cursor));
        let chosen = *order.next()?;
        egress.eligible.remove(&chosen);
        egress.cursor = chosen + 1;
        let to = egress.rotation[chosen];
        let (count, bytes) = self.chunk(&self.queues[&to], turn);
        let queue = self.queues.get_mut(&to).expect("an eligible peer has a queue");
        let taken: Vec<OutRow> = queue.rows.drain(..count).collect();
        queue.rows_sent += u32::try_from(count).expect("bounded by the chunk");
        queue.outstanding_bytes += bytes;
        let sequence = queue.sequence;
        queue.sequence += 1;
        let ends = queue.rows.is_empty() && queue.close_at.is_some_and(|at| at <= turn);
        let last = ends.then_some(queue.rows_sent);
        if ends {
            queue.close_at = None;
            queue.closed = true;
        }

        let egress = &mut self.egress[side];
        let link = self.config.fabric.link(egress.link);
        let ready = taken.iter().map(|row| row.ready).max().unwrap_or(turn);
        let finish = egress.port.egress(ready.max(turn), bytes, link.rate);
        self.place(to);
        self.sent_bytes[to.0 as usize] += bytes;
        let mut rows = Vec::with_capacity(count);
        for sent in taken {
            if let Some((peer, bytes)) = sent.release {
                self.grant(peer, bytes, finish);
            }
            rows.push(sent.row);
        }
        Some(Frame {
            flow: self.flow,
            phase: self.phase,
            class: TrafficClass::Tokens,
            source: self.me,
            destination: to,
            sequence,
            arrive: finish + link.latency,
            last,
            credit_bytes: 0,
            rows,
        })
    }

    /// Emulated time at which a poll can next do something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Picos> {
        let deliver = self.ingress.iter().flat_map(|port| {
            let turned = port.turned.front().map(|(deliver, _)| *deliver);
            turned.into_iter().chain(port.waiting.first_key_value().map(|(key, _)| key.0))
        });
        // Half the lookahead late: the shell then wakes for several frames at once, and the port still never waits.
        let wake = |port: &EgressPort| Some(port.turn()?.saturating_sub(Picos(port.lookahead.0 / 2)));
        let transmit = self.egress.iter().filter_map(wake);
        let credit = (!self.credits_due.is_empty()).then_some(Picos::ZERO);
        let coming = self.credits_coming.first_key_value().map(|(key, _)| key.0);
        deliver.chain(transmit).chain(credit).chain(coming).min()
    }

    /// True when nothing waits in any queue.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.poll_timeout().is_none() && self.queues.values().all(|queue| queue.ready().is_none())
    }
}

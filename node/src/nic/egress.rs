//! One egress port: rows that wait for it, queue by queue, and the order in which they leave.
//!
//! Rows stand in one pool, linked in the order of their queue, so that a thousand short queues take no more memory than one
//! long one. A queue is ready now, ready later, or waits for credit.

use super::config::NicConfig;
use super::error::NicError;
use super::peers::Peers;
use super::ready::ReadySet;
use crate::trace::{FrameTrace, Recorder};
use crate::wire::{Phase, Row, Rows};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use topology::{Cluster, LinkClass, LinkSpec, Pace, Picos, Port, RankId};

/// A row waiting for a port.
#[derive(Debug)]
pub struct OutRow {
    /// The row.
    pub row: Row,
    /// Emulated time from which it may leave.
    pub ready: Picos,
    /// Credit to give back to the peer that sent it here, once it has left (forwarded rows).
    pub release: Option<(RankId, u32)>,
}

/// No row.
const NONE: u32 = u32::MAX;

/// Rows for one peer.
#[derive(Debug)]
struct PeerQueue {
    head: u32,
    tail: u32,
    sequence: u32,
    rows_sent: u32,
    rows_queued: u32,
    outstanding_bytes: u64,
    sent_bytes: u64,
    /// Of them, those that the peer has taken in or is about to.
    granted_bytes: u64,
    /// When the last credit came: what waited for it can't have left earlier.
    credit_at: Picos,
    /// When the flow is to end: [`OPEN`] until that is known, [`ENDED`] once its last frame has left.
    close_at: Picos,
}

/// A flow that goes on.
const OPEN: Picos = Picos::MAX;
/// A flow whose end has been sent.
const ENDED: Picos = Picos(u64::MAX - 1);

impl PeerQueue {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        sequence: 0,
        rows_sent: 0,
        rows_queued: 0,
        outstanding_bytes: 0,
        sent_bytes: 0,
        granted_bytes: 0,
        credit_at: Picos::ZERO,
        close_at: OPEN,
    };

    /// The time of a close that has not been sent yet.
    fn closing(&self) -> Option<Picos> {
        Some(self.close_at).filter(|&at| at != OPEN && at != ENDED)
    }

    /// True if `bytes` more may be on the way. One row may always go where nothing is.
    fn has_credit(&self, bytes: u64, credit_bytes: u64) -> bool {
        self.outstanding_bytes == 0 || self.outstanding_bytes + bytes <= credit_bytes
    }
}

#[derive(Debug)]
struct Node {
    row: Option<OutRow>,
    next: u32,
}

/// A chunk that has left the port.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) to: RankId,
    pub(super) sequence: u32,
    /// Rows of the whole flow, if this was its end.
    pub(super) last: Option<u32>,
    /// When the last byte has left.
    pub(super) finish: Picos,
    pub(super) rows: Rows,
    /// Credit that forwarded rows give back to who sent them here.
    pub(super) releases: Vec<(RankId, u32)>,
}

/// A port and its queues.
#[derive(Debug)]
pub(super) struct Egress {
    phase: Phase,
    spec: LinkSpec,
    chunk_rows: usize,
    credit_bytes: u64,
    port: Port,
    pace: Pace,
    /// How far ahead of the clock this port may be reserved.
    lookahead: Picos,
    peers: Peers,
    queues: Vec<PeerQueue>,
    /// Bytes of the largest row ever queued.
    largest_row: u64,
    pool: Vec<Node>,
    /// First of the unused nodes.
    unused: u32,
    /// Places of the queues that could go at once, were the port free.
    eligible: ReadySet,
    /// Places of the queues that are ready later, by that time. Queues without credit are in neither.
    later: BinaryHeap<Reverse<(Picos, u32)>>,
    cursor: usize,
    /// In a run that is traced.
    pub(super) recorder: Option<Box<Recorder>>,
}

impl Egress {
    pub(super) fn new(
        cluster: &Cluster,
        me: RankId,
        class: LinkClass,
        config: &NicConfig,
        phase: Phase,
        to: &[RankId],
    ) -> Self {
        let spec = config.fabric.link(class);
        let peers = Peers::new(cluster, me, class, to);
        let lookahead = config.lookahead(spec);
        Self {
            phase,
            spec,
            chunk_rows: config.chunk_rows as usize,
            credit_bytes: config.credit_bytes,
            port: Port::new(),
            pace: Pace::STEADY,
            lookahead,
            queues: (0..peers.len()).map(|_| PeerQueue::EMPTY).collect(),
            largest_row: 0,
            pool: Vec::new(),
            unused: NONE,
            eligible: ReadySet::new(peers.len()),
            later: BinaryHeap::new(),
            cursor: 0,
            peers,
            recorder: None,
        }
    }

    pub(super) fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    pub(super) fn latency(&self) -> Picos {
        self.spec.latency
    }

    /// The peer at a place of the rotation.
    pub(super) fn visits(&self, cluster: &Cluster, place: usize) -> Option<RankId> {
        (place < self.peers.len()).then(|| self.peers.at(cluster, place))
    }

    /// True if some queue may have been given more than its credit: what its peer grants, and when, then matters.
    pub(super) fn needs_credit(&self) -> bool {
        let bytes = |queue: &PeerQueue| u64::from(queue.rows_queued) * self.largest_row;
        self.queues.iter().any(|queue| bytes(queue) > self.credit_bytes)
    }

    /// Lets the port be reserved this far ahead of the clock.
    pub(super) fn look_ahead(&mut self, lookahead: Picos) {
        self.lookahead = self.lookahead.max(lookahead);
    }

    /// Bytes sent to each peer that was sent any.
    pub(super) fn sent_bytes<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = (RankId, u64)> + 'a {
        let sent = self.queues.iter().enumerate().filter(|(_, queue)| queue.sent_bytes > 0);
        sent.map(|(place, queue)| (self.peers.at(cluster, place), queue.sent_bytes))
    }

    /// Queues a row; false if there is no open flow to `to`.
    pub(super) fn enqueue(&mut self, cluster: &Cluster, to: RankId, row: OutRow) -> bool {
        let Some(place) = self.peers.place_of(cluster, to) else { return false };
        if self.queues[place].close_at != OPEN {
            return false;
        }
        self.largest_row = self.largest_row.max(row.row.charged_bytes(self.phase));
        let node = self.store(row);
        let queue = &mut self.queues[place];
        queue.rows_queued += 1;
        if queue.head == NONE {
            (queue.head, queue.tail) = (node, node);
            self.place(place);
        } else {
            let before = std::mem::replace(&mut queue.tail, node);
            self.pool[before as usize].next = node;
        }
        true
    }

    /// Ends the flow to `to`; false if there is none or it has ended before.
    pub(super) fn close(&mut self, cluster: &Cluster, to: RankId, now: Picos) -> bool {
        let Some(place) = self.peers.place_of(cluster, to) else { return false };
        let queue = &mut self.queues[place];
        if queue.close_at != OPEN {
            return false;
        }
        queue.close_at = now;
        if queue.head == NONE {
            self.place(place);
        }
        true
    }

    /// Credit that `from` says it will give.
    pub(super) fn announce(&mut self, cluster: &Cluster, from: RankId, bytes: u64) -> Result<(), NicError> {
        let least = self.credit_bytes / 4;
        let wrong = NicError::Grant { from, bytes, least };
        let Some(place) = self.peers.place_of(cluster, from) else { return Err(NicError::NoFlow { from }) };
        let queue = &mut self.queues[place];
        let granted = queue.granted_bytes.checked_add(bytes).filter(|&granted| granted <= queue.sent_bytes);
        queue.granted_bytes = granted.filter(|_| bytes >= least.max(1)).ok_or(wrong)?;
        Ok(())
    }

    /// Credit from `from`, that counts from `at` on.
    pub(super) fn credit(&mut self, cluster: &Cluster, from: RankId, bytes: u64, at: Picos) {
        let Some(place) = self.peers.place_of(cluster, from) else { return };
        let blocked = !self.head_has_credit(place);
        let queue = &mut self.queues[place];
        queue.outstanding_bytes = queue.outstanding_bytes.saturating_sub(bytes);
        if blocked {
            queue.credit_at = at;
            self.place(place);
        }
    }

    /// The next time at which a frame can begin to leave.
    pub(super) fn turn(&self) -> Option<Picos> {
        if self.eligible.is_empty() {
            self.later.peek().map(|Reverse((ready, _))| self.port.free().max(*ready))
        } else {
            Some(self.port.free())
        }
    }

    /// When to ask for the next chunk: half the lookahead late, so that a shell wakes for several frames at once and the port
    /// still never waits.
    pub(super) fn wake(&self) -> Option<Picos> {
        Some(self.turn()?.saturating_sub(Picos(self.lookahead.0 / 2)))
    }

    /// The next chunk, if the port may be reserved for it at `now`.
    pub(super) fn cut(&mut self, cluster: &Cluster, now: Picos) -> Option<Cut> {
        let turn = self.turn().filter(|&turn| turn <= now.saturating_add(self.lookahead))?;
        while let Some(&Reverse((_, place))) = self.later.peek().filter(|later| later.0.0 <= turn) {
            self.later.pop();
            self.eligible.insert(place as usize);
        }
        let place = self.eligible.take_from(self.cursor)?;
        self.cursor = place + 1;
        let (count, bytes) = self.chunk(place, turn);
        let mut ready = if count == 0 { turn } else { Picos::ZERO };
        let (mut rows, mut releases) = (Rows::with_capacity(count), Vec::new());
        for _ in 0..count {
            let sent = self.take_head(place);
            ready = ready.max(sent.ready);
            releases.extend(sent.release);
            rows.push(sent.row);
        }
        let queue = &mut self.queues[place];
        queue.rows_sent += count as u32;
        queue.outstanding_bytes += bytes;
        queue.sent_bytes += bytes;
        let sequence = queue.sequence;
        queue.sequence += 1;
        let ends = queue.head == NONE && queue.closing().is_some_and(|at| at <= turn);
        let last = ends.then_some(queue.rows_sent);
        if ends {
            queue.close_at = ENDED;
        }
        let start = ready.max(turn).max(self.port.free());
        let finish = self.port.egress_paced(ready.max(turn), bytes, self.spec.rate, &self.pace);
        self.place(place);
        let to = self.peers.at(cluster, place);
        if let Some(recorder) = &mut self.recorder {
            recorder.frame(FrameTrace { start, end: finish, ready, peer: to, sequence, bytes });
        }
        Some(Cut { to, sequence, last, finish, rows, releases })
    }

    /// True when nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queues.iter().all(|queue| queue.head == NONE && queue.closing().is_none())
    }

    /// Time from which the head of a queue may leave.
    fn ready(&self, place: usize) -> Option<Picos> {
        let queue = &self.queues[place];
        let head = self.head(place).map(|head| head.ready).or_else(|| queue.closing())?;
        Some(head.max(queue.credit_at))
    }

    fn head(&self, place: usize) -> Option<&OutRow> {
        self.row(self.queues[place].head)
    }

    fn row(&self, node: u32) -> Option<&OutRow> {
        self.pool.get(node as usize).and_then(|node| node.row.as_ref())
    }

    fn head_has_credit(&self, place: usize) -> bool {
        let bytes = self.head(place).map_or(0, |head| head.row.charged_bytes(self.phase));
        self.queues[place].has_credit(bytes, self.credit_bytes)
    }

    /// Puts a queue whose head is new, or whose credit has changed, among those that can go now or later.
    fn place(&mut self, place: usize) {
        let Some(ready) = self.ready(place) else { return };
        if !self.head_has_credit(place) {
            return;
        }
        if ready <= self.port.free() {
            self.eligible.insert(place);
        } else {
            self.later.push(Reverse((ready, place as u32)));
        }
    }

    /// Rows and bytes of the chunk at the head of a queue, as far as its rows are ready by `turn` and have credit.
    fn chunk(&self, place: usize, turn: Picos) -> (usize, u64) {
        let queue = &self.queues[place];
        let (mut count, mut bytes, mut node) = (0, 0, queue.head);
        while let Some(waiting) = self.row(node).filter(|row| count < self.chunk_rows && row.ready <= turn) {
            let more = bytes + waiting.row.charged_bytes(self.phase);
            let first_on_the_way = count == 0 && queue.outstanding_bytes == 0;
            if !queue.has_credit(more, self.credit_bytes) && !first_on_the_way {
                break;
            }
            (count, bytes, node) = (count + 1, more, self.pool[node as usize].next);
        }
        (count, bytes)
    }

    fn store(&mut self, row: OutRow) -> u32 {
        let node = Node { row: Some(row), next: NONE };
        if self.unused == NONE {
            self.pool.push(node);
            return u32::try_from(self.pool.len() - 1)
                .ok()
                .filter(|&at| at != NONE)
                .expect("rows are bounded");
        }
        let at = self.unused;
        self.unused = std::mem::replace(&mut self.pool[at as usize], node).next;
        at
    }

    fn take_head(&mut self, place: usize) -> OutRow {
        let queue = &mut self.queues[place];
        let at = queue.head;
        let node = &mut self.pool[at as usize];
        let row = node.row.take().expect("a queue's head is a row");
        queue.head = std::mem::replace(&mut node.next, self.unused);
        self.unused = at;
        row
    }
}

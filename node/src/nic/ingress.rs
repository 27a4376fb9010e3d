//! One ingress port: frames in the order of their stamps, what each sender's flow has brought, and the credit it is owed.

use super::config::NicConfig;
use super::error::NicError;
use super::peers::Peers;
use crate::trace::{FrameTrace, Recorder};
use crate::wire::Frame;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use topology::{Cluster, LinkClass, LinkSpec, Pace, Picos, Port, RankId};

/// What has come from one peer.
#[derive(Clone, Debug, Default)]
struct PeerReceipt {
    sequence: u32,
    rows: u32,
    closed: bool,
    owed_bytes: u64,
    outstanding_bytes: u64,
    /// Stamp of the flow's newest frame: a flow stays in order even where a frame came after its turn.
    newest: Picos,
}

/// A port and what waits before and behind it.
#[derive(Debug)]
pub(super) struct Ingress {
    spec: LinkSpec,
    credit_bytes: u64,
    chunk_rows: u32,
    resolution: Picos,
    port: Port,
    pace: Pace,
    peers: Peers,
    receipts: Vec<PeerReceipt>,
    /// Frames before and behind the port, at places that are used again.
    frames: Vec<Option<Frame>>,
    unused: Vec<u32>,
    /// Frames that wait for their turn: stamp, sender, sequence number, place.
    waiting: BinaryHeap<Reverse<(Picos, RankId, u32, u32)>>,
    /// Frames that have had it: when they are through, place.
    turned: VecDeque<(Picos, u32)>,
    last_turn: Picos,
    overtaken: u64,
    frames_received: u64,
    /// In a run that is traced.
    pub(super) recorder: Option<Box<Recorder>>,
}

impl Ingress {
    pub(super) fn new(
        cluster: &Cluster,
        me: RankId,
        class: LinkClass,
        config: &NicConfig,
        from: &[RankId],
    ) -> Self {
        let peers = Peers::new(cluster, me, class, from);
        Self {
            spec: config.fabric.link(class),
            credit_bytes: config.credit_bytes,
            chunk_rows: config.chunk_rows,
            resolution: config.resolution,
            port: Port::new(),
            pace: Pace::STEADY,
            receipts: vec![PeerReceipt::default(); peers.len()],
            peers,
            frames: Vec::new(),
            unused: Vec::new(),
            waiting: BinaryHeap::new(),
            turned: VecDeque::new(),
            last_turn: Picos::ZERO,
            overtaken: 0,
            frames_received: 0,
            recorder: None,
        }
    }

    pub(super) fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Frames that came after a frame with a later stamp had had its turn, by more than the shell's resolution.
    pub(super) fn overtaken(&self) -> u64 {
        self.overtaken
    }

    pub(super) fn frames_received(&self) -> u64 {
        self.frames_received
    }

    /// Ranks whose flow has not ended.
    pub(super) fn open<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = RankId> + 'a {
        let open = self.receipts.iter().enumerate().filter(|(_, receipt)| !receipt.closed);
        open.map(|(place, _)| self.peers.at(cluster, place))
    }

    /// Takes a data frame that came in physically at `now`.
    pub(super) fn handle_arrival(
        &mut self,
        cluster: &Cluster,
        now: Picos,
        mut frame: Frame,
    ) -> Result<(), NicError> {
        let from = frame.source;
        let place = self.peers.place_of(cluster, from).ok_or(NicError::NoFlow { from })?;
        let receipt = &mut self.receipts[place];
        if frame.sequence != receipt.sequence || receipt.closed {
            return Err(NicError::Sequence { from, expected: receipt.sequence, got: frame.sequence });
        }
        let bytes = frame.charged_bytes();
        let rows = frame.rows.len();
        // What takes no credit would be held without a bound.
        let filled = rows > 0 && frame.rows.iter().all(|row| !row.data.is_empty());
        if !(filled || rows == 0 && frame.last.is_some()) || rows > self.chunk_rows as usize {
            return Err(NicError::Frame { from, rows, bytes, most: self.chunk_rows });
        }
        receipt.sequence += 1;
        receipt.rows = receipt.rows.saturating_add(u32::try_from(rows).expect("bounded by the frame"));
        receipt.outstanding_bytes += bytes;
        if let Some(said) = frame.last {
            receipt.closed = true;
            if said != receipt.rows {
                return Err(NicError::FlowRows { from, said, came: receipt.rows });
            }
        }
        let credit = self.credit_bytes.max(bytes);
        if receipt.outstanding_bytes > credit {
            return Err(NicError::Credit { from, bytes: receipt.outstanding_bytes, credit });
        }
        self.frames_received += 1;
        if frame.arrive < self.last_turn {
            let late = now > frame.arrive.saturating_add(self.resolution);
            self.overtaken += u64::from(late);
            frame.arrive = if late { now.max(self.last_turn) } else { self.last_turn };
        }
        frame.arrive = frame.arrive.max(receipt.newest);
        receipt.newest = frame.arrive;
        let (arrive, sequence) = (frame.arrive, frame.sequence);
        let place = match self.unused.pop() {
            Some(place) => {
                self.frames[place as usize] = Some(frame);
                place
            }
            None => {
                self.frames.push(Some(frame));
                self.frames.len() as u32 - 1
            }
        };
        self.waiting.push(Reverse((arrive, from, sequence, place)));
        Ok(())
    }

    /// Passes every frame on whose turn has come by `now`.
    pub(super) fn turn(&mut self, now: Picos) {
        while let Some(&Reverse((arrive, peer, sequence, place))) =
            self.waiting.peek().filter(|first| first.0.0 <= now)
        {
            self.waiting.pop();
            self.last_turn = arrive;
            let bytes = self.frames[place as usize].as_ref().map_or(0, Frame::charged_bytes);
            let ready = arrive.saturating_sub(self.spec.rate.transfer(bytes));
            let start = ready.max(self.port.free());
            let deliver = self.port.ingress_paced(arrive, bytes, self.spec.rate, &self.pace);
            if let Some(recorder) = &mut self.recorder {
                recorder.frame(FrameTrace { start, end: deliver, ready, peer, sequence, bytes });
            }
            self.turned.push_back((deliver, place));
        }
    }

    /// When the next frame that has had its turn is through.
    pub(super) fn due(&self) -> Option<Picos> {
        self.turned.front().map(|(deliver, _)| *deliver)
    }

    pub(super) fn pop(&mut self) -> Option<(Picos, Frame)> {
        let (deliver, place) = self.turned.pop_front()?;
        self.unused.push(place);
        Some((deliver, self.frames[place as usize].take()?))
    }

    /// When a poll can next do something.
    pub(super) fn wake(&self) -> Option<Picos> {
        let turn = self.waiting.peek().map(|waiting| waiting.0.0);
        self.due().into_iter().chain(turn).min()
    }

    /// Counts `bytes` as taken in; returns what to grant `to` once a quarter of its window has come together.
    pub(super) fn owe(&mut self, cluster: &Cluster, to: RankId, bytes: u64) -> Option<u64> {
        let place = self.peers.place_of(cluster, to)?;
        let receipt = &mut self.receipts[place];
        receipt.owed_bytes += bytes;
        if receipt.closed || receipt.owed_bytes < self.credit_bytes / 4 {
            return None;
        }
        let granted = std::mem::take(&mut receipt.owed_bytes);
        receipt.outstanding_bytes = receipt.outstanding_bytes.saturating_sub(granted);
        Some(granted)
    }
}

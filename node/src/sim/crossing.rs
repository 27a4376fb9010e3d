//! Oversubscribed uplinks [in columns](super::columns): what senders' ports have sent goes through both racks' queues by time and sender, as
//! on the event clock ([`super::uplinks`]).

use super::uplinks::{Queues, Span};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use topology::{Cluster, Fabric, Picos, RankId};

/// A frame as its receiver's port sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamped {
    pub(super) stamp: Picos,
    pub(super) from: RankId,
    pub(super) bytes: u32,
}

/// Most frames that wait in all queues: where more do, it is for the event clock, which holds senders back.
const HELD_MAX: usize = 1 << 22;

/// A frame on its way. Of one sender's that come at once the mark is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sent {
    at: Picos,
    from: RankId,
    is_mark: bool,
    to: RankId,
    /// When its first byte comes.
    first: Picos,
    /// Its stamp without uplinks.
    stamp: Picos,
    bytes: u32,
}

/// All racks' queues, with the frames before and behind them.
#[derive(Debug)]
pub(super) struct Crossing<'a> {
    cluster: &'a Cluster,
    latency: Picos,
    queues: Queues,
    leaving: Vec<Sent>,
    entering: BinaryHeap<Reverse<Sent>>,
    passed: BinaryHeap<Reverse<Sent>>,
}

impl<'a> Crossing<'a> {
    /// `None` where no uplink can hold anything back.
    pub(super) fn new(cluster: &'a Cluster, fabric: &Fabric) -> Option<Self> {
        let (latency, queues) = (fabric.scale_out.latency, Queues::new(cluster, fabric)?);
        let (leaving, entering, passed) = (Vec::new(), BinaryHeap::new(), BinaryHeap::new());
        Some(Self { cluster, latency, queues, leaving, entering, passed })
    }

    /// Takes what each part of the senders has sent, `[parts][receivers]`: no frame comes later with an earlier stamp. `None` where too
    /// many wait.
    pub(super) fn take(&mut self, sent: &mut [Vec<Vec<Stamped>>]) -> Option<()> {
        for part in sent {
            for (to, frames) in (0..).map(RankId).zip(part) {
                let sent = |Stamped { stamp, from, bytes }| Sent {
                    at: stamp,
                    from,
                    is_mark: bytes == 0,
                    to,
                    first: stamp,
                    stamp,
                    bytes,
                };
                self.leaving.extend(frames.drain(..).map(sent));
            }
        }
        self.leaving.sort_unstable();
        for sent in self.leaving.drain(..) {
            let (rack, finish) = (self.cluster.rack_of(sent.from), sent.at.saturating_sub(self.latency));
            let left = self.queues.leave(rack, finish, sent.bytes.into());
            let Span { last, first } = left.after(self.latency);
            self.entering.push(Reverse(Sent { at: last, first, ..sent }));
        }
        (self.entering.len() <= HELD_MAX).then_some(())
    }

    /// The next frame that both queues have passed on before `end`, its receiver, and the stamp that it would have without them.
    pub(super) fn pass_before(&mut self, end: Picos) -> Option<(RankId, Stamped, Picos)> {
        while let Some(Reverse(sent)) = self.entering.peek().copied().filter(|first| first.0.at < end) {
            self.entering.pop();
            let (rack, span) = (self.cluster.rack_of(sent.to), Span { last: sent.at, first: sent.first });
            let through = self.queues.enter(rack, span, sent.bytes.into());
            self.passed.push(Reverse(Sent { at: through, ..sent }));
        }
        let Reverse(Sent { at, from, to, stamp, bytes, .. }) =
            self.passed.peek().copied().filter(|first| first.0.at < end)?;
        self.passed.pop();
        Some((to, Stamped { stamp: at, from, bytes }, stamp))
    }

    /// Whether a frame waits.
    pub(super) fn holds_any(&self) -> bool {
        !(self.entering.is_empty() && self.passed.is_empty())
    }
}

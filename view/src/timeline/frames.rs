//! Frames of a phase: a slice at either port, an arrow between them, and what waits for each port.

use super::events::{Events, Place};
use super::lanes::{Lane, Seen};
use node::control::PhaseReport;
use node::trace::{FrameTrace, is_kept};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Write};
use topology::{Cluster, LinkClass, Picos, RankId};

/// Events that a frame takes: two slices, and both ends of an arrow.
const EVENTS_OF_FRAME: u64 = 4;

/// A phase that is drawn.
pub(super) struct Drawn<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) name: &'a str,
    /// When it begins in the timeline.
    pub(super) start: Picos,
    pub(super) reports: &'a [PhaseReport],
    /// One frame in so many is shown, and every so many changes of a queue.
    pub(super) every: u32,
}

/// Events that all frames of `reports` would take.
pub(super) fn events_of(reports: &[PhaseReport]) -> u64 {
    let frames: usize = reports.iter().map(|report| report.trace.sent.len()).sum();
    let waited = |frame: &&FrameTrace| frame.start > frame.ready;
    let ports = reports.iter().flat_map(|report| [&report.trace.sent, &report.trace.received]);
    let changes: usize = ports.map(|frames| frames.iter().filter(waited).count()).sum();
    frames as u64 * EVENTS_OF_FRAME + changes as u64
}

impl Drawn<'_> {
    fn at(&self, time: Picos) -> Picos {
        self.start.saturating_add(time)
    }

    /// Slices at ports and arrows between them. Of a frame that was lost there is what was sent.
    pub(super) fn frames<W: Write>(&self, events: &mut Events<W>, seen: &mut Seen) -> io::Result<()> {
        let mut under_way = BTreeMap::new();
        for (me, report) in self.cluster.ranks().zip(self.reports) {
            for frame in self.shown(me, &report.trace.sent) {
                let lane = Lane::send(self.cluster.link_class(me, frame.peer));
                if events.room() < EVENTS_OF_FRAME {
                    events.leave_out(EVENTS_OF_FRAME);
                    continue;
                }
                let place = seen.lane(events, lane, me.0)?;
                let name = if frame.bytes > 0 { "to" } else { "last mark to" };
                self.frame(events, (place, &format!("{name} {}", frame.peer.0)), frame)?;
                under_way.insert((me, frame.peer, frame.sequence), (place, frame.start));
            }
        }
        for (me, report) in self.cluster.ranks().zip(self.reports) {
            for frame in self.shown(me, &report.trace.received) {
                // One whose sending had no room is not shown here either.
                let Some(left) = under_way.remove(&(frame.peer, me, frame.sequence)) else { continue };
                let place =
                    seen.lane(events, Lane::receive(self.cluster.link_class(me, frame.peer)), me.0)?;
                let name = if frame.bytes > 0 { "from" } else { "last mark from" };
                self.frame(events, (place, &format!("{name} {}", frame.peer.0)), frame)?;
                if frame.bytes > 0 {
                    events.arrow((left.0, self.at(left.1)), (place, self.at(frame.start)))?;
                }
            }
        }
        Ok(())
    }

    fn shown<'a>(&'a self, me: RankId, frames: &'a [FrameTrace]) -> impl Iterator<Item = &'a FrameTrace> {
        frames.iter().filter(move |frame| is_kept(self.every, me, frame.peer, frame.sequence))
    }

    fn frame<W: Write>(
        &self,
        events: &mut Events<W>,
        (place, name): (Place, &str),
        frame: &FrameTrace,
    ) -> io::Result<()> {
        let waited_us = frame.start.saturating_sub(frame.ready).as_micros_f64();
        let args = json!({
            "phase": self.name, "bytes": frame.bytes, "number": frame.sequence, "waited_us": waited_us,
        });
        events.slice(place, (name, "frame"), (self.at(frame.start), self.at(frame.end)), &args)
    }

    /// Bytes that wait for each port, by all frames that were kept, shown or not.
    pub(super) fn queues<W: Write>(&self, events: &mut Events<W>) -> io::Result<()> {
        for (me, report) in self.cluster.ranks().zip(self.reports) {
            for link in LinkClass::ALL {
                let of_link = |frame: &&FrameTrace| self.cluster.link_class(me, frame.peer) == link;
                let [sending, receiving] = match link {
                    LinkClass::ScaleUp => ["send queue scale-up", "receive queue scale-up"],
                    LinkClass::ScaleOut => ["send queue scale-out", "receive queue scale-out"],
                };
                for (name, frames) in [(sending, &report.trace.sent), (receiving, &report.trace.received)] {
                    self.queue(events, (me.0, name), frames.iter().filter(of_link))?;
                }
            }
        }
        Ok(())
    }

    fn queue<'a, W: Write>(
        &self,
        events: &mut Events<W>,
        (process, name): (u32, &str),
        frames: impl Iterator<Item = &'a FrameTrace>,
    ) -> io::Result<()> {
        let mut changes: BTreeMap<Picos, (u64, u64)> = BTreeMap::new();
        for frame in frames.filter(|frame| frame.start > frame.ready && frame.bytes > 0) {
            changes.entry(frame.ready).or_default().0 += frame.bytes;
            changes.entry(frame.start).or_default().1 += frame.bytes;
        }
        let (mut waiting, last) = (0, changes.len().saturating_sub(1));
        for (number, (at, (more, less))) in changes.into_iter().enumerate() {
            waiting = waiting + more - less;
            if number == last || number.is_multiple_of(self.every as usize) {
                events.counter(process, (name, "bytes"), self.at(at), waiting)?;
            }
        }
        Ok(())
    }
}

//! Who is alive: beats of nodes, and how late the coordinator itself is.
//!
//! A node that isn't heard is first suspected, then lost. The coordinator looks at its clock four times a beat; where it comes late to that, it
//! was kept from running itself and has heard nobody meanwhile: that time is taken off every node's silence.

use super::limits::Limits;
use super::members::Members;
use node::control::NodeId;

/// The coordinator's own beat.
#[derive(Debug)]
pub(super) struct Pulse {
    /// 0 for none.
    beat_ns: u64,
    suspected_ns: u64,
    lost_ns: u64,
    due_ns: u64,
    /// Looks so far.
    looks: u64,
}

/// Looks at the clock in the time of a beat: a node is missed as much sooner.
const LOOKS_OF_BEAT: u64 = 4;

/// What a look at the clock has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Silent {
    /// Whether the coordinator is to beat.
    pub(super) beats: bool,
    /// Nodes that are suspected from now on, and for how long they have been silent, ns.
    pub(super) suspected: Vec<(NodeId, u64)>,
    /// Nodes that are lost, and for how long they have been silent, ns.
    pub(super) lost: Vec<(NodeId, u64)>,
}

impl Pulse {
    pub(super) fn new(now_ns: u64, limits: &Limits) -> Self {
        let beat_ns = u64::from(limits.beat_ms) * 1_000_000;
        let [suspected_ns, lost_ns] =
            [limits.suspected_beats, limits.lost_beats].map(|beats| beat_ns * u64::from(beats));
        Self { beat_ns, suspected_ns, lost_ns, due_ns: now_ns + beat_ns / LOOKS_OF_BEAT, looks: 0 }
    }

    /// When the next look is due.
    pub(super) fn due_ns(&self, members: &Members) -> Option<u64> {
        (self.beat_ns > 0 && members.len() > 0).then_some(self.due_ns)
    }

    /// Input: the first node has joined; before it nobody looked.
    pub(super) fn start(&mut self, now_ns: u64) {
        self.due_ns = now_ns + self.beat_ns / LOOKS_OF_BEAT;
    }

    /// Looks who is silent, once it is due.
    pub(super) fn look(&mut self, now_ns: u64, members: &mut Members) -> Option<Silent> {
        if self.due_ns(members).is_none_or(|due| due > now_ns) {
            return None;
        }
        let late_ns = now_ns - self.due_ns;
        self.due_ns = now_ns + self.beat_ns / LOOKS_OF_BEAT;
        let mut silent = Silent { beats: self.looks.is_multiple_of(LOOKS_OF_BEAT), ..Silent::default() };
        self.looks += 1;
        for (node, member) in members.iter_mut() {
            member.heard_ns = member.heard_ns.saturating_add(late_ns).min(now_ns);
            let silence_ns = now_ns - member.heard_ns;
            // At the next look it would be too long.
            if silence_ns + self.beat_ns / LOOKS_OF_BEAT >= self.lost_ns {
                silent.lost.push((node, silence_ns));
            } else if silence_ns >= self.suspected_ns && !member.suspected {
                member.suspected = true;
                silent.suspected.push((node, silence_ns));
            }
        }
        Some(silent)
    }
}

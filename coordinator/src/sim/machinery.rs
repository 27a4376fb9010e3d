//! The coordinator's machine in memory, with a clock that stands still but while a lost rank is missed.

use crate::machine::{Coordinator, Limits};
use node::control::{FromNode, Machine, NodeId};

/// The machine and its clock. Time stands still for it: between two stops none passes, and within a stop each seat has its own. Only what
/// a lost rank takes to be found lets time pass.
#[derive(Debug)]
pub(super) struct Machinery {
    pub(super) machine: Coordinator,
    pub(super) now_ns: u64,
    /// After which a rank that says nothing is lost.
    silence_ns: u64,
}

impl Machinery {
    pub(super) fn new() -> Self {
        let usual = Limits::default();
        let silence_ns = u64::from(usual.beat_ms) * u64::from(usual.lost_beats) * 1_000_000;
        let (lead_ns, lead_per_rank_ns) = (0, 0);
        let limits = Limits { beat_ms: 0, slack_ns: u64::MAX, lead_ns, lead_per_rank_ns, ..usual };
        Self { machine: Coordinator::new(0, 0, "", limits), now_ns: 0, silence_ns }
    }

    pub(super) fn say(&mut self, node: NodeId, message: FromNode) {
        self.machine.handle_message(self.now_ns, node, message);
    }

    /// The silence of nodes is long enough: they are lost, and started again.
    pub(super) fn lose(&mut self, lost: &[NodeId], reason: &str) {
        self.now_ns += self.silence_ns;
        let mut members = self.machine.members();
        members.retain(|(node, _)| lost.contains(node));
        for node in lost {
            self.machine.handle_lost(self.now_ns, *node, reason);
        }
        for (_, member) in members {
            let home = Machine { id: String::new(), cores: 1 };
            let joined =
                self.machine.handle_register(self.now_ns, &member.name, ([0, 0, 0, 0], 0).into(), home);
            debug_assert!(joined.is_ok(), "its place is free");
        }
    }

    /// A node complains of the link with another, and nobody is lost who explains it.
    pub(super) fn complain(&mut self, node: NodeId, peer: NodeId, run: u64, error: String) {
        self.say(node, FromNode::Failed { run, error, peer: Some(peer) });
        if let Some(until_ns) = self.machine.poll_timeout() {
            self.now_ns = until_ns.max(self.now_ns);
            self.machine.handle_timeout(self.now_ns);
        }
    }
}

//! Nodes as a swarm has them: a name, a process that may be gone or frozen, and messages on their way both ways.

use node::control::{FromNode, NodeId, ToNode};
use std::collections::VecDeque;

/// A place where a process runs, or ran.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) process: Process,
}

#[derive(Debug)]
pub(super) enum Process {
    /// Nobody; somebody starts it at this time, ns.
    Gone { back_ns: u64 },
    /// It wants to register, at this time.
    Knocking { at_ns: u64 },
    /// It has registered; the coordinator may think otherwise.
    Member(Member),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: NodeId,
    /// Until when it does nothing.
    pub(super) frozen_ns: u64,
    pub(super) inbox: VecDeque<ToNode>,
    pub(super) outbox: VecDeque<FromNode>,
}

impl Place {
    pub(super) fn member(&self) -> Option<&Member> {
        if let Process::Member(member) = &self.process { Some(member) } else { None }
    }

    pub(super) fn member_mut(&mut self) -> Option<&mut Member> {
        if let Process::Member(member) = &mut self.process { Some(member) } else { None }
    }
}

impl Member {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, frozen_ns: 0, inbox: VecDeque::new(), outbox: VecDeque::new() }
    }

    pub(super) fn is_awake(&self, now_ns: u64) -> bool {
        self.frozen_ns <= now_ns
    }
}

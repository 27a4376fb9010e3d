//! The coordinator as a state machine that performs no I/O and reads no clock: who is a member, and which step is driven where.
//!
//! Methods by role. Commands: [`Coordinator::open`], [`Coordinator::step`], [`Coordinator::close`], [`Coordinator::shutdown`]. Inputs,
//! all with the time in nanoseconds of CLOCK_MONOTONIC: [`Coordinator::handle_register`], [`Coordinator::handle_message`],
//! [`Coordinator::handle_lost`], [`Coordinator::handle_timeout`]. Outputs, to poll in this order after any of them:
//! [`Coordinator::poll_transmit`], [`Coordinator::poll_event`], [`Coordinator::poll_session`], [`Coordinator::poll_timeout`].
//!
//! A run: Configure, all Configured; for each step that is asked for Prepare, all Prepared; Begin of each stop of its program, closed by all
//! of a stage before what follows it there; all Finished. Every wait but that for the next step has a limit. A seat that is lost ends a
//! segment of the run, and another begins where it was, under a new epoch (see `course`); anything else that goes wrong ends the run on
//! every seat.

mod active;
mod blame;
mod caches;
mod clock;
mod course;
mod event;
mod limits;
mod members;
mod pulse;
mod recovery;
mod reported;
mod schedule;
mod seating;
mod session;
mod slow;
mod task;

pub use event::{CoordinatorEvent, SessionEvent};
pub use limits::Limits;
pub use members::{JoinError, Member, NAME_BYTES_MAX, NODES_MAX};

use crate::error::RunError;
use active::{Active, Next};
use clock::NodeClock;
use members::{Members, Said};
use node::control::{FromNode, Losses, Machine, NodeId, ToNode, WAITS_MAX};
use pulse::Pulse;
use recovery::{Blaming, Forming};
use seating::Seating;
use slow::{Slow, SlowNode};
use std::collections::VecDeque;
use std::net::SocketAddr;
use topology::Cluster;

/// Pings to a node of another machine while it prepares a step, one after the other: the fastest answer tells most.
const PINGS: u32 = 4;

/// A link that has lost so many packets, and one in so many of those that it sent, is told of.
const LOST_PACKETS_MIN: u64 = 50;
const LOST_PACKETS_SHARE: u64 = 100;

#[derive(Debug)]
enum State {
    Idle,
    /// Waits for nodes.
    Forming(Forming),
    Active(Box<Active>),
    /// Aborted; listens a little longer for a better explanation.
    Blaming(Box<Blaming>),
}

/// The state machine.
#[derive(Debug)]
pub struct Coordinator {
    cluster_id: u64,
    machine_id: String,
    limits: Limits,
    members: Members,
    seating: Seating,
    pulse: Pulse,
    slow: Slow,
    changed_ns: u64,
    last_run: u64,
    last_segment: u64,
    ranks_of_last: u32,
    state: State,
    closing: bool,
    transmits: VecDeque<(NodeId, ToNode)>,
    events: VecDeque<CoordinatorEvent>,
    session_events: VecDeque<(u64, SessionEvent)>,
}

impl Coordinator {
    /// A coordinator without nodes, on the machine `machine_id` ([`Machine`]). `cluster_id` is on every frame of its runs.
    #[must_use]
    pub fn new(now_ns: u64, cluster_id: u64, machine_id: &str, limits: Limits) -> Self {
        Self {
            cluster_id,
            machine_id: machine_id.to_owned(),
            pulse: Pulse::new(now_ns, &limits),
            limits,
            members: Members::default(),
            seating: Seating::default(),
            slow: Slow::default(),
            changed_ns: now_ns,
            last_run: 0,
            last_segment: 0,
            ranks_of_last: 0,
            state: State::Idle,
            closing: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            session_events: VecDeque::new(),
        }
    }

    /// Number of members.
    #[must_use]
    pub fn num_members(&self) -> u32 {
        self.members.len()
    }

    /// Whether a node could go and the run that was opened last still have its seats.
    #[must_use]
    pub fn has_spare(&self) -> bool {
        let able = self.members.seating().into_iter().filter(|(_, member)| member.can_sit(false)).count();
        able > self.ranks_of_last as usize
    }

    /// Whether a node of that name is there and heard, and how many are.
    #[must_use]
    pub fn health_of(&self, name: &str) -> (bool, u32) {
        let heard = self.members.seating().into_iter().filter(|(_, member)| !member.suspected);
        let there = heard.clone().any(|(_, member)| member.name == name);
        (there, u32::try_from(heard.count()).unwrap_or(u32::MAX))
    }

    /// Members in order of seating.
    #[must_use]
    pub fn members(&self) -> Vec<(NodeId, Member)> {
        self.members.seating().into_iter().map(|(node, member)| (node, member.clone())).collect()
    }

    /// The ranks of the run under way, and the node of each; `None` while it has no seats.
    #[must_use]
    pub fn seated(&self) -> Option<(&Cluster, Vec<String>)> {
        match &self.state {
            State::Active(active) => Some((active.cluster(), active.names())),
            _ => None,
        }
    }

    /// Cores of all machines that nodes run on.
    #[must_use]
    pub fn num_cores(&self) -> u32 {
        self.members.cores()
    }

    /// Changes of membership so far.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.members.epoch()
    }

    /// Command: end the run under way, take nobody in any more, and tell all nodes to leave where they should; others look for a
    /// coordinator again.
    pub fn shutdown(&mut self, leave: bool) {
        self.closing = true;
        self.end(RunError::Closed);
        for (node, _) in self.members.seating().into_iter().filter(|_| leave) {
            self.transmits.push_back((node, ToNode::Shutdown));
        }
    }

    /// Input: a node says its name, address and machine. The reply is its id, and a welcome to transmit.
    ///
    /// # Errors
    /// [`JoinError`]: the connection should be closed with it.
    pub fn handle_register(
        &mut self,
        now_ns: u64,
        name: &str,
        address: SocketAddr,
        machine: Machine,
    ) -> Result<NodeId, JoinError> {
        if self.closing {
            return Err(JoinError::Closing);
        }
        let clock = NodeClock::new(machine.id != self.machine_id);
        let node = self.members.join(now_ns, name, address, machine, clock)?;
        if self.members.len() == 1 {
            self.pulse.start(now_ns);
        }
        self.changed_ns = now_ns;
        self.transmits.push_back((node, ToNode::Welcome { node, beat_ms: self.limits.beat_ms }));
        self.transmits.push_back((node, ToNode::Ping { sent_ns: now_ns }));
        self.events.push_back(CoordinatorEvent::NodeJoined {
            node,
            name: name.to_owned(),
            members: self.members.len(),
            epoch: self.epoch(),
        });
        self.try_start(now_ns);
        Ok(node)
    }

    /// Input: a message of a node. What belongs to another run than the one under way, or comes from no member, is ignored.
    pub fn handle_message(&mut self, now_ns: u64, node: NodeId, message: FromNode) {
        let Some(member) = self.members.get_mut(node) else {
            return;
        };
        member.heard_ns = now_ns;
        if std::mem::take(&mut member.suspected) {
            let name = member.name.clone();
            self.events.push_back(CoordinatorEvent::NodeHeard { name });
            self.try_start(now_ns);
        }
        let Some(member) = self.members.get_mut(node) else { return };
        match message {
            FromNode::Beat => {}
            FromNode::Waits(standing) if standing.waits_for.len() > WAITS_MAX => {
                self.breach(node, format!("it waits for a list of {} ranks", standing.waits_for.len()));
            }
            FromNode::Waits(standing) => {
                let losses = standing.losses.map(|losses| (standing.run, losses));
                member.said = Some(Said { at_ns: now_ns, standing });
                self.tell_lossy(node, losses);
            }
            FromNode::Pong { sent_ns, node_ns } => {
                let agrees = member.clock.handle_answer(sent_ns, node_ns, now_ns);
                if member.pings_left > 0 {
                    member.pings_left -= 1;
                    self.transmits.push_back((node, ToNode::Ping { sent_ns: now_ns }));
                }
                let seated = matches!(&self.state, State::Active(active) if active.label(node).is_some());
                if !agrees && seated {
                    let node = member.name.clone();
                    self.end(RunError::Clock { node });
                }
            }
            FromNode::Register { .. } => self.breach(node, "it registered twice".to_owned()),
            FromNode::AskHealth => self.breach(node, "it asked for what others may ask".to_owned()),
            FromNode::Failed { run, error, peer } => match &self.state {
                State::Active(active) if run == 0 || run == active.segment => {
                    if let Some(node) = active.label(node) {
                        self.complain(now_ns, RunError::Failed { node, error: one_line(&error) }, peer);
                    }
                }
                // While all leave, links between nodes end in whatever order.
                _ if run == 0 && !self.closing => {
                    let name = member.name.clone();
                    self.events.push_back(CoordinatorEvent::NodeComplained { name, error: one_line(&error) });
                }
                _ => {}
            },
            FromNode::Configured { run }
            | FromNode::Prepared { run, .. }
            | FromNode::Closed { run, .. }
            | FromNode::Finished { run, .. } => {
                if let State::Active(active) = &mut self.state
                    && active.segment == run
                {
                    match active.handle(now_ns, node, message) {
                        Ok(next) => self.advance(now_ns, next),
                        Err(what) => self.breach(node, what),
                    }
                }
            }
        }
    }

    /// Input: a node's connection ended.
    pub fn handle_lost(&mut self, now_ns: u64, node: NodeId, reason: &str) {
        let Some(member) = self.members.leave(node) else {
            return;
        };
        self.changed_ns = now_ns;
        self.tell_left(node, member.name, one_line(reason));
        self.lose_seat(now_ns, node, reason);
    }

    /// Input: it is [`Self::poll_timeout`] or later.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        if self.poll_timeout().is_none_or(|at| at > now_ns) {
            return;
        }
        self.look(now_ns);
        if self.state_timeout().is_none_or(|at| at > now_ns) {
            return;
        }
        match &self.state {
            State::Idle => {}
            State::Forming(forming) => {
                let needed = forming.course.task.num_ranks();
                let error = match &forming.lost {
                    None => RunError::TooFewNodes { there: self.members.len(), needed },
                    Some((lost, _)) => RunError::Unseated {
                        lost: Box::new(lost.clone()),
                        limit_s: self.limits.return_ns / limits::SECOND_NS,
                        ranks: self.seating.give_up(needed, &self.members),
                    },
                };
                self.end(error);
            }
            State::Active(active) => {
                let (nodes, during, limit_s) = (active.owing(), active.during(None), active.limit_s());
                let why = active.why(now_ns, &self.members);
                self.end(RunError::Timeout { nodes, during, limit_s, why });
            }
            State::Blaming(_) => self.give_up_blaming(now_ns),
        }
    }

    /// Looks who is silent, and beats.
    fn look(&mut self, now_ns: u64) {
        let Some(silent) = self.pulse.look(now_ns, &mut self.members) else { return };
        for (node, silence_ns) in silent.suspected {
            if let Some(member) = self.members.get(node) {
                let name = member.name.clone();
                self.events.push_back(CoordinatorEvent::NodeSuspected { name, silence_ns });
            }
        }
        for (node, silence_ns) in silent.lost {
            let silent_s = silence_ns as f64 / 1e9;
            self.handle_lost(now_ns, node, &format!("it was silent for {silent_s:.1} s"));
        }
        if silent.beats {
            for (node, _) in self.members.seating() {
                self.transmits.push_back((node, ToNode::Beat));
            }
        }
    }

    /// Output: the next message, and for whom. After [`ToNode::Shutdown`] the node's connection should be closed.
    pub fn poll_transmit(&mut self) -> Option<(NodeId, ToNode)> {
        self.transmits.pop_front()
    }

    /// Output: the next piece of news.
    pub fn poll_event(&mut self) -> Option<CoordinatorEvent> {
        self.events.pop_front()
    }

    /// Output: when [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.state_timeout().into_iter().chain(self.pulse.due_ns(&self.members)).min()
    }

    fn state_timeout(&self) -> Option<u64> {
        match &self.state {
            State::Idle => None,
            State::Forming(forming) => Some(forming.deadline_ns),
            State::Active(active) => active.deadline_ns(),
            State::Blaming(blaming) => Some(blaming.until_ns),
        }
    }

    /// Sends commands of the active run. Instants in them become instants of each node's own clock, and a clock that isn't the
    /// coordinator's is read again while its node has little to do.
    fn tell(&mut self, now_ns: u64, messages: Vec<(NodeId, ToNode)>) {
        let mut error_ns = 0;
        for (node, mut message) in messages {
            if let Some(member) = self.members.get_mut(node) {
                if member.clock.is_foreign() {
                    member.pings_left = if matches!(message, ToNode::Prepare { .. }) { PINGS - 1 } else { 0 };
                    self.transmits.push_back((node, ToNode::Ping { sent_ns: now_ns }));
                }
                if let Some(start_ns) = message.start_at_ns_mut() {
                    let (shown_ns, off_ns) = member.clock.at(now_ns, *start_ns);
                    *start_ns = shown_ns;
                    error_ns = off_ns.max(error_ns);
                }
            }
            self.transmits.push_back((node, message));
        }
        if let State::Active(active) = &mut self.state {
            active.set_clock_error(now_ns, error_ns);
        }
    }

    fn advance(&mut self, now_ns: u64, next: Next) {
        let State::Active(active) = &self.state else {
            return;
        };
        let (run, done) = (active.run(), active.steps());
        match next {
            Next::Wait => {}
            Next::Tell(messages) => self.tell(now_ns, messages),
            Next::Opened => self.session_events.push_back((run, SessionEvent::Opened)),
            Next::Stepped(record) => {
                let (names, dilation) = (active.names(), active.compute_dilation());
                for node in self.slow.step(&names, &record.phases, dilation) {
                    self.tell_slow(node);
                }
                self.events.push_back(CoordinatorEvent::StepDone { run, done });
                self.session_events.push_back((run, SessionEvent::Stepped(record)));
                self.release(now_ns);
            }
        }
    }

    /// A link that loses many packets is told of once in a segment.
    fn tell_lossy(&mut self, node: NodeId, losses: Option<(u64, Losses)>) {
        let (State::Active(active), Some((segment, Losses { to, lost, sent }))) = (&self.state, losses)
        else {
            return;
        };
        let many = lost >= LOST_PACKETS_MIN && lost.saturating_mul(LOST_PACKETS_SHARE) >= sent;
        if !many || segment != active.segment {
            return;
        }
        let (Some(from), Some(to)) = (active.label(node), active.label_of(to)) else { return };
        if let Some(member) = self.members.get_mut(node)
            && member.lossy_in.replace(segment) != Some(segment)
        {
            self.events.push_back(CoordinatorEvent::LinkLossy { from, to, lost, sent });
        }
    }

    /// A slow node is told of once; where that is wanted, it is left out as soon as another can take its seat.
    fn tell_slow(&mut self, SlowNode { name, steps, percent }: SlowNode) {
        let due = self.limits.slow_steps > 0 && steps >= self.limits.slow_steps && self.has_spare();
        let member = self.members.by_name(&name).and_then(|node| self.members.get_mut(node));
        let left_out = due && member.is_some_and(|member| !std::mem::replace(&mut member.draining, true));
        if steps == slow::TOLD_AFTER || left_out {
            self.events.push_back(CoordinatorEvent::NodeSlow { name, steps, percent, left_out });
        }
    }

    fn breach(&mut self, node: NodeId, what: String) {
        if let State::Active(active) = &self.state
            && let Some(label) = active.label(node)
        {
            let during = active.during(Some(node));
            self.end(RunError::Protocol { node: label, during, what });
        }
    }

    /// Ends whatever run there is.
    fn end(&mut self, error: RunError) {
        if let State::Active(active) = &self.state {
            let (segment, nodes) = (active.segment, active.nodes().collect::<Vec<_>>());
            self.abort(segment, &nodes);
        }
        let run = self.under_way();
        self.state = State::Idle;
        self.session_events.extend(run.map(|run| (run, SessionEvent::Failed(error))));
        self.release(self.changed_ns);
    }

    fn tell_left(&mut self, node: NodeId, name: String, reason: String) {
        let (members, epoch) = (self.members.len(), self.epoch());
        self.events.push_back(CoordinatorEvent::NodeLeft { node, name, reason, members, epoch });
    }
}

/// What a node says must not break the one line of an error, nor fill the screen.
fn one_line(text: &str) -> String {
    const CHARS_MAX: usize = 500;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;

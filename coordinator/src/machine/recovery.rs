//! What becomes of a run that can't go on as it sits: it waits for who is to blame, takes new seats, or ends.

use super::active::Active;
use super::course::Course;
use super::event::CoordinatorEvent;
use super::seating::Seating;
use super::{Coordinator, State, one_line};
use crate::error::RunError;
use node::control::{NodeId, Occupant, SeatPlan, ToNode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A run between two segments, or before its first.
#[derive(Debug)]
pub(super) struct Forming {
    pub(super) course: Box<Course>,
    pub(super) deadline_ns: u64,
    /// What ended the last segment, and when.
    pub(super) lost: Option<(RunError, u64)>,
}

/// A run that was aborted after a node's complaint, and listens for the loss that explains it.
#[derive(Debug)]
pub(super) struct Blaming {
    course: Box<Course>,
    error: RunError,
    during: String,
    /// The node at the other end of the link that broke, if it was one.
    peer: Option<NodeId>,
    seated: BTreeMap<NodeId, String>,
    pub(super) until_ns: u64,
}

impl Blaming {
    pub(super) fn run(&self) -> u64 {
        self.course.run
    }

    pub(super) fn course_mut(&mut self) -> &mut Course {
        &mut self.course
    }
}

impl Coordinator {
    /// Seats a run that waits for nodes, once they are there.
    pub(super) fn try_start(&mut self, now_ns: u64) {
        let State::Forming(forming) = &self.state else { return };
        let ranks = forming.course.task.num_ranks();
        let without = self.seating.choose(ranks, &self.members, false);
        // A run that has begun is finished, if need be by nodes that are to leave after it.
        let with = |seating: &mut Seating| seating.choose(ranks, &self.members, true);
        let Some(nodes) = without.or_else(|| forming.lost.as_ref().and_then(|_| with(&mut self.seating)))
        else {
            return;
        };
        let State::Forming(Forming { course, lost, .. }) = std::mem::replace(&mut self.state, State::Idle)
        else {
            unreachable!("it was just looked at")
        };
        let seat = |node: NodeId| {
            let member = self.members.get(node).expect("a member was chosen");
            Occupant { node, name: member.name.clone(), address: member.address }
        };
        let seats = SeatPlan { seats: nodes.into_iter().map(seat).collect() };
        let epoch = self.members.epoch();
        self.last_segment += 1;
        let (run, numbers) = (course.run, (self.cluster_id, self.last_segment, epoch));
        let (active, messages) = Active::new(now_ns, numbers, *course, Arc::new(seats), self.limits);
        self.events.push_back(match lost {
            None if !active.course().is_open() => CoordinatorEvent::RunStarted { run, epoch, ranks },
            lost => {
                let after_ns = lost.map_or(0, |(_, lost_ns)| now_ns.saturating_sub(lost_ns));
                let done = active.steps();
                CoordinatorEvent::RunResumed { run, epoch, done, after_ns }
            }
        });
        self.transmits.extend(messages);
        self.state = State::Active(Box::new(active));
    }

    /// A node is gone: the run can't go on without its seat; a complaint under consideration is explained by its loss.
    pub(super) fn lose_seat(&mut self, now_ns: u64, node: NodeId, reason: &str) {
        let reason = one_line(reason);
        match &mut self.state {
            State::Active(active) => {
                let Some(label) = active.label(node) else { return };
                let during = active.during(Some(node));
                self.reform(now_ns, RunError::Lost { node: label, during, reason });
            }
            State::Blaming(blaming) => {
                let Some(node) = blaming.seated.remove(&node) else { return };
                let during = std::mem::take(&mut blaming.during);
                self.reform(now_ns, RunError::Lost { node, during, reason });
            }
            State::Idle | State::Forming(_) => {}
        }
    }

    /// A seated node complains: aborts the run on every seat, and waits a while for the loss of another that explains it.
    pub(super) fn complain(&mut self, now_ns: u64, error: RunError, peer: Option<NodeId>) {
        let State::Active(active) = std::mem::replace(&mut self.state, State::Idle) else { return };
        let (segment, during) = (active.segment, active.during(None));
        let seated: BTreeMap<NodeId, String> =
            active.nodes().filter_map(|node| Some((node, active.label(node)?))).collect();
        self.abort(segment, seated.keys());
        let mut limit_ns = self.limits.blame_ns;
        if peer.is_some() {
            let beats = u64::from(self.limits.beat_ms) * u64::from(self.limits.lost_beats + 1);
            limit_ns = limit_ns.saturating_add(beats * 1_000_000);
        }
        let until_ns = now_ns.saturating_add(limit_ns);
        let course = Box::new(active.interrupted(now_ns));
        self.state = State::Blaming(Box::new(Blaming { course, error, during, peer, seated, until_ns }));
        if let Some(left) = peer.filter(|peer| !self.members.contains(*peer)) {
            // It left before anybody complained.
            self.lose_seat(now_ns, left, "its connection ended");
        }
    }

    /// Nobody was lost who explains the complaint. A link between two live nodes is made again; anything else ends the run.
    pub(super) fn give_up_blaming(&mut self, now_ns: u64) {
        let State::Blaming(blaming) = &self.state else { return };
        let error = blaming.error.clone();
        if blaming.peer.is_some() { self.reform(now_ns, error) } else { self.end(error) }
    }

    /// Ends the segment under way: its run waits for seats, or ends with `error` where it can't go on.
    fn reform(&mut self, now_ns: u64, error: RunError) {
        let mut course = match std::mem::replace(&mut self.state, State::Idle) {
            State::Active(active) => {
                let nodes: Vec<NodeId> = active.nodes().collect();
                self.abort(active.segment, &nodes);
                Box::new(active.interrupted(now_ns))
            }
            // Aborted already.
            State::Blaming(blaming) => blaming.course,
            other => {
                self.state = other;
                return;
            }
        };
        let run = course.run;
        course.interrupt();
        if course.replays() > self.limits.replays_max || !course.can_go_on() || self.limits.return_ns == 0 {
            self.session_events.push_back((run, super::SessionEvent::Failed(error)));
            return;
        }
        self.events.push_back(CoordinatorEvent::RunInterrupted { run, reason: error.to_string() });
        let deadline_ns = now_ns.saturating_add(self.limits.return_ns);
        self.state = State::Forming(Forming { course, deadline_ns, lost: Some((error, now_ns)) });
        self.try_start(now_ns);
    }

    /// Command: empty a node. It takes no seat from now on, and leaves once it has none.
    ///
    /// # Errors
    /// [`RunError::NoNode`].
    pub fn drain(&mut self, now_ns: u64, name: &str) -> Result<(), RunError> {
        let no_node = || RunError::NoNode { name: name.to_owned() };
        let node = self.members.by_name(name).ok_or_else(no_node)?;
        self.members.get_mut(node).ok_or_else(no_node)?.draining = true;
        self.release(now_ns);
        Ok(())
    }

    /// Lets nodes go that are to leave: those without a seat at once, others between two steps if somebody can take their seats.
    pub(super) fn release(&mut self, now_ns: u64) {
        let draining = |machine: &Self| -> Vec<NodeId> {
            let all = machine.members.seating().into_iter();
            all.filter(|(_, member)| member.draining).map(|(node, _)| node).collect()
        };
        if let State::Active(active) = &self.state
            && active.pauses()
            && draining(self).iter().any(|node| active.label(*node).is_some())
            && self.seating.clone().choose(active.num_ranks(), &self.members, false).is_some()
            && active.course().can_go_on()
            && let State::Active(active) = std::mem::replace(&mut self.state, State::Idle)
        {
            let nodes: Vec<NodeId> = active.nodes().collect();
            self.abort(active.segment, &nodes);
            let forming =
                Forming { course: Box::new(active.into_course()), deadline_ns: u64::MAX, lost: None };
            self.state = State::Forming(forming);
            self.try_start(now_ns);
        }
        for node in draining(self) {
            let seated = matches!(&self.state, State::Active(active) if active.label(node).is_some());
            if !seated {
                self.transmits.push_back((node, ToNode::Shutdown));
            }
        }
    }

    /// Tells seats to forget a segment.
    pub(super) fn abort<'a>(&mut self, run: u64, nodes: impl IntoIterator<Item = &'a NodeId>) {
        let there = nodes.into_iter().filter(|node| self.members.contains(**node));
        self.transmits.extend(there.map(|node| (*node, ToNode::Abort { run })));
    }
}

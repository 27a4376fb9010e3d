//! The world of one seed: its clock, its nodes, its seats, and what happens next.

use super::nodes::{Member, Place, Process};
use super::workload::Workload;
use super::{Survived, Violation};
use crate::machine::{Coordinator, CoordinatorEvent, Limits, SessionEvent};
use crate::run::StepRecord;
use node::control::{FromNode, Machine, NodeId, ToNode};
use node::digest::token_digest;
use node::program::{Program, Stop};
use node::sim::SimCluster;
use rand::RngExt;
use std::sync::Arc;
use topology::RankId;

const MS: u64 = 1_000_000;
/// Messages that a link of the coordinator holds for a node, and some that it takes to notice.
const INBOX_MAX: usize = 128;
/// Events by which every run is through.
const EVENTS_MAX: u64 = 400_000;
/// Faults of one run; then it is left alone.
const FAULTS_MAX: u32 = 12;

/// Seats of the segment under way.
struct Segment {
    number: u64,
    /// By rank.
    nodes: Vec<NodeId>,
    seats: SimCluster,
    /// Stops that are open on some ranks, and on how many.
    begun: Vec<(Stop, usize)>,
}

pub(super) struct World<D> {
    dice: D,
    workload: Workload,
    machine: Coordinator,
    now_ns: u64,
    beat_ns: u64,
    places: Vec<Place>,
    segment: Option<Segment>,
    records: Vec<StepRecord>,
    survived: Survived,
    ended: Option<Violation>,
    /// Chance of a fault in an event.
    danger: f64,
}

impl<D: RngExt> World<D> {
    pub(super) fn new(mut dice: D, workload: Workload) -> Self {
        let ranks = workload.request.setup.cluster.num_ranks();
        let limits = Limits { slack_ns: u64::MAX, replays_max: FAULTS_MAX, ..Limits::default() };
        let spares = dice.random_range(0..=2);
        let danger = [0.002, 0.01, 0.05][dice.random_range(0..3)];
        let place = |number| Place {
            name: format!("n{number}"),
            process: Process::Knocking { at_ns: dice.random_range(0..100 * MS) },
        };
        Self {
            places: (0..ranks + spares).map(place).collect(),
            dice,
            workload,
            machine: Coordinator::new(0, 1, "m", limits),
            now_ns: 0,
            beat_ns: 250 * MS,
            segment: None,
            records: Vec::new(),
            survived: Survived::default(),
            ended: None,
            danger,
        }
    }

    pub(super) fn survived(&self) -> Survived {
        self.survived
    }

    /// Until all steps are done.
    pub(super) fn run(&mut self) -> Result<Vec<StepRecord>, Violation> {
        let run = self.machine.open(0, self.workload.request.clone()).map_err(Violation::Failed)?;
        while self.records.len() < self.workload.batches.len() {
            self.survived.events += 1;
            let (events, steps) = (self.survived.events, self.records.len() as u32);
            if events > EVENTS_MAX {
                return Err(Violation::Progress { steps, events });
            }
            self.happen();
            self.settle(run);
            if let Some(violation) = self.ended.take() {
                return Err(violation);
            }
        }
        Ok(std::mem::take(&mut self.records))
    }

    /// One thing happens.
    fn happen(&mut self) {
        if self.survived.faults < FAULTS_MAX && self.dice.random_bool(self.danger) {
            self.survived.faults += 1;
            return self.fault();
        }
        let now_ns = self.now_ns;
        let busy = |place: &&mut Place| {
            place.member().is_some_and(|member| {
                member.is_awake(now_ns) && !(member.inbox.is_empty() && member.outbox.is_empty())
            })
        };
        let count = self.places.iter_mut().filter(busy).count();
        if count == 0 || self.dice.random_bool(0.05) {
            return self.pass();
        }
        self.now_ns += self.dice.random_range(0..MS / 4);
        let chosen = self.dice.random_range(0..count);
        let reads = self.dice.random_bool(0.5);
        let Some(at) = (0..self.places.len()).filter(|&at| busy(&&mut self.places[at])).nth(chosen) else {
            return;
        };
        let Some(member) = self.places[at].member_mut() else { return };
        let node = member.node;
        let message = if reads || member.outbox.is_empty() { member.inbox.pop_front() } else { None };
        match message {
            Some(message) => self.obey(at, message),
            None => {
                let said = self.places[at].member_mut().and_then(|member| member.outbox.pop_front());
                if let Some(said) = said {
                    self.machine.handle_message(self.now_ns, node, said);
                }
            }
        }
    }

    /// Time passes: beats, timeouts, processes that start.
    fn pass(&mut self) {
        let due = self.machine.poll_timeout().unwrap_or(u64::MAX).min(self.beat_ns);
        self.now_ns = due.max(self.now_ns + 1);
        if self.now_ns >= self.beat_ns {
            self.beat_ns = self.now_ns + 250 * MS;
            let now_ns = self.now_ns;
            for member in self.places.iter_mut().filter_map(Place::member_mut) {
                if member.is_awake(now_ns) && !member.outbox.contains(&FromNode::Beat) {
                    // Beats have a thread of their own: they wait behind nothing.
                    member.outbox.push_front(FromNode::Beat);
                }
            }
        }
        // Heard before anybody is missed, as by the shell.
        for at in 0..self.places.len() {
            self.knock(at);
            let Some(member) = self.places[at].member_mut() else { continue };
            if member.outbox.front() == Some(&FromNode::Beat) {
                let node = member.node;
                member.outbox.pop_front();
                self.machine.handle_message(self.now_ns, node, FromNode::Beat);
            }
        }
        self.machine.handle_timeout(self.now_ns);
    }

    /// A process that is to start, starts; one that knocks is let in, or tries again.
    fn knock(&mut self, at: usize) {
        let (now_ns, place) = (self.now_ns, &mut self.places[at]);
        match place.process {
            Process::Gone { back_ns } if back_ns <= now_ns => {
                place.process = Process::Knocking { at_ns: now_ns }
            }
            Process::Knocking { at_ns } if at_ns <= now_ns => {
                let machine = Machine { id: "m".to_owned(), cores: 1 };
                let address = ([127, 0, 0, 1], 1).into();
                place.process = match self.machine.handle_register(now_ns, &place.name, address, machine) {
                    Ok(node) => Process::Member(Member::new(node)),
                    Err(_) => Process::Knocking { at_ns: now_ns + 200 * MS },
                };
            }
            _ => {}
        }
    }

    fn fault(&mut self) {
        let at = self.dice.random_range(0..self.places.len());
        let kind = self.dice.random_range(0..6);
        let back_ns = self.now_ns + self.dice.random_range(0..5_000) * MS;
        let frozen_ns = self.now_ns + self.dice.random_range(10..3_000) * MS;
        let Some(node) = self.places[at].member().map(|member| member.node) else { return };
        tracing::debug!(now_ns = self.now_ns, %node, kind, "fault");
        match kind {
            // Its connection closes with it, or it is missed after a while.
            0 | 1 => {
                self.places[at].process = Process::Gone { back_ns };
                if kind == 0 {
                    self.machine.handle_lost(self.now_ns, node, "it closed");
                }
            }
            2 | 3 => {
                if let Some(member) = self.places[at].member_mut() {
                    member.frozen_ns = frozen_ns;
                }
            }
            4 => {
                let Some(segment) = &self.segment else { return };
                let (run, peer) = (segment.number, segment.nodes.first().copied());
                let error = "the link broke".to_owned();
                self.machine.handle_message(self.now_ns, node, FromNode::Failed { run, error, peer });
            }
            _ => {
                let name = self.places[at].name.clone();
                // It is a member, or was one until just now.
                let _ = self.machine.drain(self.now_ns, &name);
            }
        }
    }

    /// Carries out what the machine says, until it says no more.
    fn settle(&mut self, run: u64) {
        loop {
            let mut moved = false;
            while let Some((node, message)) = self.machine.poll_transmit() {
                moved = true;
                self.post(node, message);
            }
            while let Some(event) = self.machine.poll_event() {
                tracing::debug!(now_ns = self.now_ns, ?event);
                match event {
                    CoordinatorEvent::RunInterrupted { .. } => self.survived.interruptions += 1,
                    // Its link is closed: a process that lives finds out, and comes back.
                    CoordinatorEvent::NodeLeft { node, .. } => {
                        let at_ns = self.now_ns + 200 * MS;
                        let of =
                            |place: &&mut Place| place.member().is_some_and(|member| member.node == node);
                        if let Some(place) = self.places.iter_mut().find(of) {
                            let awake_ns = place.member().map_or(0, |member| member.frozen_ns);
                            place.process = Process::Knocking { at_ns: at_ns.max(awake_ns) };
                        }
                    }
                    _ => {}
                }
            }
            while let Some((_, event)) = self.machine.poll_session() {
                moved = true;
                match event {
                    SessionEvent::Opened => {}
                    SessionEvent::Stepped(record) => self.records.push(*record),
                    SessionEvent::Failed(error) => {
                        self.ended = Some(Violation::Failed(error));
                        return;
                    }
                }
                let next = self.workload.batches.get(self.records.len());
                let asked = next.map(|batch| self.machine.step(self.now_ns, run, batch.clone()));
                if let Some(Err(error)) = asked {
                    self.ended = Some(Violation::Failed(error));
                    return;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn post(&mut self, node: NodeId, message: ToNode) {
        let of = |place: &&mut Place| place.member().is_some_and(|member| member.node == node);
        // To a process that is gone, packets go nowhere.
        let Some(place) = self.places.iter_mut().find(of) else { return };
        let name = place.name.clone();
        let Some(member) = place.member_mut() else { return };
        if matches!(message, ToNode::Beat | ToNode::Welcome { .. }) {
            return;
        }
        member.inbox.push_back(message);
        if member.inbox.len() > INBOX_MAX {
            self.ended = Some(Violation::Queue { node: name, waiting: member.inbox.len() });
        }
    }

    /// What a node does with a message.
    fn obey(&mut self, at: usize, message: ToNode) {
        let now_ns = self.now_ns;
        let mut answers = Vec::new();
        match message {
            ToNode::Configure { setup, seats, .. } => {
                let number = setup.run;
                // One that reads late of an earlier segment sits in none.
                if self.segment.as_ref().is_none_or(|segment| segment.number < number) {
                    // Stages are told their own part; in memory all are seated together.
                    let whole = matches!(setup.program, Program::Stack(_));
                    let setup = if whole { Arc::new(self.workload.request.setup.clone()) } else { setup };
                    match SimCluster::new(setup) {
                        Ok(seated) => {
                            let nodes = seats.seats.iter().map(|seat| seat.node).collect();
                            self.segment = Some(Segment { number, nodes, seats: seated, begun: Vec::new() });
                        }
                        Err(error) => self.ended = Some(Violation::Failed(error.into())),
                    }
                }
                answers.push(FromNode::Configured { run: number });
            }
            ToNode::Prepare { run, step, columns } => {
                if let Some((segment, rank)) = self.seat(at, run)
                    && let Err(error) = segment.seats.prepare(rank, step, columns)
                {
                    self.ended = Some(Violation::Failed(error.into()));
                }
                answers.push(FromNode::Prepared { run, step });
            }
            ToNode::Begin { run, step, stop, .. } => self.begin(at, (run, step), stop),
            ToNode::Ping { sent_ns } => answers.push(FromNode::Pong { sent_ns, node_ns: now_ns }),
            ToNode::Shutdown => {
                if let Some(node) = self.places[at].member().map(|member| member.node) {
                    self.machine.handle_lost(now_ns, node, "it left");
                }
                self.places[at].process = Process::Gone { back_ns: now_ns + 500 * MS };
            }
            ToNode::Welcome { .. } | ToNode::Beat | ToNode::Abort { .. } | ToNode::Health { .. } => {}
        }
        if let Some(member) = self.places[at].member_mut() {
            member.outbox.extend(answers);
        }
    }

    /// The segment and the rank of a node in it, if that is the one meant.
    fn seat(&mut self, at: usize, run: u64) -> Option<(&mut Segment, RankId)> {
        let node = self.places[at].member()?.node;
        let segment = self.segment.as_mut().filter(|segment| segment.number == run)?;
        let rank = segment.nodes.iter().position(|seated| *seated == node)?;
        Some((segment, RankId(u32::try_from(rank).ok()?)))
    }

    /// A stop opens on a rank; once it is open on all of them they go through it.
    fn begin(&mut self, at: usize, (run, step): (u64, u32), stop: Stop) {
        let Some((segment, _)) = self.seat(at, run) else { return };
        let place = segment.begun.iter().position(|(other, _)| *other == stop).unwrap_or_else(|| {
            segment.begun.push((stop, 0));
            segment.begun.len() - 1
        });
        segment.begun[place].1 += 1;
        if segment.begun[place].1 < segment.nodes.len() {
            return;
        }
        segment.begun.swap_remove(place);
        let nodes = segment.nodes.clone();
        let passed = match segment.seats.go(stop) {
            Ok(passed) => passed,
            Err(error) => {
                self.ended = Some(Violation::Failed(error.into()));
                return;
            }
        };
        let half = stop.half;
        for (node, (report, outputs)) in nodes.into_iter().zip(passed) {
            let of = |place: &&mut Place| place.member().is_some_and(|member| member.node == node);
            let Some(member) = self.places.iter_mut().find(of).and_then(Place::member_mut) else { continue };
            member.outbox.push_back(FromNode::Closed { run, step, half, report });
            if let Some(outputs) = outputs {
                let digests = outputs.iter().map(|values| token_digest(values)).collect();
                member.outbox.push_back(FromNode::Finished { run, step, half, digests });
            }
        }
    }
}

//! The run under way: what it waits for, from whom, until when, and the records so far.

use super::Limits;
use crate::run::{RoundRecord, RunRequest};
use node::control::{FromNode, NodeId, PhaseReport, SeatPlan, ToNode};
use node::wire::Phase;
use std::collections::{BTreeMap, BTreeSet};
use topology::RankId;

/// Names listed in an error before the rest is counted.
const NAMES_MAX: usize = 4;
/// Largest lateness histogram that a node may send, bytes; a full one of three digits takes some 20 KiB.
const LATENESS_BYTES_MAX: usize = 1 << 20;

/// What every seat has been told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Configure,
    Prepare,
    Phase(Phase),
}

/// What follows an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// More answers are owed.
    Wait,
    /// All have answered: tell every seat.
    Tell(ToNode),
    /// All have finished the step: tell every seat to prepare the next one.
    Step(ToNode),
    /// The run is complete.
    Done,
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) run: u64,
    pub(super) request: RunRequest,
    pub(super) records: Vec<RoundRecord>,
    seats: SeatPlan,
    seated: BTreeMap<NodeId, (RankId, String)>,
    stage: Stage,
    step: u32,
    waiting: BTreeSet<RankId>,
    start_ns: u64,
    limit_ns: u64,
    phases: [Vec<Option<PhaseReport>>; 3],
    digests: Vec<Option<Vec<u64>>>,
    wall_ns: [u64; 3],
    limits: Limits,
}

impl Active {
    /// A run whose seats are told to configure themselves at `now_ns`.
    pub(super) fn new(
        now_ns: u64,
        run: u64,
        request: RunRequest,
        seats: SeatPlan,
        names: Vec<String>,
        limits: Limits,
    ) -> (Self, ToNode) {
        let ranks = request.setup.cluster.ranks();
        let seated =
            seats.seats.iter().zip(names).zip(ranks).map(|(((node, _), name), rank)| (*node, (rank, name)));
        let message = ToNode::Configure {
            setup: Box::new(request.setup.clone()),
            seats: seats.clone(),
            pacing: request.pacing,
        };
        let mut active = Self {
            run,
            seated: seated.collect(),
            records: Vec::with_capacity(request.steps() as usize),
            request,
            seats,
            stage: Stage::Configure,
            step: 0,
            waiting: BTreeSet::new(),
            start_ns: now_ns,
            limit_ns: 0,
            phases: Default::default(),
            digests: Vec::new(),
            wall_ns: [0; 3],
            limits,
        };
        active.open(now_ns, Stage::Configure, active.limits.configure_ns);
        (active, message)
    }

    /// Nodes of the run, by rank.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.seats.seats.iter().map(|(node, _)| *node)
    }

    /// Name and rank of a seated node.
    pub(super) fn label(&self, node: NodeId) -> Option<String> {
        self.seated.get(&node).map(|(rank, name)| format!("{name} ({rank})"))
    }

    /// What the run is doing, for messages.
    pub(super) fn during(&self) -> String {
        match self.stage {
            Stage::Configure => format!("the configuration of run {}", self.run),
            Stage::Prepare => format!("the preparation of step {} of run {}", self.step, self.run),
            Stage::Phase(phase) => {
                format!("the {} of step {} of run {}", phase_name(phase), self.step, self.run)
            }
        }
    }

    /// When the present wait ends.
    pub(super) fn deadline_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.limit_ns)
    }

    /// Length of the present wait, whole seconds.
    pub(super) fn limit_s(&self) -> u64 {
        self.limit_ns / 1_000_000_000
    }

    /// Nodes that still owe an answer.
    pub(super) fn owing(&self) -> String {
        let owing: Vec<_> = self.seated.values().filter(|(rank, _)| self.waiting.contains(rank)).collect();
        let mut text: Vec<_> =
            owing.iter().take(NAMES_MAX).map(|(rank, name)| format!("{name} ({rank})")).collect();
        if owing.len() > NAMES_MAX {
            text.push(format!("{} more", owing.len() - NAMES_MAX));
        }
        text.join(", ")
    }

    /// Takes an answer of a seated node that belongs to this run.
    pub(super) fn handle(&mut self, now_ns: u64, node: NodeId, message: FromNode) -> Result<Next, String> {
        let Some(&(rank, _)) = self.seated.get(&node) else {
            return Ok(Next::Wait);
        };
        let at = rank.0 as usize;
        match (message, self.stage) {
            (FromNode::Configured { .. }, Stage::Configure) => self.answered(rank)?,
            (FromNode::Prepared { step, .. }, Stage::Prepare) if step == self.step => self.answered(rank)?,
            (FromNode::Closed { step, report, .. }, Stage::Phase(phase))
                if step == self.step && report.phase == phase =>
            {
                self.check(&report)?;
                let slot = &mut self.phases[phase_index(phase)][at];
                if slot.replace(report).is_some() {
                    return Err(format!("it closed {} twice", phase_name(phase)));
                }
                if phase != Phase::Combine || self.digests[at].is_some() {
                    self.answered(rank)?;
                }
            }
            (FromNode::Finished { step, digests, .. }, Stage::Phase(Phase::Combine)) if step == self.step => {
                let tokens = self.request.setup.tokens[at] as usize;
                if digests.len() != tokens {
                    return Err(format!("it finished {} of its {tokens} tokens", digests.len()));
                }
                if self.digests[at].replace(digests).is_some() {
                    return Err("it finished twice".to_owned());
                }
                if self.phases[phase_index(Phase::Combine)][at].is_some() {
                    self.answered(rank)?;
                }
            }
            (message, _) => return Err(format!("it said {} out of turn", message_name(&message))),
        }
        if self.waiting.is_empty() { Ok(self.advance(now_ns)) } else { Ok(Next::Wait) }
    }

    fn answered(&mut self, rank: RankId) -> Result<(), String> {
        if self.waiting.remove(&rank) { Ok(()) } else { Err("it answered twice".to_owned()) }
    }

    fn check(&self, report: &PhaseReport) -> Result<(), String> {
        let ranks = self.seats.seats.len();
        if let Some((to, _)) = report.sent_bytes.iter().find(|(to, _)| to.0 as usize >= ranks) {
            return Err(format!("it reported bytes to {to} of {ranks} ranks"));
        }
        if report.sent_bytes.len() > ranks {
            return Err(format!("it reported {} pairs of {ranks} ranks", report.sent_bytes.len()));
        }
        if report.lateness_ns.len() > LATENESS_BYTES_MAX {
            return Err(format!("it reported a histogram of {} bytes", report.lateness_ns.len()));
        }
        Ok(())
    }

    /// All have answered: on to the next stage.
    fn advance(&mut self, now_ns: u64) -> Next {
        match self.stage {
            Stage::Configure => Next::Tell(self.prepare(now_ns)),
            Stage::Prepare => Next::Tell(self.begin(now_ns, Phase::Dispatch)),
            Stage::Phase(phase) => {
                self.wall_ns[phase_index(phase)] = now_ns.saturating_sub(self.start_ns);
                match phase {
                    Phase::Dispatch => Next::Tell(self.begin(now_ns, Phase::Expert)),
                    Phase::Expert => Next::Tell(self.begin(now_ns, Phase::Combine)),
                    Phase::Combine | Phase::Local | Phase::Hop => self.finish_step(now_ns),
                }
            }
        }
    }

    fn finish_step(&mut self, now_ns: u64) -> Next {
        let phases = std::mem::take(&mut self.phases).map(|reports| reports.into_iter().flatten().collect());
        let digests = std::mem::take(&mut self.digests).into_iter().flatten().collect();
        let warmup = self.step < self.request.warmup;
        self.records.push(RoundRecord {
            step: self.step,
            warmup,
            phases,
            digests,
            wall_ns: self.wall_ns,
            outputs: None,
        });
        self.step += 1;
        if self.step == self.request.steps() { Next::Done } else { Next::Step(self.prepare(now_ns)) }
    }

    fn prepare(&mut self, now_ns: u64) -> ToNode {
        self.open(now_ns, Stage::Prepare, self.limits.prepare_ns);
        let ranks = self.seats.seats.len();
        self.phases = std::array::from_fn(|_| vec![None; ranks]);
        self.digests = vec![None; ranks];
        ToNode::Prepare { run: self.run, step: self.step }
    }

    fn begin(&mut self, now_ns: u64, phase: Phase) -> ToNode {
        let ranks = self.seats.seats.len() as u64;
        let start_at_ns = now_ns + self.limits.lead_ns + self.limits.lead_per_rank_ns * ranks;
        let limit_ns = self.limits.phase_ns.saturating_add(self.request.expected_phase_ns.saturating_mul(10));
        self.open(start_at_ns, Stage::Phase(phase), limit_ns);
        ToNode::Begin { run: self.run, step: self.step, phase, start_at_ns }
    }

    fn open(&mut self, start_ns: u64, stage: Stage, limit_ns: u64) {
        (self.stage, self.start_ns, self.limit_ns) = (stage, start_ns, limit_ns);
        self.waiting = self.request.setup.cluster.ranks().collect();
    }
}

fn phase_index(phase: Phase) -> usize {
    match phase {
        Phase::Dispatch => 0,
        Phase::Expert => 1,
        Phase::Combine | Phase::Local | Phase::Hop => 2,
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Dispatch => "dispatch",
        Phase::Expert => "expert phase",
        Phase::Combine => "combine",
        Phase::Local => "local phase",
        Phase::Hop => "hop",
    }
}

fn message_name(message: &FromNode) -> &'static str {
    match message {
        FromNode::Register { .. } => "`register`",
        FromNode::Configured { .. } => "`configured`",
        FromNode::Prepared { .. } => "`prepared`",
        FromNode::Closed { .. } => "`closed`",
        FromNode::Finished { .. } => "`finished`",
        FromNode::Failed { .. } => "`failed`",
        FromNode::Pong { .. } => "`pong`",
    }
}

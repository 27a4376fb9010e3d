//! The run under way: what it waits for, from whom, until when, and the records so far.

use super::Limits;
use super::task::{Task, Walls};
use crate::run::RoundRecord;
use crate::steps::StepRecord;
use moe::stack::StepBatch;
use node::control::{FromNode, NodeId, PhaseReport, SeatPlan, ToNode};
use node::stack::Stop;
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
    /// Nothing, until the next batch comes.
    Ready,
    Prepare,
    /// The stop of that index.
    Stop(usize),
}

/// What follows an answer.
#[derive(Debug)]
pub(super) enum Next {
    /// More answers are owed.
    Wait,
    /// All have answered: tell the seats.
    Tell(Vec<(NodeId, ToNode)>),
    /// All have finished the step: tell the seats to prepare the next one.
    Step(Vec<(NodeId, ToNode)>),
    /// The run is complete.
    Done(Vec<RoundRecord>),
    /// All are configured and wait for a batch.
    Opened,
    /// The step of a whole model is complete; the next one waits for its batch.
    Stepped(Box<StepRecord>),
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) run: u64,
    task: Task,
    program: Vec<Stop>,
    seats: SeatPlan,
    seated: BTreeMap<NodeId, (RankId, String)>,
    stage: Stage,
    step: u32,
    waiting: BTreeSet<RankId>,
    start_ns: u64,
    limit_ns: u64,
    /// By stop and rank.
    phases: Vec<Vec<Option<PhaseReport>>>,
    digests: Vec<Option<Vec<u64>>>,
    wall_ns: Vec<u64>,
    clock_error_ns: Vec<u64>,
    limits: Limits,
}

impl Active {
    /// A run whose seats are told to configure themselves at `now_ns`.
    pub(super) fn new(
        now_ns: u64,
        (cluster_id, run, epoch): (u64, u64, u32),
        task: Task,
        seats: SeatPlan,
        names: Vec<String>,
        limits: Limits,
    ) -> (Self, Vec<(NodeId, ToNode)>) {
        let ranks = (0..).map(RankId);
        let seated =
            seats.seats.iter().zip(names).zip(ranks).map(|(((node, _), name), rank)| (*node, (rank, name)));
        let messages = task.configure((cluster_id, run, epoch), &seats);
        let mut active = Self {
            run,
            seated: seated.collect(),
            program: task.program(),
            task,
            seats,
            stage: Stage::Configure,
            step: 0,
            waiting: BTreeSet::new(),
            start_ns: now_ns,
            limit_ns: 0,
            phases: Vec::new(),
            digests: Vec::new(),
            wall_ns: Vec::new(),
            clock_error_ns: Vec::new(),
            limits,
        };
        active.open(now_ns, Stage::Configure, active.limits.configure_ns);
        (active, messages)
    }

    /// Steps complete, and steps of the run if that is known.
    pub(super) fn steps(&self) -> (u32, Option<u32>) {
        match &self.task {
            Task::Layer { request, .. } => (self.step, Some(request.steps())),
            Task::Model { .. } => (self.step, None),
        }
    }

    /// Columns of a whole model's batches.
    pub(super) fn columns(&self) -> Option<u32> {
        match &self.task {
            Task::Layer { .. } => None,
            Task::Model { request, .. } => Some(request.setup.stack.columns()),
        }
    }

    /// Command: the next step of a whole model, which waits for nothing else. `None` if it can't take one now.
    pub(super) fn step(&mut self, now_ns: u64, batch: StepBatch) -> Option<Vec<(NodeId, ToNode)>> {
        let Task::Model { request, batches } = &mut self.task else { return None };
        if self.stage != Stage::Ready {
            return None;
        }
        batches.push_front(batch);
        batches.truncate(request.setup.stack.num_stages() as usize);
        Some(self.prepare(now_ns))
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
            Stage::Ready => format!("a pause of run {} after {} steps", self.run, self.step),
            Stage::Stop(at) => {
                format!("the {} of step {} of run {}", self.stop_name(at), self.step, self.run)
            }
        }
    }

    /// When the present wait ends; `None` while it is the nodes who wait.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        (self.stage != Stage::Ready).then(|| self.start_ns.saturating_add(self.limit_ns))
    }

    fn stop_name(&self, at: usize) -> String {
        let Stop { layer, phase } = self.program[at];
        match self.task {
            Task::Layer { .. } => phase_name(phase).to_owned(),
            Task::Model { .. } => format!("{} {layer} of each stage", phase_name(phase)),
        }
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
            (FromNode::Closed { step, report, .. }, Stage::Stop(stop))
                if step == self.step && report.phase == self.program[stop].phase =>
            {
                self.check(&report)?;
                if self.phases[stop][at].replace(report).is_some() {
                    return Err(format!("it closed {} twice", self.stop_name(stop)));
                }
                if !self.task.finishes_at(self.program[stop]) || self.digests[at].is_some() {
                    self.answered(rank)?;
                }
            }
            (FromNode::Finished { step, digests, .. }, Stage::Stop(stop))
                if step == self.step && self.task.finishes_at(self.program[stop]) =>
            {
                let tokens = self.task.digests_of(rank);
                if digests.len() != tokens {
                    return Err(format!("it finished {} of its {tokens} tokens", digests.len()));
                }
                if self.digests[at].replace(digests).is_some() {
                    return Err("it finished twice".to_owned());
                }
                if self.phases[stop][at].is_some() {
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
            Stage::Configure if matches!(self.task, Task::Model { .. }) => {
                self.stage = Stage::Ready;
                Next::Opened
            }
            Stage::Configure => Next::Tell(self.prepare(now_ns)),
            Stage::Ready => Next::Wait,
            Stage::Prepare => Next::Tell(self.begin(now_ns, 0)),
            Stage::Stop(at) => {
                self.wall_ns[at] = now_ns.saturating_sub(self.start_ns);
                if at + 1 < self.program.len() {
                    Next::Tell(self.begin(now_ns, at + 1))
                } else {
                    self.finish_step(now_ns)
                }
            }
        }
    }

    fn finish_step(&mut self, now_ns: u64) -> Next {
        let phases = std::mem::take(&mut self.phases).into_iter();
        let phases = phases.map(|reports| reports.into_iter().flatten().collect()).collect();
        let digests = std::mem::take(&mut self.digests).into_iter().flatten().collect();
        let wall_ns = std::mem::take(&mut self.wall_ns);
        let clock_error_ns = std::mem::take(&mut self.clock_error_ns);
        let record =
            self.task.finish(self.step, &self.program, phases, digests, Walls { wall_ns, clock_error_ns });
        self.step += 1;
        match (record, &mut self.task) {
            (Some(record), _) => {
                self.stage = Stage::Ready;
                Next::Stepped(Box::new(record))
            }
            (None, Task::Layer { request, records }) if self.step == request.steps() => {
                Next::Done(std::mem::take(records))
            }
            (None, _) => Next::Step(self.prepare(now_ns)),
        }
    }

    fn prepare(&mut self, now_ns: u64) -> Vec<(NodeId, ToNode)> {
        self.open(now_ns, Stage::Prepare, self.limits.prepare_ns);
        let ranks = self.seats.seats.len();
        self.phases = vec![vec![None; ranks]; self.program.len()];
        self.digests = vec![None; ranks];
        self.wall_ns = vec![0; self.program.len()];
        self.clock_error_ns = vec![0; self.program.len()];
        self.task.prepare(self.run, self.step, &self.seats)
    }

    fn begin(&mut self, now_ns: u64, at: usize) -> Vec<(NodeId, ToNode)> {
        let ranks = self.seats.seats.len() as u64;
        let start_at_ns = now_ns + self.limits.lead_ns + self.limits.lead_per_rank_ns * ranks;
        let expected_ns = self.task.expected_phase_ns();
        let limit_ns = self.limits.phase_ns.saturating_add(expected_ns.saturating_mul(10));
        self.open(start_at_ns, Stage::Stop(at), limit_ns);
        let message = self.task.begin(self.run, self.step, self.program[at], start_at_ns);
        self.nodes().map(|node| (node, message.clone())).collect()
    }

    /// How far off the nodes' clocks the common start of the present stop may be.
    pub(super) fn set_clock_error(&mut self, error_ns: u64) {
        if let Stage::Stop(at) = self.stage {
            self.clock_error_ns[at] = error_ns;
        }
    }

    fn open(&mut self, start_ns: u64, stage: Stage, limit_ns: u64) {
        (self.stage, self.start_ns, self.limit_ns) = (stage, start_ns, limit_ns);
        self.waiting = self.seated.values().map(|(rank, _)| *rank).collect();
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

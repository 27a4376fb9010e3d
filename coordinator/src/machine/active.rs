//! The run under way: what it waits for, from whom, until when, and what has come of its step so far.

use super::blame;
use super::course::{Course, Turn};
use super::limits::Limits;
use super::members::Members;
use super::reported;
use super::schedule::{Opening, Schedule};
use super::task::Task;
use crate::error::RunError;
use crate::run::StepRecord;
use moe::stack::StepBatch;
use node::control::{FromNode, NodeId, PhaseReport, SeatPlan, ToNode};
use node::program::Stop;
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::{Cluster, RankId};

/// Names listed in an error before the rest is counted.
const NAMES_MAX: usize = 4;
/// What every seat has been told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Configure,
    Prepare,
    Stop(Opening),
}

/// Answers that are owed.
#[derive(Debug)]
struct Wait {
    asked: Asked,
    /// `[num_ranks]`.
    owing: Vec<bool>,
    /// How many owe.
    left: usize,
    start_ns: u64,
    limit_ns: u64,
}

impl Wait {
    fn is_for(&self, rank: RankId) -> bool {
        self.owing[rank.0 as usize]
    }

    fn deadline_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.limit_ns)
    }
}

/// What follows an answer.
#[derive(Debug)]
pub(super) enum Next {
    /// More answers are owed.
    Wait,
    /// All have answered: tell the seats.
    Tell(Vec<(NodeId, ToNode)>),
    /// All are configured and wait for a step.
    Opened,
    /// The step is complete; the next one waits until it is asked for.
    Stepped(Box<StepRecord>),
}

#[derive(Debug)]
pub(super) struct Active {
    /// What control messages and frames call the run: each segment of a run has a number of its own, so that nothing of an earlier one is
    /// taken for one of this.
    pub(super) segment: u64,
    course: Course,
    schedule: Schedule,
    seats: Arc<SeatPlan>,
    seated: BTreeMap<NodeId, (RankId, String)>,
    step: u32,
    /// One wait, or in each stage one for arithmetic and one for the network; none until the next batch comes.
    waits: Vec<Wait>,
    /// By stop and rank.
    phases: Vec<Vec<Option<PhaseReport>>>,
    /// By half and rank.
    digests: Vec<Vec<Option<Vec<u64>>>>,
    wall_ns: Vec<u64>,
    clock_error_ns: Vec<u64>,
    limits: Limits,
}

impl Active {
    /// A run whose seats are told to configure themselves at `now_ns`.
    pub(super) fn new(
        now_ns: u64,
        (cluster_id, segment, epoch): (u64, u64, u32),
        mut course: Course,
        seats: Arc<SeatPlan>,
        limits: Limits,
    ) -> (Self, Vec<(NodeId, ToNode)>) {
        let ranks = (0..).map(RankId);
        let seated = seats.seats.iter().zip(ranks).map(|(seat, rank)| (seat.node, (rank, seat.name.clone())));
        course.begin_segment();
        let task = &mut course.task;
        let messages = task.configure((cluster_id, segment, epoch), &seats);
        let mut active = Self {
            segment,
            seated: seated.collect(),
            schedule: Schedule::new(task.program().stops(), task.program().num_stages()),
            course,
            seats,
            step: 0,
            waits: Vec::new(),
            phases: Vec::new(),
            digests: Vec::new(),
            wall_ns: Vec::new(),
            clock_error_ns: Vec::new(),
            limits,
        };
        active.wait(now_ns, Asked::Configure, active.limits.configure_ns);
        (active, messages)
    }

    /// The run's number.
    pub(super) fn run(&self) -> u64 {
        self.course.run
    }

    /// Steps complete.
    pub(super) fn steps(&self) -> u32 {
        self.course.committed()
    }

    /// What is left of it.
    pub(super) fn into_course(self) -> Course {
        self.course
    }

    /// What is left of it when a seat or a link is lost.
    pub(super) fn interrupted(mut self, now_ns: u64) -> Course {
        let began_ns = self.first().map_or(now_ns, |wait| wait.start_ns);
        self.course.notice(now_ns, began_ns);
        self.course
    }

    pub(super) fn course(&self) -> &Course {
        &self.course
    }

    /// Whether it is the nodes who wait, for the next step.
    pub(super) fn pauses(&self) -> bool {
        self.waits.is_empty()
    }

    pub(super) fn num_ranks(&self) -> u32 {
        self.task().num_ranks()
    }

    /// All ranks.
    pub(super) fn cluster(&self) -> &Cluster {
        self.task().cluster()
    }

    fn task(&self) -> &Task {
        &self.course.task
    }

    /// Command: the next step. Nothing to tell where the seats still catch up.
    pub(super) fn step(&mut self, now_ns: u64, batch: StepBatch) -> Result<Vec<(NodeId, ToNode)>, RunError> {
        self.course.ask(batch)?;
        match self.waits.is_empty().then(|| self.turn(now_ns)) {
            Some(Next::Tell(messages)) => Ok(messages),
            _ => Ok(Vec::new()),
        }
    }

    /// Nodes of the run, by rank.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.seats.seats.iter().map(|seat| seat.node)
    }

    /// Name and rank of a rank.
    pub(super) fn label_of(&self, rank: RankId) -> Option<String> {
        self.seats.seats.get(rank.0 as usize).map(|seat| format!("{} ({rank})", seat.name))
    }

    /// Names by rank.
    pub(super) fn names(&self) -> Vec<String> {
        self.seats.seats.iter().map(|seat| seat.name.clone()).collect()
    }

    /// Wall time of arithmetic over its emulated time.
    pub(super) fn compute_dilation(&self) -> u64 {
        self.task().compute_dilation()
    }

    /// Name and rank of a seated node.
    pub(super) fn label(&self, node: NodeId) -> Option<String> {
        self.seated.get(&node).map(|(rank, name)| format!("{name} ({rank})"))
    }

    /// What the run is doing, for messages; of several things that which waits for `node`, or which ends first.
    pub(super) fn during(&self, node: Option<NodeId>) -> String {
        let rank = node.and_then(|node| self.seated.get(&node)).map(|(rank, _)| *rank);
        let of_rank = self.waits.iter().find(|wait| rank.is_some_and(|rank| wait.is_for(rank)));
        match of_rank.or_else(|| self.first()).map(|wait| wait.asked) {
            None => format!("a pause of run {} after {} steps", self.run(), self.steps()),
            Some(Asked::Configure) => format!("the configuration of run {}", self.run()),
            Some(Asked::Prepare) => format!("the preparation of step {} of run {}", self.steps(), self.run()),
            Some(Asked::Stop(opening)) => {
                format!("the {} of step {} of run {}", self.stop_name(opening), self.steps(), self.run())
            }
        }
    }

    /// The wait that ends first.
    fn first(&self) -> Option<&Wait> {
        self.waits.iter().min_by_key(|wait| wait.deadline_ns())
    }

    /// When it ends; `None` while it is the nodes who wait.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.first().map(Wait::deadline_ns)
    }

    fn stop_name(&self, opening: Opening) -> String {
        let Stop { half, layer, phase } = self.schedule.program()[opening.at];
        let program = self.task().program();
        if program.stack().is_none() {
            return phase.to_string();
        }
        let of = if program.halves() > 1 { format!(", half {half}") } else { String::new() };
        match opening.stage {
            Some(stage) => format!("{phase} {layer} of stage {stage}{of}"),
            None => format!("{phase} of all stages{of}"),
        }
    }

    /// Length of the wait that ends first, whole seconds.
    pub(super) fn limit_s(&self) -> u64 {
        self.first().map_or(0, |wait| wait.limit_ns / 1_000_000_000)
    }

    /// Nodes that still owe it an answer.
    pub(super) fn owing(&self) -> String {
        let Some(wait) = self.first() else { return String::new() };
        let owing: Vec<_> = self.seated.values().filter(|(rank, _)| wait.is_for(*rank)).collect();
        let mut text: Vec<_> =
            owing.iter().take(NAMES_MAX).map(|(rank, name)| format!("{name} ({rank})")).collect();
        if owing.len() > NAMES_MAX {
            text.push(format!("{} more", owing.len() - NAMES_MAX));
        }
        text.join(", ")
    }

    /// Why nothing comes of it, as far as its ranks have said; empty, or one sentence.
    pub(super) fn why(&self, now_ns: u64, members: &Members) -> String {
        blame::explain(now_ns, self.segment, &self.seated, members)
    }

    /// Takes an answer of a seated node that belongs to this run.
    pub(super) fn handle(&mut self, now_ns: u64, node: NodeId, message: FromNode) -> Result<Next, String> {
        let Some(&(rank, _)) = self.seated.get(&node) else {
            return Ok(Next::Wait);
        };
        let at = rank.0 as usize;
        let done = match message {
            FromNode::Configured { .. } => self.answered(Asked::Configure, rank)?,
            FromNode::Prepared { step, .. } if step == self.step => self.answered(Asked::Prepare, rank)?,
            FromNode::Closed { step, half, report, .. } if step == self.step => {
                let is = |stop: Stop| stop.half == half && stop.phase == report.phase;
                let opening = self.open_stop(rank, is).ok_or_else(|| out_of_turn("closed"))?;
                let stop = opening.at;
                reported::check(&report, self.seats.seats.len())?;
                reported::check_trace(&report.trace, self.seats.seats.len())?;
                let begun = self.waits.iter().find(|wait| wait.asked == Asked::Stop(opening));
                let waited_ns = now_ns.saturating_sub(begun.map_or(now_ns, |wait| wait.start_ns));
                let off_ns = self.clock_error_ns[stop].saturating_add(self.limits.slack_ns);
                let known_ns = waited_ns.saturating_add(off_ns);
                reported::check_time(&report, self.task().dilation(self.schedule.program()[stop]), known_ns)?;
                if self.phases[stop][at].replace(report).is_some() {
                    return Err(format!("it closed {} twice", self.stop_name(opening)));
                }
                let owes = self.task().program().finishes_at(self.schedule.program()[stop]);
                if owes && self.digests[usize::from(half)][at].is_none() {
                    return Ok(Next::Wait);
                }
                self.answered(Asked::Stop(opening), rank)?
            }
            FromNode::Finished { step, half, digests, .. } if step == self.step => {
                let is = |stop: Stop| stop.half == half && self.task().program().finishes_at(stop);
                let opening = self.open_stop(rank, is).ok_or_else(|| out_of_turn("finished"))?;
                let tokens = self.task().digests_of(rank, half);
                if digests.len() != tokens {
                    return Err(format!("it finished {} of its {tokens} tokens", digests.len()));
                }
                if self.digests[usize::from(half)][at].replace(digests).is_some() {
                    return Err("it finished twice".to_owned());
                }
                if self.phases[opening.at][at].is_none() {
                    return Ok(Next::Wait);
                }
                self.answered(Asked::Stop(opening), rank)?
            }
            message => return Err(out_of_turn(message_name(&message))),
        };
        Ok(done.map_or(Next::Wait, |asked| self.advance(now_ns, asked)))
    }

    /// An open stop of a rank.
    fn open_stop(&self, rank: RankId, is: impl Fn(Stop) -> bool) -> Option<Opening> {
        let stage = self.task().program().stage_of(rank);
        self.waits.iter().find_map(|wait| match wait.asked {
            Asked::Stop(opening) if opening == self.schedule.of(opening.at, stage) => {
                is(self.schedule.program()[opening.at]).then_some(opening)
            }
            _ => None,
        })
    }

    /// Counts an answer; says what all have answered now, with the start of its wait.
    fn answered(&mut self, asked: Asked, rank: RankId) -> Result<Option<(Asked, u64)>, String> {
        let Some(place) = self.waits.iter().position(|wait| wait.asked == asked) else {
            return Err(out_of_turn(match asked {
                Asked::Configure => "configured",
                Asked::Prepare => "prepared",
                Asked::Stop(_) => "closed",
            }));
        };
        let wait = &mut self.waits[place];
        if !std::mem::take(&mut wait.owing[rank.0 as usize]) {
            return Err("it answered twice".to_owned());
        }
        wait.left -= 1;
        if wait.left > 0 {
            return Ok(None);
        }
        let wait = self.waits.remove(place);
        Ok(Some((wait.asked, wait.start_ns)))
    }

    /// All have answered: on to what waited for it.
    fn advance(&mut self, now_ns: u64, (asked, start_ns): (Asked, u64)) -> Next {
        match asked {
            Asked::Configure => self.turn(now_ns),
            Asked::Prepare => Next::Tell(self.begin_ready(now_ns)),
            Asked::Stop(opening) => {
                let wall_ns = &mut self.wall_ns[opening.at];
                *wall_ns = now_ns.saturating_sub(start_ns).max(*wall_ns);
                self.schedule.close(opening);
                if self.schedule.is_done() {
                    self.finish_step(now_ns)
                } else {
                    Next::Tell(self.begin_ready(now_ns))
                }
            }
        }
    }

    /// Opens what can be opened.
    fn begin_ready(&mut self, now_ns: u64) -> Vec<(NodeId, ToNode)> {
        let mut messages = Vec::with_capacity(self.seats.seats.len());
        for opening in self.schedule.open() {
            self.begin(now_ns, opening, &mut messages);
        }
        messages
    }

    /// Goes on with what the run has in hand.
    fn turn(&mut self, now_ns: u64) -> Next {
        match self.course.turn() {
            Turn::Step(batch) => {
                self.course.task.take(batch);
                self.course.begin_step(now_ns);
                Next::Tell(self.prepare(now_ns))
            }
            Turn::Open => Next::Opened,
            Turn::Wait => Next::Wait,
        }
    }

    fn finish_step(&mut self, now_ns: u64) -> Next {
        self.step += 1;
        let all = std::mem::take(&mut self.phases).into_iter();
        let all = all.map(|reports| reports.into_iter().flatten().collect());
        let phases = self.schedule.program().iter().copied().zip(all).collect();
        let digests = std::mem::take(&mut self.digests).into_iter();
        let digests = digests.map(|half| half.into_iter().flatten().collect()).collect();
        let (step, replays) = (self.course.committed(), self.course.replays());
        let outage = self.course.outage();
        if !self.course.complete() {
            return self.turn(now_ns);
        }
        let (answered, digests) = self.task().answered(step, digests);
        Next::Stepped(Box::new(StepRecord {
            step,
            answered,
            phases,
            digests,
            wall_ns: std::mem::take(&mut self.wall_ns),
            clock_error_ns: std::mem::take(&mut self.clock_error_ns),
            replays,
            outage,
        }))
    }

    fn prepare(&mut self, now_ns: u64) -> Vec<(NodeId, ToNode)> {
        self.wait(now_ns, Asked::Prepare, self.limits.prepare_ns);
        let (ranks, stops) = (self.seats.seats.len(), self.schedule.program().len());
        self.schedule.reset();
        self.phases = vec![vec![None; ranks]; stops];
        self.digests = vec![vec![None; ranks]; usize::from(self.task().program().halves())];
        self.wall_ns = vec![0; stops];
        self.clock_error_ns = vec![0; stops];
        self.task().prepare(self.segment, self.step, &self.seats)
    }

    fn begin(&mut self, now_ns: u64, opening: Opening, messages: &mut Vec<(NodeId, ToNode)>) {
        let ranks = self.seats.seats.len() as u64;
        let stop = self.schedule.program()[opening.at];
        let usual_ns = self.limits.lead_ns + self.limits.lead_per_rank_ns * ranks;
        let start_at_ns = now_ns.saturating_add(self.task().lead_ns(stop).unwrap_or(usual_ns));
        let expected_ns = self.task().expected_phase_ns();
        let limit_ns = self.limits.phase_ns.saturating_add(expected_ns.saturating_mul(10));
        self.wait(start_at_ns, Asked::Stop(opening), limit_ns);
        let (run, step) = (self.segment, self.step);
        for (seat, rank) in self.seats.seats.iter().zip((0..).map(RankId)) {
            if self.is_asked(Asked::Stop(opening), rank) {
                messages.push((seat.node, ToNode::Begin { run, step, stop, start_at_ns }));
            }
        }
    }

    /// How far off the nodes' clocks the common start of the stops may be that have just been opened.
    pub(super) fn set_clock_error(&mut self, now_ns: u64, error_ns: u64) {
        for wait in self.waits.iter().filter(|wait| wait.start_ns >= now_ns) {
            if let Asked::Stop(Opening { at, .. }) = wait.asked {
                self.clock_error_ns[at] = error_ns.max(self.clock_error_ns[at]);
            }
        }
    }

    fn wait(&mut self, start_ns: u64, asked: Asked, limit_ns: u64) {
        let ranks = (0..self.task().num_ranks()).map(RankId);
        let owing: Vec<bool> = ranks.map(|rank| self.is_asked(asked, rank)).collect();
        let left = owing.iter().filter(|owing| **owing).count();
        self.waits.push(Wait { asked, owing, left, start_ns, limit_ns });
    }

    fn is_asked(&self, asked: Asked, rank: RankId) -> bool {
        match asked {
            Asked::Configure | Asked::Prepare => true,
            Asked::Stop(Opening { stage, .. }) => {
                stage.is_none_or(|stage| stage == self.task().program().stage_of(rank))
            }
        }
    }
}

fn out_of_turn(what: &str) -> String {
    format!("it said `{what}` out of turn")
}

fn message_name(message: &FromNode) -> &'static str {
    match message {
        FromNode::Register { .. } => "register",
        FromNode::Configured { .. } => "configured",
        FromNode::Prepared { .. } => "prepared",
        FromNode::Closed { .. } => "closed",
        FromNode::Finished { .. } => "finished",
        FromNode::Failed { .. } => "failed",
        FromNode::Pong { .. } => "pong",
        FromNode::AskHealth => "ask health",
        FromNode::Beat => "beat",
        FromNode::Waits(_) => "waits",
    }
}

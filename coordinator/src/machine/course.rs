//! How far a run has come, whichever nodes it sat on: what is committed, what is under way, and how new seats catch up.
//!
//! A run is a list of segments. A segment has its seats and its epoch; it ends when one of its seats is lost, and the next one begins where
//! it was: steps that are committed stay, the step under way is run again from its beginning. A step of a layer depends on the seed and
//! its number alone. A whole model's caches are computed again, and the batches that were on their way through the stages enter anew, in
//! steps of which nobody is told.

use super::caches::Caches;
use super::task::Task;
use crate::error::RunError;
use crate::run::{Outage, RunRequest};
use moe::stack::StepBatch;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Course {
    pub(super) run: u64,
    pub(super) task: Task,
    /// Steps committed.
    committed: u32,
    /// What was asked for and is not committed.
    under_way: Option<StepBatch>,
    /// Committed batches that have not gone through all stages, oldest first.
    flight: VecDeque<StepBatch>,
    /// What those before them have left in the caches.
    caches: Caches,
    /// What the segment runs before it is where the run was.
    behind: VecDeque<StepBatch>,
    /// How often the step under way, or the pause, was begun anew.
    replays: u32,
    /// What that has cost.
    outage: Outage,
    /// When the last loss was known, while nothing has begun anew.
    lost_ns: Option<u64>,
    /// Whether all seats have been configured once.
    opened: bool,
}

/// What is to be done once all seats are configured, or a step is complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Run a step with this batch.
    Step(StepBatch),
    /// Say that the run is open.
    Open,
    /// Wait for the next batch.
    Wait,
}

impl Course {
    pub(super) fn new(run: u64, request: RunRequest) -> Self {
        Self {
            run,
            task: Task::new(request),
            committed: 0,
            under_way: None,
            flight: VecDeque::new(),
            caches: Caches::default(),
            behind: VecDeque::new(),
            replays: 0,
            outage: Outage::default(),
            lost_ns: None,
            opened: false,
        }
    }

    /// Steps committed.
    pub(super) fn committed(&self) -> u32 {
        self.committed
    }

    /// How often what is under way was begun anew.
    pub(super) fn replays(&self) -> u32 {
        self.replays
    }

    /// Whether the run has lost nothing yet that can't be computed again with the same bits. Which replica of an expert computes a token
    /// goes by the token's place in its rank's batch, and the sums of a whole model's layers with it: caches filled in other batches could
    /// differ in a last bit.
    pub(super) fn can_go_on(&self) -> bool {
        let kept = self.committed == 0 && self.under_way.is_none();
        kept || self.task.program().stack().is_none() || !self.task.has_replicas()
    }

    /// The segment has lost a seat. What a fault plan had for the step under way has happened.
    pub(super) fn interrupt(&mut self) {
        self.replays += 1;
        if self.under_way.is_some() && self.behind.is_empty() {
            self.task.begin_anew(self.committed);
        }
    }

    /// That was known at `now_ns`, of what had begun at `began_ns`.
    pub(super) fn notice(&mut self, now_ns: u64, began_ns: u64) {
        self.outage.noticed_ns += now_ns.saturating_sub(began_ns);
        self.lost_ns = Some(now_ns);
    }

    /// What is under way begins.
    pub(super) fn begin_step(&mut self, now_ns: u64) {
        if let Some(lost_ns) = self.lost_ns.filter(|_| self.behind.is_empty()) {
            self.outage.resumed_ns += now_ns.saturating_sub(lost_ns);
            self.lost_ns = None;
        }
    }

    /// What the losses in the step under way have cost.
    pub(super) fn outage(&self) -> Outage {
        self.outage
    }

    /// A segment begins, with seats that have nothing.
    pub(super) fn begin_segment(&mut self) {
        self.task.restart(self.committed);
        self.behind = self.caches.rebuild().into_iter().chain(self.flight.iter().cloned()).collect();
    }

    /// A batch is asked for.
    ///
    /// # Errors
    /// [`RunError::Batch`] for one that can't be, [`RunError::StepUnderWay`] where there is one, or the run is not open yet.
    pub(super) fn ask(&mut self, batch: StepBatch) -> Result<(), RunError> {
        self.task.program().validate_batch(&batch)?;
        if !self.opened || self.under_way.is_some() {
            return Err(RunError::StepUnderWay { run: self.run });
        }
        self.under_way = Some(batch);
        Ok(())
    }

    /// What comes next; once for each configuration and each step.
    pub(super) fn turn(&mut self) -> Turn {
        if let Some(batch) = self.behind.front().or(self.under_way.as_ref()) {
            return Turn::Step(batch.clone());
        }
        (self.replays, self.outage, self.lost_ns) = (0, Outage::default(), None);
        if std::mem::replace(&mut self.opened, true) { Turn::Wait } else { Turn::Open }
    }

    /// A step is complete: true if it was the one under way, false if it only caught up.
    pub(super) fn complete(&mut self) -> bool {
        if self.behind.pop_front().is_some() {
            return false;
        }
        self.committed += 1;
        (self.replays, self.outage, self.lost_ns) = (0, Outage::default(), None);
        self.flight.extend(self.under_way.take());
        if self.flight.len() >= self.task.program().num_stages() as usize
            && let Some(through) = self.flight.pop_front()
        {
            self.caches.apply(&through);
        }
        true
    }
}

//! How far a run has come, whichever nodes it sat on: what is committed, what is under way, and how new seats catch up.
//!
//! A run is a list of segments. A segment has its seats and its epoch; it ends when one of its seats is lost, and the next one begins where
//! it was: steps that are committed stay, the step under way is run again from its beginning. A step of a layer depends on the seed and
//! its number alone. A whole model's caches are computed again, and the batches that were on their way through the stages enter anew, in
//! steps of which nobody is told. Where it matters in which batch a token was, all batches are run again as they were.

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
    /// What new seats are told of it.
    past: Past,
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

/// What new seats have to be told so that they are where the old ones were.
#[derive(Debug)]
enum Past {
    /// Of a whole model whose tokens have the same bits in any batch.
    Caches {
        /// Committed batches that have not gone through all stages, oldest first.
        flight: VecDeque<StepBatch>,
        /// What those before them have left in the caches.
        caches: Caches,
    },
    /// All committed batches: which replica of an expert computes a token goes by its place in the batch, and drifting routing by the batch's
    /// number.
    Batches {
        batches: Vec<StepBatch>,
        /// Chunks in them.
        chunks: usize,
    },
    /// There was more than is kept.
    TooMuch,
}

/// Most chunks of committed batches that are kept, 16 bytes each.
const CHUNKS_MAX: usize = 4 << 20;

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
        let by_step = request.setup.routing.depends_on_step();
        let task = Task::new(request);
        let by_batch = task.program().stack().is_some() && (by_step || task.has_replicas());
        Self {
            run,
            past: if by_batch {
                Past::Batches { batches: Vec::new(), chunks: 0 }
            } else {
                Past::Caches { flight: VecDeque::new(), caches: Caches::default() }
            },
            task,
            committed: 0,
            under_way: None,
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

    /// Whether all seats have been configured once.
    pub(super) fn is_open(&self) -> bool {
        self.opened
    }

    /// How often what is under way was begun anew.
    pub(super) fn replays(&self) -> u32 {
        self.replays
    }

    /// Whether what new seats have to be told is still known.
    pub(super) fn can_go_on(&self) -> bool {
        !matches!(self.past, Past::TooMuch)
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
        let (first, behind) = match &self.past {
            Past::Caches { flight, caches } => {
                (self.committed, caches.rebuild().into_iter().chain(flight.iter().cloned()).collect())
            }
            Past::Batches { batches, .. } => (0, batches.iter().cloned().collect()),
            Past::TooMuch => (self.committed, VecDeque::new()),
        };
        self.task.restart(first);
        self.behind = behind;
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
        let Some(batch) = self.under_way.take() else { return true };
        match &mut self.past {
            Past::Caches { flight, caches } => {
                flight.push_back(batch);
                if flight.len() >= self.task.program().num_stages() as usize
                    && let Some(through) = flight.pop_front()
                {
                    caches.apply(&through);
                }
            }
            Past::Batches { batches, chunks } => {
                *chunks += batch.columns.iter().map(|column| 1 + column.chunks.len()).sum::<usize>();
                batches.push(batch);
                if *chunks > CHUNKS_MAX {
                    self.past = Past::TooMuch;
                }
            }
            Past::TooMuch => {}
        }
        true
    }
}

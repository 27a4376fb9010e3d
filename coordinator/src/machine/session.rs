//! Commands and outputs of sessions: runs of a whole model, whose steps are asked for one by one.

use super::task::Task;
use super::{Coordinator, State};
use crate::run::RunError;
use crate::steps::{StepRecord, StepsRequest};
use moe::stack::{Halves, StepBatch};
use std::collections::VecDeque;

/// What becomes of a session.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// Every seat waits for the first batch.
    Opened,
    /// A step is complete; every seat waits for the next batch.
    Stepped(Box<StepRecord>),
    /// The session is over.
    Failed(RunError),
}

impl Coordinator {
    /// Command: seat a whole model on the first nodes, to be stepped. Returns the run's number; what becomes of it comes from
    /// [`Self::poll_session`].
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn open(&mut self, now_ns: u64, request: StepsRequest) -> Result<u64, RunError> {
        request.validate()?;
        if !request.setup.payload {
            return Err(RunError::NoPayload);
        }
        let task =
            Task::Model { request: Box::new(request), halves: Halves::default(), batches: VecDeque::new() };
        let run = self.form(now_ns, task)?;
        // Nothing can have become of it yet but a failure, which is then a session's.
        self.session = Some(run);
        if let Some((_, Err(error))) = self.outcomes.pop_back_if(|(ended, _)| *ended == run) {
            self.session_events.push_back((run, SessionEvent::Failed(error)));
        }
        Ok(run)
    }

    /// Command: the next step of a session.
    ///
    /// # Errors
    /// [`RunError::Batch`] for a batch that can't be, [`RunError::StepUnderWay`] before the last step is complete,
    /// [`RunError::Closed`] without such a session.
    pub fn step(&mut self, now_ns: u64, run: u64, batch: StepBatch) -> Result<(), RunError> {
        let State::Active(active) = &mut self.state else { return Err(RunError::Closed) };
        if self.session != Some(run) || active.run != run {
            return Err(RunError::Closed);
        }
        if let Some(columns) = active.columns() {
            batch.validate(columns)?;
        }
        let messages = active.step(now_ns, batch).ok_or(RunError::StepUnderWay { run })?;
        self.tell(now_ns, messages);
        Ok(())
    }

    /// Command: end a session. Nothing more is heard of it.
    pub fn close(&mut self, run: u64) {
        if self.session == Some(run) {
            self.end(RunError::Cancelled);
            self.session_events.retain(|(of, _)| *of != run);
            self.session = None;
        }
    }

    /// Output: what has become of a session.
    pub fn poll_session(&mut self) -> Option<(u64, SessionEvent)> {
        self.session_events.pop_front()
    }
}

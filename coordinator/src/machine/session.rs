//! Commands and outputs of runs, whose steps are asked for one by one.

use super::course::Course;
use super::event::SessionEvent;
use super::recovery::Forming;
use super::{Coordinator, State};
use crate::error::RunError;
use crate::run::RunRequest;
use moe::stack::StepBatch;

impl Coordinator {
    /// Command: seat a run on the first nodes, to be stepped. Returns its number; what becomes of it comes from [`Self::poll_session`].
    ///
    /// # Errors
    /// When the request is impossible, another run is under way, or nodes are missing in a cluster that has stopped forming.
    pub fn open(&mut self, now_ns: u64, request: RunRequest) -> Result<u64, RunError> {
        request.setup.validate()?;
        if self.closing {
            return Err(RunError::Closed);
        }
        if let Some(run) = self.under_way() {
            return Err(RunError::Busy { run });
        }
        let course = Box::new(Course::new(self.last_run + 1, request));
        let needed = course.task.num_ranks();
        let deadline_ns = self.changed_ns.saturating_add(self.limits.forming_ns);
        if self.members.len() < needed && now_ns >= deadline_ns {
            return Err(RunError::TooFewNodes { there: self.members.len(), needed });
        }
        self.last_run += 1;
        self.ranks_of_last = needed;
        self.state = State::Forming(Forming { course, deadline_ns, lost: None });
        self.try_start(now_ns);
        Ok(self.last_run)
    }

    /// Command: the next step of a run. `batch` is that of a whole model, and has no columns where a step's tokens are always the same.
    ///
    /// # Errors
    /// [`RunError::Batch`] for a batch that can't be, [`RunError::StepUnderWay`] before the run is open or the last step complete,
    /// [`RunError::Closed`] without such a run.
    pub fn step(&mut self, now_ns: u64, run: u64, batch: StepBatch) -> Result<(), RunError> {
        if self.under_way() != Some(run) {
            return Err(RunError::Closed);
        }
        let messages = match &mut self.state {
            State::Active(active) => active.step(now_ns, batch)?,
            // It is run once there are seats again.
            State::Forming(Forming { course, .. }) => return course.ask(batch),
            State::Blaming(blaming) => return blaming.course_mut().ask(batch),
            State::Idle => return Err(RunError::Closed),
        };
        self.tell(now_ns, messages);
        Ok(())
    }

    /// Command: end a run. Nothing more is heard of it.
    pub fn close(&mut self, run: u64) {
        if self.under_way() == Some(run) {
            self.end(RunError::Cancelled);
        }
        self.session_events.retain(|(of, _)| *of != run);
    }

    /// Output: what has become of a run.
    pub fn poll_session(&mut self) -> Option<(u64, SessionEvent)> {
        self.session_events.pop_front()
    }

    /// The run that is waited for, under way or ending.
    pub(super) fn under_way(&self) -> Option<u64> {
        match &self.state {
            State::Idle => None,
            State::Forming(forming) => Some(forming.course.run),
            State::Blaming(blaming) => Some(blaming.run()),
            State::Active(active) => Some(active.run()),
        }
    }
}

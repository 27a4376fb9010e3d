//! A session as its holder and as the coordinator's task see it: batches one way, records the other.

use crate::error::RunError;
use crate::machine::SessionEvent;
use crate::run::StepRecord;
use moe::stack::StepBatch;
use tokio::sync::{mpsc, oneshot};

/// A run on the nodes of a cluster. Dropping it ends it.
#[derive(Debug)]
pub struct Session {
    steps: mpsc::Sender<Asked>,
}

/// A step that is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) batch: StepBatch,
    pub(super) reply: oneshot::Sender<Result<StepRecord, RunError>>,
}

/// A session that is to be opened.
#[derive(Debug)]
pub(super) struct Opening {
    steps: mpsc::Receiver<Asked>,
    opened: oneshot::Sender<Result<(), RunError>>,
}

/// A session that is open, or about to be.
pub(super) struct OpenSession {
    pub(super) run: u64,
    steps: mpsc::Receiver<Asked>,
    opened: Option<oneshot::Sender<Result<(), RunError>>>,
    stepping: Option<oneshot::Sender<Result<StepRecord, RunError>>>,
    failure: Option<RunError>,
}

/// A session, what the coordinator's task is handed of it, and the answer to its opening.
pub(super) fn new() -> (Session, Opening, oneshot::Receiver<Result<(), RunError>>) {
    let (steps_in, steps) = mpsc::channel(1);
    let (opened, answer) = oneshot::channel();
    (Session { steps: steps_in }, Opening { steps, opened }, answer)
}

impl Session {
    /// As [`crate::Runner::step`].
    ///
    /// # Errors
    /// [`RunError`]; but for an impossible batch, the session is over then. Where the future of a step was dropped before its end,
    /// the next step is refused until that one is complete.
    pub async fn step(&mut self, batch: &StepBatch) -> Result<StepRecord, RunError> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { batch: batch.clone(), reply };
        self.steps.send(asked).await.map_err(|_| RunError::Closed)?;
        answer.await.unwrap_or(Err(RunError::Closed))
    }
}

impl Opening {
    pub(super) fn open(self, run: u64) -> OpenSession {
        OpenSession { run, steps: self.steps, opened: Some(self.opened), stepping: None, failure: None }
    }

    pub(super) fn refuse(self, error: RunError) {
        // Whoever asked may be gone.
        let _ = self.opened.send(Err(error));
    }
}

impl OpenSession {
    /// True once nobody can ask for a step any more.
    pub(super) fn is_dropped(&self) -> bool {
        self.steps.is_closed()
    }

    /// Why it is over, if it is.
    pub(super) fn failure(&self) -> Option<RunError> {
        self.failure.clone()
    }

    pub(super) fn stepping(&mut self, reply: oneshot::Sender<Result<StepRecord, RunError>>) {
        self.stepping = Some(reply);
    }

    /// Tells whoever waits; what nobody waits for is kept, if it is the end.
    pub(super) fn handle(&mut self, event: SessionEvent) {
        let (opened, stepped) = match event {
            SessionEvent::Opened => (Some(Ok(())), None),
            SessionEvent::Stepped(record) => (None, Some(Ok(*record))),
            SessionEvent::Failed(error) => {
                self.failure = Some(error.clone());
                (Some(Err(error.clone())), Some(Err(error)))
            }
        };
        // Whoever waited may be gone.
        if let Some(answer) = opened
            && let Some(reply) = self.opened.take()
        {
            let _ = reply.send(answer);
        }
        if let Some(answer) = stepped
            && let Some(reply) = self.stepping.take()
        {
            let _ = reply.send(answer);
        }
    }
}

/// The next step that is asked for; `None` once the session has been dropped. Never ends while there is no session. Cancel safe.
pub(super) async fn asked(session: &mut Option<OpenSession>) -> Option<Asked> {
    match session {
        Some(session) => session.steps.recv().await,
        None => std::future::pending().await,
    }
}

//! What others hold of a running coordinator: they command it, hear its news, and run programs on its nodes.

use super::session::{self, Session};
use super::{Command, Membership, Roll, SeenStep};
use crate::error::RunError;
use crate::machine::CoordinatorEvent;
use crate::run::{RunRequest, Runner, StepRecord};
use moe::stack::StepBatch;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

/// A running coordinator. Clones command the same one; it shuts down with the last of them.
#[derive(Clone, Debug)]
pub struct ClusterHandle {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<CoordinatorEvent>,
    seen: broadcast::Sender<Arc<SeenStep>>,
    members: watch::Receiver<Membership>,
    roll: watch::Receiver<Roll>,
    address: SocketAddr,
}

impl ClusterHandle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        (events, seen): (broadcast::Sender<CoordinatorEvent>, broadcast::Sender<Arc<SeenStep>>),
        (members, roll): (watch::Receiver<Membership>, watch::Receiver<Roll>),
        address: SocketAddr,
    ) -> Self {
        Self { commands, events, seen, members, roll, address }
    }

    /// Where nodes and clients find the coordinator.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nodes that are members now.
    #[must_use]
    pub fn num_nodes(&self) -> u32 {
        self.members.borrow().nodes
    }

    /// Cores of all machines that nodes run on now, each machine counted once.
    #[must_use]
    pub fn num_cores(&self) -> u32 {
        self.members.borrow().cores
    }

    /// Who is there now, and who of them has not been heard for a while.
    #[must_use]
    pub fn roll(&self) -> Roll {
        Roll::clone(&self.roll.borrow())
    }

    /// Whether a node could go and the run that was opened last still have its seats.
    #[must_use]
    pub fn has_spare(&self) -> bool {
        self.members.borrow().spare
    }

    /// News from now on. A listener that lags misses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<CoordinatorEvent> {
        self.events.subscribe()
    }

    /// Steps from now on, as they complete. A watcher that lags misses the oldest.
    #[must_use]
    pub fn watch_steps(&self) -> broadcast::Receiver<Arc<SeenStep>> {
        self.seen.subscribe()
    }

    /// A change of who is there, or of who is silent, can be waited for here.
    #[must_use]
    pub fn watch_roll(&self) -> watch::Receiver<Roll> {
        self.roll.clone()
    }

    /// Waits until there are `needed` nodes.
    ///
    /// # Errors
    /// [`RunError::TooFewNodes`] after `limit`, [`RunError::Closed`] when the coordinator shuts down meanwhile.
    pub async fn wait_for_nodes(&self, needed: u32, limit: Duration) -> Result<(), RunError> {
        let mut members = self.members.clone();
        match timeout(limit, members.wait_for(|there| there.nodes >= needed)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(RunError::Closed),
            Err(_) => Err(RunError::TooFewNodes { there: self.num_nodes().min(needed), needed }),
        }
    }

    /// Seats a run on the nodes, to be stepped; nothing else runs until the session is dropped. Dropping the future gives it up.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn open(&self, request: &RunRequest) -> Result<Session, RunError> {
        if !request.setup.payload {
            return Err(RunError::NoPayload);
        }
        let (session, opening, opened) = session::new();
        let command = Command::Open { request: Box::new(request.clone()), session: opening };
        self.commands.send(command).await.map_err(|_| RunError::Closed)?;
        opened.await.unwrap_or(Err(RunError::Closed))?;
        Ok(session)
    }

    /// The nodes as a runner.
    #[must_use]
    pub fn runner(&self) -> NodeRunner {
        NodeRunner { handle: self.clone(), session: None }
    }

    /// Gives up a node whose process is known to be gone, without waiting until it is missed.
    pub async fn give_up(&self, name: &str, reason: &str) {
        // Where the coordinator has shut down there is nobody to give up.
        let _ =
            self.commands.send(Command::GiveUp { name: name.to_owned(), reason: reason.to_owned() }).await;
    }

    /// Empties a node: it takes no seat any more, a spare takes the one that it has between two steps, or its run ends first, and then it
    /// is told to leave. Returns once it has left.
    ///
    /// # Errors
    /// [`RunError::NoNode`], or [`RunError::Closed`] when the coordinator shuts down meanwhile.
    pub async fn drain(&self, name: &str) -> Result<(), RunError> {
        let mut events = self.subscribe();
        let (reply, answer) = oneshot::channel();
        let drain = Command::Drain { name: name.to_owned(), reply };
        self.commands.send(drain).await.map_err(|_| RunError::Closed)?;
        answer.await.unwrap_or(Err(RunError::Closed))?;
        loop {
            match events.recv().await {
                Ok(CoordinatorEvent::NodeLeft { name: left, .. }) if left == name => return Ok(()),
                Ok(_) => {}
                // It may have left in what was missed.
                Err(broadcast::error::RecvError::Lagged(_)) => return Ok(()),
                Err(broadcast::error::RecvError::Closed) => return Err(RunError::Closed),
            }
        }
    }

    /// Tells all nodes to leave, waits for them a few seconds at most, and closes the port.
    pub async fn shutdown(&self) {
        self.end(true).await;
    }

    /// Closes the port; nodes look for a coordinator again.
    pub async fn close(&self) {
        self.end(false).await;
    }

    async fn end(&self, leave: bool) {
        let (done, answer) = oneshot::channel();
        if self.commands.send(Command::Shutdown { leave, done }).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// The nodes of a cluster over QUIC, as a runner.
#[derive(Debug)]
pub struct NodeRunner {
    handle: ClusterHandle,
    session: Option<Session>,
}

impl NodeRunner {
    /// The cluster.
    #[must_use]
    pub fn handle(&self) -> &ClusterHandle {
        &self.handle
    }
}

impl Runner for NodeRunner {
    async fn open(&mut self, request: &RunRequest) -> Result<(), RunError> {
        self.session = None;
        self.session = Some(self.handle.open(request).await?);
        Ok(())
    }

    async fn step(&mut self, batch: &StepBatch) -> Result<StepRecord, RunError> {
        match &mut self.session {
            Some(session) => session.step(batch).await,
            None => Err(RunError::Closed),
        }
    }

    fn close(&mut self) {
        self.session = None;
    }
}

//! The coordinator on QUIC and the wall clock: one task owns the state machine, two serve each node, and handles command it.
//!
//! The task that owns the machine never waits for a node: it writes into bounded queues, and a node whose queue is full is lost.

mod link;
mod session;

pub use session::Session;

use crate::error::RunError;
use crate::machine::{Coordinator, CoordinatorEvent, Limits};
use crate::run::{RunRequest, Runner, StepRecord};
use link::{Input, Link};
use moe::stack::StepBatch;
use node::control::NodeId;
use node::net::clock::monotonic_ns;
use node::net::{BindError, Endpoint, Identity, Peer, TransportOptions, this_machine};
use session::{Asked, OpenSession, Opening};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

/// Commands of handles that may wait.
const COMMANDS_MAX: usize = 16;
/// Messages of nodes that may wait.
const INPUTS_MAX: usize = 1024;
/// News that a slow listener may miss no more than.
const EVENTS_MAX: usize = 1024;
/// Clients that wait to be served.
const CLIENTS_MAX: usize = 16;
/// How long nodes have to leave before their connections are closed.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// How long a closing endpoint may take to tell its peers.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Settings of a coordinator.
#[derive(Debug)]
pub struct ServerConfig {
    /// UDP address to listen on; port 0 takes any free one.
    pub bind: SocketAddr,
    /// A certificate of the coordinator's role.
    pub identity: Identity,
    /// Datagram size, the same on every node.
    pub transport: TransportOptions,
    /// How long to wait for what.
    pub limits: Limits,
}

/// Connections of clients, to be served by the caller. Where this is dropped, clients are turned away.
pub type Clients = mpsc::Receiver<Peer>;

#[derive(Debug)]
enum Command {
    Open { request: Box<RunRequest>, session: Opening },
    Shutdown { done: oneshot::Sender<()> },
}

/// A running coordinator. Clones command the same one; it shuts down with the last of them.
#[derive(Clone, Debug)]
pub struct ClusterHandle {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<CoordinatorEvent>,
    members: watch::Receiver<Membership>,
    address: SocketAddr,
}

/// Starts a coordinator on the present tokio runtime.
///
/// # Errors
/// [`BindError`], for instance when the port is taken.
pub fn start(config: ServerConfig) -> Result<(ClusterHandle, Clients), BindError> {
    let endpoint = Endpoint::bind(config.bind, &config.identity, config.transport)?;
    let address = endpoint.local_address();
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let (inputs_in, inputs) = mpsc::channel(INPUTS_MAX);
    let (clients_in, clients) = mpsc::channel(CLIENTS_MAX);
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let (members_in, members) = watch::channel(Membership::default());
    let shell = Shell {
        // The standard library's hasher keys are the one source of random numbers at hand; nothing else depends on this one.
        machine: Coordinator::new(
            monotonic_ns(),
            RandomState::new().build_hasher().finish(),
            &this_machine().id,
            config.limits,
        ),
        links: BTreeMap::new(),
        session: None,
        events: events.clone(),
        members: members_in,
        commands,
        inputs,
    };
    tokio::spawn(async move {
        let accepting = tokio::spawn(link::accept(endpoint.clone(), inputs_in, clients_in));
        let done = shell.drive().await;
        accepting.abort();
        let _ = timeout(CLOSE_LIMIT, endpoint.close("the coordinator shuts down")).await;
        for done in done {
            let _ = done.send(());
        }
    });
    Ok((ClusterHandle { commands: commands_in, events, members, address }, clients))
}

impl ClusterHandle {
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

    /// News from now on. A listener that lags misses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<CoordinatorEvent> {
        self.events.subscribe()
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

    /// Tells all nodes to leave, waits for them a few seconds at most, and closes the port.
    pub async fn shutdown(&self) {
        let (done, answer) = oneshot::channel();
        if self.commands.send(Command::Shutdown { done }).await.is_ok() {
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

/// How large the cluster is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Membership {
    nodes: u32,
    cores: u32,
}

/// The state machine and what it speaks through.
struct Shell {
    machine: Coordinator,
    links: BTreeMap<NodeId, Link>,
    session: Option<OpenSession>,
    events: broadcast::Sender<CoordinatorEvent>,
    members: watch::Sender<Membership>,
    commands: mpsc::Receiver<Command>,
    inputs: mpsc::Receiver<Input>,
}

impl Shell {
    /// Serves until a shutdown is complete; returns who asked for it.
    async fn drive(mut self) -> Vec<oneshot::Sender<()>> {
        let mut done = Vec::new();
        let mut leave_by: Option<u64> = None;
        loop {
            self.flush();
            let now = monotonic_ns();
            if leave_by.is_some_and(|by| self.links.is_empty() || by <= now) {
                return done;
            }
            let deadline = self.machine.poll_timeout().into_iter().chain(leave_by).min();
            tokio::select! {
                biased;
                input = self.inputs.recv() => {
                    if let Some(input) = input {
                        self.handle_input(input);
                    }
                }
                command = self.commands.recv(), if leave_by.is_none() || !self.commands.is_closed() => match command {
                    Some(Command::Open { request, session }) => self.open(*request, session),
                    Some(Command::Shutdown { done: asked }) => {
                        done.push(asked);
                        self.leave(&mut leave_by);
                    }
                    None => self.leave(&mut leave_by),
                },
                () = sleep_until(now, deadline) => {}
                asked = session::asked(&mut self.session) => self.step(asked),
            }
            self.machine.handle_timeout(monotonic_ns());
        }
    }

    fn leave(&mut self, leave_by: &mut Option<u64>) {
        if leave_by.is_none() {
            let limit_ns = u64::try_from(LEAVE_LIMIT.as_nanos()).expect("a few seconds");
            *leave_by = Some(monotonic_ns() + limit_ns);
            self.machine.shutdown();
        }
    }

    /// The session before may have been dropped just before this one was made.
    fn clear(&mut self) {
        if self.session.as_ref().is_some_and(OpenSession::is_dropped) {
            self.step(None);
        }
        self.flush();
    }

    fn open(&mut self, request: RunRequest, opening: Opening) {
        self.clear();
        match self.machine.open(monotonic_ns(), request) {
            Ok(run) => self.session = Some(opening.open(run)),
            Err(error) => opening.refuse(error),
        }
    }

    /// A session's next step, or its end.
    fn step(&mut self, asked: Option<Asked>) {
        let Some(session) = &mut self.session else { return };
        let Some(Asked { batch, reply }) = asked else {
            self.machine.close(session.run);
            self.session = None;
            return;
        };
        let taken = match session.failure() {
            Some(error) => Err(error),
            None => self.machine.step(monotonic_ns(), session.run, batch),
        };
        match taken {
            Ok(()) => session.stepping(reply),
            // Whoever asked may be gone.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn handle_input(&mut self, input: Input) {
        let now = monotonic_ns();
        match input {
            Input::Register { name, address, machine, link, reply } => {
                let joined = self.machine.handle_register(now, &name, address, machine);
                match &joined {
                    Ok(node) => drop(self.links.insert(*node, link)),
                    Err(error) => {
                        link.refuse(&error.to_string());
                        self.tell(CoordinatorEvent::Refused {
                            reason: format!("{name} at {address}: {error}"),
                        });
                    }
                }
                // A node that has gone meanwhile is told by the end of its connection.
                let _ = reply.send(joined);
            }
            Input::Message { node, message } => self.machine.handle_message(now, node, message),
            Input::Lost { node, reason } => {
                self.links.remove(&node);
                self.machine.handle_lost(now, node, &reason);
            }
            Input::Refused { reason } => self.tell(CoordinatorEvent::Refused { reason }),
        }
    }

    /// Carries out what the machine has decided.
    fn flush(&mut self) {
        while let Some((node, message)) = self.machine.poll_transmit() {
            let Some(link) = self.links.get(&node) else {
                continue;
            };
            if let Err(reason) = link.send(message) {
                self.links.remove(&node);
                self.machine.handle_lost(monotonic_ns(), node, reason);
            }
        }
        while let Some(event) = self.machine.poll_event() {
            self.tell(event);
        }
        while let Some((run, event)) = self.machine.poll_session() {
            if let Some(session) = self.session.as_mut().filter(|session| session.run == run) {
                session.handle(event);
            }
        }
        let there = Membership { nodes: self.machine.num_members(), cores: self.machine.num_cores() };
        self.members.send_if_modified(|members| std::mem::replace(members, there) != there);
    }

    fn tell(&self, event: CoordinatorEvent) {
        match &event {
            CoordinatorEvent::StepDone { .. } => tracing::debug!(?event),
            CoordinatorEvent::NodeComplained { name, error } => tracing::warn!("{name}: {error}"),
            CoordinatorEvent::Refused { reason } => tracing::warn!("refused {reason}"),
            _ => tracing::info!(?event),
        }
        // Nobody need listen.
        let _ = self.events.send(event);
    }
}

async fn sleep_until(now_ns: u64, deadline_ns: Option<u64>) {
    match deadline_ns {
        Some(at) => sleep(Duration::from_nanos(at.saturating_sub(now_ns))).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

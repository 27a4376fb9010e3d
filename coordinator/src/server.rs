//! The coordinator on QUIC and the wall clock: one task owns the state machine, two serve each node, and handles command it.
//!
//! All of it runs on a thread of its own, so that nodes are heard and hear whatever its process computes. The task that owns the machine
//! never waits for a node: it writes into bounded queues, and a node whose queue is full is lost.

mod handle;
mod link;
mod seen;
mod session;

pub use handle::{ClusterHandle, NodeRunner};
pub use seen::{SeenPhase, SeenStep};
pub use session::Session;

use crate::error::RunError;
use crate::machine::{Coordinator, CoordinatorEvent, Limits, SessionEvent};
use crate::run::RunRequest;
use link::{Input, Link};
use node::control::NodeId;
use node::net::clock::monotonic_ns;
use node::net::{BindError, Endpoint, Identity, Peer, TransportOptions, this_machine};
use session::{Asked, OpenSession, Opening};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

/// Commands of handles that may wait.
const COMMANDS_MAX: usize = 16;
/// Messages of nodes that may wait.
const INPUTS_MAX: usize = 1024;
/// News that a slow listener may miss no more than.
const EVENTS_MAX: usize = 1024;
/// Steps that a slow watcher may miss no more than.
const STEPS_SEEN_MAX: usize = 64;
/// Clients that wait to be served.
const CLIENTS_MAX: usize = 16;
/// How long nodes have to leave before their connections are closed.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// How long a closing endpoint may take to tell its peers: one that is dead does not answer.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

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
    GiveUp { name: String, reason: String },
    Drain { name: String, reply: oneshot::Sender<Result<(), RunError>> },
    Shutdown { leave: bool, done: oneshot::Sender<()> },
}

/// Why a coordinator did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// No port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No thread.
    #[error("no thread for the coordinator: {0}")]
    Thread(std::io::Error),
}

/// Starts a coordinator.
///
/// # Errors
/// [`StartError`], for instance when the port is taken.
pub fn start(config: ServerConfig) -> Result<(ClusterHandle, Clients), StartError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let bound = {
        let _inside = runtime.enter();
        Endpoint::bind(config.bind, &config.identity, config.transport)
    };
    let endpoint = match bound {
        Ok(endpoint) => endpoint,
        Err(error) => {
            // A runtime may not end within another.
            runtime.shutdown_background();
            return Err(error.into());
        }
    };
    let address = endpoint.local_address();
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let (inputs_in, inputs) = mpsc::channel(INPUTS_MAX);
    let (clients_in, clients) = mpsc::channel(CLIENTS_MAX);
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let (seen, _) = broadcast::channel(STEPS_SEEN_MAX);
    let (members_in, members) = watch::channel(Membership::default());
    let (roll_in, roll) = watch::channel(Roll::default());
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
        seen: seen.clone(),
        members: members_in,
        roll: roll_in,
        commands,
        inputs,
    };
    let serve = async move {
        let accepting = tokio::spawn(link::accept(endpoint.clone(), inputs_in, clients_in));
        let done = shell.drive().await;
        accepting.abort();
        let _ = timeout(CLOSE_LIMIT, endpoint.close("the coordinator shuts down")).await;
        for done in done {
            let _ = done.send(());
        }
    };
    let thread = move || runtime.block_on(serve);
    std::thread::Builder::new().name("coordinator".to_owned()).spawn(thread).map_err(StartError::Thread)?;
    Ok((ClusterHandle::new(commands_in, (events, seen), (members, roll), address), clients))
}

/// How large the cluster is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Membership {
    nodes: u32,
    cores: u32,
    /// Whether one more could go.
    spare: bool,
}

/// Names of the nodes that are there, in order of seating, and whether each has not been heard for a while.
pub type Roll = Arc<Vec<(String, bool)>>;

/// The state machine and what it speaks through.
struct Shell {
    machine: Coordinator,
    links: BTreeMap<NodeId, Link>,
    session: Option<OpenSession>,
    events: broadcast::Sender<CoordinatorEvent>,
    seen: broadcast::Sender<Arc<SeenStep>>,
    members: watch::Sender<Membership>,
    roll: watch::Sender<Roll>,
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
                    Some(Command::GiveUp { name, reason }) => self.give_up(&name, &reason),
                    // Whoever asked may be gone.
                    Some(Command::Drain { name, reply }) => {
                        drop(reply.send(self.machine.drain(monotonic_ns(), &name)));
                    }
                    Some(Command::Shutdown { leave, done: asked }) => {
                        done.push(asked);
                        self.leave(&mut leave_by, leave);
                    }
                    None => self.leave(&mut leave_by, true),
                },
                () = sleep_until(now, deadline) => {}
                asked = session::asked(&mut self.session) => self.step(asked),
            }
            self.machine.handle_timeout(monotonic_ns());
        }
    }

    /// Nodes that are told to leave have some time for it.
    fn leave(&mut self, leave_by: &mut Option<u64>, leave: bool) {
        if leave_by.is_none() {
            let limit = if leave { LEAVE_LIMIT } else { Duration::ZERO };
            let limit_ns = u64::try_from(limit.as_nanos()).expect("a few seconds");
            *leave_by = Some(monotonic_ns() + limit_ns);
            self.machine.shutdown(leave);
        }
    }

    /// The session before may have been dropped just before this one was made.
    fn clear(&mut self) {
        if self.session.as_ref().is_some_and(OpenSession::is_dropped) {
            self.step(None);
        }
        self.flush();
    }

    fn give_up(&mut self, name: &str, reason: &str) {
        let members = self.machine.members();
        if let Some((node, _)) = members.into_iter().find(|(_, member)| member.name == name) {
            self.links.remove(&node);
            self.machine.handle_lost(monotonic_ns(), node, reason);
        }
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
                        link.refuse(error);
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
            // Whoever asked may be gone.
            Input::Health { name, reply } => drop(reply.send(self.machine.health_of(&name))),
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
        let mut changed = false;
        while let Some(event) = self.machine.poll_event() {
            changed |= event.changes_the_roll();
            if let CoordinatorEvent::NodeLeft { node, .. } = &event {
                // One that was silent learns of it as soon as it wakes.
                self.links.remove(node);
            }
            self.tell(event);
        }
        if changed {
            let members = self.machine.members().into_iter();
            let roll = members.map(|(_, member)| (member.name.clone(), member.is_suspected())).collect();
            self.roll.send_replace(Arc::new(roll));
        }
        // Whoever hears what becomes of a run finds the members as they are.
        let machine = &self.machine;
        let (nodes, cores, spare) = (machine.num_members(), machine.num_cores(), machine.has_spare());
        let there = Membership { nodes, cores, spare };
        self.members.send_if_modified(|members| std::mem::replace(members, there) != there);
        while let Some((run, event)) = self.machine.poll_session() {
            if let SessionEvent::Stepped(record) = &event
                && self.seen.receiver_count() > 0
                && let Some((cluster, nodes)) = self.machine.seated()
            {
                // Nobody need watch.
                let _ = self.seen.send(Arc::new(SeenStep::new(run, cluster, nodes, record)));
            }
            if let Some(session) = self.session.as_mut().filter(|session| session.run == run) {
                session.handle(event);
            }
        }
    }

    fn tell(&self, event: CoordinatorEvent) {
        match &event {
            CoordinatorEvent::StepDone { .. } => tracing::debug!(?event),
            CoordinatorEvent::NodeComplained { name, error } => tracing::warn!("{name}: {error}"),
            CoordinatorEvent::Refused { reason } => tracing::warn!("refused {reason}"),
            CoordinatorEvent::NodeSuspected { .. }
            | CoordinatorEvent::NodeSlow { .. }
            | CoordinatorEvent::LinkLossy { .. }
            | CoordinatorEvent::RunInterrupted { .. } => {
                tracing::warn!(?event);
            }
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

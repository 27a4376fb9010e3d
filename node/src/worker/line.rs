//! The line to the coordinator, on a thread of its own: a worker that computes is still heard.
//!
//! The thread finds the coordinator, registers, beats and answers pings; commands and answers it passes on. Once the coordinator is gone,
//! it looks for it again, for as long as the worker's settings say, and registers anew.

use super::{WorkerConfig, WorkerError};
use crate::control::{FromNode, TRY_AGAIN, ToNode};
use crate::net::clock::monotonic_ns;
use crate::net::endpoint::HANDSHAKE_TIMEOUT;
use crate::net::{
    Endpoint, LinkError, MessageError, Peer, Role, recv_message, resolve, send_message, this_machine,
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

/// Commands that wait for the worker, and answers that wait for the coordinator.
const MESSAGES_MAX: usize = 256;
/// Pause between two attempts to reach a coordinator that is not there yet.
const RETRY: Duration = Duration::from_millis(200);
/// How long saying goodbye may take: a peer that is dead does not answer.
pub(super) const FAREWELL: Duration = Duration::from_millis(500);
/// A coordinator that beats and has not been heard for so long is gone. Longer than it waits for its nodes: a node too many that looks for
/// it anew costs more than one that waits.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// A registration: what the coordinator says, and where answers go. The coordinator is gone when `commands` ends.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) commands: mpsc::Receiver<ToNode>,
    pub(super) answers: mpsc::Sender<FromNode>,
    /// Once true, the line says nothing more.
    pub(super) silent: Arc<AtomicBool>,
}

/// The worker's end of the line.
#[derive(Debug)]
pub(super) struct Line {
    registrations: mpsc::Receiver<Registration>,
    stop: oneshot::Sender<String>,
    ended: oneshot::Receiver<Result<(), WorkerError>>,
}

impl Line {
    /// Starts the thread; peers dial the worker at `port`.
    pub(super) fn start(config: Arc<WorkerConfig>, port: u16) -> Result<Self, WorkerError> {
        let (registrations_in, registrations) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let (ended_in, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(WorkerError::Thread)?;
        let thread = move || {
            let ending = runtime.block_on(Far { config, port, registrations: registrations_in }.run(stopped));
            runtime.shutdown_background();
            // A worker that is gone asks no more.
            let _ = ended_in.send(ending);
        };
        std::thread::Builder::new().name("line".to_owned()).spawn(thread).map_err(WorkerError::Thread)?;
        Ok(Self { registrations, stop, ended })
    }

    /// The next registration; `None` once there will be no more. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Registration> {
        self.registrations.recv().await
    }

    /// Why there will be no more.
    pub(super) async fn ended(self) -> Result<(), WorkerError> {
        self.ended.await.unwrap_or(Ok(()))
    }

    /// Closes the connection for a reason that the coordinator is told, and waits until it knows.
    pub(super) async fn close(self, reason: String) {
        // The thread may have ended before.
        let _ = self.stop.send(reason);
        let _ = timeout(FAREWELL, self.ended).await;
    }
}

/// The thread's end of the line.
struct Far {
    config: Arc<WorkerConfig>,
    port: u16,
    registrations: mpsc::Sender<Registration>,
}

/// How a connection to the coordinator ended.
enum Ended {
    /// The worker was told to leave.
    Leave,
    /// Turned away for now: another process has the name, or the coordinator is about to end.
    Later(String),
    /// It was not let in.
    NotAdmitted(String),
    /// The coordinator is gone, or has given this node up.
    Lost(String),
}

impl Far {
    async fn run(self, stopped: oneshot::Receiver<String>) -> Result<(), WorkerError> {
        let bind = SocketAddr::new(self.config.bind.ip(), 0);
        let endpoint = Endpoint::bind(bind, &self.config.identity, self.config.transport)?;
        let (ending, reason) = tokio::select! {
            ending = self.stay(&endpoint) => (ending, "worker leaves".to_owned()),
            reason = stopped => (Ok(()), reason.unwrap_or_else(|_| "the worker ended without a word".to_owned())),
        };
        let _ = timeout(FAREWELL, endpoint.close(&reason)).await;
        ending
    }

    /// Registers again and again until it is told to leave, or nobody takes it.
    async fn stay(&self, endpoint: &Endpoint) -> Result<(), WorkerError> {
        let mut limit = self.config.connect_timeout;
        let mut search = Instant::now();
        let mut turned_away: Option<String> = None;
        loop {
            let coordinator = match (self.find(endpoint, search + limit, limit).await, turned_away.take()) {
                (Ok(coordinator), before) => {
                    turned_away = before;
                    coordinator
                }
                // It was found, but did not let this node in as long as it was looked for.
                (Err(WorkerError::NoCoordinator { .. }), Some(reason)) => {
                    return Err(WorkerError::NotAdmitted(reason));
                }
                (Err(error), _) => return Err(error),
            };
            match self.serve(&coordinator).await {
                Ended::Leave => return Ok(()),
                Ended::NotAdmitted(reason) => return Err(WorkerError::NotAdmitted(reason)),
                Ended::Later(reason) => {
                    if turned_away.as_ref() != Some(&reason) {
                        tracing::warn!("turned away for now: {reason}; trying again");
                    }
                    turned_away = Some(reason);
                    sleep(RETRY).await;
                }
                Ended::Lost(reason) => {
                    let Some(rejoin) = self.config.rejoin else {
                        return Err(WorkerError::CoordinatorLost(reason));
                    };
                    tracing::warn!("the coordinator's connection ended: {reason}; looking for it again");
                    (limit, search, turned_away) = (rejoin, Instant::now(), None);
                    sleep(RETRY).await;
                }
            }
        }
    }

    async fn find(
        &self,
        endpoint: &Endpoint,
        give_up: Instant,
        after: Duration,
    ) -> Result<Peer, WorkerError> {
        let address = &self.config.coordinator;
        let mut last = String::from("no attempt was made");
        while Instant::now() < give_up {
            // Neither a name that takes long nor a handshake goes past the limit.
            let dialled = async {
                let found = resolve(address).await.map_err(|error| Ok(error.to_string()))?;
                let limit = give_up.saturating_duration_since(Instant::now()).min(HANDSHAKE_TIMEOUT);
                let dialled = endpoint.dial_within(found, Role::Coordinator, limit).await;
                dialled.map_err(|error| if error.may_pass() { Ok(error.to_string()) } else { Err(error) })
            };
            match timeout_at(give_up + FAREWELL, dialled).await {
                Ok(Ok(peer)) => return Ok(peer),
                Ok(Err(Ok(reason))) => last = reason,
                Ok(Err(Err(error))) => return Err(error.into()),
                Err(_) => last = format!("{address} was not found in time"),
            }
            sleep(RETRY).await;
        }
        Err(WorkerError::NoCoordinator { address: address.clone(), after, last })
    }

    /// Registers with a coordinator and stays as long as it is there.
    async fn serve(&self, coordinator: &Peer) -> Ended {
        let connection = &coordinator.connection;
        let lost = |error: &dyn std::fmt::Display| Ended::Lost(error.to_string());
        let (send, recv) = match connection.open_bi().await {
            Ok(streams) => streams,
            Err(error) => return lost(&error),
        };
        let host =
            self.config.advertise.or_else(|| connection.local_ip()).unwrap_or_else(|| self.config.bind.ip());
        let register = FromNode::Register {
            name: self.config.name.clone(),
            address: SocketAddr::new(host, self.port),
            machine: this_machine(),
        };
        let (commands_in, mut commands) = mpsc::channel(MESSAGES_MAX);
        let _reader = AbortOnDrop(tokio::spawn(read(recv, commands_in)));
        let mut wire = Wire { send, heard: Instant::now(), silent: Arc::default() };
        if let Err(error) = wire.say(&register).await {
            return self.not_welcome(connection, &error);
        }
        let beat = match commands.recv().await {
            Some(Ok(Some(welcome @ ToNode::Welcome { beat_ms, .. }))) => {
                let (commands_in, commands) = mpsc::channel(MESSAGES_MAX);
                let (answers, answers_out) = mpsc::channel(MESSAGES_MAX);
                let silent = Arc::new(AtomicBool::new(false));
                wire.silent = Arc::clone(&silent);
                // The channel is new and has room.
                let _ = commands_in.try_send(welcome);
                if self.registrations.send(Registration { commands, answers, silent }).await.is_err() {
                    return Ended::Leave;
                }
                (beat_ms, commands_in, answers_out)
            }
            Some(Err(error)) => return self.not_welcome(connection, &error.to_string()),
            _ => return lost(&"its first message was no welcome; run one build of railyard everywhere"),
        };
        wire.carry(&mut commands, beat).await
    }

    /// The connection ended before there was a welcome.
    fn not_welcome(&self, connection: &Connection, error: &dyn std::fmt::Display) -> Ended {
        match connection.close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) => {
                let reason = String::from_utf8_lossy(&close.reason).into_owned();
                if close.error_code == TRY_AGAIN.into() {
                    Ended::Later(reason)
                } else {
                    Ended::NotAdmitted(reason)
                }
            }
            _ => Ended::Lost(error.to_string()),
        }
    }
}

/// The stream to the coordinator.
struct Wire {
    send: SendStream,
    /// When the coordinator was last heard.
    heard: Instant,
    silent: Arc<AtomicBool>,
}

type Commands = mpsc::Receiver<Result<Option<ToNode>, MessageError>>;

impl Wire {
    /// A coordinator that takes nothing is as good as gone.
    async fn say(&mut self, message: &FromNode) -> Result<(), String> {
        match timeout(SILENCE_LIMIT, send_message(&mut self.send, message)).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it took no message for {} s", SILENCE_LIMIT.as_secs())),
        }
    }

    /// Carries commands and answers, and beats, until the coordinator or the worker is gone.
    async fn carry(
        &mut self,
        commands: &mut Commands,
        (beat_ms, to_worker, mut answers): (u32, mpsc::Sender<ToNode>, mpsc::Receiver<FromNode>),
    ) -> Ended {
        let beats = beat_ms > 0;
        let mut beat = interval(Duration::from_millis(u64::from(beat_ms.max(1))));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let said = tokio::select! {
                biased;
                command = commands.recv() => {
                    self.heard = Instant::now();
                    match command {
                        Some(Ok(Some(ToNode::Beat))) => Ok(()),
                        Some(Ok(Some(ToNode::Ping { sent_ns }))) => {
                            self.say(&FromNode::Pong { sent_ns, node_ns: monotonic_ns() }).await
                        }
                        Some(Ok(Some(ToNode::Shutdown))) => return Ended::Leave,
                        Some(Ok(Some(command))) => to_worker.try_send(command).map_err(|_| {
                            "it gives commands faster than they are done; run one build of railyard everywhere".to_owned()
                        }),
                        Some(Ok(None)) | None => Err("it closed the control stream".to_owned()),
                        Some(Err(error)) => Err(error.to_string()),
                    }
                }
                answer = answers.recv() => match answer {
                    Some(answer) => self.say(&answer).await,
                    // The worker is gone; the thread's other end is told why.
                    None => std::future::pending().await,
                },
                _ = beat.tick(), if beats => {
                    if self.silent.load(Ordering::Relaxed) {
                        std::future::pending::<()>().await;
                    }
                    if self.heard.elapsed() > SILENCE_LIMIT {
                        Err(format!("it was silent for {} s", SILENCE_LIMIT.as_secs()))
                    } else {
                        self.say(&FromNode::Beat).await
                    }
                }
            };
            if let Err(reason) = said {
                return Ended::Lost(reason);
            }
        }
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reading a message is not cancel safe, so it has a task of its own.
async fn read(mut recv: RecvStream, commands: mpsc::Sender<Result<Option<ToNode>, MessageError>>) {
    loop {
        let message = recv_message(&mut recv).await;
        let more = matches!(message, Ok(Some(_)));
        if commands.send(message).await.is_err() || !more {
            return;
        }
    }
}

impl LinkError {
    /// Whether the peer may just not have started yet, or is about to end.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Dial { .. } | Self::Failed { .. } | Self::Refused { .. })
    }
}

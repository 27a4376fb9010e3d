//! Connections to the coordinator: who they are, and the two tasks that carry a node's messages.

use crate::machine::JoinError;
use node::control::{FromNode, Machine, NodeId, TRY_AGAIN, ToNode};
use node::net::transport::IDLE_TIMEOUT;
use node::net::{Accepting, Crowd, Endpoint, MessageError, Peer, Role, recv_message, send_message};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Time for a connected node to register.
const REGISTER_LIMIT: Duration = Duration::from_secs(10);
/// Messages that may wait for a node: more than a step takes.
const MESSAGES_MAX: usize = 64;
/// Application error code of a connection that is turned away or given up.
const REFUSED: VarInt = VarInt::from_u32(2);

/// The sending side of a node's control stream; the connection closes with it.
#[derive(Debug)]
pub(super) struct Link {
    messages: mpsc::Sender<ToNode>,
    connection: Connection,
}

/// What connections tell the task that owns the machine.
#[derive(Debug)]
pub(super) enum Input {
    /// A node wants in.
    Register {
        name: String,
        address: SocketAddr,
        machine: Machine,
        link: Link,
        reply: oneshot::Sender<Result<NodeId, JoinError>>,
    },
    /// A registered node says something.
    Message { node: NodeId, message: FromNode },
    /// A registered node's connection ended.
    Lost { node: NodeId, reason: String },
    /// Somebody asks whether a node of this name is there, and how many are.
    Health { name: String, reply: oneshot::Sender<(bool, u32)> },
    /// A connection that came to nothing.
    Refused { reason: String },
}

impl Link {
    /// Queues a message; an error is the reason to give the node up.
    pub(super) fn send(&self, message: ToNode) -> Result<(), &'static str> {
        match self.messages.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err("it does not read its control messages"),
            Err(TrySendError::Closed(_)) => Err("its control stream is closed"),
        }
    }

    /// Closes the connection for a reason that the node is told.
    pub(super) fn refuse(self, error: &JoinError) {
        let code = if error.may_pass() { TRY_AGAIN.into() } else { REFUSED };
        self.connection.close(code, error.to_string().as_bytes());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Without effect where the connection has ended already.
        self.connection.close(REFUSED, b"given up by the coordinator");
    }
}

/// Accepts connections until the endpoint closes: nodes register, clients are passed on.
pub(super) async fn accept(endpoint: Endpoint, inputs: mpsc::Sender<Input>, clients: mpsc::Sender<Peer>) {
    let mut strangers = Crowd::default();
    while let Some(accepting) = endpoint.accept().await {
        let (inputs, clients, endpoint) = (inputs.clone(), clients.clone(), endpoint.clone());
        strangers.spawn(async move {
            match admit(accepting, &inputs, &clients).await {
                // A stranger no longer.
                Ok(Some(registered)) => {
                    drop(tokio::spawn(async move { registered.serve(&endpoint, &inputs).await }));
                }
                Ok(None) => {}
                // The owner of the machine is gone: so is the endpoint.
                Err(reason) => drop(inputs.send(Input::Refused { reason }).await),
            }
        });
    }
}

/// A node that has joined.
struct Registered {
    node: NodeId,
    peer: Peer,
    send: SendStream,
    recv: RecvStream,
    messages: mpsc::Receiver<ToNode>,
}

/// Completes the handshake and the registration; `None` for a client that was passed on. An error says who and why.
async fn admit(
    accepting: Accepting,
    inputs: &mpsc::Sender<Input>,
    clients: &mpsc::Sender<Peer>,
) -> Result<Option<Registered>, String> {
    let peer = accepting.establish().await.map_err(|error| error.to_string())?;
    let connection = peer.connection.clone();
    let who = format!("{} {} at {}", peer.role, peer.name, connection.remote_address());
    let refuse = |reason: String| {
        connection.close(REFUSED, reason.as_bytes());
        format!("{who}: {reason}")
    };
    match peer.role {
        Role::Node | Role::Coordinator => {}
        Role::Client => {
            let passed = clients.try_send(peer);
            return passed.map(|()| None).map_err(|error| match error {
                TrySendError::Full(_) => refuse("too many clients wait; try again later".to_owned()),
                TrySendError::Closed(_) => {
                    refuse("this coordinator serves no clients; start `railyard coordinator`".to_owned())
                }
            });
        }
    }
    let greeted = timeout(REGISTER_LIMIT, async {
        let (send, mut recv) = connection.accept_bi().await.map_err(|error| error.to_string())?;
        let first = recv_message::<FromNode>(&mut recv).await.map_err(|error| error.to_string())?;
        Ok((send, recv, first))
    });
    let (send, recv, first) = match greeted.await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(reason)) => return Err(refuse(reason)),
        Err(_) => {
            return Err(refuse(format!("it did not register within {} s", REGISTER_LIMIT.as_secs())));
        }
    };
    if first == Some(FromNode::AskHealth) {
        return Ok(answer_health(peer.name.clone(), &connection, send, inputs).await);
    }
    if peer.role == Role::Coordinator {
        return Err(refuse(
            "a cluster has one coordinator; give this process a node's certificate".to_owned(),
        ));
    }
    let Some(FromNode::Register { name, mut address, machine }) = first else {
        return Err(refuse(
            "its first message was no registration; run one build of railyard everywhere".to_owned(),
        ));
    };
    if name != peer.name {
        return Err(refuse(JoinError::Certificate { name, certificate: peer.name.clone() }.to_string()));
    }
    if address.ip().is_unspecified() {
        address.set_ip(connection.remote_address().ip());
    }
    let (messages_in, messages) = mpsc::channel(MESSAGES_MAX);
    let link = Link { messages: messages_in, connection: connection.clone() };
    let (reply, joined) = oneshot::channel();
    let closing = "the coordinator is shutting down";
    let register = Input::Register { name, address, machine, link, reply };
    inputs.send(register).await.map_err(|_| refuse(closing.to_owned()))?;
    match joined.await {
        Ok(Ok(node)) => Ok(Some(Registered { node, peer, send, recv, messages })),
        // Told as news already; the link, and with it the connection, was dropped.
        Ok(Err(_)) => Ok(None),
        Err(_) => Err(refuse(closing.to_owned())),
    }
}

/// Says how the cluster is, and waits until the asker has read it.
async fn answer_health(
    name: String,
    connection: &Connection,
    mut send: SendStream,
    inputs: &mpsc::Sender<Input>,
) -> Option<Registered> {
    let (reply, answer) = oneshot::channel();
    inputs.send(Input::Health { name, reply }).await.ok()?;
    let (there, nodes) = answer.await.ok()?;
    send_message(&mut send, &ToNode::Health { there, nodes }).await.ok()?;
    // The asker closes; whoever doesn't is a stranger with a limit.
    let _ = timeout(REGISTER_LIMIT, connection.closed()).await;
    None
}

impl Registered {
    /// Carries messages both ways until the connection ends, or the node's name is removed from the cluster.
    async fn serve(self, endpoint: &Endpoint, inputs: &mpsc::Sender<Input>) {
        let Self { node, peer, send, mut recv, messages } = self;
        let writer = tokio::spawn(write(node, send, messages, inputs.clone()));
        let reading = async {
            loop {
                match recv_message::<FromNode>(&mut recv).await {
                    Ok(Some(message)) => {
                        if inputs.send(Input::Message { node, message }).await.is_err() {
                            break "the coordinator is gone".to_owned();
                        }
                    }
                    Ok(None) => break "it closed its control stream".to_owned(),
                    Err(error) => break ending(&peer.connection, &error),
                }
            }
        };
        let reason = tokio::select! {
            reason = reading => reason,
            () = endpoint.removed(&peer) => {
                let reason = format!("{} was removed from the cluster", peer.name);
                peer.connection.close(REFUSED, reason.as_bytes());
                reason
            }
        };
        writer.abort();
        // Without the owner there is nobody to tell.
        let _ = inputs.send(Input::Lost { node, reason }).await;
    }
}

/// Writes queued messages; a message that can't be encoded is a failure of the run, not of the node.
async fn write(
    node: NodeId,
    mut send: SendStream,
    mut messages: mpsc::Receiver<ToNode>,
    inputs: mpsc::Sender<Input>,
) {
    while let Some(message) = messages.recv().await {
        let last = message == ToNode::Shutdown;
        let input = match send_message(&mut send, &message).await {
            Ok(()) if last => return,
            Ok(()) => continue,
            Err(error @ (MessageError::TooLarge { .. } | MessageError::Encode(_))) => Input::Message {
                node,
                message: FromNode::Failed { run: 0, error: error.to_string(), peer: None },
            },
            // The reader sees the same and knows why.
            Err(_) => return,
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}

/// Why reading ended, in words that say more than the stream's error.
fn ending(connection: &Connection, error: &MessageError) -> String {
    match (error, connection.close_reason()) {
        (_, Some(ConnectionError::TimedOut)) => format!("it was silent for {} s", IDLE_TIMEOUT.as_secs()),
        (_, Some(reason)) => format!("its connection ended, {reason}"),
        (error, None) => error.to_string(),
    }
}

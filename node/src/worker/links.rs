//! Streams between workers: one connection a pair, one unidirectional stream a direction and traffic class.
//!
//! The node with the lower id dials. A stream begins with eight bytes: the sender's node id and the class. A reader takes a
//! frame's header, checks all that it can show before it allocates, and passes whole frames on; a writer encodes and sends.

use crate::control::{NodeId, SeatPlan};
use crate::net::{Endpoint, LinkError, Peer, Role};
use crate::wire::{Frame, HEADER_BYTES, TrafficClass, WireError, body_bytes, decode, encode};
use bytes::Bytes;
use quinn::{Connection, ReadExactError, RecvStream, SendStream};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A frame, or the end of the links' trustworthiness.
pub(super) type Arrival = Result<Frame, LinkFailure>;

/// Frames for one peer that QUIC has not yet taken. Credits bound the bytes; this bounds the count.
const UNSENT_FRAMES_MAX: usize = 8192;
/// How long a full mesh may take to form after the coordinator asks for it.
const MESH_TIMEOUT: Duration = Duration::from_secs(45);

/// A broken link or a broken frame.
#[derive(Debug, Error)]
pub(super) enum LinkFailure {
    /// A peer can't be reached, or is not of this cluster.
    #[error("no link with a peer: {0}")]
    Dial(#[from] LinkError),
    /// Peers that never called.
    #[error("no link with {peers} within {} s: did they start, and can they reach this node?", MESH_TIMEOUT.as_secs())]
    Mesh {
        /// Their node ids.
        peers: String,
    },
    /// A frame that can't be one of ours.
    #[error("{peer}: {error}")]
    Wire {
        /// The sender.
        peer: NodeId,
        /// What is wrong.
        error: WireError,
    },
    /// The connection ended.
    #[error("the link with {peer} broke: {reason}")]
    Broken {
        /// The other end.
        peer: NodeId,
        /// What QUIC said.
        reason: String,
    },
    /// The peer takes no frames.
    #[error("{peer} has left {UNSENT_FRAMES_MAX} frames untaken: it is stuck, or its credit is wrong")]
    Stuck {
        /// The other end.
        peer: NodeId,
    },
}

/// Sending ends towards one peer.
#[derive(Debug)]
struct Lanes {
    connection: Connection,
    control: mpsc::Sender<Frame>,
    rows: mpsc::Sender<Frame>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Mutex<BTreeMap<NodeId, Connection>>,
    changed: Notify,
}

impl Shared {
    fn add(&self, peer: NodeId, connection: Connection) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).entry(peer).or_insert(connection);
        self.changed.notify_waiters();
    }

    fn get(&self, peer: NodeId) -> Option<Connection> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned()
    }
}

/// All links of one worker.
#[derive(Debug)]
pub(super) struct Links {
    endpoint: Endpoint,
    arrivals: mpsc::Sender<Arrival>,
    shared: Arc<Shared>,
    lanes: BTreeMap<NodeId, Lanes>,
    tasks: JoinSet<()>,
}

impl Links {
    pub(super) fn new(endpoint: Endpoint, arrivals: mpsc::Sender<Arrival>) -> Self {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(endpoint.clone(), Arc::clone(&shared), arrivals.clone()));
        Self { endpoint, arrivals, shared, lanes: BTreeMap::new(), tasks }
    }

    /// Connects with every peer of the plan that is not connected yet; returns when all have called or been called.
    pub(super) async fn connect(&mut self, me: NodeId, plan: &SeatPlan) -> Result<(), LinkFailure> {
        let peers: BTreeMap<NodeId, SocketAddr> =
            plan.seats.iter().copied().filter(|(node, _)| *node != me).collect();
        self.endpoint.expect_peers(u32::try_from(peers.len()).unwrap_or(u32::MAX).max(1));
        let gone: Vec<NodeId> = self
            .lanes
            .iter()
            .filter(|(_, lanes)| lanes.connection.close_reason().is_some())
            .map(|(node, _)| *node)
            .collect();
        for node in gone {
            self.lanes.remove(&node);
            self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
        }
        let mut dials = JoinSet::new();
        for (&peer, &address) in peers.range(next(me)..) {
            if self.shared.get(peer).is_none() {
                let endpoint = self.endpoint.clone();
                dials.spawn(async move { (peer, endpoint.dial(address, Role::Node).await) });
            }
        }
        while let Some(dialled) = dials.join_next().await {
            let (peer, link) = dialled.expect("a dial does not panic");
            let Peer { connection, .. } = link?;
            self.tasks.spawn(accept_streams(
                connection.clone(),
                Arc::clone(&self.shared),
                self.arrivals.clone(),
            ));
            self.shared.add(peer, connection.clone());
            self.open(me, peer, connection).await?;
        }
        let missing = |links: &Self| -> BTreeSet<NodeId> {
            peers.keys().filter(|peer| links.shared.get(**peer).is_none()).copied().collect()
        };
        let shared = Arc::clone(&self.shared);
        let all_called = async {
            loop {
                let changed = shared.changed.notified();
                if missing(self).is_empty() {
                    return;
                }
                changed.await;
            }
        };
        if timeout(MESH_TIMEOUT, all_called).await.is_err() {
            let peers = missing(self).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(LinkFailure::Mesh { peers });
        }
        for peer in peers.into_keys() {
            if !self.lanes.contains_key(&peer) {
                let connection = self.shared.get(peer).expect("all peers have called");
                self.open(me, peer, connection).await?;
            }
        }
        Ok(())
    }

    async fn open(&mut self, me: NodeId, peer: NodeId, connection: Connection) -> Result<(), LinkFailure> {
        let broken = |reason: String| LinkFailure::Broken { peer, reason };
        let mut senders = Vec::with_capacity(2);
        for class in [TrafficClass::Control, TrafficClass::Tokens] {
            let mut stream = connection.open_uni().await.map_err(|error| broken(error.to_string()))?;
            let priority = i32::from(class == TrafficClass::Control);
            stream.set_priority(priority).map_err(|error| broken(error.to_string()))?;
            let mut preamble = [0; 8];
            preamble[..4].copy_from_slice(&me.0.to_le_bytes());
            preamble[4] = u8::from(class == TrafficClass::Tokens);
            stream.write_all(&preamble).await.map_err(|error| broken(error.to_string()))?;
            let (sender, queue) = mpsc::channel(UNSENT_FRAMES_MAX);
            self.tasks.spawn(write(peer, stream, queue, self.arrivals.clone()));
            senders.push(sender);
        }
        let rows = senders.pop().expect("two lanes were opened");
        let control = senders.pop().expect("two lanes were opened");
        self.lanes.insert(peer, Lanes { connection, control, rows });
        Ok(())
    }

    /// Queues a frame for a peer.
    pub(super) fn send(&self, peer: NodeId, frame: Frame) -> Result<(), LinkFailure> {
        let broken = || LinkFailure::Broken { peer, reason: "it is not connected".to_owned() };
        let lanes = self.lanes.get(&peer).ok_or_else(broken)?;
        let lane = if frame.class == TrafficClass::Control { &lanes.control } else { &lanes.rows };
        lane.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LinkFailure::Stuck { peer },
            mpsc::error::TrySendError::Closed(_) => broken(),
        })
    }

    /// Bytes of UDP payload that QUIC has sent to all peers so far.
    pub(super) fn udp_bytes(&self) -> u64 {
        self.lanes.values().map(|lanes| lanes.connection.stats().udp_tx.bytes).sum()
    }
}

fn next(node: NodeId) -> NodeId {
    NodeId(node.0.saturating_add(1))
}

/// Takes connections of peers as they come.
async fn accept(endpoint: Endpoint, shared: Arc<Shared>, arrivals: mpsc::Sender<Arrival>) {
    let mut tasks = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let (shared, arrivals) = (Arc::clone(&shared), arrivals.clone());
        tasks.spawn(async move {
            match incoming.establish().await {
                Ok(peer) if peer.role == Role::Node => {
                    accept_streams(peer.connection, shared, arrivals).await
                }
                Ok(peer) => peer.connection.close(1u8.into(), b"workers talk to workers only"),
                Err(error) => tracing::warn!("a connection was refused: {error}"),
            }
        });
        while tasks.try_join_next().is_some() {}
    }
}

/// Takes a peer's streams and reads each until it ends.
async fn accept_streams(connection: Connection, shared: Arc<Shared>, arrivals: mpsc::Sender<Arrival>) {
    let mut readers = JoinSet::new();
    while let Ok(mut stream) = connection.accept_uni().await {
        let mut preamble = [0; 8];
        if stream.read_exact(&mut preamble).await.is_err() {
            continue;
        }
        let peer = NodeId(u32::from_le_bytes([preamble[0], preamble[1], preamble[2], preamble[3]]));
        shared.add(peer, connection.clone());
        let arrivals = arrivals.clone();
        readers.spawn(async move {
            while let Some(arrival) = read(peer, &mut stream).await {
                let ends = arrival.is_err();
                if arrivals.send(arrival).await.is_err() || ends {
                    return;
                }
            }
        });
    }
}

/// One frame, or `None` at the stream's end.
async fn read(peer: NodeId, stream: &mut RecvStream) -> Option<Arrival> {
    let broken =
        |error: &dyn std::fmt::Display| Some(Err(LinkFailure::Broken { peer, reason: error.to_string() }));
    let mut header = [0; HEADER_BYTES];
    match stream.read_exact(&mut header).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return None,
        Err(error) => return broken(&error),
    }
    let body_len = match body_bytes(&header) {
        Ok(len) => len,
        Err(error) => return Some(Err(LinkFailure::Wire { peer, error })),
    };
    let mut body = vec![0; body_len];
    if let Err(error) = stream.read_exact(&mut body).await {
        return broken(&error);
    }
    let body = Bytes::from(body);
    Some(decode(&header, &body).map_err(|error| LinkFailure::Wire { peer, error }))
}

/// Encodes and sends frames in order until the lane closes.
async fn write(
    peer: NodeId,
    mut stream: SendStream,
    mut queue: mpsc::Receiver<Frame>,
    arrivals: mpsc::Sender<Arrival>,
) {
    while let Some(frame) = queue.recv().await {
        let mut buffers = encode(&frame);
        if let Err(error) = stream.write_all_chunks(&mut buffers).await {
            let broken = LinkFailure::Broken { peer, reason: error.to_string() };
            let _ = arrivals.send(Err(broken)).await;
            return;
        }
    }
}

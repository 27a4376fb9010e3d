//! Streams between workers: one connection a pair, one unidirectional stream a direction and traffic class.
//!
//! The node with the lower id dials; a link that broke is dialled by whoever knows, for the other end may not. A stream begins with eight
//! bytes: the sender's node id and the class; a writer encodes and sends. What others send is read in [`incoming`].

mod incoming;

use crate::control::{NodeId, Occupant, SeatPlan};
use crate::net::{Endpoint, LinkError, Role};
use crate::wire::{Frame, TrafficClass, WireError, encode};
use incoming::{accept, accept_streams};
use quinn::{Connection, SendStream};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What came from a node: a frame, or the end of its link.
pub(super) type Arrival = (NodeId, Result<Frame, LinkFailure>);

/// Frames for one peer that QUIC has not yet taken. Credits bound the bytes; this bounds the count.
const UNSENT_FRAMES_MAX: usize = 8192;
/// How long a full mesh may take to form after the coordinator asks for it.
const MESH_TIMEOUT: Duration = Duration::from_secs(45);
/// A broken link or a broken frame.
#[derive(Debug, Error)]
pub(super) enum LinkFailure {
    /// A peer can't be reached, or is not of this cluster.
    #[error("no link with {name}: {error}")]
    Unreachable {
        /// The other end.
        peer: NodeId,
        /// Its name.
        name: String,
        /// Why.
        error: Box<LinkError>,
    },
    /// Another process answers where a peer should be.
    #[error("at the address of {name} is {found}: {peer} is not who the seats say")]
    Impostor {
        /// The other end.
        peer: NodeId,
        /// Its name by the seats.
        name: String,
        /// The name in the certificate.
        found: String,
    },
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
        peer: Named,
        /// What is wrong.
        error: WireError,
    },
    /// The connection ended.
    #[error("the link with {peer} broke: {reason}")]
    Broken {
        /// The other end.
        peer: Named,
        /// What QUIC said.
        reason: String,
    },
    /// The peer takes no frames.
    #[error("{peer} has left {UNSENT_FRAMES_MAX} frames untaken: it is stuck, or its credit is wrong")]
    Stuck {
        /// The other end.
        peer: Named,
    },
}

impl LinkFailure {
    /// The node at the other end, where it is one that did connect.
    pub(super) fn peer(&self) -> Option<NodeId> {
        match self {
            Self::Wire { peer, .. } | Self::Broken { peer, .. } | Self::Stuck { peer } => Some(peer.node),
            Self::Unreachable { peer, .. } | Self::Impostor { peer, .. } => Some(*peer),
            Self::Mesh { .. } => None,
        }
    }
}

/// A node by the name in its certificate.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) node: NodeId,
    pub(super) name: Arc<str>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Sending ends towards one peer.
#[derive(Debug)]
struct Lanes {
    peer: Named,
    connection: Connection,
    control: mpsc::Sender<Frame>,
    rows: mpsc::Sender<Frame>,
}

/// Who has a seat: the names that certificates must show.
type Names = BTreeMap<NodeId, String>;

/// What links and those who take up what comes in know together.
#[derive(Debug)]
pub(super) struct Shared {
    seated: watch::Sender<Arc<Names>>,
    /// Connections of peers that are who the seats say.
    connections: Mutex<BTreeMap<NodeId, Connection>>,
    changed: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest is the one to send on: the one before may have broken unnoticed.
    pub(super) fn add(&self, peer: NodeId, connection: Connection) {
        self.lock().insert(peer, connection);
        self.changed.notify_waiters();
    }

    pub(super) fn get(&self, peer: NodeId) -> Option<Connection> {
        self.lock().get(&peer).cloned()
    }

    /// Whether `node` of that name has a seat, once the seats of its run are known here; false where they are another's, or don't come.
    pub(super) async fn is_seated(&self, node: NodeId, name: &str) -> bool {
        let mut seated = self.seated.subscribe();
        let known = seated.wait_for(|names| names.contains_key(&node));
        let known = timeout(MESH_TIMEOUT, known).await;
        matches!(known, Ok(Ok(names)) if names.get(&node).is_some_and(|seat| seat == name))
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
        let seated = watch::Sender::new(Arc::default());
        let shared = Arc::new(Shared { seated, connections: Mutex::default(), changed: Notify::new() });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(endpoint.clone(), Arc::clone(&shared), arrivals.clone()));
        Self { endpoint, arrivals, shared, lanes: BTreeMap::new(), tasks }
    }

    /// Connects with every peer of the plan that is not connected yet; returns when all have called or been called.
    pub(super) async fn connect(&mut self, me: NodeId, plan: &SeatPlan) -> Result<(), LinkFailure> {
        let peers: BTreeMap<NodeId, &Occupant> =
            plan.seats.iter().filter(|seat| seat.node != me).map(|seat| (seat.node, seat)).collect();
        self.endpoint.expect_peers(u32::try_from(peers.len()).unwrap_or(u32::MAX).max(1));
        let names: Names = peers.iter().map(|(node, seat)| (*node, seat.name.clone())).collect();
        let mut broken = BTreeSet::new();
        self.shared.lock().retain(|node, connection| {
            let stays = connection.close_reason().is_none();
            if !stays {
                broken.insert(*node);
            }
            stays
        });
        self.lanes.retain(|node, lanes| {
            let newest = self.shared.get(*node);
            newest.is_some_and(|newest| newest.stable_id() == lanes.connection.stable_id())
        });
        self.shared.seated.send_replace(Arc::new(names));
        let mut dials = JoinSet::new();
        for (&peer, seat) in &peers {
            if (peer > me || broken.contains(&peer)) && self.shared.get(peer).is_none() {
                let (endpoint, address) = (self.endpoint.clone(), seat.address);
                dials.spawn(async move { (peer, endpoint.dial(address, Role::Node).await) });
            }
        }
        while let Some(dialled) = dials.join_next().await {
            let (peer, link) = dialled.expect("a dial does not panic");
            let name = peers[&peer].name.clone();
            let unreachable =
                |error| LinkFailure::Unreachable { peer, name: name.clone(), error: Box::new(error) };
            let link = link.map_err(unreachable)?;
            if link.name != name {
                return Err(LinkFailure::Impostor { peer, name, found: link.name });
            }
            let connection = link.connection.clone();
            self.tasks.spawn(accept_streams(link, Arc::clone(&self.shared), self.arrivals.clone()));
            self.shared.add(peer, connection.clone());
            self.open(me, Named { node: peer, name: name.into() }, connection).await?;
        }
        let missing = |links: &Self| -> BTreeSet<NodeId> {
            peers.keys().filter(|peer| links.shared.get(**peer).is_none()).copied().collect()
        };
        let shared = Arc::clone(&self.shared);
        let all_called = async {
            loop {
                let mut changed = std::pin::pin!(shared.changed.notified());
                // One that comes while it is looked counts.
                changed.as_mut().enable();
                if missing(self).is_empty() {
                    return;
                }
                changed.await;
            }
        };
        if timeout(MESH_TIMEOUT, all_called).await.is_err() {
            let names = missing(self).iter().map(|peer| peers[peer].name.clone()).collect::<Vec<_>>();
            return Err(LinkFailure::Mesh { peers: names.join(", ") });
        }
        for (peer, seat) in peers {
            if !self.lanes.contains_key(&peer) {
                let connection = self.shared.get(peer).expect("all peers have called");
                let name = seat.name.as_str().into();
                self.open(me, Named { node: peer, name }, connection).await?;
            }
        }
        Ok(())
    }

    async fn open(&mut self, me: NodeId, peer: Named, connection: Connection) -> Result<(), LinkFailure> {
        let broken = |reason: String| LinkFailure::Broken { peer: peer.clone(), reason };
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
            self.tasks.spawn(write(peer.clone(), stream, queue, self.arrivals.clone()));
            senders.push(sender);
        }
        let rows = senders.pop().expect("two lanes were opened");
        let control = senders.pop().expect("two lanes were opened");
        self.lanes.insert(peer.node, Lanes { peer, connection, control, rows });
        Ok(())
    }

    /// Queues a frame for a peer.
    pub(super) fn send(&self, peer: NodeId, frame: Frame) -> Result<(), LinkFailure> {
        let broken = |peer| LinkFailure::Broken { peer, reason: "it is not connected".to_owned() };
        let unknown = || Named { node: peer, name: peer.to_string().into() };
        let lanes = self.lanes.get(&peer).ok_or_else(|| broken(unknown()))?;
        let lane = if frame.class == TrafficClass::Control { &lanes.control } else { &lanes.rows };
        lane.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LinkFailure::Stuck { peer: lanes.peer.clone() },
            mpsc::error::TrySendError::Closed(_) => broken(lanes.peer.clone()),
        })
    }

    /// Packets lost and sent, by peer.
    pub(super) fn losses(&self) -> impl Iterator<Item = (NodeId, u64, u64)> {
        self.lanes.iter().map(|(node, lanes)| {
            let path = lanes.connection.stats().path;
            (*node, path.lost_packets, path.sent_packets)
        })
    }

    /// Bytes of UDP payload that QUIC has sent to all peers so far.
    pub(super) fn udp_bytes(&self) -> u64 {
        self.lanes.values().map(|lanes| lanes.connection.stats().udp_tx.bytes).sum()
    }
}

/// Encodes and sends frames in order until the lane closes.
async fn write(
    peer: Named,
    mut stream: SendStream,
    mut queue: mpsc::Receiver<Frame>,
    arrivals: mpsc::Sender<Arrival>,
) {
    while let Some(frame) = queue.recv().await {
        let mut buffers = encode(&frame);
        if let Err(error) = stream.write_all_chunks(&mut buffers).await {
            let node = peer.node;
            let broken = LinkFailure::Broken { peer, reason: error.to_string() };
            // The worker may be gone.
            let _ = arrivals.send((node, Err(broken))).await;
            return;
        }
    }
}

//! What other workers send: their connections, the streams on them, the frames in these.
//!
//! Nothing but its first eight bytes is read of a stream until the seats are known and the certificate at the other end is the one of that
//! node's seat. Then a reader takes a frame's header, checks all that it can show before it allocates, and passes whole frames on with their
//! sender.

use super::{Arrival, LinkFailure, Named, Shared};
use crate::control::NodeId;
use crate::net::{Crowd, Endpoint, Peer, Role};
use crate::wire::{Frame, HEADER_BYTES, body_bytes, decode};
use bytes::Bytes;
use quinn::{ReadExactError, RecvStream};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Peers that have shown who they are and wait to be served.
const STRANGERS_KNOWN_MAX: usize = 16;
/// Connections that one name may have here: that of this epoch, and some that nobody has closed yet.
const CONNECTIONS_OF_NAME_MAX: usize = 4;
/// Streams of a connection that are read at once: one a class, and those of a run that has just ended.
const READERS_MAX: usize = 4;

/// Takes connections of peers as they come.
pub(super) async fn accept(endpoint: Endpoint, shared: Arc<Shared>, arrivals: mpsc::Sender<Arrival>) {
    let (mut strangers, mut peers) = (Crowd::default(), JoinSet::new());
    let held: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let (known, mut come) = mpsc::channel(STRANGERS_KNOWN_MAX);
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                let known = known.clone();
                strangers.spawn(async move {
                    match incoming.establish().await {
                        Ok(peer) if peer.role == Role::Node => drop(known.send(peer).await),
                        Ok(peer) => peer.connection.close(1u8.into(), b"workers talk to workers only"),
                        Err(error) => tracing::warn!("a connection was refused: {error}"),
                    }
                });
            }
            peer = come.recv() => {
                let peer: Peer = peer.expect("a sender is held here");
                while peers.try_join_next().is_some() {}
                let Some(held) = Held::take(&held, &peer.name) else {
                    tracing::warn!("a connection too many of {} was refused", peer.name);
                    peer.connection.close(1u8.into(), b"your name has connections enough");
                    continue;
                };
                let (shared, arrivals) = (Arc::clone(&shared), arrivals.clone());
                peers.spawn(async move {
                    let _held = held;
                    accept_streams(peer, shared, arrivals).await;
                });
            }
        }
    }
}

/// One of the connections that a name may have.
struct Held {
    names: Arc<Mutex<BTreeMap<String, usize>>>,
    name: String,
}

impl Held {
    fn take(names: &Arc<Mutex<BTreeMap<String, usize>>>, name: &str) -> Option<Self> {
        let mut counts = names.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name.to_owned()).or_default();
        if *count >= CONNECTIONS_OF_NAME_MAX {
            return None;
        }
        *count += 1;
        Some(Self { names: Arc::clone(names), name: name.to_owned() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.name);
            }
        }
    }
}

/// Takes a peer's streams and reads each until it ends.
pub(super) async fn accept_streams(peer: Peer, shared: Arc<Shared>, arrivals: mpsc::Sender<Arrival>) {
    let Peer { connection, name, .. } = peer;
    let mut readers = JoinSet::new();
    while let Ok(mut stream) = connection.accept_uni().await {
        while readers.len() >= READERS_MAX {
            // What is read to its end makes room; a peer that opens more waits.
            let _ = readers.join_next().await;
        }
        let (connection, name) = (connection.clone(), name.clone());
        let (shared, arrivals) = (Arc::clone(&shared), arrivals.clone());
        readers.spawn(async move {
            let mut preamble = [0; 8];
            if stream.read_exact(&mut preamble).await.is_err() {
                return;
            }
            let peer = NodeId(u32::from_le_bytes([preamble[0], preamble[1], preamble[2], preamble[3]]));
            if !shared.is_seated(peer, &name).await {
                tracing::warn!("{name} called as {peer}, which has no seat, or another name: refused");
                connection.close(1u8.into(), b"not the node of a seat");
                return;
            }
            if shared.get(peer).is_none_or(|known| known.stable_id() != connection.stable_id()) {
                shared.add(peer, connection.clone());
            }
            let named = Named { node: peer, name: name.into() };
            while let Some(arrival) = read(&named, &mut stream).await {
                let ends = arrival.is_err();
                if let Err(LinkFailure::Wire { .. }) = arrival {
                    // Nobody reads on here: what the other end sends next goes over a link made anew.
                    connection.close(1u8.into(), b"a frame was not what it should be");
                }
                if arrivals.send((peer, arrival)).await.is_err() || ends {
                    return;
                }
            }
        });
    }
}

/// One frame, or `None` at the stream's end.
async fn read(peer: &Named, stream: &mut RecvStream) -> Option<Result<Frame, LinkFailure>> {
    let broken = |error: &dyn fmt::Display| {
        Some(Err(LinkFailure::Broken { peer: peer.clone(), reason: error.to_string() }))
    };
    let wire = |error| LinkFailure::Wire { peer: peer.clone(), error };
    let mut header = [0; HEADER_BYTES];
    match stream.read_exact(&mut header).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return None,
        Err(error) => return broken(&error),
    }
    let body_len = match body_bytes(&header) {
        Ok(len) => len,
        Err(error) => return Some(Err(wire(error))),
    };
    let mut body = vec![0; body_len];
    if let Err(error) = stream.read_exact(&mut body).await {
        return broken(&error);
    }
    let body = Bytes::from(body);
    Some(decode(&header, &body).map_err(wire))
}

//! One UDP port that dials and accepts QUIC connections between members of the cluster, and tells who the
//! other end is.
//!
//! TLS 1.3 lets the dialler finish before the acceptor has seen its certificate. So the acceptor opens every
//! connection with a welcome, one byte on a unidirectional stream, and a dial succeeds when that has come:
//! both ends then know that both certificates were accepted.

use super::fixed_window::FixedWindow;
use super::identity::Identity;
use super::keys::{Keys, KeysInUse};
use super::link_error::{LinkError, link_error};
use super::role::{self, Role, RoleError};
use super::tls::TlsError;
use super::transport::{self, TransportError, TransportOptions};
use quinn::{ConnectionError, VarInt};
use rustls::pki_types::CertificateDer;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Handshakes that one endpoint dials at the same time; further dials wait for their turn. More would only
/// lose datagrams to each other while tens of processes start on a few cores.
pub const DIALS_MAX: usize = 12;
/// A handshake that takes longer has failed: 72 processes on 2 cores connect in a full mesh in a quarter of
/// it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

const WELCOME: &[u8] = b"W";
/// Application error codes of our closes.
const CLOSED: VarInt = VarInt::from_u32(0);
const UNWELCOME: VarInt = VarInt::from_u32(1);

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process, or this one, has the port.
    #[error(
        "UDP port {address} is taken; stop the process that has it, or choose another port (0: any free one)"
    )]
    Busy {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The address is none of this host's, the port is privileged, or the system refused otherwise.
    #[error("cannot listen on UDP {address}: {source}")]
    Socket {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The identity gives no TLS configuration.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A setting is out of range.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// A UDP port of a member of the cluster. Clones share the port; it closes with the last of them and of its
/// connections.
#[derive(Debug, Clone)]
pub struct Endpoint {
    quic: quinn::Endpoint,
    address: SocketAddr,
    keys: Arc<KeysInUse>,
    dials: Arc<Semaphore>,
    window: FixedWindow,
    receive_buffer_bytes: u64,
    datagram_bytes: u16,
}

/// A connection, and who the verified other end is.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The connection.
    pub connection: quinn::Connection,
    /// What the peer may be.
    pub role: Role,
    /// The peer's name.
    pub name: String,
}

/// A connection that a peer has begun; [`Self::establish`] completes it, best in a task of its own, so that
/// others need not wait.
#[derive(Debug)]
pub struct Accepting {
    incoming: quinn::Incoming,
    datagram_bytes: u16,
}

impl Endpoint {
    /// Binds `address` (port 0: any free one). A client's endpoint only dials. An identity that was read from a directory is read again
    /// there, now and whenever its files change.
    ///
    /// # Errors
    /// [`BindError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(
        address: SocketAddr,
        identity: &Identity,
        options: TransportOptions,
    ) -> Result<Self, BindError> {
        let (socket, receive_buffer_bytes) =
            transport::bind_socket(address).map_err(|source| bind_error(address, source))?;
        let window = FixedWindow::new(receive_buffer_bytes);
        let transport = Arc::new(transport::transport_config(options, &window)?);
        let keys = Keys::new(identity, transport)?;
        let config = transport::endpoint_config(options)?;
        let quic = quinn::Endpoint::new(config, keys.server.clone(), socket, Arc::new(quinn::TokioRuntime))
            .map_err(|source| bind_error(address, source))?;
        let address = quic.local_addr().map_err(|source| bind_error(address, source))?;
        let keys = Arc::new(KeysInUse::renewing(keys, quic.clone()));
        Ok(Self {
            quic,
            address,
            keys,
            dials: Arc::new(Semaphore::new(DIALS_MAX)),
            window,
            receive_buffer_bytes,
            datagram_bytes: options.datagram_bytes,
        })
    }

    /// The address bound, with the true port.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Says how many peers may send at once, here and at every peer: each connection's window becomes its
    /// share of the receive buffer.
    pub fn expect_peers(&self, peers: u32) {
        self.window.divide(self.receive_buffer_bytes, peers);
    }

    /// Connects to the process of role `expected` at `address`; at most [`DIALS_MAX`] dials of an endpoint
    /// are under way, later ones wait. The time limit, [`HANDSHAKE_TIMEOUT`], begins with the turn.
    ///
    /// # Errors
    /// [`LinkError`]. A [`LinkError::Silent`] peer may just not have started yet.
    pub async fn dial(&self, address: SocketAddr, expected: Role) -> Result<Peer, LinkError> {
        self.dial_within(address, expected, HANDSHAKE_TIMEOUT).await
    }

    /// As [`Self::dial`], with another time limit.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn dial_within(
        &self,
        peer: SocketAddr,
        expected: Role,
        limit: Duration,
    ) -> Result<Peer, LinkError> {
        let _turn = self.dials.acquire().await.expect("the semaphore is never closed");
        let link = async {
            let connection = self
                .quic
                .connect_with(self.keys.client(), peer, &expected.server_name())
                .map_err(|source| LinkError::Dial { peer, bound: self.address, source })?
                .await
                .map_err(|source| link_error(peer, source))?;
            await_welcome(&connection).await.map_err(|source| link_error(peer, source))?;
            identified(connection)
        };
        within(limit, peer, (self.datagram_bytes, Some(self.address)), link).await
    }

    /// The next connection that a peer begins, or `None` once the endpoint is closed. Cancel safe.
    ///
    /// A first packet is answered with a token (RFC 9000, section 8.1.2), and only who comes with it, and so can be reached at its
    /// address, gets a connection: first packets take no memory here.
    pub async fn accept(&self) -> Option<Accepting> {
        loop {
            let incoming = self.quic.accept().await?;
            if incoming.remote_address_validated() {
                return Some(Accepting { incoming, datagram_bytes: self.datagram_bytes });
            }
            // It may be retried where it is not validated.
            let _ = incoming.retry();
        }
    }

    /// Returns once the name of `peer` is removed from the cluster: then nothing it says should be heard. Cancel safe.
    pub async fn removed(&self, peer: &Peer) {
        match certificates(&peer.connection).as_deref().and_then(|chain| chain.first()) {
            Some(shown) => self.keys.removed(shown).await,
            None => std::future::pending().await,
        }
    }

    /// Closes all connections, telling the peers `reason`, and accepts no more; returns when the peers know
    /// or are given up.
    pub async fn close(&self, reason: &str) {
        self.quic.close(CLOSED, reason.as_bytes());
        self.quic.wait_idle().await;
    }
}

impl Accepting {
    /// Where the connection comes from; not verified yet.
    pub fn address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Completes the handshake and welcomes the peer.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn establish(self) -> Result<Peer, LinkError> {
        let peer = self.address();
        let link = async {
            let connection = self.incoming.await.map_err(|source| link_error(peer, source))?;
            let identified = identified(connection)?;
            welcome(&identified.connection).await.map_err(|source| link_error(peer, source))?;
            Ok(identified)
        };
        within(HANDSHAKE_TIMEOUT, peer, (self.datagram_bytes, None), link).await
    }
}

fn bind_error(address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Busy { address },
        _ => BindError::Socket { address, source },
    }
}

/// Gives `link` up after `limit`, which drops and thereby closes its connection; we send datagrams of so many bytes, from there.
async fn within(
    limit: Duration,
    peer: SocketAddr,
    (datagram_bytes, bound): (u16, Option<SocketAddr>),
    link: impl Future<Output = Result<Peer, LinkError>>,
) -> Result<Peer, LinkError> {
    let silent = |_| LinkError::Silent { peer, after: limit, datagram_bytes, bound };
    tokio::time::timeout(limit, link).await.map_err(silent)?
}

/// Reads who the other end of a verified connection is; closes the connection if the certificate does not
/// say.
fn identified(connection: quinn::Connection) -> Result<Peer, LinkError> {
    let certificates = certificates(&connection);
    let certificate = certificates.as_deref().and_then(|chain| chain.first());
    match certificate.ok_or(RoleError::Nobody).and_then(role::identify) {
        Ok((role, name)) => Ok(Peer { connection, role, name }),
        Err(source) => {
            connection.close(UNWELCOME, source.to_string().as_bytes());
            Err(LinkError::Unidentified { peer: connection.remote_address(), source })
        }
    }
}

/// What the other end has shown.
fn certificates(connection: &quinn::Connection) -> Option<Vec<CertificateDer<'static>>> {
    connection.peer_identity().and_then(|any| any.downcast().ok()).map(|chain| *chain)
}

/// Opens the acceptor's first stream with the welcome on it.
async fn welcome(connection: &quinn::Connection) -> Result<(), ConnectionError> {
    let mut stream = connection.open_uni().await?;
    // A write fails only if the connection does, or if the peer stops a stream that it is waiting for.
    let written = stream.write_all(WELCOME).await.is_ok() && stream.finish().is_ok();
    if written { Ok(()) } else { Err(connection.close_reason().unwrap_or(ConnectionError::Reset)) }
}

/// Takes the welcome, which is on the acceptor's first stream.
async fn await_welcome(connection: &quinn::Connection) -> Result<(), ConnectionError> {
    let mut stream = connection.accept_uni().await?;
    match stream.read_to_end(WELCOME.len()).await {
        Ok(bytes) if bytes == WELCOME => Ok(()),
        _ => Err(connection.close_reason().unwrap_or(ConnectionError::VersionMismatch)),
    }
}

#[cfg(test)]
mod tests;

//! Why two processes are not connected: QUIC reports by number, [`LinkError`] names the peer, the cause and
//! the remedy.

use super::role::RoleError;
use super::tls;
use quinn::{ConnectionError, TransportErrorCode};
use std::net::SocketAddr;
use std::time::Duration;

/// TLS alerts (RFC 8446, section 6), which QUIC carries as error code 0x100 plus the alert.
const CERTIFICATE_REVOKED: u64 = 44;
const CERTIFICATE_EXPIRED: u64 = 45;
const UNKNOWN_CA: u64 = 48;
const NO_APPLICATION_PROTOCOL: u64 = 120;

/// Why no connection to a peer came about. Every message names the peer's address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// We refused the peer: another authority issued its certificate.
    #[error("{peer} shows a certificate of another cluster; {ONE_AUTHORITY}")]
    Foreign {
        /// The peer.
        peer: SocketAddr,
    },
    /// The peer refused us: it trusts another authority than the one that issued our certificate.
    #[error("{peer} takes our certificate for another cluster's; {ONE_AUTHORITY}")]
    ForeignToPeer {
        /// The peer.
        peer: SocketAddr,
    },
    /// We refused the peer: its name was removed.
    #[error("{peer} shows the certificate of a name that was removed from the cluster; {ADMIT_AGAIN}")]
    Removed {
        /// The peer.
        peer: SocketAddr,
    },
    /// The peer refused us: our name was removed.
    #[error("{peer} does not let us in: our certificate's name was removed from the cluster; {ADMIT_AGAIN}")]
    RemovedByPeer {
        /// The peer.
        peer: SocketAddr,
    },
    /// We refused the peer: its certificate has ended, by our clock.
    #[error("the certificate of {peer} is not valid now ({reason}); {RENEW}")]
    Ended {
        /// The peer.
        peer: SocketAddr,
        /// What TLS said.
        reason: String,
    },
    /// The peer refused us: our certificate has ended, by its clock.
    #[error("{peer} does not let us in: our certificate is not valid now, by its clock; {RENEW}")]
    EndedByPeer {
        /// The peer.
        peer: SocketAddr,
    },
    /// We refused the peer's certificate: of another role than the one dialled, for instance.
    #[error("the certificate of {peer} was refused: {reason}; check the address and both clocks")]
    Certificate {
        /// The peer.
        peer: SocketAddr,
        /// What TLS said.
        reason: String,
    },
    /// The peer's certificate is the cluster's but names no process.
    #[error("cannot tell who {peer} is: {source}")]
    Unidentified {
        /// The peer.
        peer: SocketAddr,
        /// What is wrong with the certificate.
        source: RoleError,
    },
    /// The peer speaks QUIC, but not our protocol.
    #[error(
        "{peer} does not speak {}; run one build of railyard everywhere",
        String::from_utf8_lossy(tls::PROTOCOL)
    )]
    Protocol {
        /// The peer.
        peer: SocketAddr,
    },
    /// The peer closed the connection or refused the handshake for another reason.
    #[error("{peer} refused the connection: {reason}")]
    Refused {
        /// The peer.
        peer: SocketAddr,
        /// What the peer said.
        reason: String,
    },
    /// No answer in time.
    #[error(
        "no answer from {peer} in {} s; is it running, and does the network between carry UDP datagrams of {datagram_bytes} bytes?{}",
        (after.as_secs_f64() * 10.0).round() / 10.0,
        versions(*peer, *bound)
    )]
    Silent {
        /// The peer.
        peer: SocketAddr,
        /// How long we waited.
        after: Duration,
        /// The fixed size of our datagrams.
        datagram_bytes: u16,
        /// Where we are bound, if we have dialled.
        bound: Option<SocketAddr>,
    },
    /// The address cannot be dialled from this endpoint, or the endpoint is closed.
    #[error("cannot dial {peer}: {source}{}", versions(*peer, Some(*bound)))]
    Dial {
        /// The peer.
        peer: SocketAddr,
        /// Where we are bound.
        bound: SocketAddr,
        /// What the library said.
        source: quinn::ConnectError,
    },
    /// The connection failed in another way.
    #[error("the connection with {peer} failed: {source}")]
    Failed {
        /// The peer.
        peer: SocketAddr,
        /// What the library said.
        source: ConnectionError,
    },
}

const ONE_AUTHORITY: &str = "give all processes certificates of one authority (`railyard certs DIR`)";

const ADMIT_AGAIN: &str =
    "to admit it again, give it a new one: `railyard certs DIR --node NAME` (or --client)";
const RENEW: &str =
    "renew it with `railyard certs DIR --renew` where the authority's key is, or set the clocks right";

/// What to do where two addresses may be of different versions of IP, in brackets; else nothing.
fn versions(peer: SocketAddr, bound: Option<SocketAddr>) -> String {
    let problem = match bound {
        Some(bound) if peer.is_ipv6() && bound.is_ipv4() => "we are bound to IPv4 alone",
        Some(bound) if peer.is_ipv4() && bound.is_ipv6() && !bound.ip().is_unspecified() => {
            "we are bound to one IPv6 address"
        }
        Some(_) if peer.is_ipv6() => "by default it is bound to IPv4 alone",
        _ => return String::new(),
    };
    format!(" ({problem}: for both versions give a node `--bind ::`, a coordinator `--listen [::]:7000`)")
}

/// The TLS alert in a QUIC error code, if it is one (RFC 9001, section 4.8).
fn alert(code: TransportErrorCode) -> Option<u64> {
    u64::from(code).checked_sub(0x100).filter(|alert| *alert <= 0xff)
}

/// Names what the library reports by number.
pub(super) fn link_error(peer: SocketAddr, source: ConnectionError) -> LinkError {
    match source {
        ConnectionError::TransportError(error) => match alert(error.code) {
            Some(UNKNOWN_CA) => LinkError::Foreign { peer },
            Some(NO_APPLICATION_PROTOCOL) => LinkError::Protocol { peer },
            Some(CERTIFICATE_REVOKED) => LinkError::Removed { peer },
            Some(CERTIFICATE_EXPIRED) => LinkError::Ended { peer, reason: error.reason },
            Some(_) => LinkError::Certificate { peer, reason: error.reason },
            None => LinkError::Failed { peer, source: ConnectionError::TransportError(error) },
        },
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
            Some(UNKNOWN_CA) => LinkError::ForeignToPeer { peer },
            Some(NO_APPLICATION_PROTOCOL) => LinkError::Protocol { peer },
            Some(CERTIFICATE_REVOKED) => LinkError::RemovedByPeer { peer },
            Some(CERTIFICATE_EXPIRED) => LinkError::EndedByPeer { peer },
            _ => LinkError::Refused { peer, reason: close.to_string() },
        },
        ConnectionError::ApplicationClosed(close) => LinkError::Refused { peer, reason: close.to_string() },
        ConnectionError::VersionMismatch => LinkError::Protocol { peer },
        source => LinkError::Failed { peer, source },
    }
}

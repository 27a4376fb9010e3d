//! Where a coordinator is, by the name that people give it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;
use tokio::net::lookup_host;

/// No address goes by the name.
#[derive(Debug, Error)]
#[error("cannot find {address}: {source}; give the coordinator as HOST:PORT")]
pub struct ResolveError {
    address: String,
    source: io::Error,
}

/// The first address of `address` (`host:port`).
///
/// # Errors
/// [`ResolveError`].
pub async fn resolve(address: &str) -> Result<SocketAddr, ResolveError> {
    let error = |source| ResolveError { address: address.to_owned(), source };
    let found = lookup_host(address).await.map_err(error)?.next();
    found.ok_or_else(|| error(io::Error::other("it has no address")))
}

/// Where to bind, any port, to dial `peer`.
pub fn any_port_for(peer: SocketAddr) -> SocketAddr {
    if peer.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() }
}

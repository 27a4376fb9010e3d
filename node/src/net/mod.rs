//! What the QUIC shell stands on: certificates, TLS, tuned QUIC endpoints, control messages, the host's clock
//! and a fine timer.
//!
//! Nothing here knows ranks, frames or experts. [`certs`] makes and loads the cluster's own certificates,
//! [`tls`] turns them into mutual TLS, [`transport`] holds the tuning and [`endpoint`] dials and accepts;
//! [`frames`] carries control messages over a stream.

pub mod certs;
pub mod clock;
mod crowd;
pub mod endpoint;
pub mod fixed_window;
pub mod frames;
mod identity;
mod keys;
mod link_error;
mod machine;
mod pem_files;
mod refusal;
mod removed;
mod resolve;
pub mod role;
pub mod timer;
pub mod tls;
pub mod transport;
mod validity;

pub use certs::ClusterCa;
pub use crowd::Crowd;
pub use endpoint::{Accepting, BindError, Endpoint, Peer};
pub use frames::{MessageError, recv_message, send_message};
pub use identity::Identity;
pub use link_error::LinkError;
pub use machine::this_machine;
pub use pem_files::CertError;
pub use resolve::{ResolveError, any_port_for, resolve};
pub use role::{Role, RoleError};
pub use timer::FineTimer;
pub use tls::TlsError;
pub use transport::{TransportError, TransportOptions};
pub use validity::{RENEW_WITHIN, VALIDITY};

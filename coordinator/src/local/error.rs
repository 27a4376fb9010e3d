//! Why a cluster on this machine did not start.

use crate::error::RunError;
use crate::server::StartError;
use node::net::CertError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a local cluster did not start.
#[derive(Debug, Error)]
pub enum LocalError {
    /// No certificates.
    #[error(transparent)]
    Cert(#[from] CertError),
    /// No coordinator.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No directory for the certificates.
    #[error("cannot make a directory for the certificates: {0}; set TMPDIR to one that can be written")]
    Directory(io::Error),
    /// A worker that can't be started.
    #[error("cannot start {} for worker {name}: {source}", program.display())]
    Spawn {
        /// Its name.
        name: String,
        /// The executable.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No signal handler.
    #[error("cannot listen for Ctrl-C: {0}")]
    Signal(io::Error),
    /// A worker ended or did not register in time, or Ctrl-C.
    #[error(transparent)]
    Run(#[from] RunError),
}

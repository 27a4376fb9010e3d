//! What ends a worker, and what ends a run on it.

use super::links::LinkFailure;
use crate::net::{BindError, LinkError};
use crate::seat::SeatError;
use crate::setup::SetupError;
use moe::stack::BatchError;
use std::time::Duration;
use thiserror::Error;
use topology::{Picos, RankId};

/// Why a worker ended other than by being told to.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// No port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No coordinator.
    #[error("no coordinator at {address} within {} s: {last}", after.as_secs())]
    NoCoordinator {
        /// Where it was looked for.
        address: String,
        /// How long.
        after: Duration,
        /// What the last attempt said.
        last: String,
    },
    /// The coordinator refused the connection, or shows a foreign certificate.
    #[error(transparent)]
    Refused(#[from] LinkError),
    /// The coordinator did not let this worker in.
    #[error("the coordinator turned this node away: {0}")]
    NotAdmitted(String),
    /// The coordinator is gone.
    #[error("the coordinator's connection ended: {0}; start the coordinator again, then its nodes")]
    CoordinatorLost(String),
    /// The system gave no timer.
    #[error("no timer: {0}")]
    Timer(std::io::Error),
    /// The system gave no thread.
    #[error("no thread for the line to the coordinator: {0}")]
    Thread(std::io::Error),
}

/// Why a run failed on this worker.
#[derive(Debug, Error)]
pub(super) enum ActiveError {
    #[error(transparent)]
    Seat(#[from] SeatError),
    #[error(transparent)]
    Link(#[from] LinkFailure),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(
        "a plan of {seats} seats for {ranks} ranks, or with one node twice; run one build of railyard everywhere"
    )]
    Seats { seats: usize, ranks: u32 },
    #[error(
        "`{what}` of step {step} is out of turn after {prepared} steps; run one build of railyard everywhere"
    )]
    Step { what: &'static str, step: u32, prepared: u32 },
    #[error("{got} columns to prepare where {due} are due; run one build of railyard everywhere")]
    Columns { got: usize, due: usize },
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("a frame of cluster {got:x} came to cluster {mine:x}")]
    Cluster { got: u64, mine: u64 },
    #[error("a frame of run {run}, epoch {epoch}, came to run {my_run}, epoch {my_epoch}")]
    Run { run: u64, epoch: u32, my_run: u64, my_epoch: u32 },
    #[error("{peer} sent a frame in the name of {claimed}; run one build of railyard everywhere")]
    Sender { peer: RankId, claimed: RankId },
    #[error(
        "{frames} frames of {peer}, {bytes} bytes, wait for a phase that has not begun: more than its credit"
    )]
    Early { peer: RankId, frames: usize, bytes: u64 },
    #[error(
        "{peer} sent a frame stamped {stamp}, which is {ahead} ahead of the clock: no port is reserved so far"
    )]
    Stamp { peer: RankId, stamp: Picos, ahead: Picos },
    #[error("a fault of the run {} {rank} here", if *killed { "kills" } else { "freezes for good" })]
    Ended { rank: RankId, killed: bool },
    #[error(
        "the run's faults end ranks, and this node is there for more than one run; leave `kill` and `freeze` without an end to a run without --cluster, or end a node by hand"
    )]
    Immortal,
    #[error("a job died: {0}")]
    Job(String),
}

//! Workers of this machine, for commands that measure here.

use crate::failure::Failure;
use ::coordinator::local::rack_names;
use ::coordinator::{Limits, LocalCluster, LocalConfig, WorkerKind};
use anyhow::Context;
use node::net::TransportOptions;
use topology::Cluster;

/// A worker on this machine for each rank of `racks`.
pub(super) async fn start_workers(racks: &Cluster, in_process: bool) -> Result<LocalCluster, Failure> {
    start_workers_within(racks, in_process, Limits::default()).await
}

/// The same, with limits of its own.
pub(super) async fn start_workers_within(
    racks: &Cluster,
    in_process: bool,
    limits: Limits,
) -> Result<LocalCluster, Failure> {
    let workers = if in_process {
        WorkerKind::Tasks
    } else {
        let program = std::env::current_exe().context("cannot tell which program this is");
        WorkerKind::Processes { program: program.map_err(Failure::Failed)? }
    };
    let config =
        LocalConfig { names: rack_names(racks), workers, transport: TransportOptions::default(), limits };
    LocalCluster::start(config).await.map_err(Failure::failed)
}

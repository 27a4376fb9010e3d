//! Workers of this machine, and what the machine carries, for commands that measure here.

use crate::cache::folder;
use crate::cli::GaugeArgs;
use crate::failure::Failure;
use crate::progress::Meter;
use ::coordinator::local::rack_names;
use ::coordinator::pace::Host;
use ::coordinator::{Limits, LocalCluster, LocalConfig, WorkerKind};
use anyhow::Context;
use node::net::TransportOptions;
use study::gauge::{Kept, gauged};
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

/// This machine with what it carries when `ranks` ranks of `cluster` are busy, measured now if need be.
pub(super) async fn host_of(
    cluster: &mut LocalCluster,
    ranks: u32,
    in_process: bool,
    gauge: &GaugeArgs,
    meter: &Meter,
) -> Result<Host, Failure> {
    meter.say("looking how fast this host is");
    let host = gauged(cluster, Host::this(in_process), ranks, gauge.gauge, &Kept::in_folder(folder())).await;
    host.map_err(Failure::failed)
}

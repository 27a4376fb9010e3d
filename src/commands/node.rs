//! `railyard node`: hosts one rank until the coordinator says otherwise.

use super::block_on;
use crate::cli::NodeArgs;
use crate::failure::Failure;
use ::coordinator::local::{Interrupts, stdin_closed};
use node::net::{Identity, TransportOptions};
use node::worker::{WorkerConfig, run_worker};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Datagrams of workers on one machine, and of nodes on a network with an MTU of 1500.
const LOCAL_DATAGRAM_BYTES: u16 = 6500;
const NETWORK_DATAGRAM_BYTES: u16 = 1452;

pub(crate) fn run(args: &NodeArgs) -> Result<(), Failure> {
    let local = args.leave_with_stdin;
    let identity = Identity::load(&args.certs, &args.name).map_err(Failure::usage)?;
    let default_bind = if local { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let default_bytes = if local { LOCAL_DATAGRAM_BYTES } else { NETWORK_DATAGRAM_BYTES };
    let config = WorkerConfig {
        coordinator: args.coordinator.clone(),
        bind: args.bind.unwrap_or(IpAddr::V4(default_bind)),
        advertise: args.advertise,
        identity,
        name: args.name.clone(),
        connect_timeout: Duration::from_secs(args.connect_limit.into()),
        transport: TransportOptions { datagram_bytes: args.datagram_bytes.unwrap_or(default_bytes) },
    };
    block_on(async {
        let mut worker = Box::pin(run_worker(config));
        if local {
            // Ctrl-C ends it as it ends any process: its coordinator sees by the signal that this was no failure.
            return tokio::select! {
                ended = worker => ended.map_err(Failure::failed),
                _ = stdin_closed() => Err(Failure::Failed(anyhow::anyhow!("stdin closed: the coordinator is gone"))),
            };
        }
        let mut interrupts = Interrupts::listen().map_err(Failure::failed)?;
        tokio::select! {
            ended = &mut worker => ended.map_err(Failure::failed),
            () = interrupts.next() => Ok(()),
        }
    })
}

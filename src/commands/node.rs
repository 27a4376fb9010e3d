//! `railyard node`: hosts one rank until the coordinator says otherwise.

use super::block_on;
use crate::cli::NodeArgs;
use crate::failure::Failure;
use ::coordinator::local::{Interrupts, stdin_closed};
use node::net::{Identity, Role, TransportOptions};
use node::worker::{Tally, WorkerConfig, run_worker};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Datagrams of workers on one machine, and of nodes on a network with an MTU of 1500.
const LOCAL_DATAGRAM_BYTES: u16 = 6500;
const NETWORK_DATAGRAM_BYTES: u16 = 1452;

pub(crate) fn run(args: &NodeArgs) -> Result<(), Failure> {
    let local = args.leave_with_stdin;
    let identity = Identity::load(&args.certs, &args.name).map_err(Failure::usage)?;
    if identity.role() != Role::Node {
        let (name, role) = (&args.name, identity.role());
        return Err(Failure::Usage(anyhow::anyhow!(
            "`{name}` has a {role}'s certificate; a node needs a node's, as of rack0-0"
        )));
    }
    // A local coordinator's certificates live as long as its workers.
    let identity = if local { identity.fixed() } else { identity };
    let default_bind = if local { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let default_bytes = if local { LOCAL_DATAGRAM_BYTES } else { NETWORK_DATAGRAM_BYTES };
    let tally = Arc::new(Tally::default());
    let config = WorkerConfig {
        coordinator: args.coordinator.clone(),
        bind: (args.bind.unwrap_or(IpAddr::V4(default_bind)), args.port).into(),
        advertise: args.advertise,
        identity,
        name: args.name.clone(),
        connect_timeout: Duration::from_secs(args.connect_limit.into()),
        rejoin: Some(args.rejoin_limit)
            .filter(|&limit| limit > 0 && !local)
            .map(|limit| Duration::from_secs(limit.into())),
        transport: TransportOptions { datagram_bytes: args.datagram_bytes.unwrap_or(default_bytes) },
        mortal: local,
        tally: Arc::clone(&tally),
    };
    block_on(async {
        show(args, tally).await?;
        if local {
            // Ctrl-C ends it as it ends any process: its coordinator sees by the signal that this was no failure.
            let mut orphan = false;
            let gone = "stdin closed: the coordinator is gone";
            let closed = async {
                let _ = stdin_closed().await;
                orphan = true;
                gone.to_owned()
            };
            let ended = run_worker(config, closed).await;
            return if orphan {
                Err(Failure::Failed(anyhow::anyhow!(gone)))
            } else {
                ended.map_err(Failure::failed)
            };
        }
        let mut interrupts = Interrupts::listen().map_err(Failure::failed)?;
        let stopped = async {
            interrupts.next().await;
            "it was told to stop by a signal".to_owned()
        };
        run_worker(config, stopped).await.map_err(Failure::failed)
    })
}

/// Serves the node's metrics where that is asked for, and says where.
#[cfg(feature = "ui")]
async fn show(args: &NodeArgs, tally: Arc<Tally>) -> Result<(), Failure> {
    let Some(address) = args.metrics else { return Ok(()) };
    let (name, version) = (args.name.clone(), env!("RAILYARD_VERSION").to_owned());
    let metrics = yard::NodeMetrics { tally, name, version };
    let address = yard::serve_node(metrics, address).await.map_err(Failure::failed)?;
    crate::output::say(&format!("metrics: http://{address}/metrics"));
    Ok(())
}

#[cfg(not(feature = "ui"))]
async fn show(args: &NodeArgs, _: Arc<Tally>) -> Result<(), Failure> {
    std::future::ready(()).await;
    match args.metrics {
        Some(_) => Err(Failure::Usage(anyhow::anyhow!(
            "--metrics: this build serves none; build it with `--features ui`"
        ))),
        None => Ok(()),
    }
}

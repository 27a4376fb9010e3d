//! `railyard health`, for the health checks of containers, `railyard drain`, and the client that they share with `compare --cluster`.

use super::block_on;
use crate::cli::{ClientArgs, ClusterArgs, DrainArgs, HealthArgs};
use crate::failure::Failure;
use crate::output;
use crate::progress::Meter;
use node::net::{Identity, TransportOptions};
use study::layer::{CompareSpec, Report};
use study::service::{self, ClientError};
use study::serving::{Packed, ServeRecord};

pub(crate) fn run(args: &HealthArgs) -> Result<(), Failure> {
    let client = Client::asking(&args.client)?;
    let status = block_on(async { Box::pin(client.client().status()).await.map_err(failure) })?;
    let there = status.nodes.len();
    let silent = match &status.suspected[..] {
        [] => String::new(),
        names => format!("; not heard for a while: {}", names.join(", ")),
    };
    if there < args.nodes as usize {
        let needed = args.nodes;
        return Err(Failure::Failed(anyhow::anyhow!("{there} of {needed} nodes are there{silent}")));
    }
    if let Some(node) = &args.node
        && !status.nodes.contains(node)
    {
        return Err(Failure::Failed(anyhow::anyhow!("node {node} is not there; {there} others are{silent}")));
    }
    let comparisons = status.comparisons;
    output::print(&format!("ok: {there} nodes, {comparisons} comparisons under way or waiting{silent}\n"))
}

/// Empties a node.
pub(crate) fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let client = Client::asking(&args.client)?;
    block_on(async { Box::pin(client.client().drain(&args.node)).await.map_err(failure) })?;
    output::print(&format!("{} has no seat and has left\n", args.node))
}

/// A running cluster and who asks it.
pub(crate) struct Client<'a> {
    address: &'a str,
    identity: Identity,
    options: TransportOptions,
}

impl<'a> Client<'a> {
    /// As flags say, certificates read; `None` where no cluster is meant.
    pub(crate) fn of(on: &'a ClusterArgs) -> Result<Option<Self>, Failure> {
        let (Some(address), Some(certs)) = (on.cluster.as_deref(), on.certs.as_deref()) else {
            return Ok(None);
        };
        let identity = Identity::load(certs, &on.name).map_err(Failure::usage)?;
        let options = TransportOptions { datagram_bytes: on.datagram_bytes };
        Ok(Some(Self { address, identity, options }))
    }

    fn asking(args: &'a ClientArgs) -> Result<Self, Failure> {
        let identity = Identity::load(&args.certs, &args.name).map_err(Failure::usage)?;
        let options = TransportOptions { datagram_bytes: args.datagram_bytes };
        Ok(Self { address: &args.coordinator, identity, options })
    }

    fn client(&self) -> service::Client<'_> {
        service::Client { address: self.address, identity: &self.identity, transport: self.options }
    }

    /// Has the cluster serve `run`; `say` is told who is before.
    pub(crate) async fn serve(&self, run: &Packed, meter: &Meter) -> Result<ServeRecord, Failure> {
        let mut waiting = |ahead| meter.say(&format!("waiting for {ahead} others"));
        Box::pin(self.client().serve(run, &mut waiting)).await.map_err(failure)
    }

    /// Has the cluster run `spec`.
    pub(crate) async fn compare(&self, spec: &CompareSpec, meter: &Meter) -> Result<Report, Failure> {
        let mut waiting = |ahead| meter.say(&format!("waiting for {ahead} comparisons"));
        let mut progress = |news| meter.show(&news);
        Box::pin(self.client().compare(spec, &mut waiting, &mut progress)).await.map_err(failure)
    }
}

fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Refused { usage: true, .. } => Failure::usage(error),
        _ => Failure::failed(error),
    }
}

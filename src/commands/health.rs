//! `railyard health`, for the health checks of containers, and the client that it shares with `compare --cluster`.

use super::block_on;
use crate::cli::{ClusterArgs, HealthArgs};
use crate::failure::Failure;
use crate::output;
use crate::progress::Meter;
use node::net::{Identity, TransportOptions};
use study::layer::{CompareSpec, Report};
use study::service::{self, ClientError};
use study::serving::{Packed, ServeRecord};

pub(crate) fn run(args: &HealthArgs) -> Result<(), Failure> {
    let options = TransportOptions { datagram_bytes: args.datagram_bytes };
    let identity = Identity::load(&args.certs, &args.name).map_err(Failure::usage)?;
    let status = block_on(async {
        let client = service::Client { address: &args.coordinator, identity: &identity, transport: options };
        Box::pin(client.status()).await.map_err(failure)
    })?;
    let there = status.nodes.len();
    if there < args.nodes as usize {
        return Err(Failure::Failed(anyhow::anyhow!("{there} of {} nodes have registered", args.nodes)));
    }
    if let Some(node) = &args.node
        && !status.nodes.contains(node)
    {
        return Err(Failure::Failed(anyhow::anyhow!("node {node} has not registered; {there} others have")));
    }
    output::print(&format!("ok: {there} nodes, {} comparisons under way or waiting\n", status.comparisons))
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

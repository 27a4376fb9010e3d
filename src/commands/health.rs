//! `railyard health`, for the health checks of containers, `railyard drain`, and the client that they share with `compare --cluster`.

use super::block_on;
use super::certs::COORDINATOR;
use crate::cli::{ClientArgs, ClusterArgs, DrainArgs, HealthArgs};
use crate::failure::Failure;
use crate::output;
use crate::progress::Meter;
use ::coordinator::local::Interrupts;
use node::health::{self, Health};
use node::net::{Identity, Role, TransportOptions};
use std::pin::Pin;
use std::time::{Duration, Instant};
use study::layer::{CompareSpec, Report, Wanted};
use study::service::{self, ClientError, JobId, News};
use study::serving::{Packed, ServeRecord};

/// How long to wait before asking again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

pub(crate) fn run(args: &HealthArgs) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(args.wait.into());
    loop {
        match look(args) {
            Err(Failure::Failed(_)) if Instant::now() < until => std::thread::sleep(AGAIN_AFTER),
            ended => return ended,
        }
    }
}

fn look(args: &HealthArgs) -> Result<(), Failure> {
    // A container has no certificate but its own.
    let own = args.node.as_deref().unwrap_or(COORDINATOR);
    if !args.client.certs.join(format!("{}.pem", args.client.name)).exists()
        && let Ok(identity) = Identity::load(&args.client.certs, own)
    {
        return ask(args, &identity);
    }
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

/// With a certificate of a node or of the coordinator, which may ask this and nothing else.
fn ask(args: &HealthArgs, identity: &Identity) -> Result<(), Failure> {
    let options = TransportOptions { datagram_bytes: args.client.datagram_bytes };
    let Health { there, nodes } = block_on(async {
        health::ask(&args.client.coordinator, identity, options).await.map_err(Failure::failed)
    })?;
    if nodes < args.nodes {
        return Err(Failure::Failed(anyhow::anyhow!("{nodes} of {} nodes are there", args.nodes)));
    }
    match &args.node {
        Some(node) if !there => {
            Err(Failure::Failed(anyhow::anyhow!("node {node} is not there; {nodes} others are")))
        }
        _ => output::print(&format!("ok: {nodes} nodes\n")),
    }
}

/// Empties a node.
pub(crate) fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let client = Client::asking(&args.client)?;
    block_on(async { Box::pin(client.client().drain(&args.node)).await.map_err(failure) })?;
    output::print(&format!("{} has no seat and has left\n", args.node))
}

/// Why a cluster gave no report, and what there is all the same.
pub(crate) struct NoReport {
    pub(crate) failure: Failure,
    /// The rows that are finished.
    pub(crate) incomplete: Option<Report>,
    /// The ranks whose nodes were lost and did not come back in time.
    pub(crate) unseated: Vec<u32>,
}

impl From<Failure> for NoReport {
    fn from(failure: Failure) -> Self {
        Self { failure, incomplete: None, unseated: Vec::new() }
    }
}

/// A running cluster and who asks it.
pub(crate) struct Client<'a> {
    address: &'a str,
    identity: Identity,
    options: TransportOptions,
    rejoin: Duration,
}

impl<'a> Client<'a> {
    /// As flags say, certificates read; `None` where no cluster is meant.
    pub(crate) fn of(on: &'a ClusterArgs) -> Result<Option<Self>, Failure> {
        let (Some(address), Some(certs)) = (on.cluster.as_deref(), on.certs.as_deref()) else {
            return Ok(None);
        };
        let identity = Identity::load(certs, &on.name).map_err(Failure::usage)?;
        let options = TransportOptions { datagram_bytes: on.datagram_bytes };
        let rejoin = Duration::from_secs(on.rejoin_limit.into());
        Ok(Some(Self { address, identity, options, rejoin }))
    }

    pub(super) fn asking(args: &'a ClientArgs) -> Result<Self, Failure> {
        let identity = Identity::load(&args.certs, &args.name).map_err(Failure::usage)?;
        if identity.role() != Role::Client {
            let (name, role) = (&args.name, identity.role());
            return Err(Failure::Usage(anyhow::anyhow!(
                "`{name}` has a {role}'s certificate; asking needs a client's, as of cli"
            )));
        }
        let options = TransportOptions { datagram_bytes: args.datagram_bytes };
        Ok(Self { address: &args.coordinator, identity, options, rejoin: Duration::ZERO })
    }

    pub(super) fn client(&self) -> service::Client<'_> {
        service::Client {
            address: self.address,
            identity: &self.identity,
            transport: self.options,
            rejoin: self.rejoin,
        }
    }

    /// The same, which looks for a coordinator that is gone for so many seconds.
    pub(super) fn rejoining(self, limit_s: u32) -> Self {
        Self { rejoin: Duration::from_secs(limit_s.into()), ..self }
    }

    /// Waits for a comparison that was asked for before; Ctrl-C leaves it alone.
    pub(super) async fn watch(&self, job: JobId, meter: &Meter) -> Result<Report, Failure> {
        let client = self.client();
        let mut hear = |news| told(meter, news, "comparisons");
        let asked = client.watch(job, &mut hear);
        match interruptible(Box::pin(asked)).await? {
            Some(report) => report.map_err(failure),
            None => Err(Failure::Interrupted(anyhow::anyhow!("interrupted; the run goes on"))),
        }
    }

    /// Has the cluster serve `run`; `meter` is told who is before. Ctrl-C withdraws it.
    pub(crate) async fn serve(&self, run: &Packed, meter: &Meter) -> Result<ServeRecord, Failure> {
        let (client, job) = (self.client(), JobId::draw());
        let mut hear = |news| told(meter, news, "others");
        let asked = client.serve(job, run, &mut hear);
        match interruptible(Box::pin(asked)).await? {
            Some(record) => record.map_err(failure),
            None => Err(self.withdrawn(job, meter).await.0),
        }
    }

    /// Has the cluster run what is `wanted` of `spec`; Ctrl-C withdraws it.
    pub(crate) async fn compare(
        &self,
        spec: &CompareSpec,
        wanted: Wanted,
        meter: &Meter,
    ) -> Result<Report, NoReport> {
        let (client, job) = (self.client(), JobId::draw());
        let mut hear = |news| told(meter, news, "comparisons");
        let asked = client.compare(job, spec, wanted, &mut hear);
        match interruptible(Box::pin(asked)).await.map_err(NoReport::from)? {
            Some(Ok(report)) => Ok(report),
            Some(Err(mut error)) => {
                let (mut finished, mut lost) = (None, Vec::new());
                if let ClientError::Refused { incomplete, unseated, .. } = &mut error {
                    (finished, lost) = (incomplete.take(), std::mem::take(unseated));
                }
                let incomplete = finished.map(|report| *report);
                Err(NoReport { failure: failure(error), incomplete, unseated: lost })
            }
            None => {
                let (failure, incomplete) = self.withdrawn(job, meter).await;
                Err(NoReport { failure, incomplete, unseated: Vec::new() })
            }
        }
    }

    /// Gives a job up, and says what is finished of it.
    async fn withdrawn(&self, job: JobId, meter: &Meter) -> (Failure, Option<Report>) {
        let incomplete = Box::pin(self.client().withdraw(job)).await.unwrap_or_else(|error| {
            meter.say(&format!("{error}; the coordinator gives the job up when it misses its client"));
            None
        });
        (Failure::Interrupted(anyhow::anyhow!("interrupted")), incomplete)
    }
}

/// What `asked` yields; `None` where Ctrl-C or SIGTERM comes first.
async fn interruptible<T>(asked: Pin<Box<impl Future<Output = T>>>) -> Result<Option<T>, Failure> {
    let mut interrupts = Interrupts::listen().map_err(Failure::failed)?;
    tokio::select! {
        biased;
        () = interrupts.next() => Ok(None),
        result = asked => Ok(Some(result)),
    }
}

fn told(meter: &Meter, news: News, others: &str) {
    match news {
        News::Waiting(ahead) => meter.say(&format!("waiting for {ahead} {others}")),
        News::Progress(progress) => meter.show(&progress),
        News::Gone { what } => meter.say(&what),
        News::Back => meter.say("the coordinator is there again, and so is the job"),
    }
}

pub(super) fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Refused { usage: true, .. } => Failure::usage(error),
        _ => Failure::failed(error),
    }
}

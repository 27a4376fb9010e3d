//! A client of a running cluster: asks how it is, or has it run a job, whose answer it gets though its connection breaks or the
//! coordinator is started again.

use super::client_error::{ClientError, refusal};
use super::desk::JobView;
use super::live::WITHDRAWN;
use super::protocol::{JobId, Reply, Request, Status};
use super::talk::ALIVE_EVERY;
use crate::layer::{CompareSpec, Progress, Report, Wanted};
use crate::serving::{Packed, ServeRecord};
use node::net::{
    Endpoint, Identity, MessageError, Role, TransportOptions, any_port_for, recv_message, resolve,
    send_message,
};
use quinn::RecvStream;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long the coordinator may take to say how it is.
const STATUS_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to tell the peer that we leave.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Without a word for so long the coordinator is taken for gone. Where it was only busy, asking again costs nothing.
const SILENCE_LIMIT: Duration = ALIVE_EVERY.saturating_mul(5);
/// How long a request may take to arrive and to be kept, before the first word.
const FIRST_LIMIT: Duration = Duration::from_secs(30);
/// How long to wait before a coordinator that is gone is looked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How long a job that is given up may take to say what it has.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(5);

/// What a client hears while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// So many jobs are served before.
    Waiting(u32),
    /// How far the comparison is.
    Progress(Progress),
    /// The coordinator is gone and is looked for.
    Gone {
        /// How that was noticed, and for how long it is looked for.
        what: String,
    },
    /// It is there again, and so is the job.
    Back,
}

/// Where news go.
pub type NewsSink<'a> = &'a mut (dyn FnMut(News) + Send);

/// Where a coordinator is, and who asks.
#[derive(Debug)]
pub struct Client<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// A certificate of the client's role.
    pub identity: &'a Identity,
    /// Datagram size, as the coordinator's.
    pub transport: TransportOptions,
    /// How long a coordinator is looked for that was there and is gone.
    pub rejoin: Duration,
}

impl Client<'_> {
    /// How the cluster is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        match self.ask_shortly(Request::Status, STATUS_LIMIT).await? {
            Reply::Status(status) => Ok(status),
            _ => Err(self.nonsense()),
        }
    }

    /// Empties a node and waits until it has left, which takes as long as the run that it sits in where there is no spare.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] where there is no such node.
    pub async fn drain(&self, node: &str) -> Result<(), ClientError> {
        let (mut unheard, mut connected) = (|_| {}, false);
        match self.ask_once(&Request::Drain(node.to_owned()), &mut unheard, &mut connected).await? {
            Reply::Drained => Ok(()),
            refused @ Reply::Refused { .. } => Err(refusal(refused)),
            _ => Err(self.nonsense()),
        }
    }

    /// Has the cluster run what is `wanted` of `spec` as `job`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn compare(
        &self,
        job: JobId,
        spec: &CompareSpec,
        wanted: Wanted,
        hear: NewsSink<'_>,
    ) -> Result<Report, ClientError> {
        let request = compare_request(job, spec, wanted, false)?;
        self.report(self.ask(request, hear).await?)
    }

    /// Leaves a comparison with the cluster, as `job`; nobody need wait for it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit(&self, job: JobId, spec: &CompareSpec) -> Result<(), ClientError> {
        let request = compare_request(job, spec, Wanted::All, true)?;
        match self.ask_shortly(request, FIRST_LIMIT).await? {
            Reply::Kept => Ok(()),
            refused @ Reply::Refused { .. } => Err(refusal(refused)),
            _ => Err(self.nonsense()),
        }
    }

    /// The jobs that the coordinator keeps, the newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn jobs(&self) -> Result<Vec<JobView>, ClientError> {
        match self.ask_shortly(Request::Jobs, STATUS_LIMIT).await? {
            Reply::Jobs(json) => serde_json::from_str(&json).map_err(|_| self.nonsense()),
            refused @ Reply::Refused { .. } => Err(refusal(refused)),
            _ => Err(self.nonsense()),
        }
    }

    /// Waits for a comparison that this client asked for before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch(&self, job: JobId, hear: NewsSink<'_>) -> Result<Report, ClientError> {
        self.report(self.ask(Request::Watch { job }, hear).await?)
    }

    /// Has the cluster serve `run` as `job`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn serve(
        &self,
        job: JobId,
        run: &Packed,
        hear: NewsSink<'_>,
    ) -> Result<ServeRecord, ClientError> {
        let packed = serde_json::to_string(run).map_err(|_| self.nonsense())?;
        self.report(self.ask(Request::Serve { job, packed }, hear).await?)
    }

    /// Ends `job`, which this client asked for.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] where there is none that waits or is under way.
    pub async fn cancel(&self, job: JobId) -> Result<(), ClientError> {
        match self.ask_shortly(Request::Withdraw { job }, WITHDRAW_LIMIT).await? {
            Reply::Refused { error, .. } if error == WITHDRAWN => Ok(()),
            Reply::Report(_) => {
                Err(refusal(Reply::refused(&format!("run {job} is done: there is nothing to cancel"), true)))
            }
            refused @ Reply::Refused { .. } => Err(refusal(refused)),
            _ => Err(self.nonsense()),
        }
    }

    /// Gives `job` up; what is finished of it.
    ///
    /// # Errors
    /// [`ClientError`]; the coordinator then misses its client, and gives the job up later.
    pub async fn withdraw(&self, job: JobId) -> Result<Option<Report>, ClientError> {
        match self.ask_shortly(Request::Withdraw { job }, WITHDRAW_LIMIT).await? {
            Reply::Refused { incomplete: Some(json), .. } | Reply::Report(json) => {
                // A serving run has none.
                Ok(serde_json::from_str(&json).ok())
            }
            _ => Ok(None),
        }
    }

    /// What the last reply reports.
    fn report<T: DeserializeOwned>(&self, last: Reply) -> Result<T, ClientError> {
        match last {
            Reply::Report(json) => serde_json::from_str(&json).map_err(|_| self.nonsense()),
            refused @ Reply::Refused { .. } => Err(refusal(refused)),
            _ => Err(self.nonsense()),
        }
    }

    /// Sends a request that is answered at once.
    async fn ask_shortly(&self, request: Request, limit: Duration) -> Result<Reply, ClientError> {
        let (mut unheard, mut connected) = (|_| {}, false);
        let asked = timeout(limit, self.ask_once(&request, &mut unheard, &mut connected));
        asked.await.map_err(|_| ClientError::Silent { address: self.address.to_owned(), limit })?
    }

    /// Sends a request and returns the last reply. Where the coordinator is lost that was there, it is asked again: the request names
    /// its job, so that nothing is done twice.
    async fn ask(&self, request: Request, hear: NewsSink<'_>) -> Result<Reply, ClientError> {
        let mut until = None;
        let mut known = false;
        loop {
            let mut connected = false;
            let mut heard = |news| {
                // The first time it was never gone.
                if news != News::Back || until.take().is_some() {
                    hear(news);
                }
            };
            let asked = self.ask_once(&request, &mut heard, &mut connected).await;
            known |= connected;
            let error = match asked {
                Err(error) if known && !self.rejoin.is_zero() && error.is_of_connection() => error,
                other => return other,
            };
            match until {
                Some(limit) if Instant::now() >= limit => return Err(error),
                Some(_) => {}
                None => {
                    until = Some(Instant::now() + self.rejoin);
                    let limit = self.rejoin.as_secs();
                    hear(News::Gone {
                        what: format!("{}; trying again for {limit} s", without_advice(&error)),
                    });
                }
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    /// One connection: `connected` once the coordinator has answered.
    async fn ask_once(
        &self,
        request: &Request,
        hear: NewsSink<'_>,
        connected: &mut bool,
    ) -> Result<Reply, ClientError> {
        let peer = resolve(self.address).await?;
        let endpoint = Endpoint::bind(any_port_for(peer), self.identity, self.transport)?;
        let connection = endpoint.dial(peer, Role::Coordinator).await?.connection;
        let (mut send, mut recv) = connection.open_bi().await.map_err(|error| self.gone(&error))?;
        send_message(&mut send, request).await.map_err(|error| self.gone(&error))?;
        let last = loop {
            let limit = if *connected { SILENCE_LIMIT } else { FIRST_LIMIT };
            let reply = timeout(limit, self.reply(&mut recv)).await;
            let silent = |_| ClientError::Silent { address: self.address.to_owned(), limit };
            let reply = reply.map_err(silent)??;
            if !std::mem::replace(connected, true) {
                hear(News::Back);
            }
            match reply {
                Reply::Alive => {}
                Reply::Waiting { ahead } => hear(News::Waiting(ahead)),
                Reply::Progress(news) => hear(News::Progress(news)),
                last => break last,
            }
        };
        let _ = timeout(CLOSE_LIMIT, endpoint.close("done")).await;
        Ok(last)
    }

    async fn reply(&self, recv: &mut RecvStream) -> Result<Reply, ClientError> {
        match recv_message(recv).await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(self.gone(&"it closed the stream")),
            Err(MessageError::Malformed { .. } | MessageError::Trailing { .. }) => Err(self.nonsense()),
            Err(error) => Err(self.gone(&error)),
        }
    }

    fn gone(&self, reason: &dyn std::fmt::Display) -> ClientError {
        ClientError::Gone { address: self.address.to_owned(), reason: reason.to_string() }
    }

    fn nonsense(&self) -> ClientError {
        ClientError::Answer { address: self.address.to_owned() }
    }
}

/// The request of a comparison, with the answers of a program that places experts.
fn compare_request(
    job: JobId,
    spec: &CompareSpec,
    wanted: Wanted,
    detached: bool,
) -> Result<Request, ClientError> {
    if spec.placement.asks() {
        // Its answers go along.
        let asked = wanted.of(spec, &mut Vec::new());
        asked.map_err(|error| refusal(Reply::refused(&error, error.is_usage())))?;
    }
    let spec = CompareSpec { placement: spec.placement.finished(), ..spec.clone() };
    Ok(Request::Compare { job, spec: Box::new(spec), wanted, detached })
}

/// What is wrong, without what to do about it: it is being done.
fn without_advice(error: &ClientError) -> String {
    let text = error.to_string();
    text.split("; see its log").next().unwrap_or_default().to_owned()
}

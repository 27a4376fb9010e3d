//! A client of a running cluster: asks how it is, or has it run a comparison.

use super::protocol::Status;
use super::protocol::{Reply, Request};
use crate::layer::{CompareSpec, Progress, Report, configurations};
use crate::serving::{Packed, ServeRecord};
use node::net::{
    BindError, Endpoint, Identity, LinkError, MessageError, Role, TransportOptions, recv_message,
    send_message,
};
use quinn::RecvStream;
use serde::de::DeserializeOwned;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use thiserror::Error;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long the coordinator may take to say how it is.
const STATUS_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to tell the peer that we leave.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Why a client got no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No such host.
    #[error("cannot find {address}: {source}; give the coordinator as HOST:PORT")]
    Resolve {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// No port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The connection or its stream failed.
    #[error("the coordinator at {address} is gone: {reason}; see its log")]
    Gone {
        /// As it was given.
        address: String,
        /// What happened.
        reason: String,
    },
    /// It does not answer.
    #[error("the coordinator at {address} did not answer within {} s; see its log", STATUS_LIMIT.as_secs())]
    Silent {
        /// As it was given.
        address: String,
    },
    /// It answered something else.
    #[error("the coordinator at {address} gave an answer that is none; run one build of railyard everywhere")]
    Answer {
        /// As it was given.
        address: String,
    },
    /// There is no report.
    #[error("{error}")]
    Refused {
        /// Why.
        error: String,
        /// True if the options are at fault.
        usage: bool,
    },
}

/// Where a coordinator is, and who asks.
#[derive(Debug)]
pub struct Client<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// A certificate of the client's role.
    pub identity: &'a Identity,
    /// Datagram size, as the coordinator's.
    pub transport: TransportOptions,
}

impl Client<'_> {
    /// How the cluster is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        let (mut waiting, mut progress) = (|_| {}, |_| {});
        let ask = self.ask(Request::Status, &mut waiting, &mut progress);
        let answer = timeout(STATUS_LIMIT, ask).await;
        match answer.map_err(|_| ClientError::Silent { address: self.address.to_owned() })?? {
            Reply::Status(status) => Ok(status),
            _ => Err(self.nonsense()),
        }
    }

    /// Empties a node and waits until it has left, which takes as long as the run that it sits in where there is no spare.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] where there is no such node.
    pub async fn drain(&self, node: &str) -> Result<(), ClientError> {
        match self.ask(Request::Drain(node.to_owned()), &mut |_| {}, &mut |_| {}).await? {
            Reply::Drained => Ok(()),
            Reply::Refused { error, usage } => Err(ClientError::Refused { error, usage }),
            _ => Err(self.nonsense()),
        }
    }

    /// Has the cluster run `spec`. `waiting` is told how many are served before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn compare(
        &self,
        spec: &CompareSpec,
        waiting: &mut (dyn FnMut(u32) + Send),
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Report, ClientError> {
        if spec.placement.asks() {
            // Its answers go along.
            configurations(spec, &mut Vec::new()).map_err(|error| ClientError::Refused {
                usage: error.is_usage(),
                error: error.to_string(),
            })?;
        }
        let spec = CompareSpec { placement: spec.placement.finished(), ..spec.clone() };
        self.report(self.ask(Request::Compare(Box::new(spec)), waiting, progress).await?)
    }

    /// Has the cluster serve `run`. `waiting` is told how many are served before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn serve(
        &self,
        run: &Packed,
        waiting: &mut (dyn FnMut(u32) + Send),
    ) -> Result<ServeRecord, ClientError> {
        let packed = serde_json::to_string(run).map_err(|_| self.nonsense())?;
        self.report(self.ask(Request::Serve(packed), waiting, &mut |_| {}).await?)
    }

    /// What the last reply reports.
    fn report<T: DeserializeOwned>(&self, last: Reply) -> Result<T, ClientError> {
        match last {
            Reply::Report(json) => serde_json::from_str(&json).map_err(|_| self.nonsense()),
            Reply::Refused { error, usage } => Err(ClientError::Refused { error, usage }),
            _ => Err(self.nonsense()),
        }
    }

    /// Sends a request and returns the last reply.
    async fn ask(
        &self,
        request: Request,
        waiting: &mut (dyn FnMut(u32) + Send),
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Reply, ClientError> {
        let resolve = |source| ClientError::Resolve { address: self.address.to_owned(), source };
        let mut found = lookup_host(self.address).await.map_err(resolve)?;
        let peer = found.next().ok_or_else(|| resolve(io::Error::other("it has no address")))?;
        let any: SocketAddr = if peer.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let endpoint = Endpoint::bind(any, self.identity, self.transport)?;
        let connection = endpoint.dial(peer, Role::Coordinator).await?.connection;
        let (mut send, mut recv) = connection.open_bi().await.map_err(|error| self.gone(&error))?;
        send_message(&mut send, &request).await.map_err(|error| self.gone(&error))?;
        let last = loop {
            match self.reply(&mut recv).await? {
                Reply::Waiting { ahead } => waiting(ahead),
                Reply::Progress(news) => progress(news),
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

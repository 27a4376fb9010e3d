//! What a node, or the coordinator's own container, may ask a coordinator with its own certificate: is it well?

use crate::control::{FromNode, ToNode};
use crate::net::{
    BindError, Endpoint, Identity, LinkError, MessageError, ResolveError, Role, TransportOptions,
    any_port_for, recv_message, resolve, send_message,
};
use std::time::Duration;
use thiserror::Error;
use tokio::time::timeout;

/// How long a coordinator may take to say.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to tell it that we leave.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HealthError {
    /// No such host.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The connection failed.
    #[error("the coordinator is gone: {0}; see its log")]
    Gone(String),
    /// No answer.
    #[error("the coordinator did not answer within {} s; see its log", ANSWER_LIMIT.as_secs())]
    Silent,
}

impl From<MessageError> for HealthError {
    fn from(error: MessageError) -> Self {
        Self::Gone(error.to_string())
    }
}

/// How a coordinator sees whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether a node of the asker's name is there.
    pub there: bool,
    /// Nodes that are there.
    pub nodes: u32,
}

/// Asks the coordinator at `address` (`host:port`).
///
/// # Errors
/// [`HealthError`].
pub async fn ask(
    address: &str,
    identity: &Identity,
    transport: TransportOptions,
) -> Result<Health, HealthError> {
    let peer = resolve(address).await?;
    let endpoint = Endpoint::bind(any_port_for(peer), identity, transport)?;
    let connection = endpoint.dial(peer, Role::Coordinator).await?.connection;
    let answer = timeout(ANSWER_LIMIT, async {
        let (mut send, mut recv) =
            connection.open_bi().await.map_err(|error| HealthError::Gone(error.to_string()))?;
        send_message(&mut send, &FromNode::AskHealth).await?;
        match recv_message::<ToNode>(&mut recv).await? {
            Some(ToNode::Health { there, nodes }) => Ok(Health { there, nodes }),
            _ => Err(HealthError::Gone("it gave another answer".to_owned())),
        }
    });
    let answer = answer.await.map_err(|_| HealthError::Silent)?;
    let _ = timeout(CLOSE_LIMIT, endpoint.close("done")).await;
    answer
}

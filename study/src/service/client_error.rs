//! Why a client got no answer.

use super::protocol::Reply;
use crate::layer::Report;
use node::net::{BindError, LinkError, ResolveError};
use std::time::Duration;
use thiserror::Error;

/// Why a client got no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No such host.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
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
    #[error("the coordinator at {address} did not answer within {} s; see its log", limit.as_secs())]
    Silent {
        /// As it was given.
        address: String,
        /// How long it was waited for.
        limit: Duration,
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
        /// The rows that are finished, marked as incomplete.
        incomplete: Option<Box<Report>>,
        /// The ranks whose nodes were lost and did not come back in time.
        unseated: Vec<u32>,
    },
}

impl ClientError {
    /// True where the same request may be answered later: the coordinator can't be reached.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Self::Resolve(_) | Self::Link(_) | Self::Gone { .. } | Self::Silent { .. })
    }
}

/// The error of a refusal.
pub(super) fn refusal(reply: Reply) -> ClientError {
    let Reply::Refused { error, usage, incomplete, unseated } = reply else {
        return ClientError::Refused {
            error: "there is no report".to_owned(),
            usage: false,
            incomplete: None,
            unseated: Vec::new(),
        };
    };
    let incomplete = incomplete.and_then(|json| serde_json::from_str(&json).ok()).map(Box::new);
    ClientError::Refused { error, usage, incomplete, unseated }
}

//! What a coordinator knows of a job beside its request, rows and answer.

use super::protocol::{JobId, Request};
use super::store_error::StoreError;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};
use twox_hash::XxHash3_64;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    Waiting,
    UnderWay,
    /// It has its answer, a report.
    Done,
    /// It has its answer, a refusal.
    Failed,
    /// Its client was gone for too long.
    Left,
}

impl State {
    /// As it is shown.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::UnderWay => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Left => "left",
        }
    }

    pub(super) fn is_to_run(self) -> bool {
        matches!(self, Self::Waiting | Self::UnderWay)
    }
}

/// What is known of a job beside its request, rows and answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: JobId,
    /// Name in the client's certificate.
    pub(super) client: String,
    pub(super) state: State,
    /// XXH3-64 of the request's JSON.
    pub(super) fingerprint: u64,
    /// Version of the build that took it: rows of another are not gone on from.
    pub(super) build: String,
    /// Nodes that were there then.
    pub(super) nodes: u32,
    /// Number under which its results are to be saved, as long as they may not be.
    pub(super) to_save: Option<u32>,
    /// What request, rows and answer take.
    pub(super) bytes: u64,
    /// What it is about, one line.
    #[serde(default)]
    pub(super) title: String,
    /// When it was asked for, seconds since 1970; 0 where that was not kept.
    #[serde(default)]
    pub(super) asked_unix_s: u64,
    /// Nobody need wait for it.
    #[serde(default)]
    pub(super) detached: bool,
}

impl Job {
    pub(super) fn new(id: JobId, client: &str, fingerprint: u64, nodes: u32) -> Self {
        let build = env!("CARGO_PKG_VERSION").to_owned();
        let (state, client) = (State::Waiting, client.to_owned());
        let (title, asked_unix_s, detached) = (String::new(), 0, false);
        Self {
            id,
            client,
            state,
            fingerprint,
            build,
            nodes,
            to_save: None,
            bytes: 0,
            title,
            asked_unix_s,
            detached,
        }
    }
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A request as it is kept, and its fingerprint.
///
/// # Errors
/// [`StoreError::Unstable`].
pub(super) fn kept_request(request: &Request) -> Result<(Vec<u8>, u64), StoreError> {
    let bytes = json(request)?;
    let fingerprint = XxHash3_64::oneshot(&bytes);
    match serde_json::from_slice::<Request>(&bytes) {
        Ok(read) if read == *request => Ok((bytes, fingerprint)),
        _ => Err(StoreError::Unstable { what: "the request" }),
    }
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|_| StoreError::Unstable { what: "an entry" })
}

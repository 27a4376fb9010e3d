//! What a client and a coordinator say to each other: one request on a stream of its own, replies until the last.

use crate::layer::{CompareSpec, Progress};
use serde::{Deserialize, Serialize};

/// From a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Answer [`Reply::Status`].
    Status,
    /// Answer [`Reply::Waiting`] and [`Reply::Progress`] any number of times, then [`Reply::Report`] or
    /// [`Reply::Refused`].
    Compare(Box<CompareSpec>),
    /// A [`Packed`](crate::serving::Packed) serving run as JSON. Answer [`Reply::Waiting`] any number of times, then
    /// [`Reply::Report`] or [`Reply::Refused`].
    Serve(String),
    /// Empty a node. Answer [`Reply::Drained`] once it has left, or [`Reply::Refused`].
    Drain(String),
}

/// From the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// How the cluster is.
    Status(Status),
    /// Others are served first.
    Waiting {
        /// How many.
        ahead: u32,
    },
    /// How far the comparison is.
    Progress(Progress),
    /// The [`Report`](crate::layer::Report), or the [`ServeRecord`](crate::serving::ServeRecord), as JSON, which describes itself where the
    /// control messages' encoding does not.
    Report(String),
    /// There will be no report.
    Refused {
        /// Why, one line.
        error: String,
        /// True if the options are at fault.
        usage: bool,
    },
    /// The node is empty and has left.
    Drained,
}

/// How a cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Names of the nodes that are there, ascending.
    pub nodes: Vec<String>,
    /// Names of those that have been silent for a while and take no seats, ascending.
    pub suspected: Vec<String>,
    /// Comparisons under way and waiting.
    pub comparisons: u32,
}

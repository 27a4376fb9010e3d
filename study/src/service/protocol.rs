//! What a client and a coordinator say to each other: one request on a stream of its own, replies until the last.

use crate::layer::{CompareSpec, Progress, Wanted};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use twox_hash::XxHash3_64;

/// What a client calls its job by, so that it can ask for it again: drawn, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub(super) [u8; 16]);

impl std::str::FromStr for JobId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        let refused = || format!("`{text}` is no id of a job: they have 32 hexadecimal digits");
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(refused)
    }
}

impl JobId {
    /// One that nobody has.
    #[must_use]
    pub fn draw() -> Self {
        // Its keys are the system's random bits.
        let keys = RandomState::new();
        Self::of([keys.hash_one(0_u8), keys.hash_one(1_u8)])
    }

    /// The same one for the same bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self::of([XxHash3_64::oneshot_with_seed(0, bytes), XxHash3_64::oneshot_with_seed(1, bytes)])
    }

    fn of(halves: [u64; 2]) -> Self {
        Self(((u128::from(halves[0]) << 64) | u128::from(halves[1])).to_be_bytes())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// From a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Answer [`Reply::Status`].
    Status,
    /// Answer [`Reply::Alive`], [`Reply::Waiting`] and [`Reply::Progress`] any number of times, then [`Reply::Report`] or
    /// [`Reply::Refused`]; those of the job that has this id, if there is one.
    Compare {
        /// The job.
        job: JobId,
        /// What to compare.
        spec: Box<CompareSpec>,
        /// Which of its configurations.
        wanted: Wanted,
        /// Nobody need wait for it.
        #[serde(default)]
        detached: bool,
    },
    /// A [`Packed`](crate::serving::Packed) serving run as JSON. Answered as [`Self::Compare`], without progress.
    Serve {
        /// The job.
        job: JobId,
        /// The run.
        packed: String,
    },
    /// Answer [`Reply::Jobs`].
    Jobs,
    /// Answered as the request of that job was, which is this client's.
    Watch {
        /// The job.
        job: JobId,
    },
    /// Empty a node. Answer [`Reply::Alive`] any number of times, then [`Reply::Drained`] once it has left, or [`Reply::Refused`].
    Drain(String),
    /// Nobody waits for the job any more. Answer [`Reply::Refused`] with what it has.
    Withdraw {
        /// The job.
        job: JobId,
    },
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
        /// The rows that are finished, a [`Report`](crate::layer::Report) that is marked as incomplete, as JSON.
        incomplete: Option<String>,
        /// The ranks whose nodes were lost and did not come back in time.
        unseated: Vec<u32>,
    },
    /// The jobs that are kept, a list of [`JobView`](super::JobView) as JSON.
    Jobs(String),
    /// The job is kept, and nobody need wait for it.
    Kept,
    /// The node is empty and has left.
    Drained,
    /// The job is known, and so is its client: said at once and every second.
    Alive,
}

impl Reply {
    pub(super) fn refused(error: &impl ToString, usage: bool) -> Self {
        Self::Refused { error: error.to_string(), usage, incomplete: None, unseated: Vec::new() }
    }
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

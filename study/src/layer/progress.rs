//! How far a comparison is, told to whoever waits for it.

use serde::{Deserialize, Serialize};

/// How far a comparison is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// References and expectations are being computed.
    Preparing {
        /// Records of the slowest backend that will come.
        total: usize,
    },
    /// A record of the slowest backend is next.
    Running {
        /// Such records that are done.
        done: usize,
        /// Such records in all.
        total: usize,
        /// Configuration, latency and backend.
        what: String,
        /// Seconds until all are done, about; `None` where no time is kept.
        left_s: Option<u32>,
    },
    /// A row that the host disturbed is repeated at twice the dilation or more.
    Retrying {
        /// Configuration, latency and backend.
        what: String,
        /// What disturbed it.
        problem: String,
    },
    /// All records are done.
    Done,
}

/// Where progress goes.
pub type ProgressSink<'a> = &'a mut (dyn FnMut(Progress) + Send);

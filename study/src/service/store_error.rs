//! Why the store of jobs can't be opened, or takes no more.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// What a store refuses or fails at. Every message is one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No directory.
    #[error("cannot make {path}: {source}; give another --state")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("another coordinator has {path} open; stop it, or give another --state")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Made by a build with another schema.
    #[error(
        "{path} has version {found}, this build has {ours}; move it away to begin anew, or run the build that made it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// That of this build.
        ours: u64,
    },
    /// Something else.
    #[error("{path} is no store of jobs: {problem}; move it away to begin anew, or give another --state")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The limit.
    #[error(
        "the store of jobs is full: {needed} bytes more, {limit} are the limit and no finished job is left to drop; wait for jobs to end"
    )]
    Full {
        /// Bytes that are to be added.
        needed: u64,
        /// Most bytes that are kept.
        limit: u64,
    },
    /// Something that does not come back as it was written.
    #[error("{what} can't be kept: it would not be read back as it is")]
    Unstable {
        /// What it is.
        what: &'static str,
    },
    /// A row that is there already.
    #[error("row {row} of job {job} is finished already, with other numbers; nothing was changed")]
    Twice {
        /// Number of the job.
        job: u64,
        /// Place of the row.
        row: u64,
    },
    /// A job that isn't there, or no longer.
    #[error("job {0} is not in the store; it was withdrawn or dropped")]
    NoJob(u64),
    /// An entry of another build, its checksum right.
    #[error(
        "{what} of the store can't be read: {problem}; run the build that made it, or move the store away"
    )]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Why.
        problem: String,
    },
    /// No thread.
    #[error("no thread for the jobs: {0}")]
    Thread(io::Error),
    /// The disk, or what is on it.
    #[error("the store of jobs failed: {0}; see to the disk, then start the coordinator again")]
    Data(#[source] Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Data(Box::new(error.into()))
    }
}

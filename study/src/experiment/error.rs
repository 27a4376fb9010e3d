//! Why an experiment can't be read, run or put together.

use super::subject::Failed;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A fault of an experiment file, with its line.
#[derive(Debug, Error)]
#[error("{origin}:{line}: {problem}")]
pub struct FileError {
    /// The file's name.
    pub origin: String,
    /// From 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Why a sweep did not go on, or results could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A point that can't be run as it is.
    #[error("{place}point {point} ({settings}): {problem}")]
    Point {
        /// `FILE:LINE: ` of the setting at fault; empty where it is none alone.
        place: String,
        /// Its number.
        point: usize,
        /// Its settings, for people.
        settings: String,
        /// What is wrong.
        problem: String,
    },
    /// A point that was tried.
    #[error("point {point} ({settings}): {source}")]
    Run {
        /// Its number.
        point: usize,
        /// Its settings, for people.
        settings: String,
        /// Why.
        source: Failed,
    },
    /// A part of the points that there is not.
    #[error("{0}")]
    Shard(String),
    /// A file that can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that holds something else.
    #[error("{}: {problem}", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// What, and the remedy.
        problem: String,
    },
}

impl ExperimentError {
    /// True if the options are at fault: the command then exits with 2.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Point { .. } | Self::Shard(_) | Self::Results { .. } => true,
            Self::Run { source, .. } => source.usage,
            Self::Io { .. } => false,
        }
    }
}

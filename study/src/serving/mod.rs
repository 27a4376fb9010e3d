//! Serving experiments: a file with a deployment, its requests and a sweep, served on the virtual clock and told in the words of
//! `vllm bench serve`.

mod cache;
mod deploy;
mod elsewhere;
mod file;
mod frames;
mod live;
mod packed;
mod placements;
mod record;
mod run;
mod spec;
#[cfg(test)]
mod tests;
mod text;
mod tick;
mod witness;

pub use cache::{Cache, cache_spec};
pub use deploy::{Cost, Deployment, Layers, Sources};
pub use file::{POINTS_MAX, ServeFile, parse_serve_file};
pub use frames::Frames;
pub use live::Live;
pub use packed::Packed;
pub use placements::SharedPlacements;
pub use record::{MEMO_ERROR_MAX, SERVE_SCHEMA_VERSION, ServeRecord, Shares};
pub use run::serve;
pub use spec::{CacheTable, CostChoice, Deployed, Parallel, PlotTable, Prefill, ServeSpec, TierTable};
pub use text::block;
pub use witness::TokenDigests;

use thiserror::Error;

/// A serving run that can't be. Every message is one line.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting that can't be.
    #[error("{what}: {problem}")]
    Setting {
        /// Its key.
        what: String,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// A fault of the file.
    #[error("{origin}:{line}: {problem}")]
    File {
        /// The file.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// Weights that fill the memory.
    #[error(transparent)]
    Memory(#[from] serving::ledger::NoRoom),
    /// Requests that can't be made or read.
    #[error("arrivals: {0}")]
    Arrivals(#[from] serving::ArrivalError),
    /// A cache that can't be, or does not fit its requests.
    #[error(transparent)]
    Cache(#[from] serving::tiers::CacheError),
    /// A point of a sweep.
    #[error("{point}: {source}")]
    Point {
        /// Its swept keys.
        point: String,
        /// What is wrong.
        source: Box<Self>,
    },
    /// A run that can't go on.
    #[error(transparent)]
    Drive(#[from] serving::DriveError),
    /// Ranks that can't go on.
    #[error(transparent)]
    Run(Box<coordinator::run::RunError>),
    /// A token that came out otherwise than it must.
    #[error("NOT VERIFIED, step {step}: {problem}")]
    Verify {
        /// Of the batch.
        step: u32,
        /// Which token.
        problem: String,
    },
}

impl ServeError {
    /// Whether the experiment is at fault, not the run.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Setting { .. } | Self::File { .. } | Self::Arrivals(_) | Self::Cache(_) => true,
            Self::Point { source, .. } => source.is_usage(),
            _ => false,
        }
    }

    /// The same, with the point that it befell; `point` is empty where nothing is swept.
    #[must_use]
    pub fn at(self, point: &str) -> Self {
        if point.is_empty() { self } else { Self::Point { point: point.to_owned(), source: Box::new(self) } }
    }
}

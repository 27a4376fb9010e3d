//! Serving runs: a deployment and its requests, served on the virtual clock or by ranks that compute, and told in the words of
//! `vllm bench serve`.

mod cache;
mod deploy;
mod elsewhere;
mod frames;
mod kept;
mod live;
mod memory;
mod outline;
mod packed;
mod placements;
mod pool_record;
mod pools;
mod prefill;
mod record;
mod run;
mod spec;
mod stages;
#[cfg(test)]
mod tests;
mod text;
mod tick;
mod witness;

pub use cache::{Cache, cache_spec};
pub use deploy::{Cost, Deployment, Sources};
pub use frames::Frames;
pub use kept::{KeptLayers, OfDeployment};
pub use live::Live;
pub use outline::outline;
pub use packed::Packed;
pub use placements::SharedPlacements;
pub use pool_record::{HandoverRecord, PoolRecord, Pools, TtftParts};
pub(crate) use prefill::{gives_way, prefill_keys};
pub use record::{Found, MEMO_ERROR_MAX, ServeRecord, Shares};
pub use run::{serve, serve_traced};
pub use serving::trace::YardTrace;
pub use spec::{
    CacheTable, CostChoice, Deployed, Parallel, Prefill, PrefillPool, ServeSpec, ServeWords, TierTable,
    place_of,
};
pub use text::block;
pub use witness::TokenDigests;

use crate::scenario::ScenarioError;
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
    /// Weights that fill the memory.
    #[error(transparent)]
    Memory(#[from] serving::ledger::NoRoom),
    /// Requests that can't be made or read.
    #[error("arrivals: {0}")]
    Arrivals(#[from] serving::ArrivalError),
    /// A cache that can't be, or does not fit its requests.
    #[error(transparent)]
    Cache(#[from] serving::tiers::CacheError),
    /// A run that can't go on.
    #[error(transparent)]
    Drive(#[from] serving::DriveError),
    /// Ranks that can't go on.
    #[error(transparent)]
    Run(Box<coordinator::RunError>),
    /// What the pool of prompts can't do.
    #[error("prefill: {0}")]
    Prefill(Box<Self>),
    /// A token that came out otherwise than it must.
    #[error("NOT VERIFIED, step {step}: {problem}")]
    Verify {
        /// Of the batch.
        step: u32,
        /// Which token.
        problem: String,
    },
}

impl From<ScenarioError> for ServeError {
    fn from(error: ScenarioError) -> Self {
        Self::setting(&place_of(error.word), error.problem)
    }
}

impl ServeError {
    /// The fault of the setting at `what`.
    pub(crate) fn setting(what: &str, problem: impl ToString) -> Self {
        Self::Setting { what: what.to_owned(), problem: problem.to_string() }
    }

    /// Whether the experiment is at fault, not the run.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Prefill(error) => error.is_usage(),
            _ => matches!(self, Self::Setting { .. } | Self::Arrivals(_) | Self::Cache(_)),
        }
    }
}

//! The best deployment of a model on a yard of racks under limits on latency: closed forms for every layout, trials on the virtual clock
//! for those that may be best.
//!
//! A *layout* is what one replica is: its racks, stages, tensor parallelism, scheme, overlap and tokens a step. Its load in closed forms is
//! `steady`; a `trial` serves requests with it. `search` tries layouts in the order of their closed forms until none is left that could
//! be better than the best one tried; two pools are then served `together`.

mod answer;
mod ask;
mod change;
mod launch;
mod layout;
mod options;
mod proof;
mod search;
mod steady;
#[cfg(test)]
mod tests;
mod together;
mod trial;

pub use answer::{Plan, exhaustive, plan};
pub use ask::{Ask, Limits, Load};
pub use change::{Flip, Near};
pub use launch::{Launch, launches};
pub use layout::{Layout, Role, layouts};
pub use options::{Choice, Part, Together};
pub use proof::proof;
pub use search::{FrontPoint, Refused};
pub use steady::{Binds, Curve, Steady};
pub use trial::Trial;

use crate::serving::ServeError;
use thiserror::Error;

/// A question without an answer. Every message is one line.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A word that can't be.
    #[error("{word}: {problem}")]
    Word {
        /// The flag's name with `_` for `-`.
        word: &'static str,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// No layout keeps the limits, or none fits; the best reason.
    #[error("no layout can serve this: {0}")]
    Nothing(String),
    /// What a serving run refuses for every layout.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl PlanError {
    fn word(word: &'static str, problem: impl ToString) -> Self {
        Self::Word { word, problem: problem.to_string() }
    }

    /// Whether the question is at fault, not the run.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Word { .. } => true,
            Self::Nothing(_) => false,
            Self::Serve(error) => error.is_usage(),
        }
    }
}

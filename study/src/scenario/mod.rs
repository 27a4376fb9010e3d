//! What is studied, said once: [`Scenario`] is a command's flags, a file's keys and the words of the command that repeats a run.
//!
//! Every command, every table of a file and every subject reads its words with one parser ([`Words`], [`read`]) and resolves them
//! with one function ([`Scenario::resolve`]), so that a word means the same and has the same default everywhere.

mod choice;
mod files;
mod flags;
mod hardware;
mod model;
mod racks;
mod resolve;
#[cfg(test)]
mod tests;
pub(crate) mod value;
mod words;

pub use choice::{
    BackendKind, BackendWord, BaseChoice, ChoiceError, Dilation, GateChoice, LatencyChoice, SEEDS_MAX, Seeds,
};
pub use files::read_file;
pub use flags::{Takes, Words, command, flags, keys, quoted, read, said, takes_several};
pub use hardware::{Place, cluster_file};
pub use model::{any_model, fitting_model, named_model};
pub use racks::Racks;
pub use resolve::Studied;
pub use value::{Ordered, Settings, Value, distinct};
pub use words::{PlacementParser, Scenario};

use thiserror::Error;

/// A word of a scenario that leads nowhere, or a value that can't be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{word}: {problem}")]
pub struct ScenarioError {
    /// The word, in the form of a file: `ranks_per_rack`.
    pub word: &'static str,
    /// What is wrong, with the remedy.
    pub problem: String,
}

impl ScenarioError {
    /// The fault of `word`.
    pub fn new(word: &'static str, problem: impl ToString) -> Self {
        Self { word, problem: problem.to_string() }
    }
}

//! What is studied, said once: models, hardware, links and racks mean the same to every command that names them.

mod files;
mod hardware;
mod model;
mod racks;
mod routing;
#[cfg(test)]
mod tests;

pub use files::read_file;
pub use hardware::{Place, cluster_file};
pub use model::{any_model, fitting_model, named_model};
pub use racks::Racks;
pub use routing::named_routing;

use thiserror::Error;

/// A word of a scenario that leads nowhere, or a value that can't be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{problem}")]
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

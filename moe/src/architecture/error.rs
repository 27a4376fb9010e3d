//! Why a configuration can't be read: its origin, the field, what is wrong and the remedy.

/// Why a configuration can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct ArchitectureError {
    /// The file or whatever the text came from.
    pub origin: String,
    /// The field that is missing, impossible or not understood; none where the text as a whole can't be read.
    pub field: Option<String>,
    /// What is wrong, with the remedy.
    pub problem: String,
}

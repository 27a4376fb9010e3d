//! What a format of loads is: how it is told from others, and what reads it.

use super::lines::Lines;
use super::{ExpertLoad, LoadError};

/// Reads a text, which its second argument names in errors.
type ReadDocument = fn(&str, &str) -> Result<ExpertLoad, LoadError>;

/// A format, in a file of its own; the table of `read` lists them.
pub(super) struct Format {
    /// Whose it is and what it looks like, for people.
    pub(super) words: &'static str,
    /// Keys of its JSON objects, any of which tells it from the others.
    pub(super) keys: &'static [&'static str],
    /// Reads a text that is one JSON document. `None` where files are lines.
    pub(super) document: Option<ReadDocument>,
    /// Reads JSON lines. `None` where a file is one document, be it in one line.
    pub(super) lines: Option<fn(Lines<'_>) -> Result<ExpertLoad, LoadError>>,
}

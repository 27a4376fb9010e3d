//! Why loads can't be read or made; always with the place and the remedy.

use crate::routing::RoutingError;
use thiserror::Error;

use super::MAX_LOAD_LAYERS;

/// Why a record can't be used; always with the place.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be opened or read.
    #[error("{origin}: cannot be read: {error}")]
    Io {
        /// File that it was read from.
        origin: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// None of the formats.
    #[error("{origin}: {found}; give {known}")]
    Unknown {
        /// File that it was read from.
        origin: String,
        /// What it looks like.
        found: String,
        /// What is read, for people.
        known: String,
    },
    /// The text is not JSON of the expected shape.
    #[error(
        "{origin}: {source}; expected {{\"logical_count\": [[tokens of each expert] for each layer]}}, or a list of these, one a step"
    )]
    Json {
        /// File that it was read from.
        origin: String,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A line is wrong.
    #[error("{origin}:{line}: {problem}")]
    Line {
        /// File that it was read from.
        origin: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// An array of NumPy is not what is read.
    #[error(
        "{origin}: {problem}; give an int16, int32 or int64 array of shape [len, layers, topk] in C order"
    )]
    Npy {
        /// File that it was read from.
        origin: String,
        /// What is wrong.
        problem: String,
    },
    /// Too long, or no layers, or too many.
    #[error("{origin}: {problem}; give one record of 1 to {MAX_LOAD_LAYERS} layers")]
    Size {
        /// File that it was read from.
        origin: String,
        /// What is wrong.
        problem: String,
    },
    /// A layer with another number of experts than the first, none, or too many.
    #[error("{origin}: layer {layer} has {found} experts, {expected}")]
    Layer {
        /// File that it was read from.
        origin: String,
        /// The layer, from 0.
        layer: usize,
        /// Experts that this layer has.
        found: usize,
        /// What the count may be.
        expected: String,
    },
    /// No expert of any layer has a token.
    #[error("{origin}: a record without tokens: no expert has any; give one that was taken under load")]
    NoTokens {
        /// File that it was read from.
        origin: String,
    },
    /// Loads can't be drawn from a routing.
    #[error(transparent)]
    Routing(#[from] RoutingError),
}

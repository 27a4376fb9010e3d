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
    /// Not text, not JSON, or with a constant that JSON doesn't have.
    #[error("{origin}: {problem}")]
    Broken {
        /// File that it was read from.
        origin: String,
        /// Where and what, with the remedy.
        problem: String,
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
        "{origin}: {problem}; give picks of shape [len, layers, topk] as int16, int32 or int64, or counts of shape \
         [layers, experts], in C order"
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
    /// A count that is none.
    #[error("{origin}: {place} has {count} tokens; give a number from 0 to 2^53")]
    Count {
        /// File that it was read from.
        origin: String,
        /// Its layer and expert, in words.
        place: String,
        /// What stands there.
        count: f64,
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

//! Why requests can't be made or read; always with the place and the remedy.

use thiserror::Error;

/// A source that can't be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ArrivalError {
    /// A line that can't be read.
    #[error("{origin}:{line}: {problem}")]
    Line {
        /// File that it was read from.
        origin: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what to give.
        problem: String,
    },
    /// A trace that can't be used as a whole.
    #[error("{origin}: {problem}")]
    Trace {
        /// File that it was read from.
        origin: String,
        /// What is wrong, and what to give.
        problem: String,
    },
    /// A setting that can't be.
    #[error("{what} = {value}: {must}")]
    Setting {
        /// Key of `[arrivals]` at fault.
        what: &'static str,
        /// Its value as written.
        value: String,
        /// What it must be.
        must: String,
    },
}

/// The error of a setting whose value can't be.
pub(super) fn setting(what: &'static str, value: impl ToString, must: impl Into<String>) -> ArrivalError {
    ArrivalError::Setting { what, value: value.to_string(), must: must.into() }
}

/// The error of a setting that is missing.
pub(super) fn missing(what: &'static str, must: impl Into<String>) -> ArrivalError {
    setting(what, "(nothing)", must)
}

/// `value` where it is from `least` to `most`.
pub(super) fn within<T: PartialOrd + ToString>(
    what: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<T, ArrivalError> {
    // Not a number is in no range.
    if value >= least && value <= most {
        Ok(value)
    } else {
        let must = format!("give a number from {} to {}", least.to_string(), most.to_string());
        Err(setting(what, value, must))
    }
}

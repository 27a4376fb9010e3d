//! Where requests come from: generators and recorded traces, behind one trait.

use crate::request::Request;
use thiserror::Error;
use topology::Picos;

/// A stream of requests in the order of arrival.
///
/// It is asked for one request at a time, so that a million of them need no memory.
pub trait Arrivals {
    /// When the next request comes; `None` where none will come before another one [`ended`](Self::ended), or ever.
    ///
    /// # Errors
    /// [`ArrivalError`] where the source can't be read.
    fn next_at(&mut self) -> Result<Option<Picos>, ArrivalError>;

    /// Takes the next request; `None` where [`Self::next_at`] is.
    ///
    /// # Errors
    /// As [`Self::next_at`].
    fn take_next(&mut self) -> Result<Option<Request>, ArrivalError>;

    /// A request was answered or refused at `now`: its user may ask again.
    fn ended(&mut self, now: Picos);
}

/// A source that can't be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ArrivalError {
    /// A line that can't be read.
    #[error("{origin}:{line}: {problem}")]
    Line {
        /// The file.
        origin: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what to give.
        problem: String,
    },
    /// A setting that can't be.
    #[error("{what} = {value}: {must}")]
    Setting {
        /// Which.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        must: String,
    },
}

//! Where requests come from: generators and recorded traces, behind one trait.

mod build;
mod closed_loop;
mod error;
mod lengths;
mod open_loop;
mod prefixes;
mod prompts;
mod spec;
mod tenants;
pub mod trace;

#[cfg(test)]
mod spec_tests;
#[cfg(test)]
mod tests;

pub use build::Source;
pub use error::ArrivalError;
pub use lengths::{LengthSpec, LengthTable};
pub use prefixes::PrefixSpec;
pub use spec::{ArrivalKind, ArrivalSpec};

use crate::request::{Request, RequestId};
use topology::Picos;

/// Most tokens of a prompt or of an answer: 2^24, four times what any model of today reads.
pub const MAX_TOKENS: u32 = 1 << 24;

/// The latest time at which a request may come: half of what [`Picos`] reach (106 days), so that the run has the other half to end.
pub const LATEST: Picos = Picos(1 << 63);

/// Most requests that a generator makes in one run.
pub const MAX_GENERATED: u64 = 1 << 32;

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

    /// Request `id` was answered or refused at `now`: its user may ask again.
    fn ended(&mut self, id: RequestId, now: Picos);
}

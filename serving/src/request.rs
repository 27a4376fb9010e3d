//! A request: when it came, how long its prompt and its answer are, and which beginning it shares with others.

use std::sync::Arc;
use topology::Picos;

/// Number of a request in its run, from 0 in the order of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// The prompt in blocks of equal length: requests whose first n blocks have equal ids have equal first n blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Tokens of a block; the prompt's last block may be shorter.
    pub block_tokens: u32,
    /// Ids, first block first.
    pub blocks: Arc<[u64]>,
}

impl Prefix {
    /// A prompt that shares nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { block_tokens: 1, blocks: Arc::from([]) }
    }
}

/// A prompt that wants an answer of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Unique within a run, in the order of arrival.
    pub id: RequestId,
    /// Arrival, from the start of the clock.
    pub arrived: Picos,
    /// Tokens of the prompt, at least 1.
    pub input_tokens: u32,
    /// Tokens of the answer, at least 1. The scheduler doesn't look ahead at it but to know when the answer ends.
    pub output_tokens: u32,
    /// Whose it is, for fair queueing.
    pub tenant: u32,
    /// What it shares with others.
    pub prefix: Prefix,
}

//! Why a station refuses a request.

use thiserror::Error;

/// Why a request gets on no train, ever.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// What is held of it doesn't fit in an empty rank.
    #[error("{tokens} tokens of {held} don't fit in the {capacity} that a rank has room for")]
    TooLong {
        /// What is held: prompt and answer, or the prompt alone.
        held: &'static str,
        /// Tokens of it.
        tokens: u64,
        /// Tokens that a rank's memory holds.
        capacity: u64,
    },
    /// Prompts go whole and this one exceeds a step.
    #[error(
        "a prompt of {tokens} tokens exceeds max_num_batched_tokens = {budget}; turn chunked_prefill on or raise it"
    )]
    TooLongForAStep {
        /// Tokens of the prompt.
        tokens: u32,
        /// Of a step, by rank.
        budget: u32,
    },
    /// The queue is full.
    #[error("{waiting} requests wait already, as many as queue_max allows")]
    QueueFull {
        /// Requests that wait already, the limit.
        waiting: usize,
    },
}

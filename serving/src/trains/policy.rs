//! The rules of a station: when trains leave and how much they carry.

use super::queue::Order;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use topology::Picos;

/// When a train that has a period leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leave {
    /// At the end of each period, full or not.
    #[default]
    OnTime,
    /// On time, or as soon as all its places can be taken.
    WhenFull,
}

/// Rules of a station. Limits are a rank's, as those of vLLM are with data-parallel attention: every rank has places and a budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainPolicy {
    /// Trains leave at whole multiples of this, ms. `None`: as soon as they can (continuous batching).
    pub period_ms: Option<f64>,
    /// Whether a full train waits for its time.
    pub leave: Leave,
    /// Most sequences of a rank on one train.
    pub max_num_seqs: u32,
    /// Most new tokens of a rank in one step. Tokens of answers come first, what is left goes to prompts.
    pub max_num_batched_tokens: u32,
    /// Whether a prompt may be computed in several steps, beside answers. Without, prompts go whole and answers wait for them.
    pub chunked_prefill: bool,
    /// Who is admitted first.
    pub order: Order,
    /// Most requests that wait; further ones are refused.
    pub queue_max: u32,
    /// Tokens of a block of KV cache.
    pub block_tokens: u32,
}

impl Default for TrainPolicy {
    /// Continuous batching with the limits of vLLM's defaults: 256 sequences, 8,192 tokens a step, blocks of 16 tokens.
    fn default() -> Self {
        Self {
            period_ms: None,
            leave: Leave::OnTime,
            max_num_seqs: 256,
            max_num_batched_tokens: 8_192,
            chunked_prefill: true,
            order: Order::Fcfs,
            queue_max: 1_000_000,
            block_tokens: 16,
        }
    }
}

/// Rules that can't be.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{what} = {value}: give {must}")]
pub struct PolicyError {
    /// Key of `[trains]` at fault.
    pub what: &'static str,
    /// Its value as written.
    pub value: String,
    /// What it must be.
    pub must: &'static str,
}

impl TrainPolicy {
    /// Time between departures, where the policy has one.
    #[must_use]
    pub fn period(&self) -> Option<Picos> {
        self.period_ms.and_then(|ms| Picos::from_micros_f64(ms * 1e3).ok()).filter(|period| period.0 > 0)
    }

    /// Checks every rule.
    ///
    /// # Errors
    /// [`PolicyError`] for the first that can't be.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if let Some(ms) = self.period_ms
            && !(1e-3..=3.6e6).contains(&ms)
        {
            return Err(PolicyError { what: "period_ms", value: ms.to_string(), must: "0.001 to 3600000" });
        }
        for (what, value, most, must) in [
            ("max_num_seqs", self.max_num_seqs, 65_536, "1 to 65536"),
            ("max_num_batched_tokens", self.max_num_batched_tokens, 1 << 24, "1 to 16777216"),
            ("queue_max", self.queue_max, 100_000_000, "1 to 100000000"),
            ("block_tokens", self.block_tokens, 65_536, "1 to 65536"),
        ] {
            if !(1..=most).contains(&value) {
                return Err(PolicyError { what, value: value.to_string(), must });
            }
        }
        if self.leave == Leave::WhenFull && self.period_ms.is_none() {
            let must = "a period_ms as well: without one a train never waits";
            return Err(PolicyError { what: "leave", value: "when_full".to_owned(), must });
        }
        if self.max_num_batched_tokens < self.max_num_seqs {
            return Err(PolicyError {
                what: "max_num_batched_tokens",
                value: self.max_num_batched_tokens.to_string(),
                must: "at least max_num_seqs: every sequence has a token a step",
            });
        }
        Ok(())
    }
}

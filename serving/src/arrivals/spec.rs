//! Arrivals as an experiment gives them: one table with a `kind`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::trace::ZeroLengths;
use super::{LengthSpec, PrefixSpec};

/// Where arrival times are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArrivalKind {
    /// Independent of each other, at a rate.
    #[default]
    Poisson,
    /// Burstier or more even than Poisson, at a rate.
    Gamma,
    /// Evenly spaced, at a rate.
    Constant,
    /// Every request at time 0.
    Burst,
    /// From a fixed number of users who wait for their answers.
    Closed,
    /// At the times of a recorded trace, or those scaled.
    Trace,
}

impl fmt::Display for ArrivalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Poisson => "poisson",
            Self::Gamma => "gamma",
            Self::Constant => "constant",
            Self::Burst => "burst",
            Self::Closed => "closed",
            Self::Trace => "trace",
        })
    }
}

/// The table of arrivals in an experiment. Which keys a kind has is checked by [`build`](Self::build).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrivalSpec {
    /// Where arrival times are from; decides which other keys are taken.
    pub kind: ArrivalKind,
    /// Seed of all that is drawn; the run's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Requests a second, on average; of a trace in place of its times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_rate: Option<f64>,
    /// Shape of the gamma distribution of gaps: below 1 burstier than Poisson, above 1 more even.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burstiness: Option<f64>,
    /// Users of a closed loop: so many requests are under way at most.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "max_concurrency")]
    pub users: Option<u32>,
    /// Seconds between a user's answer and its next request; 0 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_time_s: Option<f64>,
    /// Requests in all; of a trace at most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_prompts: Option<u64>,
    /// Seconds after which no request comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    /// Tokens of prompts, behind their shared prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_len: Option<LengthSpec>,
    /// Tokens of an answer, at least 1 each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_len: Option<LengthSpec>,
    /// Beginnings that several prompts have in common; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<PrefixSpec>,
    /// Tenants; 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<u32>,
    /// How often each tenant asks, relative to the others; all alike if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_weights: Option<Vec<f64>>,
    /// The file of a trace.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "trace_file")]
    pub file: Option<String>,
    /// [`TraceOptions::rate_scale`](super::trace::TraceOptions::rate_scale); 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_scale: Option<f64>,
    /// [`TraceOptions::window_start_s`](super::trace::TraceOptions::window_start_s); 0 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_start_s: Option<f64>,
    /// [`TraceOptions::window_end_s`](super::trace::TraceOptions::window_end_s); the trace's end if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_end_s: Option<f64>,
    /// [`TraceOptions::max_input_tokens`](super::trace::TraceOptions::max_input_tokens).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<u32>,
    /// [`TraceOptions::max_output_tokens`](super::trace::TraceOptions::max_output_tokens).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// [`TraceOptions::zero_lengths`](super::trace::TraceOptions::zero_lengths); `error` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_lengths: Option<ZeroLengths>,
    /// [`TraceOptions::block_tokens`](super::trace::TraceOptions::block_tokens).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_tokens: Option<u32>,
}

impl ArrivalSpec {
    /// A table that says nothing but its kind.
    #[must_use]
    pub fn new(kind: ArrivalKind) -> Self {
        Self { kind, ..Self::default() }
    }
}

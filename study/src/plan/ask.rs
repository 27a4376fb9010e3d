//! What a plan is asked for: the model and its yard, requests, limits.

use super::PlanError;
use crate::scenario::Scenario;
use crate::serving::{ServeError, Sources};
use serving::arrivals::{ArrivalKind, ArrivalSpec, LengthSpec, MAX_TOKENS};

/// Requests of a trace whose lengths are looked at.
const TRACE_REQUESTS: u64 = 100_000;

/// What requests are like.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Mean tokens of a prompt.
    pub input_len: f64,
    /// Mean tokens of an answer.
    pub output_len: f64,
    /// Requests a second that must be carried; `None`: as many as possible.
    pub rate: Option<f64>,
    /// The file whose lengths are used, in place of fixed ones.
    pub trace: Option<String>,
}

impl Load {
    /// Fixed lengths.
    #[must_use]
    pub fn fixed(input_len: u32, output_len: u32, rate: Option<f64>) -> Self {
        Self { input_len: input_len.into(), output_len: output_len.into(), rate, trace: None }
    }

    /// The lengths of `trace`, and its rate where none is asked.
    ///
    /// # Errors
    /// [`PlanError`] where it can't be read or has no requests.
    pub fn of_trace(trace: &str, rate: Option<f64>, sources: &dyn Sources) -> Result<Self, PlanError> {
        let spec = ArrivalSpec { file: Some(trace.to_owned()), ..ArrivalSpec::new(ArrivalKind::Trace) };
        let mut source = spec.build(1, &mut |name| sources.open(name)).map_err(ServeError::from)?;
        let (mut requests, mut input, mut output, mut last) = (0_u64, 0_u64, 0_u64, 0_u64);
        while requests < TRACE_REQUESTS {
            let Some(request) = source.arrivals.take_next().map_err(ServeError::from)? else { break };
            requests += 1;
            input += u64::from(request.input_tokens);
            output += u64::from(request.output_tokens);
            last = request.arrived.0;
            source.arrivals.ended(request.id, request.arrived);
        }
        if requests == 0 {
            return Err(PlanError::word("trace", format!("{trace}: it has no requests")));
        }
        let mean = |sum: u64| sum as f64 / requests as f64;
        let own = (last > 0 && requests > 1).then(|| (requests - 1) as f64 / (last as f64 / 1e12));
        let rate = rate.or(own);
        if rate.is_none() {
            return Err(PlanError::word(
                "trace",
                format!("{trace}: its requests come at one time; give --rate"),
            ));
        }
        Ok(Self { input_len: mean(input), output_len: mean(output), rate, trace: Some(trace.to_owned()) })
    }
}

/// What 9 of 10 requests are to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Longest time to first token, ms.
    pub ttft_ms: f64,
    /// Longest time per output token, ms.
    pub tpot_ms: f64,
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Model, hardware, the yard's racks, formats, routing, drafts. Words of one replica's layout are searched.
    pub scenario: Scenario,
    /// Requests.
    pub load: Load,
    /// Limits.
    pub limits: Limits,
    /// What a rank costs, $/h.
    pub usd_per_rank_hour: f64,
}

impl Ask {
    /// Share of requests that must keep the limits, as goodput is counted by DistServe (OSDI 2024).
    pub const KEPT: f64 = 0.9;

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`PlanError::Word`] for the first that can't be.
    pub fn validate(&self) -> Result<(), PlanError> {
        let tokens = 1.0..=f64::from(MAX_TOKENS);
        for (word, value) in [("input_len", self.load.input_len), ("output_len", self.load.output_len)] {
            if !tokens.contains(&value) {
                return Err(PlanError::word(word, format!("{value}: give 1 to {MAX_TOKENS} tokens")));
            }
        }
        for (word, value) in [("ttft_ms", self.limits.ttft_ms), ("tpot_ms", self.limits.tpot_ms)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(PlanError::word(word, format!("{value}: give milliseconds above 0")));
            }
        }
        if let Some(rate) = self.load.rate.filter(|rate| !(1e-6..=1e9).contains(rate)) {
            return Err(PlanError::word("rate", format!("{rate}: give requests a second from 1e-6 to 1e9")));
        }
        if !(0.0..=1e6).contains(&self.usd_per_rank_hour) {
            let problem = format!("{}: give dollars from 0 to 1000000", self.usd_per_rank_hour);
            return Err(PlanError::word("price", problem));
        }
        Ok(())
    }

    /// Arrivals at `rate` of `requests` requests, with answers of one token where `short`.
    pub(super) fn arrivals(&self, rate: f64, requests: u64, short: bool) -> ArrivalSpec {
        let whole = |tokens: f64| Some(LengthSpec::Fixed(tokens.round().max(1.0) as u32));
        let base = match &self.load.trace {
            Some(file) => ArrivalSpec {
                file: Some(file.clone()),
                max_output_tokens: short.then_some(1),
                ..ArrivalSpec::new(ArrivalKind::Trace)
            },
            None => ArrivalSpec {
                input_len: whole(self.load.input_len),
                output_len: whole(if short { 1.0 } else { self.load.output_len }),
                ..ArrivalSpec::new(ArrivalKind::Poisson)
            },
        };
        ArrivalSpec { request_rate: Some(rate), num_prompts: Some(requests), ..base }
    }
}

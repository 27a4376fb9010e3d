//! What requests experienced, as numbers: each metric with its formula over the times of a request.
//!
//! With `arrived`, `admitted`, `first` and `last` (token), and `n` tokens of the answer:
//!
//! | metric | formula |
//! | --- | --- |
//! | queue wait | `admitted - arrived` |
//! | TTFT, time to first token | `first - arrived` |
//! | TPOT, time per output token | `(last - first) / (n - 1)`, of requests with `n > 1` |
//! | ITL, inter-token latency | every gap between two tokens of one answer |
//! | E2EL, end-to-end latency | `last - arrived` |
//!
//! as `vllm bench serve` has them. Means and deviations are exact; percentiles come from a histogram of three significant digits, so
//! that a million requests take no more memory than a hundred.

use crate::trains::{Ended, Token};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use topology::Picos;

/// Times of one kind.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// Nanoseconds.
    histogram: Histogram<u64>,
    count: u64,
    mean_ps: f64,
    /// Sum of squared deviations (Welford), ps^2.
    squares: f64,
    max: Picos,
}

impl Default for Distribution {
    fn default() -> Self {
        let histogram = Histogram::new(3).expect("three significant digits are possible");
        Self { histogram, count: 0, mean_ps: 0.0, squares: 0.0, max: Picos::ZERO }
    }
}

impl Distribution {
    /// Adds `value` as often as `count` says.
    pub fn record(&mut self, value: Picos, count: u64) {
        if count == 0 {
            return;
        }
        // A histogram that grows takes any value.
        let recorded = self.histogram.record_n(value.0.div_ceil(1_000), count);
        debug_assert!(recorded.is_ok(), "a histogram that grows takes any value");
        let (n, added) = ((self.count + count) as f64, count as f64);
        let delta = value.0 as f64 - self.mean_ps;
        self.squares += delta * delta * self.count as f64 * added / n;
        self.mean_ps += delta * added / n;
        self.count += count;
        self.max = self.max.max(value);
    }

    /// How many values were recorded.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Milliseconds, all 0 where nothing was counted.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let at = |quantile| {
            self.histogram.value_at_quantile(quantile).min(self.max.0.div_ceil(1_000)) as f64 / 1e6
        };
        let variance = if self.count == 0 { 0.0 } else { self.squares / self.count as f64 };
        Summary {
            mean_ms: self.mean_ps / 1e9,
            median_ms: at(0.5),
            std_ms: variance.sqrt() / 1e9,
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            max_ms: self.max.0 as f64 / 1e9,
        }
    }
}

/// A distribution in a few numbers, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Arithmetic mean, exact (percentiles have three digits).
    pub mean_ms: f64,
    /// Within 0.1%, like all percentiles.
    pub median_ms: f64,
    /// Exact, of the whole population.
    pub std_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Largest value, exact.
    pub max_ms: f64,
}

/// What a request is to keep to be good, ms; what isn't given isn't asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slo {
    /// Longest TTFT.
    pub ttft_ms: Option<f64>,
    /// Longest TPOT.
    pub tpot_ms: Option<f64>,
    /// Longest E2EL.
    pub e2el_ms: Option<f64>,
}

impl Slo {
    fn keeps(&self, ttft: Picos, tpot: Option<Picos>, e2el: Picos) -> bool {
        let within = |limit: Option<f64>, time: Picos| limit.is_none_or(|ms| time.0 as f64 <= ms * 1e9);
        within(self.ttft_ms, ttft)
            && tpot.is_none_or(|tpot| within(self.tpot_ms, tpot))
            && within(self.e2el_ms, e2el)
    }

    /// Whether anything is asked.
    #[must_use]
    pub const fn is_asked(&self) -> bool {
        self.ttft_ms.is_some() || self.tpot_ms.is_some() || self.e2el_ms.is_some()
    }
}

/// Counts while requests are served.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    slo: Slo,
    /// From arrival to admission.
    pub wait: Distribution,
    /// Time to first token.
    pub ttft: Distribution,
    /// Time per output token.
    pub tpot: Distribution,
    /// From a token of an answer to the next.
    pub itl: Distribution,
    /// From arrival to the last token.
    pub e2el: Distribution,
    /// Requests answered.
    pub completed: u64,
    /// Of them, those that keep the SLO.
    pub good: u64,
    /// Tokens of answered requests' prompts.
    pub input_tokens: u64,
    /// Of them, those that were cached.
    pub cached_tokens: u64,
    /// Tokens of complete answers.
    pub output_tokens: u64,
}

impl Meter {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(slo: Slo) -> Self {
        Self { slo, ..Self::default() }
    }

    /// Counts a token, first or later, at its latency.
    pub fn token(&mut self, token: Token) {
        match token {
            Token::First { after } => self.ttft.record(after, 1),
            Token::Next { after, count } => self.itl.record(after, count),
        }
    }

    /// An answer is complete.
    pub fn ended(&mut self, rider: &Ended) {
        let request = &rider.request;
        let (ttft, e2el) = (rider.first_token - request.arrived, rider.last_token - request.arrived);
        let gaps = u64::from(request.output_tokens) - 1;
        let tpot = (gaps > 0).then(|| Picos((rider.last_token - rider.first_token).0 / gaps));
        self.wait.record(rider.admitted - request.arrived, 1);
        self.e2el.record(e2el, 1);
        if let Some(tpot) = tpot {
            self.tpot.record(tpot, 1);
        }
        self.completed += 1;
        self.good += u64::from(self.slo.keeps(ttft, tpot, e2el));
        self.input_tokens += u64::from(request.input_tokens);
        self.cached_tokens += u64::from(rider.cached);
        self.output_tokens += u64::from(request.output_tokens);
    }

    /// The limits that goodput is counted by.
    #[must_use]
    pub const fn slo(&self) -> &Slo {
        &self.slo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_deviations_are_exact_and_percentiles_close() {
        let mut times = Distribution::default();
        for ms in 1..=99 {
            times.record(Picos(ms * 1_000_000_000), 2);
        }
        times.record(Picos(1_000_000_000_000), 2);
        let summary = times.summary();
        assert_eq!((times.count(), summary.mean_ms, summary.max_ms), (200, 59.5, 1_000.0));
        let variance = (1..=99).chain([1_000]).map(|x| (f64::from(x) - 59.5).powi(2)).sum::<f64>() / 100.0;
        assert!((summary.std_ms / variance.sqrt() - 1.0).abs() < 1e-9);
        for (got, stated) in [(summary.median_ms, 50.0), (summary.p90_ms, 90.0), (summary.p99_ms, 99.0)] {
            assert!((got / stated - 1.0).abs() < 1e-3, "{got} for {stated}");
        }
    }

    #[test]
    fn nothing_counted_is_zero() {
        assert_eq!(Distribution::default().summary(), Summary::default());
    }
}

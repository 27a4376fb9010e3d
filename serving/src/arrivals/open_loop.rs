//! Requests that come whatever becomes of those before them: Poisson, gamma, evenly spaced, or all at once.

use moe::seed::{Purpose, generator};
use rand::RngExt;
use rand_distr::Gamma;
use topology::Picos;

use super::error::{setting, within};
use super::prompts::Prompts;
use super::{ArrivalError, Arrivals, LATEST, MAX_GENERATED};
use crate::request::{Request, RequestId};

const PICOS_PER_SECOND: f64 = 1e12;

/// Where a generator ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Requests before the source is dry.
    pub(super) num_prompts: u64,
    /// No request comes at this time or later.
    pub(super) until: Option<Picos>,
}

/// Time from one request to the next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// Gaps drawn from a gamma distribution, in seconds; a Poisson process where its shape is 1.
    Drawn(Gamma<f64>),
    /// Request i comes at i / rate; the gap in picoseconds.
    Even(f64),
    /// All at 0.
    Burst,
}

impl Pace {
    /// Gaps of mean `1 / request_rate` seconds and variance `1 / (request_rate^2 burstiness)`: vLLM's `--request-rate` and
    /// `--burstiness` (`benchmarks/serve.py`: shape = burstiness, scale = 1 / (request_rate * burstiness)).
    pub(super) fn drawn(request_rate: f64, burstiness: f64) -> Result<Self, ArrivalError> {
        let rate = checked_rate(request_rate)?;
        let shape = within("burstiness", burstiness, 1e-3, 1e6)?;
        let gaps = Gamma::new(shape, 1.0 / (rate * shape));
        gaps.map(Self::Drawn).map_err(|error| setting("burstiness", burstiness, error.to_string()))
    }

    /// Gaps of exactly `1 / request_rate` seconds.
    pub(super) fn even(request_rate: f64) -> Result<Self, ArrivalError> {
        Ok(Self::Even(PICOS_PER_SECOND / checked_rate(request_rate)?))
    }
}

impl Pace {
    /// When request `index` comes, the one before it having come at `last`; `None` where that is past [`LATEST`].
    pub(super) fn time(self, seed: u64, index: u64, last: Picos) -> Option<Picos> {
        let (from, picos) = match self {
            Self::Drawn(gaps) => {
                let mut rng = generator(Purpose::Arrivals, seed, [index, 0, 0]);
                (last, rng.sample(gaps) * PICOS_PER_SECOND)
            }
            // From the index and not from the last one, so that nothing adds up.
            Self::Even(gap) => (Picos::ZERO, index as f64 * gap),
            Self::Burst => (Picos::ZERO, 0.0),
        };
        // A float that is too large for 64 bits becomes the largest of them.
        from.checked_add(Picos(picos.round() as u64)).filter(|&at| at <= LATEST)
    }
}

fn checked_rate(request_rate: f64) -> Result<f64, ArrivalError> {
    if request_rate == f64::INFINITY {
        return Err(setting("request_rate", "inf", "kind = \"burst\" sends all requests at once"));
    }
    within("request_rate", request_rate, 1e-6, 1e9)
}

/// Requests that come at times of their own, whether earlier ones are answered or not.
#[derive(Debug)]
pub(super) struct OpenLoop {
    pace: Pace,
    limits: Limits,
    prompts: Prompts,
    /// Number of the next request.
    index: u64,
    /// When the request before it came.
    last: Picos,
    /// When the next one comes, once that was worked out.
    next: Option<Picos>,
}

impl OpenLoop {
    pub(super) fn new(pace: Pace, limits: Limits, prompts: Prompts) -> Self {
        Self { pace, limits, prompts, index: 0, last: Picos::ZERO, next: None }
    }
}

impl Arrivals for OpenLoop {
    fn next_at(&mut self) -> Result<Option<Picos>, ArrivalError> {
        if self.index >= self.limits.num_prompts.min(MAX_GENERATED) {
            return Ok(None);
        }
        let time = || self.pace.time(self.prompts.seed, self.index, self.last);
        let at = match self.next.or_else(time) {
            Some(at) => at,
            // The limit of time is before `LATEST`.
            None if self.limits.until.is_some() => return Ok(None),
            None => {
                let must =
                    format!("request {} would come after 106 days; ask for fewer or faster", self.index);
                return Err(setting("num_prompts", self.limits.num_prompts, must));
            }
        };
        self.next = Some(at);
        Ok(self.limits.until.is_none_or(|until| at < until).then_some(at))
    }

    fn take_next(&mut self) -> Result<Option<Request>, ArrivalError> {
        let Some(at) = self.next_at()? else { return Ok(None) };
        let request = self.prompts.request(self.index, at);
        self.index += 1;
        self.last = at;
        self.next = None;
        Ok(Some(request))
    }

    fn ended(&mut self, _: RequestId, _now: Picos) {}
}

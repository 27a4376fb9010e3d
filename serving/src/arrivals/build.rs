//! An experiment's table of arrivals made into a stream, its keys checked one by one.

use std::fmt;
use std::io::{self, BufRead};

use topology::Picos;

use super::closed_loop::ClosedLoop;
use super::error::{missing, setting, within};
use super::lengths::Lengths;
use super::open_loop::{Limits, OpenLoop, Pace};
use super::prefixes::Prefixes;
use super::prompts::Prompts;
use super::tenants::Tenants;
use super::trace::{Replay, TraceOptions, TraceSummary, read_trace};
use super::{ArrivalError, ArrivalKind, ArrivalSpec, Arrivals, LATEST, LengthSpec, MAX_GENERATED};

/// Arrivals, ready to be asked.
pub struct Source {
    /// Requests in the order of their arrival.
    pub arrivals: Box<dyn Arrivals + Send>,
    /// What is in them, where they are recorded.
    pub summary: Option<TraceSummary>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("summary", &self.summary).finish_non_exhaustive()
    }
}

impl ArrivalSpec {
    /// The stream. `seed` is the run's; `open` opens the file of a trace by the name that the table has for it.
    ///
    /// # Errors
    /// [`ArrivalError`] where a key is wrong, missing, or not one of the kind's, and where a trace can't be read.
    pub fn build(
        &self,
        seed: u64,
        open: &mut dyn FnMut(&str) -> io::Result<Box<dyn BufRead>>,
    ) -> Result<Source, ArrivalError> {
        self.check_keys()?;
        let seed = self.seed.unwrap_or(seed);
        let tenants = Tenants::new(self.tenants, self.tenant_weights.as_deref())?;
        if self.kind == ArrivalKind::Trace {
            return self.build_trace(seed, tenants, open);
        }
        let prompts = self.prompts(seed, tenants)?;
        let limits = self.limits()?;
        let arrivals: Box<dyn Arrivals + Send> = match self.kind {
            ArrivalKind::Closed => {
                let users = self
                    .users
                    .ok_or_else(|| missing("users", "a closed loop needs users: give 1 or more"))?;
                let think_time = picos("think_time_s", self.think_time_s.unwrap_or(0.0))?;
                Box::new(ClosedLoop::new(users, think_time, limits, prompts)?)
            }
            _ => Box::new(OpenLoop::new(self.pace()?, limits, prompts)),
        };
        Ok(Source { arrivals, summary: None })
    }

    fn pace(&self) -> Result<Pace, ArrivalError> {
        let rate =
            || self.request_rate.ok_or_else(|| missing("request_rate", "give requests a second, above 0"));
        match self.kind {
            ArrivalKind::Poisson => Pace::drawn(rate()?, 1.0),
            ArrivalKind::Gamma => {
                let must =
                    "give the shape of the gaps: below 1 they are burstier than Poisson, above 1 more even";
                Pace::drawn(rate()?, self.burstiness.ok_or_else(|| missing("burstiness", must))?)
            }
            ArrivalKind::Constant => Pace::even(rate()?),
            ArrivalKind::Burst | ArrivalKind::Closed | ArrivalKind::Trace => Ok(Pace::Burst),
        }
    }

    fn limits(&self) -> Result<Limits, ArrivalError> {
        let until = self.duration_s.map(|seconds| picos("duration_s", seconds)).transpose()?;
        if until == Some(Picos::ZERO) {
            return Err(setting("duration_s", 0, "give a time above 0"));
        }
        let num_prompts = match self.num_prompts {
            Some(num_prompts) => within("num_prompts", num_prompts, 1, MAX_GENERATED)?,
            None if until.is_some() => MAX_GENERATED,
            None => {
                let must = if self.kind == ArrivalKind::Burst { "give it" } else { "give it, or duration_s" };
                return Err(missing("num_prompts", format!("requests would never end; {must}")));
            }
        };
        Ok(Limits { num_prompts, until })
    }

    fn prompts(&self, seed: u64, tenants: Tenants) -> Result<Prompts, ArrivalError> {
        let lengths = |what, spec: &Option<LengthSpec>| match spec {
            Some(spec) => Lengths::new(what, spec),
            None => Err(missing(what, "give a number of tokens, or a table with dist, min and max")),
        };
        let input = lengths("input_len", &self.input_len)?;
        let output = lengths("output_len", &self.output_len)?;
        let prefixes = self.prefixes.as_ref().map(|spec| Prefixes::new(spec, input.max())).transpose()?;
        Ok(Prompts { seed, input, output, prefixes, tenants })
    }

    fn build_trace(
        &self,
        seed: u64,
        tenants: Tenants,
        open: &mut dyn FnMut(&str) -> io::Result<Box<dyn BufRead>>,
    ) -> Result<Source, ArrivalError> {
        let file = self.file.as_deref().ok_or_else(|| missing("file", "give the file of the trace"))?;
        let defaults = TraceOptions::default();
        let options = TraceOptions {
            rate_scale: self.rate_scale.unwrap_or(defaults.rate_scale),
            request_rate: self.request_rate,
            burstiness: self.burstiness,
            seed,
            window_start_s: self.window_start_s.unwrap_or(defaults.window_start_s),
            window_end_s: self.window_end_s,
            num_prompts: self.num_prompts,
            max_input_tokens: self.max_input_tokens,
            max_output_tokens: self.max_output_tokens,
            zero_lengths: self.zero_lengths.unwrap_or_default(),
            block_tokens: self.block_tokens,
        };
        let mut reader =
            open(file).map_err(|error| setting("file", file, format!("can't be opened: {error}")))?;
        let trace = read_trace(&mut *reader, file, &options)?;
        let summary = Some(trace.summary());
        Ok(Source { arrivals: Box::new(Replay::new(trace, tenants, seed)), summary })
    }

    /// Refuses keys that the kind has no use for: whoever gives one expects it to do something.
    fn check_keys(&self) -> Result<(), ArrivalError> {
        use ArrivalKind::{Burst, Closed, Constant, Gamma, Poisson, Trace};
        let made: &[ArrivalKind] = &[Poisson, Gamma, Constant, Burst, Closed];
        let keys: [(&'static str, bool, &[ArrivalKind]); 16] = [
            ("request_rate", self.request_rate.is_some(), &[Poisson, Gamma, Constant, Trace]),
            ("burstiness", self.burstiness.is_some(), &[Gamma, Trace]),
            ("users", self.users.is_some(), &[Closed]),
            ("think_time_s", self.think_time_s.is_some(), &[Closed]),
            ("duration_s", self.duration_s.is_some(), &[Poisson, Gamma, Constant, Closed]),
            ("input_len", self.input_len.is_some(), made),
            ("output_len", self.output_len.is_some(), made),
            ("prefixes", self.prefixes.is_some(), made),
            ("file", self.file.is_some(), &[Trace]),
            ("rate_scale", self.rate_scale.is_some(), &[Trace]),
            ("window_start_s", self.window_start_s.is_some(), &[Trace]),
            ("window_end_s", self.window_end_s.is_some(), &[Trace]),
            ("max_input_tokens", self.max_input_tokens.is_some(), &[Trace]),
            ("max_output_tokens", self.max_output_tokens.is_some(), &[Trace]),
            ("zero_lengths", self.zero_lengths.is_some(), &[Trace]),
            ("block_tokens", self.block_tokens.is_some(), &[Trace]),
        ];
        match keys.into_iter().find(|(_, given, kinds)| *given && !kinds.contains(&self.kind)) {
            None => Ok(()),
            Some((what, _, kinds)) => {
                let kinds = kinds.iter().map(|kind| format!("\"{kind}\"")).collect::<Vec<_>>().join(", ");
                let must = format!(
                    "kind = \"{}\" doesn't have this key; leave it out (it is for {kinds})",
                    self.kind
                );
                Err(setting(what, "...", must))
            }
        }
    }
}

/// A span that a setting gives in seconds.
fn picos(what: &'static str, seconds: f64) -> Result<Picos, ArrivalError> {
    let most = LATEST.as_micros_f64() / 1e6;
    let seconds = within(what, seconds, 0.0, most.floor())?;
    Picos::from_micros_f64(seconds * 1e6).map_err(|error| setting(what, seconds, error.to_string()))
}

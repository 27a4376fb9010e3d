//! Recorded traces: read in whichever format they are, checked, cut, and played back.
//!
//! The format is told from the content, never from the file's name. Every fault is one error with the file and the line.

mod documents;
mod fields;
mod json;
mod lines;
mod replay;
mod row;
mod rows;
mod sessions;
mod summary;
mod table;

#[cfg(test)]
mod export_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod tests;

pub use summary::{LengthStats, TraceSummary};

pub(super) use replay::Replay;

use std::io::BufRead;

use serde::{Deserialize, Serialize};

use super::error::{setting, within};
use super::open_loop::Pace;
pub use super::prefixes::MOONCAKE_BLOCK_TOKENS;
use super::{ArrivalError, MAX_TOKENS};
use lines::Lines;
use row::{Row, Turn};
use rows::Rows;

/// The formats that are read, for people.
pub const FORMATS: &str = "a CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens (Azure), arrived_at, num_prefill_tokens, \
    num_decode_tokens (Vidur), Timestamp, Request tokens, Response tokens (BurstGPT), arrival_timestamp, prompt_size, token_size \
    (Splitwise) or timestamp, input_length, output_length, or JSON with timestamp, input_length, output_length, hash_ids, session_id \
    and delay (Mooncake, Bailian), of AIPerf, or with input_lens and output_lens (vLLM, SGLang); docs/traces.md has more names";

/// Tokens of a block of the Qwen Bailian traces.
pub const BAILIAN_BLOCK_TOKENS: u32 = 16;

/// Most requests of a trace: 2^25, 32 bytes each.
pub const MAX_REQUESTS: usize = 1 << 25;

/// Most ids of blocks in a trace: 2^28, 8 bytes each.
pub const MAX_BLOCK_IDS: usize = 1 << 28;

/// What becomes of a request whose prompt or answer has no tokens (BurstGPT writes failed ones so).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroLengths {
    /// The trace is refused.
    #[default]
    Error,
    /// The request is left out.
    Drop,
    /// It is given one token.
    One,
}

/// What is taken from a trace, and how it is played back.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceOptions {
    /// How many times faster than recorded, delays of sessions too; above 0.
    pub rate_scale: f64,
    /// Requests a second, in place of the recorded times: in the order of these, or of the file where it has none.
    pub request_rate: Option<f64>,
    /// Shape of the gamma distribution of the gaps that `request_rate` draws; 1 if not given.
    pub burstiness: Option<f64>,
    /// Seed of these gaps.
    pub seed: u64,
    /// Requests are taken from here on, in recorded seconds after the first request of the trace.
    pub window_start_s: f64,
    /// Up to and without this time, as `window_start_s`.
    pub window_end_s: Option<f64>,
    /// Most requests, the first ones of the window.
    pub num_prompts: Option<u64>,
    /// Longer prompts are cut to this many tokens.
    pub max_input_tokens: Option<u32>,
    /// Longer answers are cut to this many tokens.
    pub max_output_tokens: Option<u32>,
    /// What to do with empty prompts and answers.
    pub zero_lengths: ZeroLengths,
    /// Tokens of the blocks that `hash_ids` name, where not those of the format.
    pub block_tokens: Option<u32>,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            rate_scale: 1.0,
            request_rate: None,
            burstiness: None,
            seed: 0,
            window_start_s: 0.0,
            window_end_s: None,
            num_prompts: None,
            max_input_tokens: None,
            max_output_tokens: None,
            zero_lengths: ZeroLengths::Error,
            block_tokens: None,
        }
    }
}

impl TraceOptions {
    /// Tells wrong options before a long file is read.
    fn check(&self) -> Result<(), ArrivalError> {
        within("rate_scale", self.rate_scale, 1e-6, 1e6)?;
        if self.pace()?.is_some() && self.rate_scale != 1.0 {
            let must = "leave it out: request_rate replaces the recorded times";
            return Err(setting("rate_scale", self.rate_scale, must));
        }
        let start = within("window_start_s", self.window_start_s, 0.0, f64::MAX)?;
        if let Some(end) = self.window_end_s.filter(|&end| end.is_nan() || end <= start) {
            return Err(setting("window_end_s", end, format!("give more than window_start_s, {start}")));
        }
        within("num_prompts", self.num_prompts.unwrap_or(u64::MAX), 1, u64::MAX)?;
        for (what, tokens) in [
            ("max_input_tokens", self.max_input_tokens),
            ("max_output_tokens", self.max_output_tokens),
            ("block_tokens", self.block_tokens),
        ] {
            within(what, tokens.unwrap_or(1), 1, MAX_TOKENS)?;
        }
        Ok(())
    }
}

impl TraceOptions {
    /// What replaces the recorded times.
    fn pace(&self) -> Result<Option<Pace>, ArrivalError> {
        let drawn = |rate| Pace::drawn(rate, self.burstiness.unwrap_or(1.0));
        if let (None, Some(burstiness)) = (self.request_rate, self.burstiness) {
            return Err(setting(
                "burstiness",
                burstiness,
                "give request_rate too: recorded times are not drawn",
            ));
        }
        self.request_rate.map(drawn).transpose()
    }
}

/// A trace in memory, in the order of arrival: 32 bytes a request and 8 a block id.
#[derive(Clone, Debug)]
pub struct Trace {
    format: &'static str,
    unit: Option<&'static str>,
    rows: Vec<Row>,
    turns: Vec<Turn>,
    blocks: Vec<u64>,
    block_tokens: u32,
    rate_scale: f64,
    counts: row::Counts,
}

/// Reads a trace in any of the [`FORMATS`]; `origin` names it in errors.
///
/// # Errors
/// [`ArrivalError`] names the file, the line and the remedy.
pub fn read_trace(
    reader: &mut dyn BufRead,
    origin: &str,
    options: &TraceOptions,
) -> Result<Trace, ArrivalError> {
    options.check()?;
    let mut lines = Lines::new(reader, origin);
    let empty = || ArrivalError::Trace {
        origin: origin.to_owned(),
        problem: format!("nothing in it; give {FORMATS}"),
    };
    if !lines.next()? {
        return Err(empty());
    }
    if let Some(what) = lines::not_text(lines.text()) {
        return Err(lines.wrong(format!("{what}; give {FORMATS}")));
    }
    if lines.skippable() && !lines.next_filled()? {
        return Err(empty());
    }
    let mut rows = Rows::new(origin, options);
    let found = match lines.text().trim_ascii_start().first() {
        Some(b'{' | b'[') => json::read(&mut lines, &mut rows, options.block_tokens)?,
        _ => table::read(&mut lines, &mut rows, options)?,
    };
    rows.finish(found)
}

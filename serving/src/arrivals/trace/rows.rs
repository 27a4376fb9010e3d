//! The requests of a trace as they are read, and what is taken of them: in order, in the window, no longer than allowed.

use std::collections::BTreeMap;

use super::row::{Counts, NO_TURN, Row, Turn};
use super::sessions::Sessions;
use super::{MAX_BLOCK_IDS, MAX_REQUESTS, Trace, TraceOptions, ZeroLengths};
use crate::arrivals::open_loop::Pace;
use crate::arrivals::{ArrivalError, LATEST};
use topology::Picos;

const NANOS_PER_SECOND: f64 = 1e9;
const PICOS_PER_NANO: u64 = 1000;

/// What is said where nothing tells when a request comes.
pub(super) const NO_TIME: &str = "no `timestamp`; give one, or request_rate for a rate of one's own";

/// A request as a format has it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// When it came, where that was recorded.
    pub(super) nanos: Option<i64>,
    /// Tokens of the prompt, or of what a session adds to it, with the name of their field.
    pub(super) input: (&'static str, u32),
    pub(super) output: (&'static str, u32),
    /// Ids of the prompt's blocks.
    pub(super) ids: Vec<u64>,
    /// How many blocks it has.
    pub(super) blocks: usize,
    pub(super) session: Option<String>,
    /// How long after the turn before ended.
    pub(super) delay_nanos: Option<i64>,
}

/// What was told from the first line.
pub(super) struct Found {
    pub(super) format: &'static str,
    pub(super) block_tokens: u32,
    /// What times are counted in, where that is not what the format has.
    pub(super) unit: Option<&'static str>,
}

/// Requests in the order of the file.
pub(super) struct Rows<'a> {
    origin: &'a str,
    options: &'a TraceOptions,
    rows: Vec<Row>,
    turns: Vec<Turn>,
    sessions: BTreeMap<String, Last>,
    blocks: Vec<u64>,
    counts: Counts,
    latest: i64,
}

/// The last request of a session so far.
#[derive(Clone, Copy)]
enum Last {
    Row(usize),
    Turn(usize),
}

impl<'a> Rows<'a> {
    pub(super) fn new(origin: &'a str, options: &'a TraceOptions) -> Self {
        Self {
            origin,
            options,
            rows: Vec::new(),
            turns: Vec::new(),
            sessions: BTreeMap::new(),
            blocks: Vec::new(),
            counts: Counts::default(),
            latest: i64::MIN,
        }
    }

    /// Leaves out a request that has no answer.
    pub(super) fn failed(&mut self) {
        self.counts.read += 1;
        self.counts.failed += 1;
    }

    /// Takes a request.
    pub(super) fn push(&mut self, line: u64, asked: &Asked) -> Result<(), ArrivalError> {
        let origin = self.origin;
        let wrong = |problem: String| ArrivalError::Line { origin: origin.to_owned(), line, problem };
        self.counts.read += 1;
        if self.rows.len() + self.turns.len() >= MAX_REQUESTS {
            return Err(wrong(format!("more than {MAX_REQUESTS} requests; cut the trace")));
        }
        if self.blocks.len() + asked.ids.len() > MAX_BLOCK_IDS {
            return Err(wrong(format!("more than {MAX_BLOCK_IDS} hash_ids in the trace; cut it")));
        }
        if let Some((name, _)) = [asked.input, asked.output].into_iter().find(|&(_, tokens)| tokens == 0) {
            match self.options.zero_lengths {
                ZeroLengths::Error => {
                    let remedy =
                        "zero_lengths = \"drop\" leaves such requests out, \"one\" gives them a token";
                    return Err(wrong(format!("`{name}` is 0: {remedy}")));
                }
                ZeroLengths::Drop => {
                    self.counts.dropped += 1;
                    return Ok(());
                }
                ZeroLengths::One => self.counts.raised += 1,
            }
        }
        let [input, output] = [asked.input, asked.output].map(|(_, tokens)| tokens.max(1));
        // Both fit: a trace has at most 2^28 ids.
        let (first_block, num_blocks) = (self.blocks.len() as u32, asked.ids.len() as u32);
        let row = Row { nanos: 0, input, output, first_block, num_blocks, next: NO_TURN };
        let before = asked.session.as_ref().and_then(|session| self.sessions.get(session)).copied();
        let placed = match before {
            Some(before) => self.push_turn(before, row, asked),
            None => self.push_row(row, asked),
        };
        let last = placed.map_err(wrong)?;
        if let Some(session) = &asked.session {
            self.sessions.insert(session.clone(), last);
        }
        self.blocks.extend_from_slice(&asked.ids);
        Ok(())
    }

    fn push_row(&mut self, row: Row, asked: &Asked) -> Result<Last, String> {
        if asked.delay_nanos.is_some_and(|delay| delay > 0) {
            let of = if asked.session.is_none() { "no session" } else { "the first turn of a session" };
            return Err(format!("`delay` with {of}: nothing has ended before it; leave it out"));
        }
        let nanos = match asked.nanos {
            Some(nanos) => nanos,
            None if self.options.request_rate.is_some() => self.latest.max(0),
            None => return Err(NO_TIME.to_owned()),
        };
        self.counts.out_of_order += u64::from(nanos < self.latest);
        self.latest = self.latest.max(nanos);
        self.counts.short_ids += u64::from(asked.ids.len() < asked.blocks);
        self.rows.push(Row { nanos, ..row });
        Ok(Last::Row(self.rows.len() - 1))
    }

    fn push_turn(&mut self, before: Last, row: Row, asked: &Asked) -> Result<Last, String> {
        if asked.delay_nanos.is_none() && asked.nanos.is_none() && self.options.request_rate.is_none() {
            return Err("a later turn without `delay`: give it, or a `timestamp`".to_owned());
        }
        let next = self.turns.len() as u32;
        match before {
            Last::Row(index) => self.rows[index].next = next,
            Last::Turn(index) => self.turns[index].row.next = next,
        }
        let nanos = asked.nanos.filter(|_| self.options.request_rate.is_none()).unwrap_or(i64::MIN);
        let delay_nanos = asked.delay_nanos.unwrap_or(0).unsigned_abs();
        let timed = asked.delay_nanos.is_none();
        self.turns.push(Turn { row: Row { nanos, ..row }, delay_nanos, timed });
        Ok(Last::Turn(self.turns.len() - 1))
    }

    /// Sorts, cuts and clips.
    pub(super) fn finish(self, found: Found) -> Result<Trace, ArrivalError> {
        let Self { origin, options, mut rows, turns, blocks, mut counts, .. } = self;
        let wrong = |problem| ArrivalError::Trace { origin: origin.to_owned(), problem };
        if counts.out_of_order > 0 {
            rows.sort_by_key(|row| row.nanos);
        }
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Err(wrong(match counts.read {
                0 => "a header without requests; give a trace with some".to_owned(),
                read if counts.failed == read => {
                    format!("each of its {read} requests failed; give a trace with answers")
                }
                read => format!(
                    "each of its {read} requests has a length of 0; zero_lengths = \"one\" keeps them"
                ),
            }));
        };
        // Times of a trace may lie anywhere in 64 bits.
        let since_first = |row: &Row| row.nanos.abs_diff(first.nanos) as f64 / NANOS_PER_SECOND;
        let (start, end) = (options.window_start_s, options.window_end_s.unwrap_or(f64::INFINITY));
        let length = since_first(last);
        let from = rows.partition_point(|row| since_first(row) < start);
        let to = rows.partition_point(|row| since_first(row) < end);
        if from >= to {
            let to = options.window_end_s.map_or_else(|| "on".to_owned(), |end| format!("to {end} s"));
            return Err(wrong(format!(
                "no request from {start} s {to}: the last one comes after {length} s"
            )));
        }
        let all = rows.len() + turns.len();
        rows.truncate(to);
        rows.drain(..from);
        let mut sessions = Sessions { rows, turns, blocks, block_tokens: found.block_tokens };
        let taken = sessions.cut(options.num_prompts.unwrap_or(u64::MAX));
        counts.left_out = all as u64 - taken;
        if let Some(pace) = options.pace()? {
            pace_rows(&mut sessions.rows, pace, options.seed);
        }
        sessions.give_history(options, &mut counts).map_err(wrong)?;
        let Sessions { rows, turns, blocks, block_tokens } = sessions;
        let trace = Trace {
            format: found.format,
            unit: found.unit,
            rows,
            turns,
            blocks,
            block_tokens,
            rate_scale: options.rate_scale,
            counts,
        };
        if trace.duration_f64() > LATEST.0 as f64 {
            let remedy = "cut it with window_end_s or play it faster with rate_scale";
            return Err(wrong(format!("longer than 106 days; {remedy}")));
        }
        Ok(trace)
    }
}

/// Puts requests in their order at times of a pace.
fn pace_rows(rows: &mut [Row], pace: Pace, seed: u64) {
    let mut last = Picos::ZERO;
    for (index, row) in (0..).zip(rows) {
        last = pace.time(seed, index, last).unwrap_or(Picos::MAX);
        row.nanos = (last.0 / PICOS_PER_NANO) as i64;
    }
}

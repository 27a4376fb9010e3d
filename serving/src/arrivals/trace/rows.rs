//! The requests of a trace as they are read, and what is taken of them: in order, in the window, no longer than allowed.

use super::{MAX_BLOCK_IDS, MAX_REQUESTS, Trace, TraceOptions, ZeroLengths};
use crate::arrivals::{ArrivalError, LATEST};

const NANOS_PER_SECOND: f64 = 1e9;

/// A request of a trace, 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// When it came, in nanoseconds since whatever the trace counts from.
    pub(super) nanos: i64,
    pub(super) input: u32,
    pub(super) output: u32,
    /// Its ids are `blocks[first_block..][..num_blocks]` of the trace.
    pub(super) first_block: u32,
    pub(super) num_blocks: u32,
}

/// What was told from the first line.
pub(super) struct Found {
    pub(super) format: &'static str,
    pub(super) block_tokens: u32,
}

/// What was done to a trace, in requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) read: u64,
    pub(super) out_of_order: u64,
    pub(super) dropped: u64,
    pub(super) raised: u64,
    pub(super) short_ids: u64,
    pub(super) left_out: u64,
    pub(super) clipped_inputs: u64,
    pub(super) clipped_outputs: u64,
}

/// Requests in the order of the file.
pub(super) struct Rows<'a> {
    origin: &'a str,
    zero_lengths: ZeroLengths,
    rows: Vec<Row>,
    blocks: Vec<u64>,
    counts: Counts,
    latest: i64,
}

impl<'a> Rows<'a> {
    pub(super) fn new(origin: &'a str, zero_lengths: ZeroLengths) -> Self {
        let counts = Counts::default();
        Self { origin, zero_lengths, rows: Vec::new(), blocks: Vec::new(), counts, latest: i64::MIN }
    }

    /// Takes a request: its prompt and its answer with the names of their fields, the ids of the prompt's
    /// blocks, and how many blocks it has.
    pub(super) fn push(
        &mut self,
        line: u64,
        nanos: i64,
        lengths: [(&str, u32); 2],
        ids: &[u64],
        num_blocks: usize,
    ) -> Result<(), ArrivalError> {
        let wrong = |problem| ArrivalError::Line { origin: self.origin.to_owned(), line, problem };
        self.counts.read += 1;
        if self.rows.len() >= MAX_REQUESTS {
            return Err(wrong(format!("more than {MAX_REQUESTS} requests; cut the trace")));
        }
        if self.blocks.len() + ids.len() > MAX_BLOCK_IDS {
            return Err(wrong(format!("more than {MAX_BLOCK_IDS} hash_ids in the trace; cut it")));
        }
        if let Some((name, _)) = lengths.into_iter().find(|&(_, tokens)| tokens == 0) {
            match self.zero_lengths {
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
        self.counts.out_of_order += u64::from(nanos < self.latest);
        self.latest = self.latest.max(nanos);
        self.counts.short_ids += u64::from(ids.len() < num_blocks);
        let [input, output] = lengths.map(|(_, tokens)| tokens.max(1));
        // Both fit: a trace has at most 2^28 ids.
        let (first_block, num_blocks) = (self.blocks.len() as u32, ids.len() as u32);
        self.rows.push(Row { nanos, input, output, first_block, num_blocks });
        self.blocks.extend_from_slice(ids);
        Ok(())
    }

    /// Sorts, cuts and clips.
    pub(super) fn finish(self, found: Found, options: &TraceOptions) -> Result<Trace, ArrivalError> {
        let Self { origin, mut rows, blocks, mut counts, .. } = self;
        let wrong = |problem| ArrivalError::Trace { origin: origin.to_owned(), problem };
        if counts.out_of_order > 0 {
            rows.sort_by_key(|row| row.nanos);
        }
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Err(wrong(match counts.read {
                0 => "a header without requests; give a trace with some".to_owned(),
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
        let most = options.num_prompts.unwrap_or(u64::MAX).try_into().unwrap_or(usize::MAX);
        let to = to.min(from.saturating_add(most));
        counts.left_out = (rows.len() - (to - from)) as u64;
        rows.truncate(to);
        rows.drain(..from);
        for row in &mut rows {
            counts.clipped_inputs += clip(&mut row.input, options.max_input_tokens);
            counts.clipped_outputs += clip(&mut row.output, options.max_output_tokens);
            row.num_blocks = row.num_blocks.min(row.input.div_ceil(found.block_tokens));
        }
        let trace = Trace {
            format: found.format,
            rows,
            blocks,
            block_tokens: found.block_tokens,
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

/// Cuts a length; 1 where it was longer.
fn clip(tokens: &mut u32, most: Option<u32>) -> u64 {
    let longer = most.is_some_and(|most| *tokens > most);
    *tokens = most.unwrap_or(u32::MAX).min(*tokens);
    longer.into()
}

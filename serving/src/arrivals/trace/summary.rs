//! What is in a trace, and what was done to it, for people and for records.

use std::fmt;

use serde::Serialize;
use topology::Picos;

use super::Trace;

/// Lengths in tokens; percentiles are by nearest rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LengthStats {
    /// Sum over all requests.
    pub total: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// The `ceil(n / 2)`-th smallest.
    pub median: u32,
    /// The `ceil(99 n / 100)`-th smallest.
    pub p99: u32,
    /// Most tokens of any one request.
    pub max: u32,
}

/// A trace after it was sorted, cut and clipped.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceSummary {
    /// Whose format it has.
    pub format: &'static str,
    /// What times are counted in, where that is not what the format has.
    pub unit: Option<&'static str>,
    /// Requests that will come.
    pub requests: u64,
    /// Those of them that come once another one has ended, and begin with all that was said before.
    pub turns: u64,
    /// Those of them that come once another one has ended, and had that in them in the file.
    pub whole_turns: u64,
    /// From the first to the last of them, as played back; without turns of sessions, whose times follow from the run.
    pub duration: Picos,
    /// Tokens of prompts.
    pub input: LengthStats,
    /// Tokens of answers.
    pub output: LengthStats,
    /// Blocks of prompts that have an id.
    pub blocks: u64,
    /// Those of them that stand in a run from the prompt's beginning of which each block was in an earlier request: what a
    /// boundless cache would hit.
    pub blocks_seen_before: u64,
    /// Requests of the file that stand behind a later one.
    pub out_of_order: u64,
    /// Requests left out because they failed.
    pub failed: u64,
    /// Requests left out for a length of 0.
    pub dropped: u64,
    /// Requests whose length of 0 was made 1.
    pub raised: u64,
    /// Prompts of the file with fewer ids than blocks: their ends are shared with nobody.
    pub short_hash_ids: u64,
    /// Requests outside the window or behind the last one asked for.
    pub left_out: u64,
    /// Prompts that were cut.
    pub clipped_inputs: u64,
    /// Answers that were cut.
    pub clipped_outputs: u64,
}

impl TraceSummary {
    /// Share of the prompts' blocks that were seen before; `None` where the trace has no ids.
    #[must_use]
    pub fn seen_before(&self) -> Option<f64> {
        (self.blocks > 0).then(|| self.blocks_seen_before as f64 / self.blocks as f64)
    }

    /// What a reader should know was done to the trace, a sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let notes = [
            (self.failed, "that failed: left out"),
            (
                self.turns,
                "after a turn of the same session: once that has ended, the prompt being all that was said and what is new",
            ),
            (
                self.whole_turns,
                "after a turn of the same session, with all that was said in the prompt already: once that has ended",
            ),
            (self.out_of_order, "out of order in the file: sorted by time"),
            (self.dropped, "with a length of 0: dropped"),
            (self.raised, "with a length of 0: given one token"),
            (self.short_hash_ids, "with fewer hash_ids than blocks: what is left of them shares nothing"),
            (self.left_out, "outside the window or beyond num_prompts: left out"),
            (self.clipped_inputs, "with prompts longer than max_input_tokens: clipped"),
            (self.clipped_outputs, "with answers longer than max_output_tokens: clipped"),
        ];
        let unit =
            self.unit.map(|unit| format!("times are read as {unit} since 1970, which their size says"));
        let told = notes.into_iter().filter(|&(count, _)| count > 0);
        let counted =
            told.map(|(count, what)| format!("{count} request{} {what}", if count == 1 { "" } else { "s" }));
        unit.into_iter().chain(counted).collect()
    }
}

impl fmt::Display for TraceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration.as_micros_f64() / 1e6;
        write!(f, "{} trace: {} requests in {seconds:.3} s", self.format, self.requests)?;
        for (name, stats) in [("prompts", &self.input), ("answers", &self.output)] {
            let LengthStats { total, mean, median, p99, max } = stats;
            write!(
                f,
                "; {name} of {mean:.1} tokens (median {median}, p99 {p99}, max {max}, {total} in all)"
            )?;
        }
        match self.seen_before() {
            Some(share) => write!(f, "; {:.1}% of {} blocks seen before", share * 100.0, self.blocks),
            None => Ok(()),
        }
    }
}

impl Trace {
    /// What `railyard` says of a trace before it is served.
    #[must_use]
    pub fn summary(&self) -> TraceSummary {
        let counts = self.counts;
        let (blocks, blocks_seen_before) = self.count_blocks();
        TraceSummary {
            format: self.format,
            unit: self.unit,
            requests: self.requests().count() as u64,
            turns: counts.turns,
            whole_turns: counts.whole_turns,
            duration: self.rows.last().map_or(Picos::ZERO, |last| self.time(last)),
            input: stats(self.requests().map(|row| row.input).collect()),
            output: stats(self.requests().map(|row| row.output).collect()),
            blocks,
            blocks_seen_before,
            out_of_order: counts.out_of_order,
            failed: counts.failed,
            dropped: counts.dropped,
            raised: counts.raised,
            // A trace without ids shares nothing, and says so by having none.
            short_hash_ids: if blocks > 0 { counts.short_ids } else { 0 },
            left_out: counts.left_out,
            clipped_inputs: counts.clipped_inputs,
            clipped_outputs: counts.clipped_outputs,
        }
    }

    /// Blocks, and those that were seen before.
    fn count_blocks(&self) -> (u64, u64) {
        // Ids by rank, so that a bit each tells whether one was seen.
        let mut known = self.blocks.clone();
        known.sort_unstable();
        known.dedup();
        let mut was_seen = vec![false; known.len()];
        let rank = |id: &u64| known.partition_point(|other| other < id);
        let (mut blocks, mut hits) = (0, 0);
        for row in self.requests() {
            let ids = self.ids(row);
            blocks += ids.len() as u64;
            hits += ids.iter().take_while(|&id| was_seen[rank(id)]).count() as u64;
            for id in ids {
                was_seen[rank(id)] = true;
            }
        }
        (blocks, hits)
    }
}

fn stats(mut lengths: Vec<u32>) -> LengthStats {
    lengths.sort_unstable();
    let total = lengths.iter().map(|&tokens| u64::from(tokens)).sum();
    let at = |percent: usize| {
        let rank = (lengths.len() * percent).div_ceil(100);
        lengths.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    };
    let mean = if lengths.is_empty() { 0.0 } else { total as f64 / lengths.len() as f64 };
    LengthStats { total, mean, median: at(50), p99: at(99), max: at(100) }
}

//! Sessions of a trace: a turn comes once the one before it has ended, and its prompt begins with all that was said.

use super::row::{Counts, NO_TURN, Row, Turn, clip};
use super::{MAX_BLOCK_IDS, TraceOptions};
use crate::arrivals::MAX_TOKENS;

/// First requests, in the order of arrival, and the turns after them.
pub(super) struct Sessions {
    pub(super) rows: Vec<Row>,
    pub(super) turns: Vec<Turn>,
    pub(super) blocks: Vec<u64>,
    pub(super) block_tokens: u32,
}

impl Sessions {
    /// Takes at most `most` requests, whole sessions in the order in which they begin, the last one cut; how many these are.
    pub(super) fn cut(&mut self, most: u64) -> u64 {
        let mut taken = 0;
        for index in 0..self.rows.len() {
            if taken == most {
                self.rows.truncate(index);
                break;
            }
            taken += 1;
            let mut last = &mut self.rows[index];
            let mut next = last.next;
            while next != NO_TURN {
                if taken == most {
                    last.next = NO_TURN;
                    break;
                }
                taken += 1;
                last = &mut self.turns[next as usize].row;
                next = last.next;
            }
        }
        taken
    }

    /// Clips lengths and gives each later turn its whole prompt: the one before it, its answer, and what is new. Blocks that lie wholly in
    /// the prompt before keep their ids; those behind have ids of their own, since an answer is like no other.
    pub(super) fn give_history(&mut self, options: &TraceOptions, counts: &mut Counts) -> Result<(), String> {
        // From the top, where no trace has ids.
        let mut own = u64::MAX;
        for index in 0..self.rows.len() {
            let told = self.rows[index];
            let mut before = told;
            self.clip(&mut before, told.input.into(), options, counts);
            if before.next != NO_TURN {
                self.name_blocks(&mut before, None, &mut own)?;
            }
            self.rows[index] = before;
            let (mut told, mut next) = (told, before.next);
            let already = self.holds_history(told);
            while next != NO_TURN {
                let turn = self.turns[next as usize];
                let named = self.begins_alike(told, turn.row);
                let whole = named || already;
                *(if whole { &mut counts.whole_turns } else { &mut counts.turns }) += 1;
                let history = if whole { 0 } else { u64::from(before.input) + u64::from(before.output) };
                let mut row = turn.row;
                self.clip(&mut row, history + u64::from(turn.row.input), options, counts);
                if row.input > MAX_TOKENS {
                    return Err(format!(
                        "a turn of {} tokens with its history, more than {MAX_TOKENS}; cut it with max_input_tokens",
                        row.input
                    ));
                }
                if !named {
                    self.name_blocks(&mut row, Some(before), &mut own)?;
                }
                self.turns[next as usize].row = row;
                (told, before, next) = (turn.row, row, row.next);
            }
        }
        Ok(())
    }

    /// A request with a prompt of `input` tokens, cut where it is longer than allowed.
    fn clip(&self, row: &mut Row, input: u64, options: &TraceOptions, counts: &mut Counts) {
        row.input = u32::try_from(input).unwrap_or(u32::MAX);
        counts.clipped_inputs += clip(&mut row.input, options.max_input_tokens);
        counts.clipped_outputs += clip(&mut row.output, options.max_output_tokens);
        row.num_blocks = row.num_blocks.min(row.input.div_ceil(self.block_tokens));
    }

    fn ids(&self, row: Row) -> &[u64] {
        &self.blocks[row.first_block as usize..][..row.num_blocks as usize]
    }

    /// Whether a turn's ids, as the file has them, begin with those of the whole blocks of the turn before: its prompt has the history
    /// in it.
    fn begins_alike(&self, before: Row, turn: Row) -> bool {
        let whole = (before.input / self.block_tokens) as usize;
        let ids = self.ids(before);
        let before = &ids[..whole.min(ids.len())];
        !before.is_empty() && self.ids(turn).starts_with(before)
    }

    /// Whether all later turns of a session without ids come at times of their own and are at least as long as all that was said before:
    /// prompts of such a record have the history in them.
    fn holds_history(&self, first: Row) -> bool {
        let (mut before, mut next) = (first, first.next);
        while next != NO_TURN {
            let turn = &self.turns[next as usize];
            let said = u64::from(before.input) + u64::from(before.output);
            if !turn.timed || turn.row.num_blocks > 0 || u64::from(turn.row.input) < said {
                return false;
            }
            (before, next) = (turn.row, turn.row.next);
        }
        first.next != NO_TURN
    }

    /// Gives every block of a prompt an id: those of the request before it where it has them in common, its own in the file where nothing
    /// is before it, and new ones.
    fn name_blocks(&mut self, row: &mut Row, before: Option<Row>, own: &mut u64) -> Result<(), String> {
        let blocks = row.input.div_ceil(self.block_tokens);
        let (first, kept) = match before {
            Some(before) => (before.first_block, (before.input / self.block_tokens).min(before.num_blocks)),
            None => (row.first_block, row.num_blocks),
        };
        let kept = kept.min(blocks);
        if self.blocks.len() + blocks as usize > MAX_BLOCK_IDS {
            return Err(format!(
                "more than {MAX_BLOCK_IDS} blocks with the histories of sessions; cut the trace"
            ));
        }
        // It fits: a trace has at most 2^28 ids.
        (row.first_block, row.num_blocks) = (self.blocks.len() as u32, blocks);
        self.blocks.extend_from_within(first as usize..(first + kept) as usize);
        for _ in kept..blocks {
            self.blocks.push(*own);
            *own -= 1;
        }
        Ok(())
    }
}

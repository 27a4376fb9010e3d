//! A request of a trace, a later turn of its session, and the counts of what is done to them.

/// Behind the last turn of a session.
pub(super) const NO_TURN: u32 = u32::MAX;

/// A request of a trace, 32 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// When it came, in nanoseconds since whatever the trace counts from.
    pub(super) nanos: i64,
    pub(super) input: u32,
    pub(super) output: u32,
    /// Its ids are `blocks[first_block..][..num_blocks]` of the trace.
    pub(super) first_block: u32,
    pub(super) num_blocks: u32,
    /// The turn of its session that comes once it has ended, of the trace's `turns`, or [`NO_TURN`].
    pub(super) next: u32,
}

/// A request that comes after another one of its session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// With the time before which it doesn't come: `i64::MIN` where none was recorded.
    pub(super) row: Row,
    /// How long after the turn before ended.
    pub(super) delay_nanos: u64,
    /// Whether it has a time in place of a delay.
    pub(super) timed: bool,
}

/// What was done to a trace, in requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) read: u64,
    pub(super) failed: u64,
    pub(super) out_of_order: u64,
    pub(super) dropped: u64,
    pub(super) raised: u64,
    pub(super) short_ids: u64,
    pub(super) left_out: u64,
    pub(super) clipped_inputs: u64,
    pub(super) clipped_outputs: u64,
    /// Turns whose prompts were made of their session's history.
    pub(super) turns: u64,
    /// Turns whose prompts have it in them.
    pub(super) whole_turns: u64,
}

/// Cuts a length; 1 where it was longer.
pub(super) fn clip(tokens: &mut u32, most: Option<u32>) -> u64 {
    let longer = most.is_some_and(|most| *tokens > most);
    *tokens = most.unwrap_or(u32::MAX).min(*tokens);
    longer.into()
}

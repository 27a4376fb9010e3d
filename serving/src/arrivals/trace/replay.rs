//! A trace played back: its requests at their recorded times, from the first one on, faster or slower; turns of sessions once the one
//! before has ended.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use topology::Picos;

use super::Trace;
use super::row::{NO_TURN, Row};
use crate::arrivals::error::setting;
use crate::arrivals::prompts::tenant;
use crate::arrivals::tenants::Tenants;
use crate::arrivals::{ArrivalError, Arrivals, LATEST};
use crate::request::{Prefix, Request, RequestId};

const PICOS_PER_NANO: u128 = 1000;

impl Trace {
    /// When a request comes: 0 is the first one's time.
    pub(super) fn time(&self, row: &Row) -> Picos {
        let first = self.rows.first().map_or(row.nanos, |first| first.nanos);
        self.played(if row.nanos > first { row.nanos.abs_diff(first) } else { 0 })
    }

    /// A recorded span as it is played back.
    fn played(&self, nanos: u64) -> Picos {
        let picos = u128::from(nanos) * PICOS_PER_NANO;
        // Exact where nothing is scaled; what is too large becomes the largest.
        if self.rate_scale == 1.0 {
            Picos(u64::try_from(picos).unwrap_or(u64::MAX))
        } else {
            Picos((picos as f64 / self.rate_scale).round() as u64)
        }
    }

    /// From the first request to the last one, in picoseconds, however long.
    pub(super) fn duration_f64(&self) -> f64 {
        let ends = self.rows.first().zip(self.rows.last());
        let nanos = ends.map_or(0, |(first, last)| last.nanos.abs_diff(first.nanos));
        nanos as f64 * PICOS_PER_NANO as f64 / self.rate_scale
    }

    /// The ids of a request's blocks.
    pub(super) fn ids(&self, row: &Row) -> &[u64] {
        &self.blocks[row.first_block as usize..][..row.num_blocks as usize]
    }

    /// Every request, those of a session one after the other.
    pub(super) fn requests(&self) -> impl Iterator<Item = &Row> {
        let turn = |row: &&Row| self.turns.get(row.next as usize).map(|turn| &turn.row);
        self.rows.iter().flat_map(move |row| std::iter::successors(Some(row), turn))
    }
}

/// A turn that is to come: when, which, and the first request of its session.
type Coming = (Picos, u32, u64);

/// A trace as arrivals.
#[derive(Debug)]
pub(in crate::arrivals) struct Replay {
    trace: Trace,
    tenants: Tenants,
    seed: u64,
    /// The next of the first requests.
    next: usize,
    /// Number of the next request.
    index: u64,
    /// Turns whose time is known.
    coming: BinaryHeap<Reverse<Coming>>,
    /// Requests under way that a turn waits for: the turn, and the first request of its session.
    awaited: BTreeMap<RequestId, (u32, u64)>,
    /// When the last one was taken.
    last: Picos,
}

impl Replay {
    /// Tenants are drawn: traces don't have any. A session is one tenant's.
    pub(in crate::arrivals) fn new(trace: Trace, tenants: Tenants, seed: u64) -> Self {
        let (coming, awaited) = (BinaryHeap::new(), BTreeMap::new());
        Self { trace, tenants, seed, next: 0, index: 0, coming, awaited, last: Picos::ZERO }
    }

    /// What comes next, of requests of one time a first one before a turn: its time, itself, and the first request of its session.
    fn peek(&self) -> Option<(Picos, Row, u64)> {
        let first = self.trace.rows.get(self.next).map(|row| (self.trace.time(row), *row, self.next as u64));
        let turn = self
            .coming
            .peek()
            .map(|&Reverse((at, turn, first))| (at, self.trace.turns[turn as usize].row, first));
        match (first, turn) {
            (Some(first), Some(turn)) if turn.0 < first.0 => Some(turn),
            (None, turn) => turn,
            (first, _) => first,
        }
    }
}

impl Arrivals for Replay {
    fn next_at(&mut self) -> Result<Option<Picos>, ArrivalError> {
        match self.peek() {
            Some((at, ..)) if at > LATEST => {
                let must = "a turn of a session would come after 106 days; play the trace faster, or cut it";
                Err(setting("rate_scale", self.trace.rate_scale, must))
            }
            next => Ok(next.map(|(at, ..)| at)),
        }
    }

    fn take_next(&mut self) -> Result<Option<Request>, ArrivalError> {
        let Some(arrived) = self.next_at()? else { return Ok(None) };
        let Some((_, row, first)) = self.peek() else { return Ok(None) };
        if first == self.next as u64 {
            self.next += 1;
        } else {
            self.coming.pop();
        }
        let id = RequestId(self.index);
        self.index += 1;
        self.last = arrived;
        if row.next != NO_TURN {
            self.awaited.insert(id, (row.next, first));
        }
        let prefix = match self.trace.ids(&row) {
            [] => Prefix::none(),
            ids => Prefix { block_tokens: self.trace.block_tokens, blocks: Arc::from(ids) },
        };
        Ok(Some(Request {
            id,
            arrived,
            input_tokens: row.input,
            output_tokens: row.output,
            tenant: tenant(&self.tenants, self.seed, first),
            prefix,
        }))
    }

    fn ended(&mut self, id: RequestId, now: Picos) {
        let Some((turn, first)) = self.awaited.remove(&id) else { return };
        let of = &self.trace.turns[turn as usize];
        let delayed = now.saturating_add(self.trace.played(of.delay_nanos));
        // Not before the time that it has, nor, where the end is told late, before the last arrival.
        let at = delayed.max(self.trace.time(&of.row)).max(self.last);
        self.coming.push(Reverse((at, turn, first)));
    }
}

//! A trace played back: its requests at their recorded times, from the first one on, faster or slower.

use std::sync::Arc;

use topology::Picos;

use super::Trace;
use super::rows::Row;
use crate::arrivals::prompts::tenant;
use crate::arrivals::tenants::Tenants;
use crate::arrivals::{ArrivalError, Arrivals};
use crate::request::{Prefix, Request, RequestId};

const PICOS_PER_NANO: u128 = 1000;

impl Trace {
    /// When a request comes: 0 is the first one's time.
    pub(super) fn time(&self, row: &Row) -> Picos {
        let nanos = self.rows.first().map_or(0, |first| row.nanos.abs_diff(first.nanos));
        let picos = u128::from(nanos) * PICOS_PER_NANO;
        // Exact where nothing is scaled; `Rows::finish` saw to it that it fits.
        if self.rate_scale == 1.0 {
            Picos(picos as u64)
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
}

/// A trace as arrivals.
#[derive(Debug)]
pub(in crate::arrivals) struct Replay {
    trace: Trace,
    tenants: Tenants,
    seed: u64,
    next: usize,
}

impl Replay {
    /// Tenants are drawn: traces don't have any.
    pub(in crate::arrivals) fn new(trace: Trace, tenants: Tenants, seed: u64) -> Self {
        Self { trace, tenants, seed, next: 0 }
    }
}

impl Arrivals for Replay {
    fn next_at(&mut self) -> Result<Option<Picos>, ArrivalError> {
        Ok(self.trace.rows.get(self.next).map(|row| self.trace.time(row)))
    }

    fn take_next(&mut self) -> Result<Option<Request>, ArrivalError> {
        let Some(row) = self.trace.rows.get(self.next) else { return Ok(None) };
        let index = self.next as u64;
        self.next += 1;
        let prefix = match self.trace.ids(row) {
            [] => Prefix::none(),
            ids => Prefix { block_tokens: self.trace.block_tokens, blocks: Arc::from(ids) },
        };
        Ok(Some(Request {
            id: RequestId(index),
            arrived: self.trace.time(row),
            input_tokens: row.input,
            output_tokens: row.output,
            tenant: tenant(&self.tenants, self.seed, index),
            prefix,
        }))
    }

    fn ended(&mut self, _now: Picos) {}
}

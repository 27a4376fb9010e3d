//! How long the measured rows that are to come will take: their paces, corrected by what those before them took.

use super::line::Line;
use coordinator::pace::Host;
use std::time::{Duration, Instant};

/// Wall time over paced time of the first row: connections, plans and barriers take a part of it.
const FIRST_GUESS: f64 = 1.3;

/// An estimate that learns.
#[derive(Debug)]
pub(super) struct TimeLeft {
    /// Paced time of each row to come, seconds, the next one last.
    to_come: Vec<f64>,
    done_s: f64,
    taken: Duration,
    begun: Option<(Instant, f64)>,
}

impl TimeLeft {
    /// Of all `lines` at all their latencies, on `host`.
    pub(super) fn new(lines: &[Line<'_>], host: Host) -> Self {
        let paced = |line: &Line<'_>| {
            line.spec.latencies.iter().map(|&latency| line.paced_s(latency, host)).collect::<Vec<_>>()
        };
        let mut to_come: Vec<f64> = lines.iter().flat_map(paced).collect();
        to_come.reverse();
        Self { to_come, done_s: 0.0, taken: Duration::ZERO, begun: None }
    }

    /// The next row begins now: whole seconds until the last one ends, about.
    pub(super) fn begin(&mut self) -> u32 {
        self.end();
        let left_s: f64 = self.to_come.iter().sum();
        self.begun = self.to_come.pop().map(|paced| (Instant::now(), paced));
        (left_s * self.factor()).ceil() as u32
    }

    /// The next row is finished already.
    pub(super) fn skip(&mut self) {
        self.end();
        self.to_come.pop();
    }

    /// The row under way has ended.
    fn end(&mut self) {
        if let Some((began, paced)) = self.begun.take() {
            self.taken += began.elapsed();
            self.done_s += paced;
        }
    }

    fn factor(&self) -> f64 {
        if self.done_s > 0.0 { self.taken.as_secs_f64() / self.done_s } else { FIRST_GUESS }
    }
}

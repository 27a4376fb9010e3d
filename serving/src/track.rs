//! The stages of a pipeline as a track: a train enters a stage when the one before it has left, and stages wait where none comes.

use crate::cost::StepTimes;
use serde::{Deserialize, Serialize};
use topology::Picos;

/// Most spans that a track remembers, the first ones.
const SPANS_MAX: usize = 64;

/// A stage at work for one train.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The stage.
    pub stage: u32,
    /// The train's trip, from 0 in the order in which trains left.
    pub trip: u32,
    /// From when, us of the clock.
    pub begin_us: f64,
    /// Until when.
    pub end_us: f64,
}

/// When each stage is free again, and how long it has worked.
#[derive(Clone, Debug, Default)]
pub struct Track {
    free: Vec<Picos>,
    busy: Vec<Picos>,
    trips: u32,
    spans: Vec<Span>,
}

impl Track {
    /// All stages free from time 0.
    #[must_use]
    pub fn new(stages: usize) -> Self {
        Self { free: vec![Picos::ZERO; stages], busy: vec![Picos::ZERO; stages], trips: 0, spans: Vec::new() }
    }

    /// When the first stage is free.
    #[must_use]
    pub fn free(&self) -> Picos {
        self.free.first().copied().unwrap_or(Picos::ZERO)
    }

    /// Sends a train through all stages from `now` on, each when it is free, in the order in which trains leave; returns when its
    /// tokens are back at the station, the last hop included.
    ///
    /// # Panics
    /// If the times are of another number of stages.
    pub fn ride(&mut self, now: Picos, times: &StepTimes) -> Picos {
        assert_eq!(
            (times.stages.len(), times.hops.len()),
            (self.free.len(), self.free.len()),
            "stages of the track"
        );
        let mut at = now;
        for (stage, (time, &hop)) in times.stages.iter().zip(&times.hops).enumerate() {
            let begin = at.max(self.free[stage]);
            let end = begin + time.total;
            if self.spans.len() < SPANS_MAX {
                let (stage, trip) = (stage as u32, self.trips);
                let (begin_us, end_us) = (begin.as_micros_f64(), end.as_micros_f64());
                self.spans.push(Span { stage, trip, begin_us, end_us });
            }
            self.free[stage] = end;
            self.busy[stage] += time.total;
            at = end + hop;
        }
        self.trips = self.trips.saturating_add(1);
        at
    }

    /// What stages did first.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// When each stage is free, `[stages]`: after a ride, when it was through.
    #[must_use]
    pub fn until(&self) -> &[Picos] {
        &self.free
    }

    /// How long each stage has worked.
    #[must_use]
    pub fn busy(&self) -> &[Picos] {
        &self.busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::StageTime;
    use blackboard::pipeline::decode_bubble;

    /// m trains that go round and round on P stages of one unit each.
    fn idle_share(stages: usize, trains: usize) -> f64 {
        let unit = Picos(1_000);
        let times = StepTimes {
            stages: vec![StageTime { total: unit, ..StageTime::default() }; stages],
            hops: vec![Picos::ZERO; stages],
        };
        let mut track = Track::new(stages);
        let mut back = vec![Picos::ZERO; trains];
        for _ in 0..1_000 {
            for back in &mut back {
                *back = track.ride((*back).max(track.free()), &times);
            }
        }
        let end = back.iter().max().copied().unwrap_or_default();
        1.0 - track.busy()[0].0 as f64 / end.0 as f64
    }

    #[test]
    fn idle_stages_appear_by_themselves() {
        for stages in [1, 2, 4, 8] {
            for trains in 1..=stages {
                let expected = decode_bubble(stages as f64, trains as f64);
                let idle = idle_share(stages, trains);
                assert!((idle - expected).abs() < 0.01, "P = {stages}, m = {trains}: {idle} for {expected}");
            }
        }
    }
}

//! What a timeline of a yard is made of: rides of trains, work of stages, and how things stand at the station. Bounded: where there is more,
//! one step in so many is kept, from the first on, and as many moments.

use topology::Picos;

/// A train's ride: a step, from its departure until it is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ride {
    /// Which train.
    pub train: usize,
    /// When it left.
    pub left: Picos,
    /// When it was back.
    pub back: Picos,
    /// Sequences with new tokens.
    pub riders: u32,
    /// New tokens of answers and of prompts.
    pub tokens: [u64; 2],
}

/// A stage at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Which stage.
    pub stage: usize,
    /// For which train.
    pub train: usize,
    /// From when.
    pub start: Picos,
    /// Until when.
    pub end: Picos,
}

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When.
    pub at: Picos,
    /// Requests that wait for a place.
    pub waiting: u64,
    /// Sequences that have a seat.
    pub seated: u64,
    /// Bytes that caches take on the fullest rank, all stages.
    pub taken_bytes: u64,
    /// Trains under way.
    pub riding: u64,
}

/// Things of a kind, each with the number of its step or moment, of which one in `every` is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<T> {
    every: u64,
    most: usize,
    kept: Vec<(u64, T)>,
}

impl<T> Kept<T> {
    fn new(most: usize) -> Self {
        Self { every: 1, most: most.max(2), kept: Vec::new() }
    }

    fn push(&mut self, number: u64, what: T) {
        if !number.is_multiple_of(self.every) {
            return;
        }
        while self.kept.len() >= self.most && number.is_multiple_of(self.every) {
            self.every = self.every.saturating_mul(2);
            self.kept.retain(|(number, _)| number.is_multiple_of(self.every));
        }
        if number.is_multiple_of(self.every) {
            self.kept.push((number, what));
        }
    }

    /// One in so many is here.
    #[must_use]
    pub const fn every(&self) -> u64 {
        self.every
    }

    /// What is kept, with its number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(u64, T)> {
        self.kept.iter()
    }
}

/// What is kept of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YardTrace {
    /// Rides, by the number of their step.
    pub rides: Kept<Ride>,
    /// Work of stages, by the number of the step.
    pub work: Kept<Work>,
    /// How things stood at moments at which something changed.
    pub standings: Kept<Standing>,
    moments: u64,
    latest: Option<Standing>,
}

impl YardTrace {
    /// One of at most about `most` of everything together.
    #[must_use]
    pub fn new(most: usize) -> Self {
        // A moment is told by four numbers.
        Self {
            rides: Kept::new(most / 4),
            work: Kept::new(most / 4),
            standings: Kept::new(most / 10),
            moments: 0,
            latest: None,
        }
    }

    /// A train is back from step number `step`.
    pub(crate) fn ride(&mut self, step: u64, ride: Ride) {
        self.rides.push(step, ride);
    }

    /// A stage has worked in step number `step`.
    pub(crate) fn work(&mut self, step: u64, work: Work) {
        if work.end > work.start {
            self.work.push(step, work);
        }
    }

    /// Things stand so; the last word of a moment counts.
    pub(crate) fn stand(&mut self, standing: Standing) {
        if self.latest.is_some_and(|latest| latest.at < standing.at) {
            self.keep_latest();
        }
        self.latest = Some(standing);
    }

    fn keep_latest(&mut self) {
        if let Some(latest) = self.latest.take() {
            let before = self.standings.kept.last().map(|(_, before)| Standing { at: latest.at, ..*before });
            if before != Some(latest) {
                self.standings.push(self.moments, latest);
                self.moments += 1;
            }
        }
    }

    /// The run is over.
    pub(crate) fn close(&mut self) {
        self.keep_latest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_so_many_is_kept_over_the_whole_run() {
        let mut kept = Kept::new(100);
        for step in 0..10_000 {
            // Each step has three.
            (0..3).for_each(|_| kept.push(step, step));
        }
        assert!(kept.iter().len() <= 100 && kept.iter().len() > 40, "{}", kept.iter().len());
        let every = kept.every();
        let steps: Vec<u64> = kept.iter().map(|(step, _)| *step).collect();
        assert_eq!((steps[0], steps[steps.len() - 1] + every > 9_999), (0, true));
        assert!(steps.chunks(3).all(|step| step.iter().all(|number| *number == step[0])), "whole steps");
    }

    #[test]
    fn the_last_word_of_a_moment_counts_and_what_stays_is_said_once() {
        let mut trace = YardTrace::new(100);
        let standing =
            |at, waiting| Standing { at: Picos(at), waiting, seated: 0, taken_bytes: 0, riding: 0 };
        for (at, waiting) in [(0, 1), (0, 2), (5, 2), (7, 3), (7, 1)] {
            trace.stand(standing(at, waiting));
        }
        trace.close();
        let kept: Vec<Standing> = trace.standings.iter().map(|(_, standing)| *standing).collect();
        assert_eq!(kept, [standing(0, 2), standing(7, 1)]);
    }
}

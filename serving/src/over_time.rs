//! What waited, sat and rode over the time of a run: the most of each in equal intervals, so that a run of any length is as short.

use serde::{Deserialize, Serialize};
use topology::Picos;

/// Most intervals; a run that is longer has longer ones.
const INTERVALS_MAX: usize = 64;
/// The first interval: a microsecond.
const FIRST: u64 = 1_000_000;

/// The most of each at any moment of an interval, from the first arrival on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OverTime {
    /// Length of an interval, ms.
    pub interval_ms: f64,
    /// Requests in the queue, `[intervals]`.
    pub waiting: Vec<u64>,
    /// Sequences that have a seat.
    pub seated: Vec<u64>,
    /// Trains under way.
    pub trains: Vec<u64>,
}

/// Makes [`OverTime`] of what is noted.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    interval: u64,
    /// `[intervals]`: waiting, seated, trains.
    most: Vec<[u64; 3]>,
    last: [u64; 3],
}

impl Default for Sampler {
    fn default() -> Self {
        Self { interval: FIRST, most: Vec::new(), last: [0; 3] }
    }
}

impl Sampler {
    /// From `since` on, counted from the first arrival, there are so many.
    pub(crate) fn note(&mut self, since: Picos, now: [u64; 3]) {
        while since.0 / self.interval >= INTERVALS_MAX as u64 {
            let pairs = self.most.chunks(2).map(|pair| {
                let other = pair.get(1).unwrap_or(&pair[0]);
                [0, 1, 2].map(|what| pair[0][what].max(other[what]))
            });
            self.most = pairs.collect();
            self.interval *= 2;
        }
        let at = (since.0 / self.interval) as usize;
        while self.most.len() <= at {
            // Nothing happened since: it was as it had been.
            self.most.push(self.last);
        }
        for (most, now) in self.most[at].iter_mut().zip(now) {
            *most = (*most).max(now);
        }
        self.last = now;
    }

    /// What was noted; `None` if nothing was.
    pub(crate) fn close(self) -> Option<OverTime> {
        let of = |what: usize| self.most.iter().map(|most| most[what]).collect();
        (!self.most.is_empty()).then(|| OverTime {
            interval_ms: self.interval as f64 / 1e9,
            waiting: of(0),
            seated: of(1),
            trains: of(2),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_of_each_interval_is_kept_however_long_a_run_is() {
        let mut sampler = Sampler::default();
        sampler.note(Picos(0), [5, 0, 0]);
        sampler.note(Picos(10), [0, 5, 1]);
        sampler.note(Picos(3 * FIRST), [0, 4, 1]);
        let short = sampler.clone().close().expect("noted");
        assert_eq!((short.waiting, short.seated), (vec![5, 0, 0, 0], vec![5, 5, 5, 5]));
        sampler.note(Picos(100 * FIRST), [2, 0, 0]);
        let long = sampler.close().expect("noted");
        assert_eq!(long.interval_ms, 0.002);
        assert_eq!(long.waiting.len(), 51);
        assert_eq!((long.waiting[0], long.seated[49], long.waiting[50]), (5, 4, 2));
        assert_eq!(Sampler::default().close(), None);
    }
}

//! When each seat next has something to do, and which of them is first: a tournament that a changed time climbs.
//!
//! One entry a seat, however many frames are on their way: a simulation of a thousand ranks spends its time on frames.

use topology::Picos;

/// The next time of every seat; [`Picos::MAX`] for none. Equal times go by number.
#[derive(Debug)]
pub(super) struct Wakes {
    /// A complete binary tree of the times: node i has the earlier of nodes 2i and 2i + 1; the seats are the leaves.
    times: Vec<Picos>,
    leaves: usize,
}

impl Wakes {
    /// `seats` seats that all have something to do at `time`.
    pub(super) fn new(seats: usize, time: Picos) -> Self {
        let leaves = seats.next_power_of_two();
        let mut times = vec![Picos::MAX; 2 * leaves];
        times[leaves..leaves + seats].fill(time);
        for node in (1..leaves).rev() {
            times[node] = times[2 * node].min(times[2 * node + 1]);
        }
        Self { times, leaves }
    }

    /// When `seat` is to be served next.
    pub(super) fn of(&self, seat: usize) -> Picos {
        self.times[self.leaves + seat]
    }

    pub(super) fn set(&mut self, seat: usize, time: Picos) {
        let mut node = self.leaves + seat;
        self.times[node] = time;
        while node > 1 {
            node /= 2;
            let earlier = self.times[2 * node].min(self.times[2 * node + 1]);
            if self.times[node] == earlier {
                return;
            }
            self.times[node] = earlier;
        }
    }

    /// The seat to be served first, with its time; `None` when no seat has anything to do.
    pub(super) fn first(&self) -> Option<(Picos, usize)> {
        let time = self.times[1];
        if time == Picos::MAX {
            return None;
        }
        let mut node = 1;
        while node < self.leaves {
            node = 2 * node + usize::from(self.times[2 * node] != time);
        }
        Some((time, node - self.leaves))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_is_the_earliest_and_of_those_the_lowest(
            seats in 1usize..40, sets in prop::collection::vec((0usize..40, 0u64..20), 0..100),
        ) {
            let mut wakes = Wakes::new(seats, Picos::MAX);
            let mut model = vec![Picos::MAX; seats];
            for (seat, time) in sets {
                let time = if time == 19 { Picos::MAX } else { Picos(time) };
                wakes.set(seat % seats, time);
                model[seat % seats] = time;
                let first = (0..seats).map(|seat| (model[seat], seat)).min().filter(|(time, _)| *time != Picos::MAX);
                prop_assert_eq!(wakes.first(), first);
                prop_assert_eq!(wakes.of(seat % seats), time);
            }
        }
    }
}

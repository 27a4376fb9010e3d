//! What the coordinator knows of a node's clock: an interval that holds its difference to the coordinator's own.
//!
//! A node that answers a ping reads its clock between question and answer, so the difference lies between what it read less the
//! answer's time and what it read less the question's (the bounds of Cristian's algorithm, 1989). Readings are intersected; between
//! them the interval widens by what two clocks may drift apart.

/// How far two clocks drift apart at most, in parts of a million: Linux slews a clock by at most 500, each of the two.
const DRIFT_PPM: u64 = 1_000;

/// A node's clock as its answers tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeClock {
    /// `None` before the first answer.
    reading: Option<Reading>,
    /// Some answer has shown that it is not the coordinator's own clock.
    foreign: bool,
}

/// The node's clock less the coordinator's, ns, lay within `low..=high` at `at_ns` of the coordinator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    at_ns: u64,
    low: i128,
    high: i128,
}

impl Reading {
    /// What is left of it later.
    fn aged(self, now_ns: u64) -> Self {
        let elapsed_ns = now_ns.saturating_sub(self.at_ns);
        let drift = i128::from(elapsed_ns.div_ceil(1_000_000 / DRIFT_PPM));
        Self { at_ns: now_ns, low: self.low - drift, high: self.high + drift }
    }
}

impl NodeClock {
    /// A clock of which nothing is known but whether it can be the coordinator's own: one of another machine can't.
    pub(super) fn new(foreign: bool) -> Self {
        Self { reading: None, foreign }
    }

    /// Input: the node read `node_ns` between `sent_ns` and `now_ns` of the coordinator's clock. False if that contradicts what it has
    /// said before: one of the clocks has jumped. The new reading then stands alone.
    pub(super) fn handle_answer(&mut self, sent_ns: u64, node_ns: u64, now_ns: u64) -> bool {
        let node = i128::from(node_ns);
        let (low, high) = (node - i128::from(now_ns), node - i128::from(sent_ns.min(now_ns)));
        // They may have drifted since the node read its own.
        let fresh = Reading { at_ns: sent_ns.min(now_ns), low, high }.aged(now_ns);
        let before = self.reading.map_or(fresh, |reading| reading.aged(now_ns));
        let both =
            Reading { at_ns: now_ns, low: fresh.low.max(before.low), high: fresh.high.min(before.high) };
        let agree = both.low <= both.high;
        self.reading = Some(if agree { both } else { fresh });
        self.foreign |= !(low..=high).contains(&0);
        agree
    }

    /// True for the clock of another machine, and once an answer has shown that it is not the coordinator's.
    pub(super) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// What the node's clock shows when the coordinator's will show `time_ns`, as known at `now_ns`, and how far off that may be, ns.
    ///
    /// A shared clock is exact; of another one nothing is known before its first answer, which comes with a node's registration.
    pub(super) fn at(&self, now_ns: u64, time_ns: u64) -> (u64, u64) {
        if !self.foreign {
            return (time_ns, 0);
        }
        let Some(reading) = self.reading else { return (time_ns, u64::MAX) };
        let reading = reading.aged(now_ns.max(time_ns));
        let difference = i128::midpoint(reading.low, reading.high);
        let shown = (i128::from(time_ns) + difference).clamp(0, u64::MAX.into());
        let error = (reading.high - difference).clamp(0, u64::MAX.into());
        // Both are clamped to what fits.
        (u64::try_from(shown).unwrap_or(u64::MAX), u64::try_from(error).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shared_clock_is_exact() {
        let mut clock = NodeClock::new(false);
        assert_eq!(clock.at(5, 100), (100, 0));
        assert!(clock.handle_answer(50, 70, 100));
        assert!(!clock.is_foreign());
        assert_eq!(clock.at(1_000_000_000, 2_000_000_000), (2_000_000_000, 0));
    }

    #[test]
    fn another_clock_is_known_to_half_the_shortest_round_trip() {
        let mut clock = NodeClock::new(false);
        assert!(clock.handle_answer(1_000, 501_500, 2_000));
        assert!(clock.is_foreign());
        assert_eq!(clock.at(2_000, 3_000), (503_000, 502));
        // A slower answer tells less: the interval is what both allow.
        assert!(clock.handle_answer(2_000, 502_100, 12_000));
        assert_eq!(clock.at(12_000, 12_000), (511_799, 311));
        // A millionth of a thousand seconds, each way.
        assert_eq!(clock.at(1_000_012_000, 12_000).1, 311 + 1_000_000);
    }

    #[test]
    fn a_clock_that_jumps_is_told_and_read_anew() {
        let mut clock = NodeClock::new(false);
        assert!(clock.handle_answer(0, 500, 10));
        assert!(!clock.handle_answer(20, 900, 30));
        assert_eq!(clock.at(30, 30), (905, 6));
        let mut clock = NodeClock::new(false);
        assert!(clock.handle_answer(0, 5, 10));
        assert!(!clock.handle_answer(20, u64::MAX, 30));
        assert_eq!(clock.at(30, u64::MAX).0, u64::MAX);
    }

    proptest! {
        /// Whatever the delays and the drift, the truth lies within what is claimed.
        #[test]
        fn the_true_difference_is_never_outside(
            ahead in 0u64..1 << 60,
            pings in proptest::collection::vec((0u64..1 << 30, 0u64..1 << 20, 0u64..1 << 20), 1..20),
            slow_ppm in 0u64..=1_000,
        ) {
            // Each is slewed by as much as Linux slews: the coordinator's half as much as the node's may be.
            let own = |time: u64| time - time / 2_000;
            let node = |time: u64| ahead + time - time * slow_ppm / 1_000_000;
            let (mut clock, mut now) = (NodeClock::new(true), 0);
            for (pause, there, back) in pings {
                let sent = now + pause;
                now = sent + there + back;
                prop_assert!(clock.handle_answer(own(sent), node(sent + there), own(now)));
            }
            for time in [now, now + ahead / 1_000_000] {
                let (shown, error) = clock.at(own(now), own(time));
                // These clocks are rounded to the nanosecond.
                prop_assert!(shown.abs_diff(node(time)) <= error + 1, "{shown} {} {error}", node(time));
            }
        }
    }
}

//! Which node is slow: it computes longer than its ranks are charged, step after step, while the others don't. Slow is not dead.

use node::control::PhaseReport;
use node::program::Stop;
use std::collections::BTreeMap;

/// Steps in succession after which a slow node is told of.
pub(super) const TOLD_AFTER: u32 = 8;
/// How much longer than charged a slow node computes, percent at least.
const EXCESS_PERCENT: u64 = 25;
/// And by how many times the median of all nodes.
const OVER_MEDIAN: u64 = 3;
/// Shorter than that on the wall clock it is the host's noise, ns.
const EXCESS_NS_MIN: u64 = 5_000_000;

/// For how many steps in succession each node has been slow.
#[derive(Debug, Default)]
pub(super) struct Slow {
    streaks: BTreeMap<String, u32>,
}

/// A node that was slow in a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SlowNode {
    pub(super) name: String,
    /// Steps in succession.
    pub(super) steps: u32,
    /// How much longer it computed than it was charged in the last one, percent.
    pub(super) percent: u64,
}

impl Slow {
    /// A step is complete: `phases` has the reports of the ranks of `names`, and a picosecond of arithmetic lasts `dilation` of wall time.
    pub(super) fn step(
        &mut self,
        names: &[String],
        phases: &[(Stop, Vec<PhaseReport>)],
        dilation: u64,
    ) -> Vec<SlowNode> {
        let mut sums = vec![(0, 0); names.len()];
        for (_, reports) in phases.iter().filter(|(stop, _)| stop.computes()) {
            for ((measured, charged), report) in sums.iter_mut().zip(reports) {
                *measured += report.measured.0;
                *charged += report.stamped.0;
            }
        }
        let excess = |(measured, charged): &(u64, u64)| measured.saturating_sub(*charged);
        let mut all: Vec<u64> = sums.iter().map(excess).collect();
        all.sort_unstable();
        let median = all.get(all.len() / 2).copied().unwrap_or_default();
        let mut slow = Vec::new();
        for (name, sum) in names.iter().zip(&sums) {
            let (excess, charged) = (excess(sum), sum.1.max(1));
            let percent = excess.saturating_mul(100) / charged;
            let wall_ns = excess.saturating_mul(dilation) / 1000;
            let is_slow = percent >= EXCESS_PERCENT
                && excess > median.saturating_mul(OVER_MEDIAN)
                && wall_ns >= EXCESS_NS_MIN;
            if !is_slow {
                self.streaks.remove(name);
                continue;
            }
            let steps = self.streaks.entry(name.clone()).or_default();
            *steps = steps.saturating_add(1);
            slow.push(SlowNode { name: name.clone(), steps: *steps, percent });
        }
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::trace::PhaseTrace;
    use node::wire::Phase;
    use topology::Picos;

    fn step(slow: &mut Slow, measured_us: [u64; 3], dilation: u64) -> Vec<(String, u32, u64)> {
        let names = ["a", "b", "c"].map(str::to_owned);
        let report = |us: u64| PhaseReport {
            phase: Phase::Expert,
            measured: Picos(us * 1_000_000),
            stamped: Picos(100_000_000),
            frames: 0,
            overtaken: 0,
            lateness_ns: Vec::new(),
            sent_bytes: Vec::new(),
            cpu_ns: 0,
            udp_bytes: 0,
            faults: 0,
            trace: PhaseTrace::default(),
        };
        let stop = Stop { half: 0, layer: 0, phase: Phase::Expert };
        let phases = [(stop, measured_us.map(report).to_vec())];
        let slow = slow.step(&names, &phases, dilation);
        slow.into_iter().map(|node| (node.name, node.steps, node.percent)).collect()
    }

    #[test]
    fn one_that_is_slow_alone_is_counted_as_long_as_it_is() {
        let mut slow = Slow::default();
        for steps in 1..4 {
            assert_eq!(step(&mut slow, [101, 150, 100], 1000), [("b".to_owned(), steps, 50)]);
        }
        assert_eq!(step(&mut slow, [101, 120, 100], 1000), []);
        assert_eq!(step(&mut slow, [101, 150, 100], 1000), [("b".to_owned(), 1, 50)]);
        // All alike are a busy host; a moment is noise.
        assert_eq!(step(&mut slow, [150, 150, 150], 1000), []);
        assert_eq!(step(&mut slow, [101, 150, 100], 10), []);
    }
}

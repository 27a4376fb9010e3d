//! What a step moved and how long it took, rank by rank: for pages and counters that watch a cluster, made only while somebody watches.

use crate::run::StepRecord;
use node::control::PhaseReport;
use node::wire::Phase;
use topology::{Cluster, RankId};

/// A step that is complete, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenStep {
    /// Number of the run.
    pub run: u64,
    /// Number of the step in it.
    pub step: u32,
    /// Ranks of each rack.
    pub rack_sizes: Vec<u32>,
    /// The node of each rank, `[num_ranks]`.
    pub nodes: Vec<String>,
    /// How often the step was begun anew.
    pub replays: u32,
    /// Each phase that the step has, in the order of their first stops; where a phase has several stops they are added up.
    pub phases: Vec<SeenPhase>,
}

/// All stops of one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenPhase {
    /// The phase.
    pub phase: Phase,
    /// From the common start until a rank had its last row, emulated ps, `[num_ranks]`.
    pub measured_ps: Vec<u64>,
    /// From its start until it was closed everywhere, wall ns.
    pub wall_ns: u64,
    /// Row bytes from each rank to each other that was sent any: (source, destination, bytes), ascending.
    pub sent_bytes: Vec<(RankId, RankId, u64)>,
    /// Data frames received.
    pub frames: u64,
    /// Bytes that QUIC put on the network.
    pub udp_bytes: u64,
}

impl SeenStep {
    /// What `record` shows.
    pub(super) fn new(run: u64, cluster: &Cluster, nodes: Vec<String>, record: &StepRecord) -> Self {
        let mut phases: Vec<SeenPhase> = Vec::new();
        for (at, (stop, reports)) in record.phases.iter().enumerate() {
            let wall_ns = record.wall_ns.get(at).copied().unwrap_or(0);
            match phases.iter_mut().find(|seen| seen.phase == stop.phase) {
                Some(seen) => seen.add(reports, wall_ns),
                None => phases.push(SeenPhase::new(stop.phase, reports, wall_ns)),
            }
        }
        let (step, replays, rack_sizes) = (record.step, record.replays, cluster.rack_sizes().to_vec());
        Self { run, step, rack_sizes, nodes, replays, phases }
    }
}

impl SeenPhase {
    fn new(phase: Phase, reports: &[PhaseReport], wall_ns: u64) -> Self {
        let measured_ps = vec![0; reports.len()];
        let mut seen =
            Self { phase, measured_ps, wall_ns: 0, sent_bytes: Vec::new(), frames: 0, udp_bytes: 0 };
        seen.add(reports, wall_ns);
        seen
    }

    fn add(&mut self, reports: &[PhaseReport], wall_ns: u64) {
        self.wall_ns = self.wall_ns.saturating_add(wall_ns);
        for (sum, report) in self.measured_ps.iter_mut().zip(reports) {
            *sum = sum.saturating_add(report.measured.0);
        }
        for (from, report) in (0..).map(RankId).zip(reports) {
            self.frames = self.frames.saturating_add(report.frames);
            self.udp_bytes = self.udp_bytes.saturating_add(report.udp_bytes);
            for &(to, bytes) in &report.sent_bytes {
                match self.sent_bytes.binary_search_by_key(&(from, to), |&(from, to, _)| (from, to)) {
                    Ok(at) => self.sent_bytes[at].2 = self.sent_bytes[at].2.saturating_add(bytes),
                    Err(at) => self.sent_bytes.insert(at, (from, to, bytes)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::trace::PhaseTrace;
    use topology::Picos;

    #[test]
    fn stops_of_one_phase_are_added_up() {
        let report = |to: u32, bytes: u64| PhaseReport {
            phase: Phase::Dispatch,
            measured: Picos(5),
            stamped: Picos(5),
            frames: 2,
            overtaken: 0,
            lateness_ns: Vec::new(),
            sent_bytes: vec![(RankId(to), bytes)],
            cpu_ns: 0,
            udp_bytes: 7,
            faults: 0,
            trace: PhaseTrace::default(),
        };
        let mut seen = SeenPhase::new(Phase::Dispatch, &[report(1, 10), report(0, 20)], 100);
        seen.add(&[report(1, 1), report(1, 3)], 11);
        assert_eq!((seen.measured_ps.as_slice(), seen.wall_ns), ([10, 10].as_slice(), 111));
        assert_eq!((seen.frames, seen.udp_bytes), (8, 28));
        let ranks =
            [(0, 1, 11), (1, 0, 20), (1, 1, 3)].map(|(from, to, bytes)| (RankId(from), RankId(to), bytes));
        assert_eq!(seen.sent_bytes, ranks);
    }
}

//! What a worker counts of itself since it started: written by its loop, read by whoever shows its metrics.

use crate::control::PhaseReport;
use crate::wire::Phase;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use topology::{Cluster, LinkClass, RankId};

/// Totals of a worker. Each is right by itself; two that are read together may be a phase apart.
#[derive(Debug, Default)]
pub struct Tally {
    registered: AtomicBool,
    seats: AtomicU64,
    failures: AtomicU64,
    frames: AtomicU64,
    overtaken: AtomicU64,
    cpu_ns: AtomicU64,
    udp_bytes: AtomicU64,
    lateness_ns: AtomicU64,
    phases: [PhaseTally; Phase::ALL.len()],
}

#[derive(Debug, Default)]
struct PhaseTally {
    closed: AtomicU64,
    emulated_ns: AtomicU64,
    wall_ns: AtomicU64,
    row_bytes: [AtomicU64; LinkClass::ALL.len()],
}

/// A [`Tally`] as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whether a coordinator has welcomed it.
    pub registered: bool,
    /// Seats that it has in the run under way: one a half of a batch.
    pub seats: u64,
    /// Runs that could not go on here.
    pub failures: u64,
    /// Data frames received.
    pub frames: u64,
    /// Of them physically later than their turn.
    pub overtaken: u64,
    /// CPU time of the process in phases, ns.
    pub cpu_ns: u64,
    /// Bytes that QUIC put on the network in phases.
    pub udp_bytes: u64,
    /// How late the latest delivery of the phase was that closed last, wall ns.
    pub lateness_ns: u64,
    /// By phase, in the order of [`Phase::ALL`].
    pub phases: Vec<CountedPhase>,
}

/// One phase of all steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedPhase {
    /// Which.
    pub phase: Phase,
    /// How often this rank closed it.
    pub closed: u64,
    /// Emulated time until this rank had its last row or had computed, ns.
    pub emulated_ns: u64,
    /// The same by the wall clock, ns.
    pub wall_ns: u64,
    /// Row bytes sent, in the order of [`LinkClass::ALL`].
    pub row_bytes: [u64; LinkClass::ALL.len()],
}

fn add(total: &AtomicU64, more: u64) {
    total.fetch_add(more, Ordering::Relaxed);
}

impl Tally {
    pub(super) fn set_registered(&self, registered: bool) {
        self.registered.store(registered, Ordering::Relaxed);
    }

    pub(super) fn set_seats(&self, seats: usize) {
        self.seats.store(seats as u64, Ordering::Relaxed);
    }

    pub(super) fn fail(&self) {
        add(&self.failures, 1);
    }

    /// A phase has closed on rank `me` of `cluster`, `wall_ns` after its start, its latest delivery `lateness_ns` late.
    pub(super) fn close(
        &self,
        (cluster, me): (&Cluster, RankId),
        report: &PhaseReport,
        wall_ns: u64,
        lateness_ns: u64,
    ) {
        add(&self.frames, report.frames);
        add(&self.overtaken, report.overtaken);
        add(&self.cpu_ns, report.cpu_ns);
        add(&self.udp_bytes, report.udp_bytes);
        self.lateness_ns.store(lateness_ns, Ordering::Relaxed);
        let Some((_, phase)) = Phase::ALL.iter().zip(&self.phases).find(|(own, _)| **own == report.phase)
        else {
            return;
        };
        add(&phase.closed, 1);
        add(&phase.emulated_ns, report.measured.0 / 1_000);
        add(&phase.wall_ns, wall_ns);
        for &(to, bytes) in &report.sent_bytes {
            let link = cluster.link_class(me, to);
            let own = LinkClass::ALL.iter().zip(&phase.row_bytes).find(|(own, _)| **own == link);
            own.into_iter().for_each(|(_, total)| add(total, bytes));
        }
    }

    /// All of it.
    #[must_use]
    pub fn read(&self) -> Counted {
        let get = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let phase = |(phase, own): (&Phase, &PhaseTally)| CountedPhase {
            phase: *phase,
            closed: get(&own.closed),
            emulated_ns: get(&own.emulated_ns),
            wall_ns: get(&own.wall_ns),
            row_bytes: own.row_bytes.each_ref().map(get),
        };
        Counted {
            registered: self.registered.load(Ordering::Relaxed),
            seats: get(&self.seats),
            failures: get(&self.failures),
            frames: get(&self.frames),
            overtaken: get(&self.overtaken),
            cpu_ns: get(&self.cpu_ns),
            udp_bytes: get(&self.udp_bytes),
            lateness_ns: get(&self.lateness_ns),
            phases: Phase::ALL.iter().zip(&self.phases).map(phase).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::PhaseTrace;
    use topology::Picos;

    #[test]
    fn a_closed_phase_is_counted_once_and_by_link() {
        let tally = Tally::default();
        let cluster = Cluster::new(&[2, 1]).expect("racks");
        let report = PhaseReport {
            phase: Phase::Combine,
            measured: Picos(7_000),
            stamped: Picos(7_000),
            frames: 3,
            overtaken: 1,
            lateness_ns: Vec::new(),
            sent_bytes: vec![(RankId(1), 10), (RankId(2), 20)],
            cpu_ns: 5,
            udp_bytes: 40,
            faults: 0,
            trace: PhaseTrace::default(),
        };
        for lateness_ns in [9, 4] {
            tally.close((&cluster, RankId(0)), &report, 70, lateness_ns);
        }
        let counted = tally.read();
        assert_eq!((counted.frames, counted.overtaken, counted.cpu_ns, counted.udp_bytes), (6, 2, 10, 80));
        assert_eq!(counted.lateness_ns, 4);
        let combine = CountedPhase {
            phase: Phase::Combine,
            closed: 2,
            emulated_ns: 14,
            wall_ns: 140,
            row_bytes: [20, 40],
        };
        assert_eq!(
            counted.phases.into_iter().filter(|phase| phase.closed > 0).collect::<Vec<_>>(),
            [combine]
        );
    }
}

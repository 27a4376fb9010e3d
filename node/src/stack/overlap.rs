//! Two micro-batches that hide each other's communication: what their phases take together.

use super::Stop;
use crate::control::PhaseReport;
use crate::wire::Phase;
use topology::Picos;

/// How long two halves of a batch take that go through a step in turns, as DeepSeek serves (V3, section 3.4): while one computes, what
/// the other has just computed travels.
///
/// `halves` are the phases of a step of each half by itself, as a step of the simulator or a session reports them. Their phases stay
/// in lockstep: a turn lasts as long as the slower of a computing phase of one half and the communication of the other.
///
/// ```text
/// computes   local A   local B      expert A     expert B    local A ...
/// travels              dispatch A   dispatch B   combine A   combine B
/// ```
///
/// Ports and arithmetic units are taken to be each other's no burden: nothing is charged for what communication takes of the latter.
///
/// # Panics
/// If the two are not steps of one program.
#[must_use]
pub fn overlapped(halves: [&[(Stop, Vec<PhaseReport>)]; 2]) -> Picos {
    let [a, b] = halves;
    let stops = |half: &[(Stop, Vec<PhaseReport>)]| half.iter().map(|(stop, _)| *stop).collect::<Vec<_>>();
    assert_eq!(stops(a), stops(b), "steps of one program");
    let travels = |stop: &Stop| matches!(stop.phase, Phase::Dispatch | Phase::Combine | Phase::Hop);
    let (mut time, mut travelling) = (Picos::ZERO, Picos::ZERO);
    for (at, _) in a.iter().enumerate().filter(|(_, (stop, _))| !travels(stop)) {
        for half in halves {
            let next = half.get(at + 1).filter(|(stop, _)| travels(stop));
            time += PhaseReport::slowest(&half[at].1).max(travelling);
            travelling = next.map_or(Picos::ZERO, |(_, reports)| PhaseReport::slowest(reports));
        }
    }
    time + travelling
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(times: &[(Phase, u64)]) -> Vec<(Stop, Vec<PhaseReport>)> {
        let report = |phase, measured| PhaseReport {
            phase,
            measured: Picos(measured),
            stamped: Picos(measured),
            frames: 0,
            overtaken: 0,
            lateness_ns: Vec::new(),
            sent_bytes: Vec::new(),
            cpu_ns: 0,
            udp_bytes: 0,
        };
        let one = |&(phase, time): &(Phase, u64)| {
            (Stop { layer: 0, phase }, vec![report(phase, time / 2), report(phase, time)])
        };
        times.iter().map(one).collect()
    }

    #[test]
    fn a_turn_lasts_as_long_as_the_slower_of_both() {
        use Phase::{Combine, Dispatch, Expert, Local};
        // Dense, then a layer with experts, then the head.
        let a = step(&[(Local, 5), (Local, 10), (Dispatch, 7), (Expert, 20), (Combine, 9), (Local, 3)]);
        let b = step(&[(Local, 6), (Local, 10), (Dispatch, 30), (Expert, 8), (Combine, 4), (Local, 2)]);
        // 5, 6 | 10, max(10, 7) | max(20, 30), max(8, 9) | max(3, 4), 2
        assert_eq!(overlapped([&a, &b]), Picos(5 + 6 + 10 + 10 + 30 + 9 + 4 + 2));
        // The last communication is hidden by nothing.
        let end = step(&[(Local, 5), (Phase::Hop, 8)]);
        assert_eq!(overlapped([&end, &end]), Picos(5 + 8 + 8));
    }
}

//! How much slower than its figures say the host is just now: what a disturbed row, and a row with room to spare, tell the next one.

use coordinator::StepRecord;
use coordinator::judge::Disturbance;
use coordinator::pace::Figures;
use node::control::PhaseReport;
use node::wire::Phase;

/// Attempts of a row, the first included.
pub(super) const ATTEMPTS_MAX: usize = 5;
/// The same where the dilation was given.
pub(super) const ATTEMPTS_MAX_FIXED: usize = 2;
/// Most that a level becomes.
const MOST: f64 = 64.0;
/// Least: what was measured while the host did other work may be too little by as much.
const LEAST: f64 = 0.2;
/// Least of the experts'.
const COMPUTE_LEAST: f64 = 0.5;
/// What a level is to leave of a judgement's limits.
const PRESSURE: f64 = 0.5;
/// The most that a row with room to spare takes off a level.
const DOWN: f64 = 0.5;
/// What a row whose experts had room to spare leaves of theirs.
const COMPUTE_DOWN: f64 = 0.8;
/// What a level becomes times where experts took longer than they were charged.
const UP: f64 = 1.5;
/// Share of its charge by which an expert phase may be late before the next row is given more time, and before it is given less.
const COMPUTE_LATE: [f64; 2] = [0.01, 0.002];

/// Factors on what a row would be paced at by the host's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    /// On dispatch and combine.
    pub(super) network: f64,
    /// On the experts.
    pub(super) compute: f64,
    /// The least that they become.
    pub(super) least: [f64; 2],
}

impl Level {
    /// As the figures say; those that are assumed are not gone below.
    pub(super) const fn new(figures: &Figures) -> Self {
        let least = if figures.are_measured() { [LEAST, COMPUTE_LEAST] } else { [1.0; 2] };
        Self { network: 1.0, compute: 1.0, least }
    }

    /// Of the next attempt at a row that was disturbed: twice the dilation.
    pub(super) fn slower(self) -> Self {
        Self { network: (self.network * 2.0).min(MOST), ..self }
    }

    /// Of the row after one in which `judged` was seen, by seed, and these measured `rounds`. Only one that it has slowed down tells what
    /// less of it would do.
    pub(super) fn after(self, judged: &[Disturbance], rounds: &[StepRecord], slowed_down: bool) -> Self {
        let pressure = judged.iter().map(Disturbance::pressure).fold(0.0, f64::max);
        let room = if slowed_down { (pressure / PRESSURE).clamp(DOWN, 1.0) } else { 1.0 };
        let network = (self.network * room).max(self.least[0]);
        let late = rounds.iter().map(lateness_of_experts).fold(0.0, f64::max);
        let compute = match late {
            late if late > COMPUTE_LATE[0] => (self.compute * UP).min(MOST),
            late if late < COMPUTE_LATE[1] => (self.compute * COMPUTE_DOWN).max(self.least[1]),
            _ => self.compute,
        };
        Self { network, compute, ..self }
    }
}

/// How much longer than it was charged a round's expert phase took, as a share; 0 where there was none.
fn lateness_of_experts(round: &StepRecord) -> f64 {
    let reports = round.reports(Phase::Expert);
    let charged = reports.iter().map(|report| report.stamped.0).max().unwrap_or(0);
    if charged == 0 { 0.0 } else { PhaseReport::slowest(reports).0 as f64 / charged as f64 - 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(cpu_share: f64) -> [Disturbance; 1] {
        [Disturbance { cpu_share, ..Disturbance::default() }]
    }

    #[test]
    fn a_level_goes_up_by_twos_and_down_by_what_is_left_within_bounds() {
        let measured = Figures { measured_unix_s: Some(1), ..Figures::ASSUMED };
        let mut level = Level { network: 0.5, ..Level::new(&measured) };
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0] {
            level = level.slower();
            assert_eq!(level.network, expected);
        }
        // The limit is 0.75 of all cores.
        assert_eq!(level.after(&judged(0.5), &[], true).network, 64.0, "more than half of the limit");
        assert_eq!(level.after(&judged(0.28125), &[], true).network, 48.0, "three quarters of half of it");
        assert_eq!(level.after(&judged(0.01), &[], false).network, 64.0, "it may be bound by something else");
        for expected in [32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, LEAST, LEAST] {
            level = level.after(&judged(0.01), &[], true);
            assert_eq!(level.network, expected);
        }
        assert_eq!(level.compute, COMPUTE_LEAST);
        let assumed = Level::new(&Figures::ASSUMED);
        assert_eq!(assumed.after(&judged(0.01), &[], true), assumed);
    }
}

//! Judges from the reports of a run's phases whether its host could follow the clock.

use crate::pace::Host;
use crate::run::StepRecord;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use node::control::{Pacing, PhaseReport};

/// p99 of lateness over the phase's wall time, at most.
const LATENESS_SHARE_MAX: f64 = 0.10;
/// What is not known of the nodes' clocks over the phase's wall time, at most: less than the 3% to which measured times are held.
const CLOCK_SHARE_MAX: f64 = 0.01;
/// CPU time of all workers over wall time and cores, at most.
const CPU_SHARE_MAX: f64 = 0.75;
/// Overtaken frames over all frames of a run's measured rounds, at most.
const OVERTAKEN_SHARE_MAX: f64 = 0.001;
/// The same of any one phase, which a run of many rounds would hide.
const PHASE_OVERTAKEN_SHARE_MAX: f64 = 0.01;

/// How far the host was from following, over measured rounds and their communication phases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disturbance {
    /// p99 of lateness over the phase's wall time, the worst phase's.
    pub lateness_share: f64,
    /// CPU time of all workers over wall time and cores, the worst phase's.
    pub cpu_share: f64,
    /// Overtaken frames over all frames.
    pub overtaken_share: f64,
    /// p99 of lateness over all measured deliveries, emulated microseconds.
    pub lateness_p99_us: f64,
    /// Why the run doesn't count; `None` if it does.
    pub problem: Option<String>,
}

impl Disturbance {
    /// How near to their limits lateness, CPU use and overtaken frames came: the largest over its limit.
    #[must_use]
    pub fn pressure(&self) -> f64 {
        let shares = [
            (self.lateness_share, LATENESS_SHARE_MAX),
            (self.cpu_share, CPU_SHARE_MAX),
            (self.overtaken_share, OVERTAKEN_SHARE_MAX),
        ];
        shares.iter().map(|(share, most)| share / most).fold(0.0, f64::max)
    }

    /// Keeps the first problem.
    fn blame(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }
}

/// Judges the measured rounds of a run.
#[must_use]
pub fn judge(rounds: &[StepRecord], pacing: Pacing, host: Host) -> Disturbance {
    looked_at(rounds, pacing, host).verdict()
}

fn looked_at(rounds: &[StepRecord], pacing: Pacing, host: Host) -> Judge {
    let mut judge = Judge::new(pacing, host, 0);
    for round in rounds {
        for ((stop, reports), &error_ns) in round.phases.iter().zip(&round.clock_error_ns) {
            if !stop.computes() {
                judge.look_at(round.step, reports, error_ns);
            }
        }
    }
    judge
}

/// Whether a phase of these measured rounds has passed a limit, which no further round mends.
#[must_use]
pub fn is_spoiled(rounds: &[StepRecord], pacing: Pacing, host: Host) -> bool {
    looked_at(rounds, pacing, host).worst.problem.is_some()
}

/// A judgement under way.
#[derive(Debug)]
pub struct Judge {
    pacing: Pacing,
    host: Host,
    /// Phases that take less wall time are too short for shares to tell anything: only overtaken frames count there.
    shortest_ns: u64,
    worst: Disturbance,
    late: Histogram<u64>,
    frames: f64,
    overtaken: f64,
}

impl Judge {
    /// One that has seen nothing. Phases that take less than `shortest_ns` of wall time count for overtaken frames only.
    #[must_use]
    pub fn new(pacing: Pacing, host: Host, shortest_ns: u64) -> Self {
        let (worst, late) = (Disturbance::default(), new_histogram());
        Self { pacing, host, shortest_ns, worst, late, frames: 0.0, overtaken: 0.0 }
    }

    /// Looks at a phase of `step` in which rows travelled. Its common start was known to `clock_error_ns` of wall time.
    pub fn look_at(&mut self, step: u32, reports: &[PhaseReport], clock_error_ns: u64) {
        let Some(phase) = reports.first().map(|report| report.phase) else { return };
        let measured = PhaseReport::slowest(reports);
        let wall_ns = measured.0 as f64 / 1e3 * self.pacing.network_dilation as f64;
        let mut late = new_histogram();
        for report in reports.iter().filter(|report| !report.lateness_ns.is_empty()) {
            let read = Deserializer::new().deserialize::<u64, _>(&mut report.lateness_ns.as_slice());
            if read.is_ok_and(|rank| late.add(rank).is_ok()) {
                continue;
            }
            self.worst.blame(format!("{phase} of step {step}: a lateness histogram can't be read"));
        }
        let sum = |of: fn(&PhaseReport) -> u64| reports.iter().map(of).sum::<u64>() as f64;
        let (frames, overtaken) = (sum(|report| report.frames), sum(|report| report.overtaken));
        let bytes: u64 = reports.iter().flat_map(|report| &report.sent_bytes).map(|(_, bytes)| bytes).sum();
        // Nothing is late where nothing moves.
        if bytes == 0 || wall_ns == 0.0 {
            return;
        }
        self.frames += frames;
        self.overtaken += overtaken;
        if wall_ns < self.shortest_ns as f64 {
            return;
        }
        let cpu_ns = if self.host.one_process {
            reports.iter().map(|report| report.cpu_ns).max().unwrap_or(0) as f64
        } else {
            sum(|report| report.cpu_ns)
        };
        let lateness = late.value_at_quantile(0.99) as f64 / wall_ns;
        let cpu = cpu_ns / (wall_ns * f64::from(self.host.cores));
        let clock = clock_error_ns as f64 / wall_ns;
        for (what, share, most, whole) in [
            ("clocks unknown by", clock, CLOCK_SHARE_MAX, "of the phase"),
            ("lateness p99", lateness, LATENESS_SHARE_MAX, "of the phase"),
            ("CPU use", cpu, CPU_SHARE_MAX, "of all cores"),
            ("overtaken frames", overtaken / frames, PHASE_OVERTAKEN_SHARE_MAX, "of all"),
        ] {
            if share > most {
                let (share, most) = (share * 100.0, most * 100.0);
                self.worst
                    .blame(format!("{phase} of step {step}: {what} {share:.1}% {whole}, at most {most}%"));
            }
        }
        self.worst.lateness_share = self.worst.lateness_share.max(lateness);
        self.worst.cpu_share = self.worst.cpu_share.max(cpu);
        // Both have the same resizing settings, which can't fail to add.
        let _ = self.late.add(late);
    }

    /// What all phases together tell.
    #[must_use]
    pub fn verdict(self) -> Disturbance {
        let mut worst = self.worst;
        if self.frames > 0.0 {
            worst.overtaken_share = self.overtaken / self.frames;
        }
        if worst.overtaken_share > OVERTAKEN_SHARE_MAX {
            let (share, most) = (worst.overtaken_share * 100.0, OVERTAKEN_SHARE_MAX * 100.0);
            worst.blame(format!("overtaken frames {share:.2}% of all measured rounds, at most {most}%"));
        }
        let dilation = self.pacing.network_dilation as f64;
        worst.lateness_p99_us = self.late.value_at_quantile(0.99) as f64 / 1e3 / dilation;
        worst
    }
}

fn new_histogram() -> Histogram<u64> {
    // Two significant digits and resizing are always possible.
    let mut histogram = Histogram::new(2).expect("two digits are valid");
    histogram.auto(true);
    histogram
}

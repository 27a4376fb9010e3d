//! What faults have cost a row: against the same configuration without them, and against the clock of the coordinator.
//!
//! Two kinds of time are kept apart. Steps are slower by emulated time. A lost rank costs time that no emulation stretches: until its
//! silence is long enough, and until somebody sits in its place.

use super::{CompareSpec, Configuration};
use coordinator::run::StepRecord;
use node::control::PhaseReport;
use node::wire::Phase;
use serde::{Deserialize, Serialize};
use topology::FaultPlan;

/// What the faults of a row came to, over its measured steps and seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultCost {
    /// Those asked for, as they are written; what happens once with its step.
    pub plan: Vec<String>,
    /// How often a rank in a phase, or a frame, met one; a rank that was lost counts once.
    pub met: u64,
    /// From the opening of what was under way until a loss was known, ms of the coordinator's clock, the mean of all losses; `None` without any.
    pub detected_ms: Option<f64>,
    /// From there until the step was begun anew, the same.
    pub recovered_ms: Option<f64>,
    /// Both together, over all losses, ms.
    pub outage_ms: f64,
    /// Median of a healthy layer, emulated microseconds.
    pub healthy_layer_us: f64,
    /// How much longer the layers of all measured steps took than healthy ones, emulated microseconds.
    pub lost_us: f64,
    /// Healthy layers for which the time lost, of both kinds, would have been enough.
    pub lost_layers: f64,
    /// Tokens a second over those of the healthy configuration, outages counted as they are.
    pub throughput: f64,
}

/// The faults of a row: those of the comparison, in the racks that it is about. Bases are healthy. What happens once happens in a measured
/// step, unless one is said.
pub(super) fn plan_of(spec: &CompareSpec, row: &Configuration) -> FaultPlan {
    let hit = row.cluster.rack_sizes() == spec.rack_sizes;
    let faults = spec.faults.iter().filter(|_| hit).map(|fault| fault.after(spec.warmup)).collect();
    FaultPlan { faults, ..FaultPlan::default() }
}

/// Sums over the steps of a row, with and without its faults.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FaultSums {
    met: u64,
    replays: u32,
    noticed_ns: u64,
    resumed_ns: u64,
    layer_us: f64,
    steps: u32,
}

fn layer_us(step: &StepRecord) -> f64 {
    let us = |phase| PhaseReport::slowest(step.reports(phase)).as_micros_f64();
    us(Phase::Dispatch) + us(Phase::Expert) + us(Phase::Combine)
}

impl FaultSums {
    /// Takes in a measured step.
    pub(super) fn take(&mut self, step: &StepRecord) {
        let met = step.phases.iter().flat_map(|(_, reports)| reports).map(|report| u64::from(report.faults));
        self.met += met.sum::<u64>() + u64::from(step.replays);
        self.replays += step.replays;
        self.noticed_ns += step.outage.noticed_ns;
        self.resumed_ns += step.outage.resumed_ns;
        self.layer_us += layer_us(step);
        self.steps += 1;
    }

    /// How often steps were begun anew.
    pub(super) fn replays(&self) -> u32 {
        self.replays
    }

    /// What it came to, against `healthy` steps, as many or fewer.
    pub(super) fn cost(&self, plan: &FaultPlan, healthy: &Self) -> FaultCost {
        let ms = |ns: u64| ns as f64 / 1e6;
        let each = |ns: u64| (self.replays > 0).then(|| ms(ns) / f64::from(self.replays));
        let healthy_layer_us = healthy.layer_us / f64::from(healthy.steps.max(1));
        let healthy_us = healthy_layer_us * f64::from(self.steps);
        let outage_ms = ms(self.noticed_ns + self.resumed_ns);
        let taken_us = self.layer_us + outage_ms * 1e3;
        let over = |above: f64, below: f64| if below > 0.0 { above / below } else { 0.0 };
        FaultCost {
            plan: plan.faults.iter().map(ToString::to_string).collect(),
            met: self.met,
            detected_ms: each(self.noticed_ns),
            recovered_ms: each(self.resumed_ns),
            outage_ms,
            healthy_layer_us,
            lost_us: self.layer_us - healthy_us,
            lost_layers: over(taken_us - healthy_us, healthy_layer_us),
            throughput: over(healthy_us, taken_us),
        }
    }
}

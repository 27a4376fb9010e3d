//! What the rounds of a row measured, checked against what they must yield, and its times in a record.

use super::detail::DetailSums;
use super::faults::FaultSums;
use super::record::Record;
use super::stats::{median, percentile};
use super::traced::{TracedStep, kept, traces_all};
use super::truth::{Truth, truth_at};
use super::{CompareSpec, Configuration};
use coordinator::run::StepRecord;
use moe::RowBytes;
use node::control::PhaseReport;
use node::wire::Phase;
use topology::{Hardware, Picos};

/// Fewest measured rounds of a row, where so many are allowed.
pub(super) const ROUNDS_MIN: u32 = 2;
/// Rounds end when their times differ by no more than this share.
const SPREAD_MAX: f64 = 0.005;

/// Whether more of these measured `rounds` would say nothing new: neither the all-to-all nor the layer varies.
pub(super) fn settled(rounds: &[StepRecord]) -> bool {
    let us = |round: &StepRecord, phase| PhaseReport::slowest(round.reports(phase)).as_micros_f64();
    let a2a = |round: &StepRecord| us(round, Phase::Dispatch) + us(round, Phase::Combine);
    let layer = |round: &StepRecord| a2a(round) + us(round, Phase::Expert);
    let narrow = |times: Vec<f64>| {
        let (least, most) = times.iter().fold((f64::MAX, 0.0), |(a, b), &time| (time.min(a), time.max(b)));
        most - least <= SPREAD_MAX * most
    };
    rounds.len() >= ROUNDS_MIN as usize
        && narrow(rounds.iter().map(a2a).collect())
        && narrow(rounds.iter().map(layer).collect())
}

/// What the rounds of a row measured, a sample a round.
#[derive(Default)]
pub(super) struct Samples {
    /// Dispatch, expert and combine, microseconds.
    pub(super) phases: [Vec<f64>; 3],
    /// Dispatch and combine by stamps, microseconds.
    pub(super) stamped: Vec<f64>,
    pub(super) udp_bytes: Vec<f64>,
    pub(super) intra_rows: u64,
    pub(super) inter_rows: u64,
    /// What is behind the times, if it is asked for.
    pub(super) detail: Option<DetailSums>,
    /// Steps that were kept for a timeline, the first seed's.
    pub(super) traced: Vec<TracedStep>,
    /// What faults did.
    pub(super) faults: FaultSums,
    /// The first thing that was not as it must be.
    pub(super) difference: Option<String>,
}

impl Samples {
    /// Takes in the steps of one seed. The first `warmup` are checked too, but not counted.
    pub(super) fn take(
        &mut self,
        row: &Configuration,
        spec: &CompareSpec,
        truths: &[Truth],
        steps: &[StepRecord],
        warmup: u32,
    ) {
        let stamped_us = |reports: &[PhaseReport]| {
            reports.iter().map(|report| report.stamped).max().unwrap_or(Picos::ZERO).as_micros_f64()
        };
        let row_bytes = RowBytes::new(spec.shape.hidden).dispatch;
        if spec.timeline && self.traced.is_empty() {
            self.traced = kept(spec, steps, warmup);
        }
        for round in steps {
            if self.difference.is_none() {
                let truth = truth_at(truths, round.step);
                self.difference = truth.difference(round).map(|what| format!("step {}: {what}", round.step));
            }
            if round.step < warmup {
                continue;
            }
            self.faults.take(round);
            if spec.detail {
                let truth = truth_at(truths, round.step);
                self.detail.get_or_insert_default().take(&row.cluster, truth, round, traces_all(spec, row));
            }
            let [dispatch, expert, combine] =
                [Phase::Dispatch, Phase::Expert, Phase::Combine].map(|phase| round.reports(phase));
            for (samples, reports) in self.phases.iter_mut().zip([dispatch, expert, combine]) {
                samples.push(PhaseReport::slowest(reports).as_micros_f64());
            }
            let network = [dispatch, combine];
            self.stamped.push(network.into_iter().map(stamped_us).sum());
            let udp: u64 = network.into_iter().flatten().map(|report| report.udp_bytes).sum();
            self.udp_bytes.push(udp as f64);
            for (from, report) in row.cluster.ranks().zip(dispatch) {
                for &(to, bytes) in &report.sent_bytes {
                    let rows = bytes / row_bytes;
                    *(if row.cluster.same_rack(from, to) {
                        &mut self.intra_rows
                    } else {
                        &mut self.inter_rows
                    }) += rows;
                }
            }
        }
    }
}

impl Record {
    /// Sets times from samples of dispatch, compute and combine, one each a round; what a layer hides of them, `hardware` says.
    pub(super) fn set_times(&mut self, hardware: &Hardware, [dispatch, compute, combine]: [&[f64]; 3]) {
        let a2a: Vec<f64> = dispatch.iter().zip(combine).map(|(out, back)| out + back).collect();
        let layer: Vec<f64> =
            a2a.iter().zip(compute).map(|(a2a, compute)| hardware.layer_time(*a2a, *compute)).collect();
        self.dispatch_us = median(dispatch);
        self.combine_us = median(combine);
        self.a2a_us = self.dispatch_us + self.combine_us;
        self.compute_us = median(compute);
        self.layer_us = hardware.layer_time(self.a2a_us, self.compute_us);
        (self.a2a_p10_us, self.a2a_p90_us) = (percentile(&a2a, 10), percentile(&a2a, 90));
        (self.compute_p10_us, self.compute_p90_us) = (percentile(compute, 10), percentile(compute, 90));
        (self.layer_p10_us, self.layer_p90_us) = (percentile(&layer, 10), percentile(&layer, 90));
        self.samples = u32::try_from(a2a.len()).unwrap_or(u32::MAX);
    }
}

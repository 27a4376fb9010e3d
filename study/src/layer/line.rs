//! One configuration on each backend: the closed form, simulated rounds, or measured ones; each a record.

use super::analytic::closed_form;
use super::faults::{FaultSums, plan_of};
use super::level::Level;
use super::measure::{bounds, request, simulated_steps, slowest_pace};
use super::record::{Record, Verification};
use super::samples::{ROUNDS_MIN, Samples};
use super::stats::median;
use super::traced::TracedStep;
use super::truth::Truth;
use super::{
    BackendKind, Bandwidth, CompareError, CompareSpec, Configuration, Detail, Expected, LatencyChoice,
};
use coordinator::StepRecord;
use coordinator::pace::Host;
use topology::{A2aLinks, Picos};

/// Steps by seed, warm-up included.
#[derive(Debug, Default)]
pub(super) struct Simulated {
    pub(super) steps: Vec<Vec<StepRecord>>,
    /// Of the same configuration without its faults, if it has any.
    pub(super) healthy: Vec<Vec<StepRecord>>,
}

/// One configuration with what is known of it.
pub(super) struct Line<'a> {
    pub(super) spec: &'a CompareSpec,
    pub(super) row: &'a Configuration,
    pub(super) at: usize,
    pub(super) expected: &'a Expected,
    /// By seed, each by step.
    pub(super) truths: Vec<&'a [Truth]>,
}

impl Line<'_> {
    fn links(&self, latency: LatencyChoice) -> A2aLinks {
        self.row.links(self.spec, latency)
    }

    pub(super) fn analytic(&self, latency: LatencyChoice) -> Result<Record, CompareError> {
        let time = closed_form(self.spec, self.row, self.expected, &self.links(latency))?;
        let mut record = self.record(BackendKind::Analytic, latency);
        record.bound_us = time.dispatch_us + time.combine_us;
        record.a2a_stamped_us = record.bound_us;
        (record.intra_copies_per_token, record.inter_copies_per_token) =
            (record.expected_intra, record.expected_inter);
        record.set_times(&self.spec.hardware, [&[time.dispatch_us], &[time.compute_us], &[time.combine_us]]);
        Ok(record)
    }

    pub(super) fn sim(&self, latency: LatencyChoice, simulated: Simulated) -> (Record, Vec<TracedStep>) {
        let mut samples = Samples::default();
        let (warmup, _) = simulated_steps(self.spec);
        for (truths, steps) in self.truths.iter().zip(&simulated.steps) {
            samples.take(self.row, self.spec, truths, steps, warmup);
        }
        let mut healthy = FaultSums::default();
        simulated
            .healthy
            .iter()
            .flatten()
            .filter(|step| step.step >= warmup)
            .for_each(|step| healthy.take(step));
        let record = self.measured(BackendKind::Sim, latency, &samples, &healthy);
        (record, samples.traced)
    }

    /// Seconds of wall time that the phases of all its steps on `host` are to last, without repeats.
    pub(super) fn paced_s(&self, latency: LatencyChoice, host: Host) -> f64 {
        let alike = self.spec.distinct_steps() == 1;
        let rounds = if alike { self.spec.rounds.min(ROUNDS_MIN) } else { self.spec.rounds };
        let of_seed = |(&seed, truths): (&u64, &&[Truth])| {
            let request = request(self.spec, self.row, seed, latency);
            let pace =
                slowest_pace(self.spec, self.row, truths, &request.setup, host, Level::new(&host.figures));
            pace.step_ns as f64 * 1e-9 * f64::from(self.spec.warmup.saturating_add(rounds))
        };
        self.spec.seeds.iter().zip(&self.truths).map(of_seed).sum()
    }

    /// The record of rounds on a backend that runs something.
    pub(super) fn measured(
        &self,
        backend: BackendKind,
        latency: LatencyChoice,
        samples: &Samples,
        healthy: &FaultSums,
    ) -> Record {
        let links = self.links(latency);
        let mut record = self.record(backend, latency);
        // Of measured steps; one truth stands for all where steps are alike.
        let warmup = if self.spec.distinct_steps() > 1 { self.spec.warmup as usize } else { 0 };
        let of_truths = |of: &dyn Fn(&Truth) -> f64| {
            self.truths.iter().flat_map(|truths| &truths[warmup..]).map(of).collect::<Vec<_>>()
        };
        record.bound_us = median(&of_truths(&|truth| {
            bounds(self.row, truth, &links).into_iter().map(Picos::as_micros_f64).sum()
        }));
        record.tokens_crossing = Some(median(&of_truths(&|truth| truth.traffic.tokens_crossing as f64)));
        let errors = self.truths.iter().copied().flatten().filter_map(|truth| truth.error_rms);
        record.error_rms =
            errors.fold(None, |worst, error| Some(worst.map_or(error, |worst: f64| worst.max(error))));
        let tokens = (record.tokens * samples.phases[0].len() as u64) as f64;
        let per_token = |rows: u64| if tokens > 0.0 { rows as f64 / tokens } else { 0.0 };
        record.intra_copies_per_token = per_token(samples.intra_rows);
        record.inter_copies_per_token = per_token(samples.inter_rows);
        record.a2a_stamped_us = median(&samples.stamped);
        let [dispatch, compute, combine] = &samples.phases;
        record.set_times(&self.spec.hardware, [dispatch, compute, combine]);
        record.verification =
            if self.spec.payload { Verification::OutputsAndTraffic } else { Verification::Traffic };
        let plan = plan_of(self.spec, self.row);
        record.replays = samples.faults.replays();
        record.faults = (!plan.is_empty()).then(|| samples.faults.cost(&plan, healthy));
        record.verified = samples.difference.is_none();
        record.valid = record.verified;
        record.problem.clone_from(&samples.difference);
        let steps = self.truths.iter().flat_map(|truths| &truths[warmup..]).map(|truth| &truth.traffic);
        // Bytes of all steps over their time: the median of steps that differ is another step's.
        let mean = |samples: &[f64]| samples.iter().sum::<f64>() / samples.len().max(1) as f64;
        let times = match self.spec.distinct_steps() > 1 || self.spec.seeds.len() > 1 {
            true => [mean(dispatch), mean(combine)],
            false => [record.dispatch_us, record.combine_us],
        };
        record.bandwidth = Some(Bandwidth::new(&self.row.cluster, steps, times, &links));
        let detail = samples.detail.as_ref();
        record.detail = detail.and_then(|sums| Detail::new(self.row, sums, &samples.phases));
        record
    }

    /// A record that knows what it is of, and no times.
    fn record(&self, backend: BackendKind, latency: LatencyChoice) -> Record {
        let (row, copies) = (self.row, self.expected.copies);
        Record {
            racks: row.cluster.num_racks(),
            ranks: row.cluster.num_ranks(),
            scheme: row.scheme,
            placement: row.placement_name.clone(),
            gate: self.spec.routing_name.clone(),
            gate_rack_limit: row.gate_rack_limit(),
            backend,
            latency: latency.to_string(),
            intra_copies_per_token: 0.0,
            inter_copies_per_token: 0.0,
            expected_intra: copies.intra,
            expected_inter: copies.inter,
            expected_intra_error: self.expected.error.map(|error| error.intra),
            expected_inter_error: self.expected.error.map(|error| error.inter),
            dispatch_us: 0.0,
            combine_us: 0.0,
            a2a_us: 0.0,
            compute_us: 0.0,
            layer_us: 0.0,
            bound_us: 0.0,
            a2a_slowdown: None,
            layer_slowdown: None,
            lateness_p99_us: None,
            verified: true,
            valid: true,
            title: row.title.clone(),
            configuration: self.at,
            base_configuration: row.base,
            expected_kind: self.expected.kind,
            tokens: u64::from(self.spec.tokens) * u64::from(row.cluster.num_ranks()),
            tokens_crossing: None,
            weight_bytes_per_rank: row.weight_bytes_per_rank(self.spec),
            samples: 0,
            a2a_p10_us: 0.0,
            a2a_p90_us: 0.0,
            compute_p10_us: 0.0,
            compute_p90_us: 0.0,
            layer_p10_us: 0.0,
            layer_p90_us: 0.0,
            a2a_stamped_us: 0.0,
            measured_over_sim: None,
            verification: Verification::NothingRan,
            error_rms: None,
            network_dilation: None,
            compute_dilation: None,
            cpu_share: None,
            overtaken_share: None,
            lateness_share: None,
            udp_bytes: None,
            retries: 0,
            discarded: Vec::new(),
            replays: 0,
            faults: None,
            problem: None,
            bandwidth: None,
            detail: None,
        }
    }
}

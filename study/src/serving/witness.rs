//! Looks at every step of a run on ranks that compute: its tokens beside a reference, its times beside a simulation.

use super::ServeError;
use super::record::ServeRecord;
use coordinator::judge::Judge;
use coordinator::pace::{Host, NETWORK_WALL_S_MIN};
use coordinator::run::{RunRequest, StepRecord};
use coordinator::sim::SimRunner;
use moe::reference::StackReference;
use moe::stack::{Halves, StepBatch};
use node::control::{Pacing, PhaseReport};
use node::digest::token_digest;
use std::collections::{BTreeMap, VecDeque};
use twox_hash::XxHash3_64;

/// How far a run may be from its simulation, all steps together.
const ERROR_MAX: f64 = 0.10;
/// The same of phases of at least [`LONG_PHASE_WALL_NS`] alone.
const LONG_PHASE_ERROR_MAX: f64 = 0.03;
/// Phases of which a busy host's clock can tell.
const LONG_PHASE_WALL_NS: u64 = 50_000_000;

/// What tokens came out as, by sequence and position.
pub type TokenDigests = BTreeMap<(u32, u32), u64>;

/// Looks at every step beside whoever runs it.
pub(super) struct Witness {
    reference: StackReference,
    /// Where batches go in two halves: a rank's choice of replicas follows from a token's place in what it has in hand.
    halves: Option<Halves>,
    sim: SimRunner,
    pacing: Pacing,
    steps: u32,
    /// Digests that are expected of batches under way, with their batches.
    expected: VecDeque<(u32, StepBatch, Vec<Vec<u64>>)>,
    simulated: Option<StepRecord>,
    tokens: TokenDigests,
    /// Times measured and simulated, all phases and long ones, ps.
    all: [f64; 2],
    long: [f64; 2],
    host: Judge,
}

impl Witness {
    pub(super) fn new(request: &RunRequest, host: Host) -> Result<Self, ServeError> {
        let setting = |problem: String| ServeError::Setting { what: "serve.routing".to_owned(), problem };
        let reference = request.setup.reference().map_err(|error| setting(error.to_string()))?;
        let mut sim = SimRunner::default();
        sim.open_blocking(request)?;
        Ok(Self {
            reference: reference.ok_or_else(|| setting("it is no model that is served".to_owned()))?,
            halves: (request.setup.program.halves() == 2).then(Halves::default),
            sim,
            pacing: request.pacing,
            steps: 0,
            expected: VecDeque::new(),
            simulated: None,
            tokens: TokenDigests::new(),
            all: [0.0; 2],
            long: [0.0; 2],
            host: Judge::new(request.pacing, host, (NETWORK_WALL_S_MIN * 1e9) as u64),
        })
    }

    /// Computes what is to come out of `batch`, which enters now.
    pub(super) fn expect(&mut self, batch: &StepBatch) -> Result<(), ServeError> {
        let answers = match &mut self.halves {
            Some(halves) => {
                let split = halves.split(batch);
                split.join(split.halves.each_ref().map(|half| self.reference.step(self.steps, half)))
            }
            None => self.reference.step(self.steps, batch),
        };
        let digests = |tokens: &Vec<Vec<f32>>| tokens.iter().map(|values| token_digest(values)).collect();
        self.expected.push_back((self.steps, batch.clone(), answers.iter().map(digests).collect()));
        self.simulated = Some(self.sim.step_blocking(batch)?);
        self.steps += 1;
        Ok(())
    }

    /// Compares every token, and the times of a step that is `timed`.
    pub(super) fn look_at(&mut self, record: &StepRecord, timed: bool) -> Result<(), ServeError> {
        if let Some(answered) = record.answered
            && let Some((step, batch, expected)) = self.expected.pop_front()
        {
            if answered != step || record.digests != expected {
                return Err(ServeError::Verify {
                    step,
                    problem: first_difference(&batch, &expected, record),
                });
            }
            for (column, digests) in batch.columns.iter().zip(&expected) {
                let named = column.ids().map(|id| (id.sequence, id.position));
                self.tokens.extend(named.zip(digests.iter().copied()));
            }
        }
        let Some(simulated) = self.simulated.take().filter(|_| timed) else { return Ok(()) };
        let stops = record.phases.iter().zip(&record.clock_error_ns).zip(&simulated.phases);
        for (((stop, measured), &clock_error_ns), (_, expected)) in stops {
            if !stop.computes() {
                self.host.look_at(record.step, measured, clock_error_ns);
            }
            let times = [measured, expected].map(|reports| PhaseReport::slowest(reports));
            let Pacing { compute_dilation, network_dilation, .. } = self.pacing;
            let dilation = if stop.computes() { compute_dilation } else { network_dilation };
            let wall_ns = (times[1].0 / 1_000).saturating_mul(dilation);
            for (sum, time) in self.all.iter_mut().zip(times) {
                *sum += time.0 as f64;
            }
            if wall_ns >= LONG_PHASE_WALL_NS {
                for (sum, time) in self.long.iter_mut().zip(times) {
                    *sum += time.0 as f64;
                }
            }
        }
        Ok(())
    }

    /// For people.
    pub(super) fn note(&self) -> String {
        let (count, digest) = (self.tokens.len(), digest(&self.tokens));
        format!("{count} tokens computed on their ranks and equal to the reference; digest {digest:016x}")
    }

    /// Says how far times were off, and whether they can be trusted.
    pub(super) fn judge(self, record: &mut ServeRecord) -> TokenDigests {
        let off = |[measured, simulated]: [f64; 2]| {
            if simulated > 0.0 { measured / simulated - 1.0 } else { 0.0 }
        };
        let (all, long) = (off(self.all), off(self.long));
        record.over_sim = Some(1.0 + all);
        let in_long = if self.long[1] > 0.0 {
            format!("{:+.2}% in phases of 50 ms of wall time and more", long * 100.0)
        } else {
            "no phase takes 50 ms of wall time".to_owned()
        };
        record
            .notes
            .push(format!("times are {:+.2}% off a simulation of the same steps; {in_long}", all * 100.0));
        let disturbance = self.host.verdict();
        if let Some(problem) = disturbance.problem {
            record.problem =
                Some(format!("INVALID: this host could not keep up: {problem}; stop other work on it"));
        }
        if all.abs() > ERROR_MAX || long.abs() > LONG_PHASE_ERROR_MAX {
            record.problem = Some(format!(
                "INVALID: this host could not keep up: {:+.1}% off a simulation of the same steps (limit {:.0}%), {:+.1}% in long phases (limit {:.0}%); stop other work on it",
                all * 100.0,
                ERROR_MAX * 100.0,
                long * 100.0,
                LONG_PHASE_ERROR_MAX * 100.0
            ));
        }
        self.tokens
    }
}

fn first_difference(batch: &StepBatch, expected: &[Vec<u64>], record: &StepRecord) -> String {
    for ((column, expected), got) in batch.columns.iter().zip(expected).zip(&record.digests) {
        let mut pairs = column.ids().zip(expected.iter().zip(got));
        if let Some((id, _)) = pairs.find(|(_, (expected, got))| expected != got) {
            return format!("token {} of request {} is not what the reference has", id.position, id.sequence);
        }
    }
    "other tokens than the batch has".to_owned()
}

fn digest(tokens: &TokenDigests) -> u64 {
    let mut all = XxHash3_64::new();
    for (&(sequence, position), digest) in tokens {
        for part in [u64::from(sequence), u64::from(position), *digest] {
            std::hash::Hasher::write_u64(&mut all, part);
        }
    }
    std::hash::Hasher::finish(&all)
}

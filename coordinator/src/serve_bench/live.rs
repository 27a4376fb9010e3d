//! A serving run on ranks that really compute: every step goes to a session, is timed there, and is held against a reference.
//!
//! Every token is compared with the one-process reference, bit for bit, and the time of every phase with a simulation of the same batch.

use super::ServeError;
use super::cache::Cache;
use super::deploy::{Deployment, Sources};
use super::elsewhere::Elsewhere;
use super::record::ServeRecord;
use super::spec::{CostChoice, Prefill, ServeSpec};
use crate::compare::judge::Judge;
use crate::compare::measure::NETWORK_WALL_S_MIN;
use crate::compare::{Host, chunk_rows};
use crate::run::RunError;
use crate::steps::{SimSteps, StepRecord, Stepper, StepsRequest, pace};
use moe::RoutingSpec;
use moe::experts::ExpertKind;
use moe::reference::StackReference;
use moe::stack::{Chunk, StepBatch};
use node::control::{Pacing, PhaseReport};
use node::digest::token_digest;
use node::stack::StackSetup;
use serving::cost::Overlap;
use serving::{Ledger, Lockstep, Meter, Station};
use std::collections::{BTreeMap, VecDeque};
use twox_hash::XxHash3_64;

/// How far a run may be from its simulation, all steps together.
const ERROR_MAX: f64 = 0.10;
/// The same of phases of at least [`LONG_PHASE_WALL_NS`] alone.
const LONG_PHASE_ERROR_MAX: f64 = 0.03;
/// Phases of which a busy host's clock can tell.
const LONG_PHASE_WALL_NS: u64 = 50_000_000;

/// A run, ready for a session.
#[derive(Debug)]
pub struct Live {
    spec: ServeSpec,
    deployment: Deployment,
    request: StepsRequest,
    host: Host,
}

/// What tokens came out as, by sequence and position.
pub type TokenDigests = BTreeMap<(u32, u32), u64>;

impl Live {
    /// Resolves `spec` for ranks that compute on `host`, `retries` times slower by a factor of 2 than it should follow.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for what such a run can't have: caches from elsewhere in a pipeline, fixed hops.
    pub fn new(
        spec: &ServeSpec,
        sources: &dyn Sources,
        host: Host,
        retries: u32,
    ) -> Result<Self, ServeError> {
        let setting = |what: &str, problem: &str| {
            Err(ServeError::Setting { what: what.to_owned(), problem: problem.to_owned() })
        };
        if spec.parallel.pp > 1 && (spec.serve.prefill == Prefill::Elsewhere || spec.cache.is_some()) {
            return setting(
                "serve.prefill",
                "caches from elsewhere are computed between two steps, when a pipeline is not empty: give pp = 1, or leave prefill and [cache] out",
            );
        }
        if spec.parallel.hop_us.is_some() {
            return setting(
                "parallel.hop_us",
                "hops take what the links say where rows really move; leave it out",
            );
        }
        let halves = match spec.parallel.overlap {
            Overlap::None => 1,
            Overlap::TwoBatch => 2,
            Overlap::Full => {
                return setting(
                    "parallel.overlap",
                    "full: real ranks can't do all at once; give none or two_batch",
                );
            }
        };
        let deployment = Deployment::new(&light(spec), sources)?;
        let routing = match spec.serve.routing.as_str() {
            "gate" => RoutingSpec::Gate,
            _ => deployment.routing.clone(),
        };
        let Deployment { stack, cluster, hardware, fabric, .. } = &deployment;
        let setup = StackSetup {
            cluster: cluster.clone(),
            fabric: *fabric,
            hardware: hardware.clone(),
            placements: deployment.on_stages()?,
            stack: stack.clone(),
            scheme: spec.serve.scheme,
            routing,
            gate_limit: None,
            seed: spec.serve.seed,
            experts: ExpertKind::Modelled,
            chunk_rows: chunk_rows(spec.scheduler.max_num_seqs),
            payload: true,
        };
        let mut request =
            StepsRequest { setup, halves, pacing: Pacing::default(), expected_phase_ns: LONG_PHASE_WALL_NS };
        let (pacing, expected_phase_ns) = pace(&request, &typical(spec, stack.columns()), host.cores)?;
        request.pacing = Pacing {
            network_dilation: pacing.network_dilation << retries.min(16),
            compute_dilation: pacing.compute_dilation << retries.min(16),
            ..pacing
        };
        request.expected_phase_ns = expected_phase_ns << retries.min(16);
        Ok(Self { spec: spec.clone(), deployment, request, host })
    }

    /// What a session is to be opened with.
    #[must_use]
    pub const fn request(&self) -> &StepsRequest {
        &self.request
    }

    /// Serves every request on `session`; `clock` is the word for its times: `measured`, or `simulated`.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve<S: Stepper>(
        &self,
        session: &mut S,
        sources: &dyn Sources,
        clock: &str,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(ServeRecord, TokenDigests), ServeError> {
        let stack = &self.deployment.stack;
        let policy = &self.spec.scheduler;
        let ledger = Ledger::new(self.deployment.memory.clone(), stack.columns(), policy.block_tokens)?;
        let station = Station::new(policy.clone(), ledger, stack.columns(), self.spec.micro_batches());
        let station = station.map_err(|error| ServeError::Setting {
            what: "scheduler".to_owned(),
            problem: error.to_string(),
        })?;
        let mut source = self.spec.arrivals.build(self.spec.serve.seed, &mut |name| sources.open(name))?;
        let mut witness = Witness::new(&self.request, self.host)?;
        let (mut cache, mut unheard) = (Cache::new(&self.spec, &self.deployment)?, |_| ());
        let mut elsewhere = Elsewhere::new(policy.max_num_batched_tokens);
        let meter = Meter::new(self.spec.slo);
        let stages = stack.stages().len();
        let mut run =
            Lockstep::new(station.with_batches(), meter, &mut cache, &mut unheard, stack.columns(), stages);
        let mut ticks = 0;
        while let Some(batch) = run.next(&mut *source.arrivals)? {
            for computed in elsewhere.before(&batch) {
                witness.expect(&computed)?;
                witness.look_at(&session.step(&computed).await?, false)?;
            }
            witness.expect(&batch)?;
            let record = session.step(&batch).await?;
            witness.look_at(&record, true)?;
            run.done(record.times(stack), &mut *source.arrivals)?;
            ticks += 1;
            progress(ticks);
        }
        let outcome = run.close();
        let mut spec = self.spec.clone();
        spec.parallel.lockstep = true;
        let cached = cache.report(outcome.ended)?;
        let mut record = ServeRecord::new(&spec, &self.deployment, &outcome, "frames", None, cached);
        record.clock = clock.to_owned();
        record.notes = source.summary.iter().flat_map(|summary| summary.notes()).collect();
        record.notes.push(format!(
            "{} tokens computed on their ranks and equal to the reference; digest {:016x}",
            witness.tokens.len(),
            digest(&witness.tokens)
        ));
        record.notes.extend(elsewhere.note());
        let tokens = witness.judge(&mut record);
        Ok((record, tokens))
    }
}

/// `spec` with what its deployment can resolve without hidden states.
fn light(spec: &ServeSpec) -> ServeSpec {
    let mut light = spec.clone();
    // Where times are from in other runs is nothing to this one.
    light.serve.cost = CostChoice::Frames;
    if light.serve.routing == "gate" {
        light.serve.routing = "uniform".to_owned();
    }
    light
}

/// A step as there will be many: every seat taken by a sequence that decodes, up to what one step may carry.
fn typical(spec: &ServeSpec, columns: u32) -> StepBatch {
    let mut batch = StepBatch::empty(columns);
    let seats = spec.scheduler.max_num_seqs.min(64);
    for sequence in 0..seats.saturating_mul(columns) {
        let chunk = Chunk { sequence, context: 0, tokens: 1, sample: true };
        batch.columns[(sequence % columns) as usize].chunks.push(chunk);
    }
    batch
}

/// Looks at every step beside whoever runs it.
struct Witness {
    reference: StackReference,
    sim: SimSteps,
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
    fn new(request: &StepsRequest, host: Host) -> Result<Self, ServeError> {
        let reference = request.setup.reference().map_err(|error| ServeError::Setting {
            what: "serve.routing".to_owned(),
            problem: error.to_string(),
        })?;
        Ok(Self {
            reference,
            sim: SimSteps::open(request)?,
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
    fn expect(&mut self, batch: &StepBatch) -> Result<(), ServeError> {
        let answers = self.reference.step(self.steps, batch);
        let digests = |tokens: &Vec<Vec<f32>>| tokens.iter().map(|values| token_digest(values)).collect();
        self.expected.push_back((self.steps, batch.clone(), answers.iter().map(digests).collect()));
        self.simulated = Some(self.sim.step_blocking(batch)?);
        self.steps += 1;
        Ok(())
    }

    /// Compares every token, and the times of a step that is `timed`.
    fn look_at(&mut self, record: &StepRecord, timed: bool) -> Result<(), ServeError> {
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

    /// Says how far times were off, and whether they can be trusted.
    fn judge(self, record: &mut ServeRecord) -> TokenDigests {
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

impl From<RunError> for ServeError {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}

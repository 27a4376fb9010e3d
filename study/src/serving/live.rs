//! A serving run on ranks that really compute: every step goes to a session, is timed there, and is held against a reference.
//!
//! Every token is compared with the one-process reference, bit for bit, and the time of every phase with a simulation of the same batch.

use super::ServeError;
use super::cache::Cache;
use super::deploy::{Deployment, Sources};
use super::elsewhere::Elsewhere;
use super::record::{Found, ServeRecord};
use super::spec::{Prefill, ServeSpec};
use super::tick::tick_time;
use super::witness::{TokenDigests, Witness};
use crate::layer::chunk_rows;
use blackboard::scale_up::A2aGroup;
use blackboard::units::Tokens;
use coordinator::RunError;
use coordinator::pace::{Host, pace};
use coordinator::run::{RunRequest, Runner};
use moe::stack::{Chunk, StepBatch};
use node::control::Pacing;
use node::program::{Program, StackProgram};
use node::setup::Setup;
use serving::cost::Overlap;
use serving::{Lockstep, Meter};

/// A run, ready for a session.
#[derive(Debug)]
pub struct Live {
    spec: ServeSpec,
    deployment: Deployment,
    request: RunRequest,
    host: Host,
}

impl Live {
    /// Resolves `spec` for ranks that compute on `host`, `retries` times slower by a factor of 2 than it should follow.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for what such a run can't have: caches from elsewhere in a pipeline, fixed hops, pools.
    pub fn new(
        spec: &ServeSpec,
        sources: &dyn Sources,
        host: Host,
        retries: u32,
    ) -> Result<Self, ServeError> {
        spec.refuse_pools()?;
        let setting = |what: &str, problem: &str| Err(ServeError::setting(what, problem));
        let from = if spec.cache.is_some() { "cache" } else { "serve.prefill" };
        if spec.scenario.pp > 1 && (spec.serve.prefill == Prefill::Elsewhere || spec.cache.is_some()) {
            return setting(
                from,
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
        let deployment = Deployment::new(spec, sources)?;
        let Deployment { stack, cluster, hardware, fabric, .. } = &deployment;
        let program = StackProgram { stack: stack.clone(), placements: deployment.on_stages()?, halves };
        let typical = typical(spec, stack.columns());
        let rule = stack.shape().selection();
        let ranks = A2aGroup::of(&deployment.stage_cluster, deployment.scheme, &rule, stack.shape().hidden);
        let mean = typical.tokens() as f64 / f64::from(deployment.stage_cluster.num_ranks());
        // Steps have no links of their own: start-ups are those of a typical one.
        let links = ranks.links(hardware, fabric, Tokens(mean));
        let links = links.map_err(|error| ServeError::setting("hardware", error))?;
        let setup = Setup {
            fabric: *fabric,
            kernels: hardware.kernels.is_some().then_some(links),
            scheme: deployment.scheme,
            routing: deployment.routing.clone(),
            seed: deployment.seed,
            chunk_rows: chunk_rows(spec.scheduler.max_num_seqs),
            ..Setup::new(cluster.clone(), hardware.clone(), Program::Stack(program))
        };
        let (pacing, expected_phase_ns) = pace(&setup, &typical, host.cores)?;
        let slower = retries.min(16);
        let pacing = Pacing {
            network_dilation: pacing.network_dilation << slower,
            compute_dilation: pacing.compute_dilation << slower,
            ..pacing
        };
        let request =
            RunRequest { pacing, expected_phase_ns: expected_phase_ns << slower, ..RunRequest::new(setup) };
        Ok(Self { spec: spec.clone(), deployment, request, host })
    }

    /// What a session is to be opened with.
    #[must_use]
    pub const fn request(&self) -> &RunRequest {
        &self.request
    }

    /// What it runs on.
    #[must_use]
    pub fn into_deployment(self) -> Deployment {
        self.deployment
    }

    /// Serves every request on `runner`; `clock` is the word for its times: `measured`, or `simulated`.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve<R: Runner>(
        &self,
        runner: &mut R,
        sources: &dyn Sources,
        clock: &str,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(ServeRecord, TokenDigests), ServeError> {
        let stack = &self.deployment.stack;
        let policy = &self.spec.scheduler;
        let station = self.deployment.station(&self.spec)?;
        let mut source = self.spec.arrivals.build(self.deployment.seed, &mut |name| sources.open(name))?;
        let mut witness = Witness::new(&self.request, self.host)?;
        let (mut cache, mut unheard) = (Cache::new(&self.spec, &self.deployment)?, |_| ());
        let mut elsewhere = Elsewhere::new(policy.max_num_batched_tokens);
        let meter = Meter::new(self.spec.slo);
        let stages = stack.stages().len();
        let mut run =
            Lockstep::new(station.with_batches(), meter, &mut cache, &mut unheard, stack.columns(), stages);
        runner.open(&self.request).await?;
        let mut ticks = 0;
        while let Some(mut batch) = run.next(&mut *source.arrivals)? {
            for computed in elsewhere.before(&mut batch) {
                witness.expect(&computed)?;
                witness.look_at(&runner.step(&computed).await?, false)?;
            }
            witness.expect(&batch)?;
            let record = runner.step(&batch).await?;
            witness.look_at(&record, true)?;
            run.done(tick_time(&record.phases, stack), &mut *source.arrivals)?;
            ticks += 1;
            progress(ticks);
        }
        runner.close();
        let outcome = run.close();
        let mut spec = self.spec.clone();
        spec.parallel.lockstep = true;
        let cached = cache.report(outcome.ended)?;
        let ranks = self.deployment.cluster.num_ranks();
        let found = Found { cost: "frames", ranks, memo: None, cache: cached, prompts: None };
        let mut record = ServeRecord::new(&spec, &self.deployment, &outcome, found);
        record.clock = clock.to_owned();
        record.notes.extend(source.summary.iter().flat_map(|summary| summary.notes()));
        let note = cache.note(&self.spec.arrivals, source.summary.as_ref(), record.cache.as_ref());
        record.notes.extend(note);
        record.notes.push(witness.note());
        record.notes.extend(elsewhere.note());
        let tokens = witness.judge(&mut record);
        Ok((record, tokens))
    }
}

/// A step as there will be many: as many sequences decode as may, up to what one step may carry.
fn typical(spec: &ServeSpec, columns: u32) -> StepBatch {
    let mut batch = StepBatch::empty(columns);
    let sequences = spec.scheduler.max_num_seqs.min(64);
    for sequence in 0..sequences.saturating_mul(columns) {
        let chunk = Chunk { sequence, context: 0, tokens: 1, sample: true };
        batch.columns[(sequence % columns) as usize].chunks.push(chunk);
    }
    batch
}

impl From<RunError> for ServeError {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}

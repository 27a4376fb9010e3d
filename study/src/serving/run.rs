//! One serving run: an experiment's point on its virtual clock.

use super::ServeError;
use super::cache::Cache;
use super::deploy::Sources;
use super::pool_record::Pools;
use super::pools::{Ready, handover, of_prefill, ready};
use super::record::{Found, ServeRecord, asked_of};
use super::spec::ServeSpec;
use serving::arrivals::trace::TraceSummary;
use serving::trace::YardTrace;
use serving::{Drive, Lockstep, Meter, Pool, Station};

/// What to know of pools whose replicas lie in several racks.
const SHARED_PORTS: &str = "caches and the rows of steps use the same ports between racks, and neither waits for the other here: both are bounds";

/// Serves the requests of `spec`; `progress` is told how many are answered.
///
/// # Errors
/// [`ServeError`]: a setting that can't be, a trace that can't be read, memory that the weights fill.
pub fn serve(
    spec: &ServeSpec,
    sources: &dyn Sources,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<ServeRecord, ServeError> {
    serve_traced(spec, sources, progress, None).map(|(record, _)| record)
}

/// As [`serve`]; keeps what a timeline of about `trace` events is made of.
///
/// # Errors
/// As [`serve`].
pub fn serve_traced(
    spec: &ServeSpec,
    sources: &dyn Sources,
    progress: &mut (dyn FnMut(u64) + Send),
    trace: Option<usize>,
) -> Result<(ServeRecord, Option<Box<YardTrace>>), ServeError> {
    let (mut ready, mut prompts) = ready(spec, sources)?;
    let mut source = spec.arrivals.build(ready.deployment.seed, &mut |name| sources.open(name))?;
    let mut cache = Cache::new(spec, &ready.deployment)?;
    let meter = Meter::new(spec.slo);
    let (mut outcome, ahead) = if spec.parallel.lockstep {
        let (columns, stages) = (ready.deployment.stack.columns(), ready.stages());
        let Pool { station, cost, .. } = ready.pool(|whole| whole)?;
        let run = Lockstep::new(station, meter, &mut cache, progress, columns, stages);
        (run.with_trace(trace).serve(cost, &mut *source.arrivals)?, None)
    } else {
        let ahead = match &mut prompts {
            None => None,
            Some(prompts) => {
                let way = handover(prompts, &ready);
                Some((prompts.pool(Station::of_prompts).map_err(of_prefill)?, way))
            }
        };
        let pool = ready.pool(if ahead.is_some() { Station::of_answers } else { |whole| whole })?;
        let drive = Drive { pool, ahead, cache: &mut cache, meter, progress, trace };
        drive.run(&mut *source.arrivals)?
    };
    let cached = cache.report(outcome.ended)?;
    let memo = ready.check()?;
    let ranks = ready.ranks() + prompts.as_ref().map_or(0, Ready::ranks);
    let asked = prompts.as_ref().zip(ahead.as_ref());
    let asked = asked.map(|(pool, ahead)| asked_of(&pool.spec, &pool.deployment, &ahead.outcome));
    let found = Found { cost: ready.cost_name(), ranks, memo, cache: cached, prompts: asked };
    let mut record = ServeRecord::new(spec, &ready.deployment, &outcome, found);
    if let (Some(prompts), Some(ahead)) = (&mut prompts, ahead) {
        let memos = [prompts.check().map_err(of_prefill)?, memo];
        record.add_pools(Pools::new((prompts, &ready), (&ahead, &outcome), memos));
        if [&*prompts, &ready].iter().any(|pool| pool.deployment.cluster.num_racks() > 1) {
            record.notes.push(SHARED_PORTS.to_owned());
        }
    }
    record.notes.extend(source.summary.iter().flat_map(TraceSummary::notes));
    let note = cache.note(&spec.arrivals, source.summary.as_ref(), record.cache.as_ref());
    record.notes.extend(note);
    Ok((record, outcome.trace.take()))
}

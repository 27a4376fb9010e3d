//! One serving run: an experiment's point on its virtual clock.

use super::ServeError;
use super::cache::Cache;
use super::deploy::{Deployment, Sources};
use super::record::ServeRecord;
use super::spec::ServeSpec;
use serving::arrivals::trace::TraceSummary;
use serving::cost::Overlap;
use serving::trace::YardTrace;
use serving::{Drive, Lockstep, Meter};

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
    let deployment = Deployment::new(spec, sources)?;
    deployment.check_times(spec)?;
    let stack = &deployment.stack;
    let station = deployment.station(spec)?;
    let station = if spec.parallel.overlap == Overlap::TwoBatch { station.with_halves() } else { station };
    let mut source = spec.arrivals.build(deployment.seed, &mut |name| sources.open(name))?;
    let mut cost = deployment.cost(spec)?;
    let mut cache = Cache::new(spec, &deployment)?;
    let (meter, stages) = (Meter::new(spec.slo), stack.stages().len());
    let mut outcome = if spec.parallel.lockstep {
        let run = Lockstep::new(station, meter, &mut cache, progress, stack.columns(), stages);
        run.with_trace(trace).serve(&mut *cost, &mut *source.arrivals)?
    } else {
        let drive = Drive { station, cost: &mut *cost, cache: &mut cache, meter, stages, progress, trace };
        drive.run(&mut *source.arrivals)?
    };
    let cached = cache.report(outcome.ended)?;
    let memo = cost.check().map_err(serving::DriveError::from)?;
    deployment.keep();
    let mut record = ServeRecord::new(spec, &deployment, &outcome, cost.name(), memo, cached);
    record.notes.extend(source.summary.iter().flat_map(TraceSummary::notes));
    let note = cache.note(&spec.arrivals, source.summary.as_ref(), record.cache.as_ref());
    record.notes.extend(note);
    Ok((record, outcome.trace.take()))
}

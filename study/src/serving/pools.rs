//! The parts of a run, ready to serve: those who answer, those who compute prompts for them, the way of caches between the two.

use super::ServeError;
use super::deploy::{Cost, Deployment, Sources};
use super::spec::ServeSpec;
use serving::cost::{MemoCheck, Overlap};
use serving::{Handover, Pool, Routes, Station, StepCost};
use topology::{LinkSpec, Rate};

/// One part of a run, ready to serve: what it is, and where its times are from.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) spec: ServeSpec,
    pub(super) deployment: Deployment,
    cost: Box<dyn Cost>,
}

impl Ready {
    /// Resolves `spec`, the run of one pool.
    fn new(spec: ServeSpec, sources: &dyn Sources) -> Result<Self, ServeError> {
        let deployment = Deployment::new(&spec, sources)?;
        deployment.check_times(&spec)?;
        let cost = deployment.cost(&spec)?;
        Ok(Self { spec, deployment, cost })
    }

    /// All ranks.
    pub(super) fn ranks(&self) -> u32 {
        self.deployment.all_ranks(&self.spec)
    }

    fn station(&self) -> Result<Station, ServeError> {
        let station = self.deployment.station(&self.spec)?;
        Ok(if self.spec.parallel.overlap == Overlap::TwoBatch { station.with_halves() } else { station })
    }

    /// Its stages.
    pub(super) fn stages(&self) -> usize {
        self.deployment.stack.stages().len()
    }

    pub(super) fn pool(&mut self, part: fn(Station) -> Station) -> Result<Pool<'_>, ServeError> {
        let (station, stages) = (part(self.station()?), self.stages());
        Ok(Pool { station, cost: &mut *self.cost, stages })
    }

    /// Where its times are from, in a word.
    pub(super) fn cost_name(&self) -> &'static str {
        StepCost::name(&*self.cost)
    }

    /// How far remembered steps were off; what they took is kept.
    pub(super) fn check(&mut self) -> Result<Option<MemoCheck>, ServeError> {
        let memo = self.cost.check().map_err(serving::DriveError::from)?;
        self.deployment.keep();
        Ok(memo)
    }
}

/// The parts of `spec`: those who answer, and those who compute prompts for them.
pub(super) fn ready(spec: &ServeSpec, sources: &dyn Sources) -> Result<(Ready, Option<Ready>), ServeError> {
    let answers = Ready::new(spec.clone(), sources)?;
    let prompts = match spec.of_prompts() {
        None => None,
        Some(own) => {
            let prompts = Ready::new(own, sources).map_err(of_prefill)?;
            check_pair(&prompts.deployment, &answers.deployment)?;
            Some(prompts)
        }
    };
    Ok((answers, prompts))
}

/// Whether caches of `prompts` are what `answers` go on with.
pub(super) fn check_pair(prompts: &Deployment, answers: &Deployment) -> Result<(), ServeError> {
    let (theirs, ours) = (prompts.stack.kv_dtype, answers.stack.kv_dtype);
    if theirs == ours {
        return Ok(());
    }
    let problem = format!(
        "caches are {theirs} on the ranks of prompts and {ours} on those of answers; give one format"
    );
    Err(ServeError::setting("serve.kv_dtype", problem))
}

/// A fault of the pool of prompts, its setting by the place where it stands.
pub(super) fn of_prefill(error: ServeError) -> ServeError {
    match error {
        ServeError::Setting { what, problem } => {
            let what = match what.split_once('.') {
                Some((_, word)) => format!("prefill.{word}"),
                None => "prefill".to_owned(),
            };
            ServeError::Setting { what, problem }
        }
        other => ServeError::Prefill(Box::new(other)),
    }
}

/// The way of caches from `prompts` to `answers`: the links between racks, the slower of what either pool has, with the longer latency; each
/// rank with its part of its rack's uplink.
pub(super) fn handover(prompts: &Ready, answers: &Ready) -> Handover {
    let [from, to] = [prompts, answers].map(|pool| pool.deployment.fabric.scale_out_share());
    let slower = from.rate.bytes_per_s().min(to.rate.bytes_per_s());
    let link =
        LinkSpec { rate: Rate::new(slower).unwrap_or(from.rate), latency: from.latency.max(to.latency) };
    let routes = Routes::new([&prompts.deployment.stack, &answers.deployment.stack]);
    Handover::new(routes, [prompts, answers].map(|pool| pool.spec.serve.replicas as usize), link)
}

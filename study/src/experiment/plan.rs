//! An experiment whose points are resolved: what each runs, its hash, how much memory it takes.

use super::error::ExperimentError;
use super::points::{Experiment, Point};
use super::record::{Header, PointLine, RESULTS_VERSION, Record};
use super::shard::Shard;
use super::subject::{Asked, Failed, Fault, Resolved, Subject};
use super::value::Ordered;
use crate::layer::BackendKind;
use std::hash::Hasher;
use twox_hash::XxHash3_64;

/// A checked experiment.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What it is about.
    pub subject: &'a dyn Subject,
    /// The experiment.
    pub experiment: Experiment,
    /// Backends that are asked for; none where settings tell.
    asked: Vec<BackendKind>,
    /// Backends of the points, ascending.
    pub backends: Vec<BackendKind>,
    /// Hash of all that decides the records.
    pub hash: String,
    /// Memory of the largest point, bytes, one of its own process.
    pub bytes_max: u64,
    /// Ranks of the largest point.
    pub ranks_max: u32,
}

impl<'a> Plan<'a> {
    /// Resolves every point once, so that a fault of the last one is told before the first one runs. `backends` are those of a
    /// flag; where none are given the file's, else the subject's own.
    ///
    /// # Errors
    /// [`ExperimentError::Point`] for the first point that can't be run.
    pub fn new(
        subject: &'a dyn Subject,
        mut experiment: Experiment,
        backends: &[BackendKind],
    ) -> Result<Self, ExperimentError> {
        let asked = match (backends, &experiment.backends) {
            ([], Some(given)) => given.clone(),
            ([], None) => subject.backends().to_vec(),
            (given, _) => given.to_vec(),
        };
        if let [one] = asked.as_slice() {
            experiment.choose(*one, subject);
        }
        let mut plan = Self {
            subject,
            experiment,
            asked,
            backends: Vec::new(),
            hash: String::new(),
            bytes_max: 0,
            ranks_max: 0,
        };
        let mut all = XxHash3_64::new();
        all.write(env!("CARGO_PKG_VERSION").as_bytes());
        all.write(subject.name().as_bytes());
        for point in plan.points(Shard::ALL).collect::<Vec<_>>() {
            let resolved = plan.resolve(&point)?;
            let (bytes, ranks, of_point) = (resolved.memory_bytes, resolved.ranks, resolved.backends);
            all.write(&resolved.identity);
            all.write_u64(point.seed);
            plan.bytes_max = plan.bytes_max.max(bytes);
            plan.ranks_max = plan.ranks_max.max(ranks);
            plan.backends.extend(of_point);
        }
        let backends = std::mem::take(&mut plan.backends);
        plan.backends = BackendKind::ALL.into_iter().filter(|kind| backends.contains(kind)).collect();
        plan.hash = format!("{:016x}", all.finish());
        Ok(plan)
    }

    /// The first line of a shard's results.
    #[must_use]
    pub fn header(&self, shard: Shard) -> Header {
        let experiment = &self.experiment;
        let swept = experiment.swept();
        let mut fixed = experiment.fixed.clone();
        fixed.0.retain(|(key, _)| !swept.contains(key));
        Header {
            schema_version: RESULTS_VERSION,
            name: experiment.name.clone(),
            subject: self.subject.name().to_owned(),
            claim: experiment.claim.clone(),
            findings: experiment.findings.clone(),
            experiment: self.hash.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fixed,
            swept,
            seeds: experiment.seeds.clone(),
            backends: self.backends.clone(),
            points: experiment.num_points(),
            shard: shard.index,
            shards: shard.count,
            plots: experiment.plots.clone(),
        }
    }

    /// The name of a shard's file: `NAME.jsonl`, or `NAME.I-of-N.jsonl`.
    #[must_use]
    pub fn file_name(&self, shard: Shard) -> String {
        let name = &self.experiment.name;
        if shard == Shard::ALL {
            format!("{name}.jsonl")
        } else {
            format!("{name}.{}-of-{}.jsonl", shard.index, shard.count)
        }
    }

    /// The points of a shard.
    pub fn points(&self, shard: Shard) -> impl Iterator<Item = Point> + '_ {
        let seed_key = self.subject.seed_key();
        let all = 0..self.experiment.num_points();
        all.filter(move |&index| shard.has(index)).map(move |index| self.experiment.point(index, seed_key))
    }

    /// What a point runs.
    ///
    /// # Errors
    /// [`ExperimentError::Point`], with the line of the setting that is at fault.
    pub fn resolve(&self, point: &Point) -> Result<Resolved<'a>, ExperimentError> {
        let settings = self.experiment.settings(point);
        let own = self.experiment.changed.0.iter().filter(|(key, _)| point.settings.get(key).is_none());
        let own = Ordered(own.chain(&point.settings.0).cloned().collect());
        let asked = Asked {
            settings: &settings,
            seed: point.seed,
            backends: &self.asked,
            origin: &self.experiment.origin,
            own: &own,
        };
        self.subject.resolve(asked).map_err(|fault| self.fault(point, &fault))
    }

    /// A point that can't be run, with the line of the setting at fault.
    pub fn fault(&self, point: &Point, fault: &Fault) -> ExperimentError {
        let lines = self.experiment.lines.iter();
        // Where a table is at fault, its first setting stands for it.
        let line = lines.rev().find(|(place, _)| {
            *place == fault.key || place.strip_prefix(&fault.key).is_some_and(|rest| rest.starts_with('.'))
        });
        let place = match line {
            Some((_, line)) => format!("{}:{line}: ", self.experiment.origin),
            None => String::new(),
        };
        let (index, settings, problem) = (point.index, point.to_string(), fault.to_string());
        ExperimentError::Point { place, point: index, settings, problem }
    }
}

/// A point that could not be finished.
#[must_use]
pub fn failed(point: &Point, source: Failed) -> ExperimentError {
    ExperimentError::Run { point: point.index, settings: point.to_string(), source }
}

/// The line of a finished point.
#[must_use]
pub fn point_line(point: Point, command: &str, records: Vec<Record>) -> PointLine {
    let Point { index, settings, seed } = point;
    PointLine { point: index, settings, seed, command: command.to_owned(), records }
}

//! An experiment whose points are resolved: what each runs, its hash, how much memory it takes.

use super::error::ExperimentError;
use super::file::Experiment;
use super::points::Point;
use super::results::{Header, PointLine, RESULTS_VERSION};
use super::shard::Shard;
use crate::layer::{
    BackendKind, CompareError, CompareSpec, Configuration, Record, Report, configuration, estimate,
};
use twox_hash::XxHash3_64;

/// What a point runs.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its comparison: one scheme, one gate, one latency, one seed.
    pub spec: CompareSpec,
    /// True if a base is to run beside it.
    pub with_base: bool,
    /// The `railyard compare` that has the same row.
    pub command: String,
}

/// Says what a point's settings mean, as the flags of the same names would.
pub trait Resolver: Sync {
    /// Resolves a point of `experiment` on `backends`.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    fn resolve(
        &self,
        experiment: &Experiment,
        point: &Point,
        backends: &[BackendKind],
    ) -> Result<Resolved, String>;
}

/// A checked experiment.
#[derive(Debug)]
pub struct Plan {
    /// The experiment.
    pub experiment: Experiment,
    /// Backends of every point.
    pub backends: Vec<BackendKind>,
    /// Hash of all that decides the records.
    pub hash: String,
    /// Memory of the largest point, bytes, one of its own process.
    pub bytes_max: u64,
    /// Ranks of the largest point.
    pub ranks_max: u32,
}

impl Plan {
    /// Resolves every point once, so that a fault of the last one is told before the first one runs.
    ///
    /// # Errors
    /// [`ExperimentError::Point`] for the first point that can't be run.
    pub fn new(
        experiment: Experiment,
        backends: Vec<BackendKind>,
        resolver: &dyn Resolver,
    ) -> Result<Self, ExperimentError> {
        let mut all = XxHash3_64::new();
        let (mut bytes_max, mut ranks_max) = (0, 0);
        std::hash::Hasher::write(&mut all, env!("CARGO_PKG_VERSION").as_bytes());
        for index in 0..experiment.num_points() {
            let point = experiment.point(index);
            let (resolved, rows) = resolve(&experiment, &point, &backends, resolver)?;
            let quic = backends.contains(&BackendKind::Quic);
            bytes_max = bytes_max.max(estimate(&resolved.spec, &rows, quic).bytes);
            ranks_max = rows.iter().map(|row| row.cluster.num_ranks()).max().unwrap_or(0).max(ranks_max);
            // Neither where it runs nor what people are told about it decides what comes out.
            let spec = CompareSpec { memory_limit_bytes: None, notes: Vec::new(), ..resolved.spec };
            let text = serde_json::to_vec(&(&spec, resolved.with_base))
                .map_err(|error| fault(&point, error.to_string()))?;
            std::hash::Hasher::write(&mut all, &text);
        }
        let hash = format!("{:016x}", std::hash::Hasher::finish(&all));
        Ok(Self { experiment, backends, hash, bytes_max, ranks_max })
    }

    /// The first line of a shard's results.
    #[must_use]
    pub fn header(&self, shard: Shard) -> Header {
        let experiment = &self.experiment;
        Header {
            schema_version: RESULTS_VERSION,
            name: experiment.name.clone(),
            experiment: self.hash.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fixed: experiment.fixed.clone(),
            swept: experiment.axes.iter().flat_map(|axis| axis.keys.clone()).collect(),
            seeds: experiment.seeds.clone(),
            backends: self.backends.clone(),
            points: experiment.num_points(),
            shard: shard.index,
            shards: shard.count,
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
        (0..self.experiment.num_points())
            .filter(move |&index| shard.has(index))
            .map(|index| self.experiment.point(index))
    }

    /// What a point runs, with its configurations, the point's own last.
    ///
    /// # Errors
    /// [`ExperimentError::Point`].
    pub fn resolve(
        &self,
        point: &Point,
        resolver: &dyn Resolver,
    ) -> Result<(Resolved, Vec<Configuration>), ExperimentError> {
        resolve(&self.experiment, point, &self.backends, resolver)
    }
}

fn resolve(
    experiment: &Experiment,
    point: &Point,
    backends: &[BackendKind],
    resolver: &dyn Resolver,
) -> Result<(Resolved, Vec<Configuration>), ExperimentError> {
    let resolved = resolver.resolve(experiment, point, backends).map_err(|problem| fault(point, problem))?;
    let rows =
        configuration(&resolved.spec, resolved.with_base).map_err(|error| fault(point, error.to_string()))?;
    Ok((resolved, rows))
}

fn fault(point: &Point, problem: String) -> ExperimentError {
    ExperimentError::Point { point: point.index, settings: point.to_string(), problem }
}

/// A point that could not be finished.
pub(super) fn failed(point: &Point, source: CompareError) -> ExperimentError {
    ExperimentError::Run { point: point.index, settings: point.to_string(), source: Box::new(source) }
}

/// The line of a finished point: the records of its own configuration, which is the last; slowdowns only against a base.
#[must_use]
pub fn point_line(point: &Point, resolved: &Resolved, report: Report) -> PointLine {
    let own = report.rows.iter().map(|record| record.configuration).max().unwrap_or(0);
    let mut records: Vec<Record> =
        report.rows.into_iter().filter(|record| record.configuration == own).collect();
    if !resolved.with_base {
        for record in &mut records {
            (record.a2a_slowdown, record.layer_slowdown) = (None, None);
        }
    }
    PointLine {
        point: point.index,
        settings: point.settings.clone(),
        seed: point.seed,
        command: resolved.command.clone(),
        records,
    }
}

//! The one record of all subjects, the lines of a file of results, and what a plot is to show.

use super::value::{Ordered, Settings};
use crate::layer::{BackendKind, Verification};
use blackboard::published::Trust;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Version of the lines: raised when a key changes its meaning or goes away, or a reader must know more.
pub const RESULTS_VERSION: u32 = 2;

/// What one backend has for a point: a head that all subjects share, and keys of the subject's own beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// How the numbers came about.
    pub backend: BackendKind,
    /// What was checked.
    pub verification: Verification,
    /// False if any check failed.
    pub verified: bool,
    /// False if not verified, or not to be trusted for another reason.
    pub valid: bool,
    /// The first thing that was wrong.
    pub problem: Option<String>,
    /// The subject's own keys.
    #[serde(flatten)]
    pub own: Ordered<serde_json::Value>,
}

impl Record {
    /// A record with the keys of `own`, of a run that is verified and valid.
    ///
    /// # Errors
    /// If `own` is no JSON object.
    pub fn sound(
        backend: BackendKind,
        verification: Verification,
        own: &impl Serialize,
    ) -> serde_json::Result<Self> {
        let own = serde_json::from_str(&serde_json::to_string(own)?)?;
        Ok(Self { backend, verification, verified: true, valid: true, problem: None, own })
    }

    /// The record that `whole` is as JSON.
    ///
    /// # Errors
    /// If a key of the head is missing.
    pub fn of(whole: &impl Serialize) -> serde_json::Result<Self> {
        // Through text, which keeps the order of keys.
        serde_json::from_str(&serde_json::to_string(whole)?)
    }

    /// The same, with how far it can be trusted.
    ///
    /// # Errors
    /// None are known.
    pub fn with_trust(mut self, trust: &Trust) -> serde_json::Result<Self> {
        self.own.0.push(("trust".to_owned(), serde_json::to_value(trust)?));
        Ok(self)
    }

    /// The value at `key`, nested ones with dots: `share.local`, `memory.0.kv_bytes_max`.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&serde_json::Value> {
        let mut parts = key.split('.');
        let first = self.own.get(parts.next()?)?;
        parts.try_fold(first, |value, part| match value {
            serde_json::Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            object => object.get(part),
        })
    }

    /// The number at `key`.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<f64> {
        self.value(key)?.as_f64()
    }
}

/// The first line of a file of results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`RESULTS_VERSION`].
    pub schema_version: u32,
    /// The experiment's name.
    pub name: String,
    /// What it is about.
    #[serde(default = "layer")]
    pub subject: String,
    /// What it tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// What comes out, with places for numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// Hash of everything that decides the records: every point's resolved options with the contents of files, the backends,
    /// the program's version.
    pub experiment: String,
    /// The program's version.
    pub version: String,
    /// Keys with one value.
    pub fixed: Settings,
    /// Swept keys, the slowest first.
    pub swept: Vec<String>,
    /// Seeds of every combination.
    pub seeds: Vec<u64>,
    /// Backends of the points.
    pub backends: Vec<BackendKind>,
    /// Points of the whole experiment.
    pub points: usize,
    /// This file's part, from 1.
    pub shard: usize,
    /// Of so many.
    pub shards: usize,
    /// What to draw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plots: Vec<PlotTable>,
}

/// The subject of results before there were several.
fn layer() -> String {
    "layer".to_owned()
}

impl Header {
    /// Whether both are of the same points; what is told and drawn of them is another matter.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let bare =
            |header: &Self| Self { claim: None, findings: Vec::new(), plots: Vec::new(), ..header.clone() };
        bare(self) == bare(other)
    }
}

/// A finished point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointLine {
    /// Its number.
    pub point: usize,
    /// The swept keys' values.
    pub settings: Settings,
    /// Its seed.
    pub seed: u64,
    /// The command that has the same records.
    pub command: String,
    /// A record a backend.
    pub records: Vec<Record>,
}

/// The finished points of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// Of the experiment as a whole: shard 1 of 1.
    pub header: Header,
    /// Finished points, in order.
    pub lines: Vec<PointLine>,
    /// Points that no file has, in order.
    pub missing: Vec<usize>,
    /// The files.
    pub files: Vec<PathBuf>,
}

/// A plot of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlotTable {
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Name of the file, without its ending.
    pub file: String,
    /// A swept key, or a column of the results.
    pub x: String,
    /// Columns of the results, a line each.
    pub y: Vec<String>,
    /// Swept keys that come first in the legend; others that vary follow by themselves.
    #[serde(default)]
    pub series: Vec<String>,
    /// Equal factors along x even where the values are not spaced so.
    #[serde(default)]
    pub log_x: bool,
    /// The same along y.
    #[serde(default)]
    pub log_y: bool,
    /// Values from sources, to be marked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stated: Vec<Stated>,
}

impl PlotTable {
    /// `y` along `x`, and nothing else said.
    #[must_use]
    pub fn of(x: &str, y: &str) -> Self {
        Self { x: x.to_owned(), y: vec![y.to_owned()], ..Self::default() }
    }
}

/// A value that a source states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// Along x, in the axis' unit; where x has names, the place of one, from 0.
    pub x: f64,
    /// Along y, in the axis' unit.
    pub y: f64,
    /// Whose it is.
    pub text: String,
}

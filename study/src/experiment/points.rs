//! An experiment and its points, in order.

use super::record::PlotTable;
use super::subject::Subject;
use super::value::{Ordered, Settings, Value};
use crate::layer::BackendKind;
use crate::scenario::distinct;
use std::fmt;

/// Most points of an experiment, seeds counted.
pub const POINTS_MAX: usize = 100_000;

/// Keys that vary together: rows of settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// One key each, or several that go together.
    pub rows: Vec<Settings>,
}

/// What an experiment file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experiment {
    /// What the results are called.
    pub name: String,
    /// What it tests.
    pub claim: Option<String>,
    /// What comes out, as sentences for [`Merged::findings`](super::Merged::findings).
    pub findings: Vec<String>,
    /// Settings with one value, in file order; what is swept takes their place.
    pub fixed: Settings,
    /// Backends, ascending; `None` where the file leaves them to the command.
    pub backends: Option<Vec<BackendKind>>,
    /// Settings with several values, in file order.
    pub axes: Vec<Axis>,
    /// Seeds, each a point of its own.
    pub seeds: Vec<u64>,
    /// What to draw.
    pub plots: Vec<PlotTable>,
    /// Fixed settings that a flag gave, in place of the file's.
    pub changed: Settings,
    /// The file.
    pub origin: String,
    /// Lines of places, from 1.
    pub lines: Vec<(String, usize)>,
}

/// One point: a value for every swept key, and a seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its number, from 0.
    pub index: usize,
    /// The swept keys, in file order.
    pub settings: Settings,
    /// Its seed.
    pub seed: u64,
}

/// `throttle = 8, scheme = flat, seed 3`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comma = if self.settings.0.is_empty() { "" } else { ", " };
        write!(f, "{}{comma}seed {}", self.settings, self.seed)
    }
}

impl Axis {
    /// The values of one key.
    #[must_use]
    pub fn of(key: &str, values: Vec<Value>) -> Self {
        Self { rows: values.into_iter().map(|value| Ordered(vec![(key.to_owned(), value)])).collect() }
    }

    /// Its keys, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        distinct(self.rows.iter().flat_map(|row| &row.0).map(|(key, _)| key.as_str()))
    }

    /// Changes values; rows that no longer differ are one.
    fn map(&mut self, key: &str, change: impl Fn(&Value) -> Option<Value>) {
        let mut changed = false;
        for (_, value) in self.rows.iter_mut().flat_map(|row| &mut row.0).filter(|(known, _)| known == key) {
            if let Some(other) = change(value) {
                *value = other;
                changed = true;
            }
        }
        // Each is compared with all before it.
        if changed {
            self.rows = distinct(std::mem::take(&mut self.rows));
        }
    }
}

impl Experiment {
    /// How many points there are, seeds counted.
    #[must_use]
    pub fn num_points(&self) -> usize {
        self.axes.iter().map(|axis| axis.rows.len()).product::<usize>() * self.seeds.len()
    }

    /// The same; `None` beyond [`POINTS_MAX`].
    pub(super) fn num_points_checked(&self) -> Option<usize> {
        let rows = self.axes.iter().map(|axis| axis.rows.len());
        let points = rows.chain([self.seeds.len()]).try_fold(1, usize::checked_mul);
        points.filter(|&points| points <= POINTS_MAX)
    }

    /// The swept keys, the slowest first.
    #[must_use]
    pub fn swept(&self) -> Vec<String> {
        self.axes.iter().flat_map(|axis| axis.keys()).map(str::to_owned).collect()
    }

    /// The point of a number below [`num_points`](Self::num_points): the first key varies slowest, the seed fastest.
    /// `seed_key` is the subject's setting that is a seed by another name.
    #[must_use]
    pub fn point(&self, index: usize, seed_key: Option<&str>) -> Point {
        let mut rest = index / self.seeds.len();
        let mut rows: Vec<usize> = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            rows.push(rest % axis.rows.len());
            rest /= axis.rows.len();
        }
        let chosen = self.axes.iter().zip(rows.into_iter().rev());
        let settings = Ordered(chosen.flat_map(|(axis, row)| axis.rows[row].0.iter().cloned()).collect());
        let swept = seed_key.and_then(|key| settings.get(key)).and_then(Value::seed);
        let seed = swept.unwrap_or(self.seeds[index % self.seeds.len()]);
        Point { index, settings, seed }
    }

    /// The fixed settings, then the point's own.
    #[must_use]
    pub fn settings(&self, point: &Point) -> Settings {
        Ordered(self.fixed.0.iter().chain(&point.settings.0).cloned().collect())
    }

    /// Puts `key` to one value, whatever the file says; swept rows that differed in nothing else are one.
    pub fn set(&mut self, key: &str, value: &Value) {
        for axis in self.axes.iter_mut().filter(|axis| axis.keys().contains(&key)) {
            let keys: Vec<String> = axis.keys().into_iter().map(str::to_owned).collect();
            for row in axis.rows.iter_mut().filter(|row| row.get(key).is_none()) {
                row.0.push((key.to_owned(), value.clone()));
                row.0.sort_by_key(|(key, _)| keys.iter().position(|known| known == key));
            }
            axis.map(key, |_| Some(value.clone()));
        }
        let below = format!("{key}.");
        self.fixed.0.retain(|(known, _)| known != key && !known.starts_with(&below));
        self.fixed.0.push((key.to_owned(), value.clone()));
        self.changed.0.push((key.to_owned(), value.clone()));
    }

    /// Has all settings mean `backend`, which a flag asks for.
    pub(super) fn choose(&mut self, backend: BackendKind, subject: &dyn Subject) {
        for (key, value) in &mut self.fixed.0 {
            if let Some(changed) = subject.on_backend(backend, key, value) {
                *value = changed;
            }
        }
        for axis in &mut self.axes {
            let keys: Vec<String> = axis.keys().into_iter().map(str::to_owned).collect();
            for key in keys {
                axis.map(&key, |value| subject.on_backend(backend, &key, value));
            }
        }
    }
}

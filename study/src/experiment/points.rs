//! The points of an experiment, in order.

use super::file::Experiment;
use super::value::{Ordered, Settings};
use std::fmt;

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

impl Experiment {
    /// How many points there are, seeds counted.
    #[must_use]
    pub fn num_points(&self) -> usize {
        self.axes.iter().map(|axis| axis.rows.len()).product::<usize>() * self.seeds.len()
    }

    /// The point of a number below [`num_points`](Self::num_points): the first key varies slowest, the seed fastest.
    #[must_use]
    pub fn point(&self, index: usize) -> Point {
        let mut rest = index / self.seeds.len();
        let mut rows: Vec<usize> = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            rows.push(rest % axis.rows.len());
            rest /= axis.rows.len();
        }
        let chosen = self.axes.iter().zip(rows.into_iter().rev());
        let settings =
            chosen.flat_map(|(axis, row)| axis.keys.iter().cloned().zip(axis.rows[row].iter().cloned()));
        Point { index, settings: Ordered(settings.collect()), seed: self.seeds[index % self.seeds.len()] }
    }

    /// The fixed keys, then the point's own.
    #[must_use]
    pub fn settings(&self, point: &Point) -> Settings {
        Ordered(self.fixed.0.iter().chain(&point.settings.0).cloned().collect())
    }
}

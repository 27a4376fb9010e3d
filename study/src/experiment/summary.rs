//! Results over seeds: for each combination of swept keys and each backend the mean of every column, with its interval.

use super::interval::mean_and_interval;
use super::merge::Merged;
use super::value::Settings;
use crate::layer::{BackendKind, Record, Verification};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A column's name, which is the record's key, and how it is read; `None` where a record has none.
pub type Column = (&'static str, fn(&Record) -> Option<f64>);

/// What is averaged over seeds.
pub const COLUMNS: [Column; 13] = [
    ("dispatch_us", |record| Some(record.dispatch_us)),
    ("combine_us", |record| Some(record.combine_us)),
    ("a2a_us", |record| Some(record.a2a_us)),
    ("bound_us", |record| Some(record.bound_us)),
    ("compute_us", |record| Some(record.compute_us)),
    ("layer_us", |record| Some(record.layer_us)),
    ("a2a_slowdown", |record| record.a2a_slowdown),
    ("layer_slowdown", |record| record.layer_slowdown),
    ("intra_copies_per_token", |record| Some(record.intra_copies_per_token)),
    ("inter_copies_per_token", |record| Some(record.inter_copies_per_token)),
    ("measured_over_sim", |record| record.measured_over_sim),
    ("lateness_p99_us", |record| record.lateness_p99_us),
    ("weight_bytes_per_rank", |record| Some(record.weight_bytes_per_rank as f64)),
];

/// A mean over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width of the 95% confidence interval; `None` for one seed.
    pub ci95: Option<f64>,
}

/// One combination of swept keys on one backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryRow {
    /// The swept keys.
    pub settings: Settings,
    /// The backend.
    pub backend: BackendKind,
    /// Seeds that are finished.
    pub seeds: usize,
    /// What was checked of every record.
    pub verification: Verification,
    /// False if any record is not verified.
    pub verified: bool,
    /// False if any record is not valid.
    pub valid: bool,
    /// Means by [`COLUMNS`]; `None` where a record has no value.
    #[serde(flatten)]
    pub means: Means,
}

/// The means of a row, in the order of [`COLUMNS`].
#[derive(Clone, Debug, PartialEq)]
pub struct Means(pub Vec<Option<Estimate>>);

impl Serialize for Means {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COLUMNS.len()))?;
        for ((name, _), mean) in COLUMNS.iter().zip(&self.0) {
            map.serialize_entry(name, mean)?;
        }
        map.end()
    }
}

impl SummaryRow {
    /// The mean of a column.
    #[must_use]
    pub fn mean(&self, column: &str) -> Option<Estimate> {
        let at = COLUMNS.iter().position(|(name, _)| *name == column)?;
        self.means.0.get(at).copied().flatten()
    }
}

/// The rows of `merged`, in the order of its points, backends ascending.
#[must_use]
pub fn summarise(merged: &Merged) -> Vec<SummaryRow> {
    let mut rows = Vec::new();
    // Seeds of one combination follow each other.
    for group in merged.lines.chunk_by(|left, right| left.settings == right.settings) {
        for backend in &merged.header.backends {
            let records: Vec<&Record> = group
                .iter()
                .flat_map(|line| line.records.iter().filter(|record| record.backend == *backend))
                .collect();
            let Some(first) = records.first() else { continue };
            let means = COLUMNS.iter().map(|(_, read)| {
                let values: Option<Vec<f64>> = records.iter().map(|record| read(record)).collect();
                values.map(|values| {
                    let (mean, ci95) = mean_and_interval(&values);
                    Estimate { mean, ci95 }
                })
            });
            rows.push(SummaryRow {
                settings: group[0].settings.clone(),
                backend: *backend,
                seeds: records.len(),
                verification: first.verification,
                verified: records.iter().all(|record| record.verified),
                valid: records.iter().all(|record| record.valid),
                means: Means(means.collect()),
            });
        }
    }
    rows
}

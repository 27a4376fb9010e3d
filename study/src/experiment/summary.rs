//! Results over seeds: for each combination of swept keys and each backend the mean of any number, with its interval.

use super::interval::mean_and_interval;
use super::record::{Merged, Record};
use super::subject::Subject;
use super::value::{Settings, Value};
use crate::layer::{BackendKind, Verification};
use serde::Serialize;
use serde_json::json;

/// A mean over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width of the 95% confidence interval; `None` for one seed.
    pub ci95: Option<f64>,
}

/// One combination of swept keys on one backend.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryRow<'a> {
    /// The swept keys.
    pub settings: &'a Settings,
    /// The backend.
    pub backend: BackendKind,
    /// What was checked of every record.
    pub verification: Verification,
    /// A record a seed that is finished.
    pub records: Vec<&'a Record>,
}

impl SummaryRow<'_> {
    /// The mean of the number at `key`; `None` where a record has none.
    #[must_use]
    pub fn estimate(&self, key: &str) -> Option<Estimate> {
        let values: Option<Vec<f64>> = self.records.iter().map(|record| record.number(key)).collect();
        values.map(|values| {
            let (mean, ci95) = mean_and_interval(&values);
            Estimate { mean, ci95 }
        })
    }

    /// False if any record is not verified.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.records.iter().all(|record| record.verified)
    }

    /// False if any record is not valid.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.records.iter().all(|record| record.valid)
    }

    /// The word for `key`: a swept key's value, or `backend`.
    #[must_use]
    pub fn word(&self, key: &str) -> String {
        match key {
            "backend" => self.backend.to_string(),
            _ => self.settings.get(key).map_or_else(String::new, Value::to_string),
        }
    }

    /// How far the row can be trusted: what its records say, of several seeds one that has no band, if any has none.
    fn trust(&self) -> Option<&serde_json::Value> {
        let said = || self.records.iter().filter_map(|record| record.value("trust"));
        said()
            .find(|trust| trust.get("band").is_none_or(serde_json::Value::is_null))
            .or_else(|| said().next())
    }

    /// The row with all columns of `subject`.
    #[must_use]
    pub fn json(&self, subject: &dyn Subject) -> serde_json::Value {
        let mut row = json!({
            "settings": self.settings,
            "backend": self.backend,
            "seeds": self.records.len(),
            "verification": self.verification,
            "verified": self.verified(),
            "valid": self.valid(),
        });
        for column in subject.columns() {
            row[column.key] = json!(self.estimate(column.key));
        }
        if let Some(trust) = self.trust() {
            row["trust"] = trust.clone();
        }
        row
    }
}

/// The rows of `merged`, in the order of its points, backends ascending.
#[must_use]
pub fn summarise(merged: &Merged) -> Vec<SummaryRow<'_>> {
    let mut rows = Vec::new();
    // Seeds of one combination follow each other.
    for group in merged.lines.chunk_by(|left, right| left.settings == right.settings) {
        for backend in &merged.header.backends {
            let all = group.iter().flat_map(|line| &line.records);
            let records: Vec<&Record> = all.filter(|record| record.backend == *backend).collect();
            let Some(first) = records.first() else { continue };
            let (settings, verification) = (&group[0].settings, first.verification);
            rows.push(SummaryRow { settings, backend: *backend, verification, records });
        }
    }
    rows
}

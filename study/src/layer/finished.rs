//! Finished rows of a comparison: told as they come, found again by one that goes on, and reported where one ends early.

use super::record::{Record, Report};
use super::traced::{Traced, TracedStep};
use super::{BackendKind, CompareError, CompareSpec, Configuration, LatencyChoice};
use moe::DispatchScheme;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a row is about: a finished one stands for no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    configuration: usize,
    title: String,
    rack_sizes: Vec<u32>,
    scheme: DispatchScheme,
    placement: String,
    gate_rack_limit: Option<u32>,
    latency: String,
    backend: BackendKind,
    seeds: Vec<u64>,
}

impl About {
    pub(super) fn new(
        spec: &CompareSpec,
        row: &Configuration,
        configuration: usize,
        latency: LatencyChoice,
        backend: BackendKind,
    ) -> Self {
        Self {
            configuration,
            title: row.title.clone(),
            rack_sizes: row.cluster.rack_sizes().to_vec(),
            scheme: row.scheme,
            placement: row.placement_name.clone(),
            gate_rack_limit: row.gate_rack_limit(),
            latency: latency.to_string(),
            backend,
            seeds: spec.seeds.clone(),
        }
    }

    pub(super) fn backend(&self) -> BackendKind {
        self.backend
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} latency, {}", self.title, self.latency, self.backend)
    }
}

/// A finished row, before it is related to others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedRow {
    /// What it is about.
    pub about: About,
    /// Its numbers. One that failed its checks counts too: it is marked, and doing it again would hide that.
    pub record: Record,
}

/// Hears of a finished row and of its place in the report.
type Told = dyn FnMut(usize, &FinishedRow) + Send;
/// Hears of what a finished row's timeline is made of.
type Trace = dyn FnMut(&Traced<'_>) + Send;

/// Rows that are finished, by their place in the report.
#[derive(Default)]
pub struct Finished {
    rows: BTreeMap<usize, FinishedRow>,
    told: Option<Box<Told>>,
    trace: Option<Box<Trace>>,
    /// The comparison with what was decided for the user, and how many rows it has.
    whole: Option<(CompareSpec, usize)>,
}

impl Finished {
    /// Rows that were finished before; `told` hears of each that comes, at once.
    #[must_use]
    pub fn new(
        rows: BTreeMap<usize, FinishedRow>,
        told: impl FnMut(usize, &FinishedRow) + Send + 'static,
    ) -> Self {
        Self { rows, told: Some(Box::new(told)), trace: None, whole: None }
    }

    /// The same, and `trace` hears of what each row's timeline is made of, where the spec asks for one.
    #[must_use]
    pub fn traced(self, trace: impl FnMut(&Traced<'_>) + Send + 'static) -> Self {
        Self { trace: Some(Box::new(trace)), ..self }
    }

    /// The report of what is finished, marked as incomplete; `None` without any row.
    #[must_use]
    pub fn incomplete(&self) -> Option<Report> {
        let (spec, asked) = self.whole.as_ref()?;
        if self.rows.is_empty() {
            return None;
        }
        let mut report = Report::new(spec, self.rows.values().map(|row| row.record.clone()).collect());
        (report.complete, report.rows_asked) = (false, Some(*asked));
        Some(report)
    }

    /// The report of a comparison of which these `rows` of `asked` are finished, marked as incomplete; `None` without any.
    pub(crate) fn so_far(
        spec: &CompareSpec,
        rows: BTreeMap<usize, FinishedRow>,
        asked: usize,
    ) -> Option<Report> {
        Self { rows, told: None, trace: None, whole: Some((spec.clone(), asked)) }.incomplete()
    }

    /// A comparison of these rows begins: those that are finished.
    pub(super) fn begin(
        &mut self,
        spec: &CompareSpec,
        all: &[About],
    ) -> Result<Vec<Option<Record>>, CompareError> {
        self.whole = Some((spec.clone(), all.len()));
        if let Some(row) = self.rows.iter().find_map(|(&at, row)| (at >= all.len()).then_some(row)) {
            return Err(CompareError::Finished { found: row.about.to_string(), wanted: None });
        }
        let find = |(at, wanted): (usize, &About)| match self.rows.get(&at) {
            None => Ok(None),
            Some(row) if row.about == *wanted => Ok(Some(row.record.clone())),
            Some(row) => {
                Err(CompareError::Finished { found: row.about.to_string(), wanted: Some(wanted.to_string()) })
            }
        };
        all.iter().enumerate().map(find).collect()
    }

    /// Tells of a row's timeline; the row is of the configuration `row`.
    pub(super) fn trace(
        &mut self,
        at: usize,
        (row, record): (&Configuration, &Record),
        steps: &[TracedStep],
    ) {
        let (Some(trace), Some((spec, of))) = (&mut self.trace, &self.whole) else { return };
        trace(&Traced::new(spec, (at, *of), (row, record), steps));
    }

    pub(super) fn keep(&mut self, at: usize, about: &About, record: &Record) {
        let row = FinishedRow { about: about.clone(), record: record.clone() };
        if let Some(told) = &mut self.told {
            told(at, &row);
        }
        self.rows.insert(at, row);
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finished")
            .field("rows", &self.rows)
            .field("whole", &self.whole)
            .finish_non_exhaustive()
    }
}

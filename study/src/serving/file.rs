//! Reads a serving experiment: one run's settings, and a sweep over any of them.
//!
//! A swept key is the place of a setting: `parallel.pp`, written as one key in quotes or as a key with dots. Points are the product of
//! all, the first key (by name) slowest; `[[sweep.points]]` are rows of keys that go together.

use super::ServeError;
use super::spec::{CacheTable, Deployed, Parallel, PlotTable, ServeSpec};
use crate::experiment::range_of_table;
use serde::Deserialize;
use serving::arrivals::ArrivalSpec;
use serving::{Slo, TrainPolicy};
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Most points of a file.
pub const POINTS_MAX: usize = 10_000;

/// A serving experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct ServeFile {
    /// What its results are called.
    pub name: String,
    /// The claim that it tests.
    pub claim: Option<String>,
    /// Swept keys.
    pub swept: Vec<String>,
    /// Runs, each with the values of the swept keys.
    pub points: Vec<(BTreeMap<String, Value>, ServeSpec)>,
    /// Plots.
    pub plots: Vec<PlotTable>,
}

/// The file as written: what isn't used from here is read for its faults, which have their lines here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    claim: Option<String>,
    #[serde(default)]
    plot: Vec<PlotTable>,
    #[serde(default)]
    sweep: Table,
    #[serde(default, rename = "serve")]
    _serve: Deployed,
    #[serde(default, rename = "parallel")]
    _parallel: Parallel,
    #[serde(default, rename = "scheduler")]
    _scheduler: TrainPolicy,
    #[serde(rename = "arrivals")]
    _arrivals: ArrivalSpec,
    #[serde(default, rename = "cache")]
    _cache: Option<CacheTable>,
    #[serde(default, rename = "slo")]
    _slo: Slo,
}

/// The tables of a run.
const TABLES: [&str; 6] = ["serve", "parallel", "scheduler", "arrivals", "cache", "slo"];

/// Reads `text`; `origin` is its name for messages.
///
/// # Errors
/// [`ServeError::File`] with the line of the first fault.
pub fn parse_serve_file(text: &str, origin: &str) -> Result<ServeFile, ServeError> {
    let fault = |line: usize, problem: String| ServeError::File { origin: origin.to_owned(), line, problem };
    let line_of =
        |at: usize| 1 + text.as_bytes()[..at.min(text.len())].iter().filter(|&&b| b == b'\n').count();
    let of_toml = |error: &toml::de::Error| {
        let mut problem = error.message().replace('\n', " ");
        if problem.starts_with("unknown field `experiment`") {
            problem = "[experiment] is for `railyard run`; give the file to it".to_owned();
        }
        fault(error.span().map_or(1, |span| line_of(span.start)), problem)
    };
    let written: Written = toml::from_str(text).map_err(|error| of_toml(&error))?;
    let key_line = |key: &str| {
        let last = key.rsplit('.').next().unwrap_or(key);
        let found = text.lines().position(|line| line.contains(key));
        1 + found.or_else(|| text.lines().position(|line| line.contains(last))).unwrap_or(0)
    };
    let all: Table = toml::from_str(text).map_err(|error| of_toml(&error))?;
    let axes = axes(&written.sweep).map_err(|(key, problem)| fault(key_line(&key), problem))?;
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.len()));
    if count.is_none_or(|count| count > POINTS_MAX) {
        return Err(fault(key_line("sweep"), format!("more than {POINTS_MAX} points; give fewer values")));
    }
    let base: Table = all.into_iter().filter(|(key, _)| TABLES.contains(&key.as_str())).collect();
    let mut points = Vec::new();
    let mut rows = vec![BTreeMap::new()];
    for axis in &axes {
        let each = |row: &BTreeMap<String, Value>| {
            let row = row.clone();
            axis.iter().map(move |more| row.clone().into_iter().chain(more.clone()).collect())
        };
        rows = rows.iter().flat_map(each).collect();
    }
    for row in rows {
        let mut table = base.clone();
        for (key, value) in &row {
            set(&mut table, key, value.clone()).map_err(|problem| fault(key_line(key), problem))?;
        }
        let spec = ServeSpec::deserialize(Value::Table(table)).map_err(|error| {
            let swept: Vec<String> = row.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            let first = row.keys().next().map_or(1, |key| key_line(key));
            fault(first, format!("{} ({})", error.message().replace('\n', " "), swept.join(", ")))
        })?;
        points.push((row, spec));
    }
    let mut swept: Vec<String> = Vec::new();
    for key in points.iter().flat_map(|(row, _)| row.keys()) {
        if !swept.contains(key) {
            swept.push(key.clone());
        }
    }
    for plot in &written.plot {
        if !is_plain(&plot.file) || plot.y.is_empty() {
            let problem = format!(
                "plot {:?}: give file a plain name without ending, and y a column at least",
                plot.file
            );
            return Err(fault(key_line("[[plot]]"), problem));
        }
        for key in &plot.series {
            if !swept.contains(key) {
                let problem = format!("series: `{key}` is not swept; swept are {}", swept.join(", "));
                return Err(fault(key_line(key), problem));
            }
        }
    }
    let stem = std::path::Path::new(origin).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = written.name.or(stem).unwrap_or_else(|| "serve".to_owned());
    if !is_plain(&name) {
        let problem =
            format!("name = {name:?}: give letters, digits, `-`, `_` and `.`: files are called by it");
        return Err(fault(key_line("name"), problem));
    }
    Ok(ServeFile { name, claim: written.claim, swept, points, plots: written.plot })
}

/// Whether a file can be called so, in any directory.
fn is_plain(name: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(sound)
}

/// The rows of each swept key, or of keys that go together.
type Axis = Vec<BTreeMap<String, Value>>;

fn axes(sweep: &Table) -> Result<Vec<Axis>, (String, String)> {
    let mut axes = Vec::new();
    collect(sweep, "", &mut axes)?;
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    for axis in &axes {
        let keys: BTreeSet<&String> = axis.iter().flat_map(BTreeMap::keys).collect();
        for key in keys {
            if !seen.insert(key) {
                return Err((key.clone(), format!("`{key}` is swept twice; keep one of them")));
            }
        }
    }
    Ok(axes)
}

fn collect(table: &Table, prefix: &str, axes: &mut Vec<Axis>) -> Result<(), (String, String)> {
    for (key, value) in table {
        let place = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let told = |problem: String| (place.clone(), format!("{place}: {problem}"));
        match value {
            Value::Array(rows) if place == "points" => {
                let row = |row: &Value| match row {
                    Value::Table(row) => {
                        let mut flat = BTreeMap::new();
                        flatten(row, "", &mut flat);
                        Ok(flat)
                    }
                    _ => Err(told("give [[sweep.points]] tables".to_owned())),
                };
                let axis: Axis = rows.iter().map(row).collect::<Result<_, _>>()?;
                // A row that leaves a key out has the file's value.
                if axis.is_empty() || axis.iter().any(BTreeMap::is_empty) {
                    return Err(told("give rows of keys".to_owned()));
                }
                axes.push(axis);
            }
            Value::Array(values) if values.is_empty() => return Err(told("no values".to_owned())),
            Value::Array(values) => {
                let row = |value: &Value| BTreeMap::from([(place.clone(), value.clone())]);
                axes.push(values.iter().map(row).collect());
            }
            Value::Table(range) if range.contains_key("from") => {
                let values = range_of_table(range).map_err(told)?;
                axes.push(values.into_iter().map(|value| BTreeMap::from([(place.clone(), value)])).collect());
            }
            Value::Table(more) => collect(more, &place, axes)?,
            _ => return Err(told("give several values, [..] or { from, to, step }".to_owned())),
        }
    }
    Ok(())
}

fn flatten(table: &Table, prefix: &str, flat: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let place = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(more) if TABLES.contains(&place.as_str()) => flatten(more, &place, flat),
            value => {
                flat.insert(place, value.clone());
            }
        }
    }
}

/// Puts `value` at the place `key` of `table`.
fn set(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let Some((first, rest)) = key.split_once('.') else {
        return Err(format!("`{key}`: a swept key is the place of a setting, such as \"parallel.pp\""));
    };
    if !TABLES.contains(&first) {
        return Err(format!("`{key}`: no table [{first}]; there are {}", TABLES.join(", ")));
    }
    let mut place = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
    let mut parts = rest.split('.').peekable();
    while let Some(part) = parts.next() {
        let Value::Table(inner) = place else {
            return Err(format!("`{key}`: {first} has a value where a table is needed"));
        };
        if parts.peek().is_none() {
            inner.insert(part.to_owned(), value);
            return Ok(());
        }
        place = inner.entry(part).or_insert_with(|| Value::Table(Table::new()));
    }
    Ok(())
}

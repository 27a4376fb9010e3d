//! Results as a table for people and as CSV for programs.

use super::merge::Merged;
use super::results::PointLine;
use super::summary::{Estimate, SummaryRow};
use super::value::{Ordered, Settings, Value};
use crate::layer::{Record, Verification};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;

/// Rules above and below, and under the heading.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));
/// Columns of the table for people: those of the summary that say most.
const SHOWN: [(&str, &str); 9] = [
    ("dispatch_us", "dispatch us"),
    ("combine_us", "combine us"),
    ("a2a_us", "a2a us"),
    ("compute_us", "compute us"),
    ("layer_us", "layer us"),
    ("a2a_slowdown", "a2a slowdown"),
    ("layer_slowdown", "layer slowdown"),
    ("intra_copies_per_token", "copies/token in rack"),
    ("inter_copies_per_token", "between racks"),
];

/// The rows as an aligned table: swept keys first, then means with their 95% intervals.
#[must_use]
pub fn table(merged: &Merged, rows: &[SummaryRow]) -> String {
    let shown: Vec<_> =
        SHOWN.iter().filter(|(column, _)| rows.iter().any(|row| row.mean(column).is_some())).collect();
    let swept = &merged.header.swept;
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    let heading = swept.iter().map(String::as_str).chain(["backend", "seeds"]);
    table.set_header(
        heading.chain(shown.iter().map(|(_, heading)| *heading)).chain(["verified"]).collect::<Vec<_>>(),
    );
    for row in rows {
        let keys = swept.iter().map(|key| row.settings.get(key).map_or_else(String::new, Value::to_string));
        let cells = keys.chain([row.backend.to_string(), row.seeds.to_string()]);
        let means = shown.iter().map(|(column, _)| row.mean(column).map_or_else(|| "-".to_owned(), estimate));
        table.add_row(cells.chain(means).chain([verdict(row).to_owned()]).collect::<Vec<_>>());
    }
    for at in 0..swept.len() + 2 + shown.len() + 1 {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 1));
            if (swept.len() + 1..swept.len() + 2 + shown.len()).contains(&at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt() + "\n"
}

/// Four significant digits and the interval with as many decimals.
fn estimate(estimate: Estimate) -> String {
    let decimals = match estimate.mean.abs() {
        large if large >= 1_000.0 => 0,
        large if large >= 100.0 => 1,
        large if large >= 10.0 => 2,
        _ => 3,
    };
    let mean = format!("{:.decimals$}", estimate.mean);
    match estimate.ci95 {
        Some(half) if half > 0.0 => format!("{mean} ± {half:.decimals$}"),
        _ => mean,
    }
}

fn verdict(row: &SummaryRow) -> &'static str {
    match (row.verified, row.valid, row.verification) {
        (false, ..) => "NO",
        (true, false, _) => "INVALID",
        (.., Verification::OutputsAndTraffic) => "outputs, traffic",
        (.., Verification::Traffic) => "traffic",
        (.., Verification::NothingRan) => "-",
    }
}

/// One record with its point: what a line of CSV or of merged JSON lines has.
#[derive(Clone, Debug, Serialize)]
pub struct FlatRecord<'a> {
    /// The point's number.
    pub point: usize,
    /// Its seed.
    pub seed: u64,
    /// The swept keys.
    pub settings: &'a Settings,
    /// The record.
    #[serde(flatten)]
    pub record: &'a Record,
    /// The command that has this row among others.
    pub command: &'a str,
}

impl Merged {
    /// Every record, in the order of points, backends ascending.
    pub fn records(&self) -> impl Iterator<Item = FlatRecord<'_>> {
        self.lines.iter().flat_map(|PointLine { point, settings, seed, command, records }| {
            records.iter().map(move |record| FlatRecord {
                point: *point,
                seed: *seed,
                settings,
                record,
                command,
            })
        })
    }

    /// Names of a record's columns in CSV and Parquet, each with its value of every record: numbers, texts, booleans or null.
    /// A swept key that a record has under the same name for something else is `set_KEY`; one that it repeats stands once.
    ///
    /// # Errors
    /// None are known: all keys are strings and all numbers finite.
    pub fn columns(&self) -> serde_json::Result<Vec<(String, Vec<serde_json::Value>)>> {
        let mut columns: Vec<(String, Vec<serde_json::Value>)> = Vec::new();
        for flat in self.records() {
            let record: Ordered<serde_json::Value> =
                serde_json::from_str(&serde_json::to_string(flat.record)?)?;
            let swept = self.header.swept.iter().filter(|key| !REPEATED.contains(&key.as_str())).map(|key| {
                let name = if record.get(key).is_some() { format!("set_{key}") } else { key.clone() };
                (name, flat.settings.get(key).map(scalar).unwrap_or_default())
            });
            let place = [("point".to_owned(), flat.point.into()), ("seed".to_owned(), flat.seed.into())];
            let cells: Vec<(String, serde_json::Value)> = place.into_iter().chain(swept).collect();
            let command = ("command".to_owned(), flat.command.into());
            // Every record has the same keys in the same order.
            for (at, (name, value)) in cells.into_iter().chain(record.0).chain([command]).enumerate() {
                match columns.get_mut(at) {
                    Some((_, values)) => values.push(value),
                    None => columns.push((name, vec![value])),
                }
            }
        }
        Ok(columns)
    }
}

/// Swept keys whose value a record repeats in the same words.
const REPEATED: [&str; 3] = ["scheme", "placement", "latency"];

/// A value as one cell: lists in the words of a flag.
fn scalar(value: &Value) -> serde_json::Value {
    match value {
        Value::List(_) => value.to_string().into(),
        other => serde_json::to_value(other).unwrap_or_default(),
    }
}

/// One line a record, with a heading; null is empty.
///
/// # Errors
/// As [`Merged::columns`].
pub fn csv(merged: &Merged) -> serde_json::Result<String> {
    let columns = merged.columns()?;
    let heading: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut text = heading.join(",") + "\n";
    for row in 0..columns.first().map_or(0, |(_, values)| values.len()) {
        let cells: Vec<String> = columns.iter().map(|(_, values)| cell(&values[row])).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    Ok(text)
}

/// RFC 4180: quoted where a comma, quote or line end would be misread.
fn cell(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

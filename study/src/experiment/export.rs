//! Records for programs: one by one, as columns, as CSV.

use super::record::{Merged, PointLine, Record};
use super::value::{Ordered, Settings, Value};
use serde::Serialize;

/// One record with its point: what a line of CSV or of merged JSON lines has.
#[derive(Clone, Debug, Serialize)]
pub struct FlatRecord<'a> {
    /// What the experiment is about.
    pub subject: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The point's number.
    pub point: usize,
    /// Its seed.
    pub seed: u64,
    /// The swept keys.
    pub settings: &'a Settings,
    /// The record.
    #[serde(flatten)]
    pub record: &'a Record,
    /// The command that has the same record.
    pub command: &'a str,
}

/// Swept keys whose value a record of a layer repeats in the same words.
const REPEATED: [&str; 3] = ["scheme", "placement", "latency"];

impl Merged {
    /// Every record, in the order of points, backends ascending.
    pub fn records(&self) -> impl Iterator<Item = FlatRecord<'_>> {
        let (subject, name) = (self.header.subject.as_str(), self.header.name.as_str());
        self.lines.iter().flat_map(move |PointLine { point, settings, seed, command, records }| {
            let (point, seed) = (*point, *seed);
            let flat = move |record| FlatRecord { subject, name, point, seed, settings, record, command };
            records.iter().map(flat)
        })
    }

    /// Names of a record's columns in CSV and Parquet, each with its value of every record: numbers, texts, booleans or null.
    /// A swept key that a record has under the same name for something else is `set_KEY`; one that it repeats stands once.
    ///
    /// # Errors
    /// None are known: all keys are strings and all numbers finite.
    pub fn columns(&self) -> serde_json::Result<Vec<(String, Vec<serde_json::Value>)>> {
        let mut columns: Vec<(String, Vec<serde_json::Value>)> = Vec::new();
        for (row, flat) in self.records().enumerate() {
            let record: Ordered<serde_json::Value> =
                serde_json::from_str(&serde_json::to_string(flat.record)?)?;
            let swept = self
                .header
                .swept
                .iter()
                .filter(|key| !(REPEATED.contains(&key.as_str()) && record.get(key).is_some()));
            let swept = swept.map(|key| {
                let name = if record.get(key).is_some() { format!("set_{key}") } else { key.clone() };
                (name, flat.settings.get(key).map(scalar).unwrap_or_default())
            });
            let place = [("point".to_owned(), flat.point.into()), ("seed".to_owned(), flat.seed.into())];
            let cells: Vec<(String, serde_json::Value)> = place.into_iter().chain(swept).collect();
            let command = ("command".to_owned(), flat.command.into());
            let mut at = 0;
            for (name, value) in cells.into_iter().chain(record.0).chain([command]) {
                // Records have the same keys in the same order, but for those that only some have.
                let found =
                    columns.iter().skip(at).position(|(known, _)| *known == name).map(|past| at + past);
                let found = found.or_else(|| columns.iter().position(|(known, _)| *known == name));
                let place = found.unwrap_or_else(|| {
                    columns.insert(at, (name, vec![serde_json::Value::Null; row]));
                    at
                });
                columns[place].1.push(value);
                at = place + 1;
            }
            for (_, values) in &mut columns {
                values.resize(row + 1, serde_json::Value::Null);
            }
        }
        Ok(columns)
    }
}

/// A value as one cell: lists in the words of a flag.
fn scalar(value: &Value) -> serde_json::Value {
    match value {
        Value::List(_) | Value::Table(_) => value.to_string().into(),
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

//! Results of one kind side by side: what differs between their settings, and every number that both have, with its ratio.

use super::rows::{named, numbers, way};
use super::table::{Table, cell};
use super::{Of, Source};
use crate::page::escaped;
use serde_json::Value;
use std::collections::BTreeMap;
use study::experiment::{Merged, Subject, label, summarise};
use study::layer::Report;

/// Most results that stand beside each other.
const BESIDE_MAX: usize = 6;
/// Most rows of one table; a long sweep beside another is a matter for `report --json`.
const ROWS_MAX: usize = 200;

/// One result as rows with numbers, by name.
struct Beside {
    name: String,
    /// Settings that hold for all of it.
    settings: BTreeMap<String, String>,
    /// Names of numbers, with their units.
    columns: Vec<String>,
    /// (row, numbers in the order of the columns).
    rows: Vec<(String, Vec<Option<f64>>)>,
}

/// The section of all kinds of which there are several; nothing where there are none.
pub(super) fn tables(sources: &[Source<'_>]) -> String {
    let comparisons: Vec<Beside> = sources
        .iter()
        .filter_map(|source| match source.of {
            Of::Comparison(report) => Some(of_comparison(&source.name, report)),
            Of::Experiment(..) => None,
        })
        .collect();
    let mut kinds = vec![comparisons];
    let mut subjects: Vec<&str> = Vec::new();
    for source in sources {
        let Of::Experiment(merged, _) = source.of else { continue };
        let subject = merged.header.subject.as_str();
        if subjects.contains(&subject) {
            continue;
        }
        subjects.push(subject);
        let alike = sources.iter().filter_map(|source| match source.of {
            Of::Experiment(merged, known) if merged.header.subject == subject => {
                Some(of_experiment(&source.name, merged, known))
            }
            _ => None,
        });
        kinds.push(alike.collect());
    }
    let tables: String = kinds.iter().filter(|kind| kind.len() > 1).map(|kind| of_kind(kind)).collect();
    if tables.is_empty() {
        return tables;
    }
    format!("<section id=\"beside\"><h2>Side by side</h2>{tables}</section>\n")
}

fn of_comparison(name: &str, report: &Report) -> Beside {
    let settings = report.config.as_object().into_iter().flatten();
    let settings = settings.map(|(key, value)| (key.clone(), told(value)));
    let columns = ["all-to-all, us", "layer, us", "all-to-all slowdown", "layer slowdown"];
    let row = |record: &study::layer::Record| {
        // By what it does: two racks stand beside nine.
        let racks = if record.racks > 1 { "racks" } else { "1 rack" };
        let name = format!("{racks}: {}; {} latency; {}", way(record), record.latency, record.backend);
        (name, vec![Some(record.a2a_us), Some(record.layer_us), record.a2a_slowdown, record.layer_slowdown])
    };
    Beside {
        name: name.to_owned(),
        settings: settings.chain([("seeds".to_owned(), format!("{:?}", report.seeds))]).collect(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: report.rows.iter().map(row).collect(),
    }
}

fn of_experiment(name: &str, merged: &Merged, subject: &dyn Subject) -> Beside {
    let rows = summarise(merged);
    let keys = numbers(merged, &rows, subject);
    let titled = |key: &&str| {
        let (words, unit) = label(subject, key);
        if unit.is_empty() { words.to_owned() } else { format!("{words}, {unit}") }
    };
    let fixed = merged.header.fixed.0.iter().map(|(key, value)| (key.clone(), value.to_string()));
    let seeds = ("seeds".to_owned(), format!("{:?}", merged.header.seeds));
    Beside {
        name: name.to_owned(),
        settings: fixed.chain([seeds]).collect(),
        columns: keys.iter().map(titled).collect(),
        rows: rows
            .iter()
            .map(|row| {
                let numbers = keys.iter().map(|key| row.estimate(key).map(|estimate| estimate.mean));
                (format!("{}; {}", named(row), row.backend), numbers.collect())
            })
            .collect(),
    }
}

fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Settings that differ, then a table a number that both the first and another have.
fn of_kind(all: &[Beside]) -> String {
    let shown = &all[..all.len().min(BESIDE_MAX)];
    let mut html = settings(shown);
    let before = html.clone();
    let first = &shown[0];
    for (at, column) in first.columns.iter().enumerate() {
        let of = |beside: &Beside, row: &str| {
            let at = beside.columns.iter().position(|other| other == column)?;
            let (_, numbers) = beside.rows.iter().find(|(name, _)| name == row)?;
            numbers.get(at).copied().flatten()
        };
        let mut columns = vec!["row".to_owned(), first.name.clone()];
        for other in &shown[1..] {
            columns.extend([other.name.clone(), format!("over {}", first.name)]);
        }
        let mut furthest: Option<(f64, String)> = None;
        let mut rows = Vec::new();
        for (name, numbers) in &first.rows {
            let Some(own) = numbers[at] else { continue };
            let others: Vec<Option<f64>> = shown[1..].iter().map(|other| of(other, name)).collect();
            if others.iter().all(Option::is_none) {
                continue;
            }
            let mut cells = vec![name.clone(), cell(Some(own))];
            for other in others {
                let ratio = other.map(|other| other / own).filter(|ratio| ratio.is_finite());
                let further = |ratio: f64, than: f64| (ratio.ln().abs()) > than.ln().abs();
                if let Some(ratio) = ratio.filter(|ratio| *ratio > 0.0)
                    && furthest.as_ref().is_none_or(|(than, _)| further(ratio, *than))
                {
                    furthest = Some((ratio, name.clone()));
                }
                cells.extend([
                    cell(other),
                    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("x {ratio:.3}")),
                ]);
            }
            rows.push(cells);
        }
        if rows.is_empty() {
            continue;
        }
        let left = rows.len().saturating_sub(ROWS_MAX);
        rows.truncate(ROWS_MAX);
        let left = if left > 0 { format!("; {left} more rows are left out") } else { String::new() };
        let furthest = furthest.map_or_else(String::new, |(ratio, row)| match (ratio - 1.0).abs() < 5e-4 {
            true => ": the same in all rows".to_owned(),
            false => format!(": furthest apart is {row}, x {ratio:.2}"),
        });
        html.push_str(
            &Table { caption: format!("{column}{furthest}{left}"), columns, names: 1, rows }.html(),
        );
    }
    if html == before {
        html.push_str("<p>They have no row in common.</p>");
    }
    if all.len() > shown.len() {
        html.push_str(&format!("<p class=\"soft\">{} more are left out here.</p>", all.len() - shown.len()));
    }
    html
}

/// What was set otherwise.
fn settings(shown: &[Beside]) -> String {
    let keys: Vec<&String> = shown.iter().flat_map(|beside| beside.settings.keys()).collect();
    let keys = study::scenario::distinct(keys);
    let of =
        |beside: &Beside, key: &String| beside.settings.get(key).cloned().unwrap_or_else(|| "-".to_owned());
    let differ: Vec<Vec<String>> = keys
        .into_iter()
        .filter(|key| shown.iter().any(|other| of(other, key) != of(&shown[0], key)))
        .map(|key| [key.clone()].into_iter().chain(shown.iter().map(|beside| of(beside, key))).collect())
        .collect();
    if differ.is_empty() {
        let names: Vec<&str> = shown.iter().map(|beside| beside.name.as_str()).collect();
        return format!("<p>{} have the same settings.</p>", escaped(&names.join(", ")));
    }
    let columns = ["setting".to_owned()].into_iter().chain(shown.iter().map(|beside| beside.name.clone()));
    let caption = "What was set otherwise".to_owned();
    Table { caption, columns: columns.collect(), names: 1 + shown.len(), rows: differ }.html()
}

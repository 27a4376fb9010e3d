//! Which results are one line or one bar of each group: those that differ along x alone.

use super::SERIES_MAX;
use super::table::{Cell, Row, Table};
use anyhow::bail;
use blackboard::figure::Mean;
use std::collections::BTreeMap;
use study::experiment::PlotTable;

/// A point of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Along x; of names, the index.
    pub(super) x: f64,
    pub(super) mean: Mean,
    /// What orders points where x is a result itself.
    along: f64,
}

/// Points that are drawn alike.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// The words of the legend.
    pub(super) label: String,
    /// What they are made of.
    pub(super) parts: Vec<String>,
    /// In order.
    pub(super) points: Vec<Point>,
    /// The key that runs along the line where x is a result itself.
    pub(super) along: Option<String>,
}

impl Series {
    pub(super) fn xs(&self) -> impl Iterator<Item = f64> + Clone {
        self.points.iter().map(|point| point.x)
    }
}

/// The series of `plot`, in the order of rows, the columns of y slowest.
pub(super) fn series(
    table: &Table,
    plot: &PlotTable,
    numeric: bool,
    places: &[Cell],
) -> anyhow::Result<Vec<Series>> {
    let along = along(table, plot);
    let keys = keys(table, plot, numeric, along.as_deref());
    let many = plot.y.len() > 1;
    let mut drawn: Vec<Series> = Vec::new();
    for (y, row) in plot.y.iter().flat_map(|y| table.rows.iter().map(move |row| (y, row))) {
        let (Some(&mean), Some(at)) = (row.values.get(y), table.at(row, &plot.x)) else { continue };
        let x = match &at {
            Cell::Number(number) if numeric => *number,
            other => places.iter().position(|place| place == other).unwrap_or(0) as f64,
        };
        let order = along.as_ref().and_then(|key| row.settings.get(key));
        let point = Point { x, mean, along: if let Some(Cell::Number(order)) = order { *order } else { x } };
        let mut parts: Vec<String> = keys
            .iter()
            .map(|key| row.settings.get(*key).map_or_else(String::new, |cell| table.valued(key, cell)))
            .collect();
        if many {
            parts.insert(0, table.common(&[y]).0);
        }
        match drawn.iter_mut().find(|series| series.parts == parts) {
            Some(series) => series.points.push(point),
            None => {
                let label = label(&parts);
                drawn.push(Series { label, parts, points: vec![point], along: along.clone() });
            }
        }
    }
    if drawn.len() > SERIES_MAX {
        let count = |key: &&str| format!("{key} ({} values)", table.cells(key).len());
        let counts: Vec<String> = keys.iter().map(count).collect();
        bail!(
            "{} series, {SERIES_MAX} can be told apart; fix one of {}: give it one value in the file",
            drawn.len(),
            counts.join(", ")
        );
    }
    for series in &mut drawn {
        series.points.sort_by(|left, right| left.along.total_cmp(&right.along));
    }
    Ok(drawn)
}

/// The words of a series; a value that a point has not stands for nothing.
fn label(parts: &[String]) -> String {
    parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
}

/// The keys that tell series apart: those that are asked for, then every one that varies among rows which would be drawn at
/// one place, and every word that varies along a line. Where x is a result itself, also those
/// that go up and down along the lines, the fewest values first: what only rises or only falls runs along them too.
fn keys<'a>(table: &'a Table, plot: &'a PlotTable, numeric: bool, along: Option<&str>) -> Vec<&'a str> {
    let swept = table.keys.contains(&plot.x);
    let place: Vec<&str> = if swept { vec![&plot.x] } else { along.into_iter().collect() };
    let mut keys: Vec<&str> = plot.series.iter().map(String::as_str).collect();
    for key in table.keys.iter().map(String::as_str) {
        if keys.contains(&key) || place.contains(&key) {
            continue;
        }
        let named = numeric && table.cells(key).iter().any(|cell| matches!(cell, Cell::Word(_)));
        let told: Vec<&str> = keys.iter().chain(place.iter().filter(|_| !named)).copied().collect();
        let mut seen: BTreeMap<Vec<String>, Option<&Cell>> = BTreeMap::new();
        let clashes = |row: &'a Row| {
            let words =
                told.iter().map(|key| row.settings.get(*key).map_or_else(String::new, Cell::to_string));
            let cell = row.settings.get(key);
            *seen.entry(words.collect()).or_insert(cell) != cell
        };
        if table.rows.iter().any(clashes) {
            keys.push(key);
        }
    }
    while let Some(key) = along.and_then(|along| wavers(table, along, &keys)) {
        keys.push(key);
    }
    keys
}

/// The number with the fewest values that goes up and down along the lines which `keys` tell apart.
fn wavers<'a>(table: &'a Table, along: &str, keys: &[&str]) -> Option<&'a str> {
    let number = |row: &Row, key: &str| match row.settings.get(key) {
        Some(Cell::Number(number)) => Some(*number),
        _ => None,
    };
    let up_and_down = |key: &&str| {
        let mut lines: BTreeMap<Vec<String>, Vec<(f64, f64)>> = BTreeMap::new();
        for row in &table.rows {
            let (Some(at), Some(value)) = (number(row, along), number(row, key)) else { continue };
            let line =
                keys.iter().map(|key| row.settings.get(*key).map_or_else(String::new, Cell::to_string));
            lines.entry(line.collect()).or_default().push((at, value));
        }
        lines.values_mut().any(|line| {
            line.sort_by(|left, right| left.0.total_cmp(&right.0));
            let steps = line.windows(2).map(|pair| pair[1].1 - pair[0].1);
            steps.clone().any(|step| step > 0.0) && steps.clone().any(|step| step < 0.0)
        })
    };
    let others = table.keys.iter().map(String::as_str).filter(|key| *key != along && !keys.contains(key));
    others.filter(up_and_down).min_by_key(|key| table.cells(key).len())
}

/// Where x is a result itself, the number with the most values of those that are no series: it orders each line's points.
fn along(table: &Table, plot: &PlotTable) -> Option<String> {
    if table.keys.contains(&plot.x) {
        return None;
    }
    let number = |key: &&String| {
        let cells = table.cells(key);
        !plot.series.contains(key)
            && cells.len() > 1
            && cells.iter().all(|cell| matches!(cell, Cell::Number(_)))
    };
    // The first of those with most.
    table.keys.iter().rev().filter(number).max_by_key(|key| table.cells(key).len()).cloned()
}

//! The results of a sweep as a figure: one swept key along x, one column along y, a line for each value of the others.

use anyhow::bail;
use blackboard::figure::{Axis, Figure, Layer};
use study::experiment::{COLUMNS, Merged, SummaryRow, Value};

/// The longest axis of equal steps: ends that are further apart get equal factors.
const LINEAR_RATIO_MAX: f64 = 10.0;

/// The figure of `rows`; `series` are the keys that each have lines of their own, all others that vary if it is empty.
///
/// # Errors
/// For keys and columns that the results don't have, and for series that leave several values at one place.
pub(crate) fn figure(
    merged: &Merged,
    rows: &[SummaryRow],
    x: &str,
    y: &str,
    series: &[String],
) -> anyhow::Result<Figure> {
    let header = &merged.header;
    let known: Vec<&str> = header.swept.iter().map(String::as_str).chain(["backend"]).collect();
    for key in series.iter().map(String::as_str).chain([x]) {
        if !known.contains(&key) {
            bail!("`{key}` is not swept here; swept are {}", known.join(", "));
        }
    }
    if !COLUMNS.iter().any(|(name, _)| *name == y) {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        bail!("no column `{y}`; columns are {}", names.join(", "));
    }
    let word = |row: &SummaryRow, key: &str| match key {
        "backend" => row.backend.to_string(),
        _ => row.settings.get(key).map_or_else(String::new, Value::to_string),
    };
    let varies = |key: &str| rows.iter().any(|row| word(row, key) != word(&rows[0], key));
    let series: Vec<&str> = if series.is_empty() {
        known.iter().copied().filter(|key| *key != x && varies(key)).collect()
    } else {
        series.iter().map(String::as_str).collect()
    };
    let mut places: Vec<String> = Vec::new();
    for row in rows {
        let place = word(row, x);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let numeric = rows.iter().all(|row| row.settings.get(x).is_some_and(|value| value.number().is_some()));
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for row in rows {
        let Some(mean) = row.mean(y) else { continue };
        let place = word(row, x);
        let at = match row.settings.get(x).and_then(Value::number) {
            Some(number) if numeric => number,
            _ => places.iter().position(|known| *known == place).unwrap_or(0) as f64,
        };
        let label: Vec<String> = series.iter().map(|key| format!("{key} {}", word(row, key))).collect();
        let label = if label.is_empty() { y.to_owned() } else { label.join(", ") };
        match lines.iter_mut().find(|(known, _)| *known == label) {
            None => lines.push((label, vec![(at, mean.mean)])),
            Some((_, points)) if points.iter().all(|point| point.0 != at) => points.push((at, mean.mean)),
            Some(_) => {
                let left: Vec<&str> = known
                    .iter()
                    .copied()
                    .filter(|key| *key != x && varies(key) && !series.contains(key))
                    .collect();
                bail!(
                    "several values of {y} at {x} = {place} for {label}; add {} to --series",
                    left.join(",")
                );
            }
        }
    }
    if lines.is_empty() {
        bail!("no record has {y}; slowdowns need `base` in the experiment");
    }
    for (_, points) in &mut lines {
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
    }
    let fixed = if header.fixed.0.is_empty() { String::new() } else { format!("; {}", header.fixed) };
    Ok(Figure {
        id: "sweep",
        chapter: "sweep",
        title: format!("{}: {y} by {x}", header.name),
        caption: format!("means over {} seed(s){fixed}", header.seeds.len()),
        x: if numeric {
            axis(x, lines.iter().flat_map(|(_, points)| points.iter().map(|point| point.0)))
        } else {
            Axis::categories(x, places)
        },
        y: axis(y, lines.iter().flat_map(|(_, points)| points.iter().map(|point| point.1))),
        layers: lines
            .into_iter()
            .map(|(label, points)| Layer::Line { label, points, dashed: false })
            .collect(),
    })
}

fn axis(label: &str, values: impl Iterator<Item = f64> + Clone) -> Axis {
    let (least, most) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
    if least > 0.0 && most / least >= LINEAR_RATIO_MAX { Axis::log(label) } else { Axis::linear(label) }
}

//! The plots of a serving experiment as figures: columns of its records along a swept key or another column.

use anyhow::bail;
use blackboard::figure::{Axis, Figure, Layer};
use std::collections::BTreeMap;
use study::serving::{PlotTable, ServeFile, ServeRecord};

/// A line: its label, and its points.
type Line = (String, Vec<(f64, f64)>);

/// The figure of `plot` over `records`.
///
/// # Errors
/// For keys and columns that the records don't have.
pub(crate) fn figure(file: &ServeFile, plot: &PlotTable, records: &[ServeRecord]) -> anyhow::Result<Figure> {
    let word = |record: &ServeRecord, key: &str| {
        record.settings.get(key).map_or_else(String::new, |value| match value {
            toml::Value::String(text) => text.clone(),
            value => value.to_string(),
        })
    };
    let swept = file.swept.contains(&plot.x);
    let numeric = !swept || records.iter().all(|record| number(record.settings.get(&plot.x)).is_some());
    let mut places: Vec<String> = Vec::new();
    for record in records.iter().filter(|_| !numeric) {
        let place = word(record, &plot.x);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let series: Vec<&String> = if plot.series.is_empty() {
        file.swept.iter().filter(|key| **key != plot.x && swept).collect()
    } else {
        plot.series.iter().collect()
    };
    let mut lines: Vec<Line> = Vec::new();
    for y in &plot.y {
        for record in records {
            let at = if numeric {
                number(record.settings.get(&plot.x)).or_else(|| record.column(&plot.x))
            } else {
                places.iter().position(|place| *place == word(record, &plot.x)).map(|place| place as f64)
            };
            let (Some(at), Some(value)) = (at, record.column(y)) else {
                bail!(
                    "plot {}: no column `{}`; columns are {}",
                    plot.file,
                    if at.is_none() { &plot.x } else { y },
                    record.columns().join(", ")
                );
            };
            let mut label: Vec<String> =
                series.iter().map(|key| format!("{} {}", short(key), word(record, key))).collect();
            if plot.y.len() > 1 || label.is_empty() {
                label.insert(0, y.clone());
            }
            let label = label.join(", ");
            match lines.iter_mut().find(|(known, _)| *known == label) {
                None => lines.push((label, vec![(at, value)])),
                Some((_, points)) => points.push((at, value)),
            }
        }
    }
    for (_, points) in &mut lines {
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
    }
    let title =
        plot.title.clone().unwrap_or_else(|| format!("{}: {} by {}", file.name, plot.y.join(", "), plot.x));
    let claim = file.claim.as_ref().map(|claim| format!("Claim: {claim}")).unwrap_or_default();
    let times: BTreeMap<&str, ()> = records.iter().map(|record| (record.clock.as_str(), ())).collect();
    let times: Vec<&str> = times.into_keys().collect();
    let axis = |label: &str, log: bool| if log { Axis::log(label) } else { Axis::linear(label) };
    Ok(Figure {
        id: "serve",
        chapter: "serve",
        title,
        caption: format!("times {}; {claim}", times.join(", ")),
        x: if numeric { axis(&plot.x, plot.log_x) } else { Axis::categories(&plot.x, places) },
        y: axis(&plot.y.join(", "), plot.log_y),
        layers: lines
            .into_iter()
            .map(|(label, points)| Layer::Line { label, points, dashed: false })
            .collect(),
    })
}

fn number(value: Option<&toml::Value>) -> Option<f64> {
    match value? {
        toml::Value::Integer(integer) => Some(*integer as f64),
        toml::Value::Float(float) => Some(*float),
        _ => None,
    }
}

/// The last word of a place: `pp` of `parallel.pp`.
pub(crate) fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

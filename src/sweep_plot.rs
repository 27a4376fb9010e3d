//! The results of an experiment as a figure: a swept key or a number along x, numbers along y, a line for each value of the others.

use anyhow::bail;
use blackboard::figure::{Axis, Figure, Layer};
use study::experiment::{Merged, PlotTable, Subject, SummaryRow, Value, label, short};

/// The longest axis of equal steps: ends that are further apart get equal factors.
const LINEAR_RATIO_MAX: f64 = 10.0;

/// The figure of `plot` over `rows`.
///
/// # Errors
/// For keys and columns that the results don't have, and for series that leave several values at one place.
pub(crate) fn figure(
    merged: &Merged,
    rows: &[SummaryRow<'_>],
    subject: &dyn Subject,
    plot: &PlotTable,
) -> anyhow::Result<Figure> {
    let header = &merged.header;
    let x = plot.x.as_str();
    let known: Vec<&str> = header.swept.iter().map(String::as_str).chain(["backend"]).collect();
    let swept = known.contains(&x);
    if let Some(key) = plot.series.iter().find(|key| !known.contains(&key.as_str())) {
        bail!("`{key}` is not swept here; swept are {}", known.join(", "));
    }
    if !swept && rows.iter().all(|row| row.estimate(x).is_none()) {
        bail!("`{x}` is not swept here and no column; swept are {}", known.join(", "));
    }
    for y in plot.y.iter().filter(|y| rows.iter().all(|row| row.estimate(y).is_none())) {
        let columns: Vec<&str> = subject.columns().iter().map(|column| column.key).collect();
        if columns.contains(&y.as_str()) {
            bail!("no record has {y}; slowdowns need `base` in the experiment");
        }
        bail!("no column `{y}`; columns are {}", columns.join(", "));
    }
    let varies = |key: &str| rows.iter().any(|row| row.word(key) != rows[0].word(key));
    let series: Vec<&str> = match plot.series.as_slice() {
        [] if swept => known.iter().copied().filter(|key| *key != x && varies(key)).collect(),
        given => given.iter().map(String::as_str).collect(),
    };
    let mut places: Vec<String> = Vec::new();
    for row in rows.iter().filter(|_| swept) {
        let place = row.word(x);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let number = |row: &SummaryRow<'_>| match swept {
        true => row.settings.get(x).and_then(Value::number),
        false => row.estimate(x).map(|estimate| estimate.mean),
    };
    let numeric = rows.iter().all(|row| number(row).is_some());
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for (y, row) in plot.y.iter().flat_map(|y| rows.iter().map(move |row| (y, row))) {
        let Some(estimate) = row.estimate(y) else { continue };
        let place = row.word(x);
        let at = match number(row) {
            Some(number) if numeric => number,
            _ => places.iter().position(|known| *known == place).unwrap_or(0) as f64,
        };
        let mut words: Vec<String> =
            series.iter().map(|key| format!("{} {}", short(key), row.word(key))).collect();
        if plot.y.len() > 1 || words.is_empty() {
            words.insert(0, label(subject, y).0.to_owned());
        }
        let words = words.join(", ");
        let point = (at, estimate.mean);
        match lines.iter_mut().find(|(known, _)| *known == words) {
            None => lines.push((words, vec![point])),
            Some((_, points)) if !swept || points.iter().all(|point| point.0 != at) => points.push(point),
            Some(_) => {
                let left: Vec<&str> = known
                    .iter()
                    .copied()
                    .filter(|key| *key != x && varies(key) && !series.contains(key))
                    .collect();
                let left = left.join(",");
                bail!("several values of {y} at {x} = {place} for {words}; add {left} to the series");
            }
        }
    }
    for (_, points) in &mut lines {
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
    }
    let named = |key: &str| {
        let (words, unit) = label(subject, key);
        if unit.is_empty() { words.to_owned() } else { format!("{words}, {unit}") }
    };
    let y: Vec<String> = plot.y.iter().map(|key| named(key)).collect();
    let claim = header.claim.as_ref().map_or_else(String::new, |claim| format!("; claim: {claim}"));
    let (xs, ys) = (lines.iter().flat_map(|(_, points)| points), lines.iter().flat_map(|(_, points)| points));
    let title = plot.title.clone();
    Ok(Figure {
        id: "sweep",
        chapter: "sweep",
        title: title.unwrap_or_else(|| format!("{}: {} by {x}", header.name, plot.y.join(", "))),
        caption: format!("means over {} seed(s){claim}", header.seeds.len()),
        x: if numeric {
            axis(&named(x), xs.map(|point| point.0), plot.log_x)
        } else {
            Axis::categories(&named(x), places)
        },
        y: axis(&y.join("; "), ys.map(|point| point.1), plot.log_y),
        layers: lines
            .into_iter()
            .map(|(label, points)| Layer::Line { label, points, dashed: false })
            .collect(),
    })
}

fn axis(label: &str, values: impl Iterator<Item = f64> + Clone, log: bool) -> Axis {
    let (least, most) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
    let wide = least > 0.0 && most / least >= LINEAR_RATIO_MAX;
    if log || wide { Axis::log(label) } else { Axis::linear(label) }
}

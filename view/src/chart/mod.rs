//! A figure of an experiment's results: a swept key or a number along x, numbers along y, a line or a group of bars for each
//! value of whatever else varies.
//!
//! Nothing is drawn over anything else: what is not along x is in a series of its own, or it is an error.

mod axis;
mod caption;
mod coincide;
mod series;
mod table;
#[cfg(test)]
mod tests;

pub use table::{Cell, Row, Table};

use anyhow::bail;
use blackboard::figure::{Axis, Figure, Layer, Mark, Mean, Scale};
use series::Series;
use study::experiment::{PlotTable, remedy};

/// Most series of a figure.
pub const SERIES_MAX: usize = 12;

/// The figure of `plot` over `table`.
///
/// # Errors
/// For keys and columns that the results don't have, for columns of different units, and for more than [`SERIES_MAX`] series.
pub fn figure(table: &Table, plot: &PlotTable) -> anyhow::Result<Figure> {
    known(table, plot)?;
    // What has no value along x has no place, and says nothing about the axis.
    let numeric = table
        .rows
        .iter()
        .filter_map(|row| table.at(row, &plot.x))
        .all(|cell| matches!(cell, Cell::Number(_)));
    let placeless = table.rows.iter().filter(|row| table.at(row, &plot.x).is_none()).count();
    let places = if numeric { Vec::new() } else { table.cells(&plot.x) };
    let mut drawn = series::series(table, plot, numeric, &places)?;
    let x = match numeric {
        true => axis::of_x(&table.titled(&[&plot.x]), drawn.iter().flat_map(Series::xs), plot.log_x),
        false => Axis::categories(table.titled(&[&plot.x]), places.iter().map(Cell::to_string)),
    };
    let y = of_y(table, plot, &drawn, numeric)?;
    let mut caption = table.caption(plot, &drawn);
    if placeless > 0 {
        caption.push(format!("combinations without {}, left out: {placeless}", table.common(&[&plot.x]).0));
    }
    let left_out = axis::left_out(&mut drawn, &x, &y);
    if left_out > 0 {
        caption.push(format!("{left_out} values that are 0 have no place on an axis of equal factors"));
    }
    if numeric {
        drawn = coincide::merged(drawn, &x, &y);
    }
    let y_words: Vec<String> = plot.y.iter().map(|key| table.common(&[key]).0).collect();
    let named = || format!("{}: {} by {}", table.name, y_words.join(", "), table.common(&[&plot.x]).0);
    let title = plot.title.clone().unwrap_or_else(named);
    Ok(Figure {
        id: "chart",
        chapter: "results",
        title,
        caption: caption.join("; "),
        layers: layers(drawn, &x, plot),
        x,
        y,
    })
}

/// Refuses what the results don't have.
fn known(table: &Table, plot: &PlotTable) -> anyhow::Result<()> {
    let meant =
        |word: &str, known: &[String]| remedy(word, &known.iter().map(String::as_str).collect::<Vec<_>>());
    if let Some(key) = plot.series.iter().find(|key| !table.keys.contains(key)) {
        bail!("`{key}` is not swept here{}", meant(key, &table.keys));
    }
    if !table.keys.contains(&plot.x) && !table.columns.contains(&plot.x) {
        let known = [table.keys.as_slice(), &table.columns].concat();
        bail!("`{}` is not swept here and no column{}", plot.x, meant(&plot.x, &known));
    }
    for y in &plot.y {
        if !table.columns.contains(y) {
            bail!("no column `{y}`{}", meant(y, &table.columns));
        }
        if table.rows.iter().all(|row| !row.values.contains_key(y)) {
            bail!("no record has {y}; slowdowns need `base` in the experiment");
        }
    }
    Ok(())
}

fn of_y(table: &Table, plot: &PlotTable, drawn: &[Series], numeric: bool) -> anyhow::Result<Axis> {
    let keys: Vec<&str> = plot.y.iter().map(String::as_str).collect();
    let units: Vec<String> = keys.iter().map(|key| table.common(&[key]).1).collect();
    if let Some(other) = units.iter().position(|unit| *unit != units[0]) {
        bail!(
            "{} has the unit {:?}, {} {:?}; draw them in two plots",
            keys[0],
            units[0],
            keys[other],
            units[other]
        );
    }
    let label = table.titled(&keys);
    let stated = plot.stated.iter().map(|stated| stated.y);
    let values = drawn.iter().flat_map(|series| series.points.iter().map(|point| point.mean.value));
    // Bars begin at 0.
    Ok(if numeric { axis::of_y(&label, values.chain(stated), plot.log_y) } else { Axis::linear(label) })
}

fn layers(drawn: Vec<Series>, x: &Axis, plot: &PlotTable) -> Vec<Layer> {
    let mut layers: Vec<Layer> = match &x.scale {
        Scale::Categories(places) => {
            let bars = |series: Series| {
                let at = |place: usize| {
                    let point = series.points.iter().find(|point| point.x == place as f64);
                    point.map(|point| point.mean)
                };
                let means: Vec<Option<Mean>> = (0..places.len()).map(at).collect();
                Layer::Bars { series: vec![(series.label, means)] }
            };
            drawn.into_iter().map(bars).collect()
        }
        _ => drawn
            .into_iter()
            .map(|series| {
                let points = series.points.iter().map(|point| (point.x, point.mean)).collect();
                Layer::Means { label: series.label, points }
            })
            .collect(),
    };
    if !plot.stated.is_empty() {
        let points = plot.stated.iter().map(|stated| (stated.x, stated.y, stated.text.clone())).collect();
        layers.push(Layer::Marks { label: "stated".to_owned(), mark: Mark::Stated, points });
    }
    layers
}

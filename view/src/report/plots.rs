//! The plots of an experiment's file, and where it has none those that its subject suggests, drawn for the page.

use crate::page::Picture;
use crate::page::svg::{Bar, Bars, Curve, Group, Lines, bars, lines};
use blackboard::figure::{Figure, Layer, Mean, Scale};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use study::experiment::{Merged, PlotTable, Subject, shown};

/// Columns that a subject's results are drawn by where the file says nothing: the first that the results have.
const SUGGESTED: [&str; 6] =
    ["a2a_slowdown", "a2a_us", "output_throughput", "over_kept", "step_ms", "total_ms"];
/// Throughput of a rank against speed for a user: the trade that serving is about.
const PARETO: (&str, &str) = ("output_throughput_per_user", "output_throughput_per_rank");
/// Most plots of one experiment.
const PLOTS_MAX: usize = 12;

/// The plots of `merged`; what can't be drawn is left out.
pub(super) fn pictures(merged: &Merged, subject: &dyn Subject, id: &str) -> Vec<Picture> {
    let mut asked: Vec<PlotTable> = merged.header.plots.clone();
    if asked.is_empty() {
        asked.extend(suggested(merged, subject));
    }
    let drawn = |plot: &PlotTable| plot.x == PARETO.0 && plot.y == [PARETO.1];
    if merged.header.subject == "serving" && merged.lines.len() > 1 && !asked.iter().any(drawn) {
        let title = "What a rank yields against what a user sees: a point is a combination, up and to the right is better";
        asked.push(PlotTable { title: Some(title.to_owned()), ..PlotTable::of(PARETO.0, PARETO.1) });
    }
    let figures = asked
        .iter()
        .take(PLOTS_MAX)
        .filter_map(|plot| crate::figure(merged, subject, plot).ok().map(|figure| (plot, figure)));
    (1..).zip(figures).map(|(number, (_, figure))| picture(&figure, &format!("{id}-plot{number}"))).collect()
}

/// One plot over the swept key with the most values.
fn suggested(merged: &Merged, subject: &dyn Subject) -> Option<PlotTable> {
    let seed = subject.seed_key();
    let swept = merged.header.swept.iter().filter(|key| Some(key.as_str()) != seed);
    let values = |key: &String| {
        let words = merged.lines.iter().filter_map(|line| line.settings.get(key)).map(ToString::to_string);
        words.collect::<BTreeSet<String>>().len()
    };
    let x = swept.rev().max_by_key(|key| values(key)).filter(|key| values(key) > 1)?;
    let has = |key: &&str| merged.records().any(|flat| flat.record.number(key).is_some());
    let own = shown(subject, &[]);
    let y = SUGGESTED.into_iter().chain(own).find(has)?;
    Some(PlotTable::of(x, y))
}

/// A figure as a picture of the page.
fn picture(figure: &Figure, id: &str) -> Picture {
    let (svg, columns, rows) = match &figure.x.scale {
        Scale::Categories(places) => of_places(figure, places),
        _ => of_numbers(figure),
    };
    Picture {
        id: id.to_owned(),
        title: figure.title.clone(),
        caption: figure.caption.clone(),
        columns,
        rows,
        svg,
    }
}

/// Curves over numbers.
fn of_numbers(figure: &Figure) -> (String, Vec<String>, Vec<Vec<Value>>) {
    let mut picture = Lines {
        x: figure.x.label.clone(),
        y: figure.y.label.clone(),
        log: (figure.x.scale == Scale::Log, figure.y.scale == Scale::Log),
        told: figure.title.clone(),
        ..Lines::default()
    };
    let mut rows = Vec::new();
    for layer in &figure.layers {
        let (label, points, dashed, marked) = match layer {
            Layer::Means { label, points } => (label, points.clone(), false, true),
            Layer::Line { label, points, dashed } => {
                (label, points.iter().map(|&(x, y)| (x, Mean::from(y))).collect(), *dashed, false)
            }
            Layer::Marks { label, points, .. } => {
                rows.extend(points.iter().map(|(x, y, text)| {
                    vec![json!(format!("{label} {text}")), json!(x), json!(y), Value::Null]
                }));
                picture.marks.extend(points.iter().cloned());
                continue;
            }
            _ => continue,
        };
        rows.extend(
            points.iter().map(|(x, mean)| vec![json!(label), json!(x), json!(mean.value), json!(mean.half)]),
        );
        let points = points.iter().map(|(x, mean)| (*x, mean.value, mean.half.unwrap_or(0.0))).collect();
        picture.curves.push(Curve { label: label.clone(), points, dashed, marked, ..Curve::default() });
    }
    (lines(&picture), columns(figure), rows)
}

/// Bars over names.
fn of_places(figure: &Figure, places: &[String]) -> (String, Vec<String>, Vec<Vec<Value>>) {
    let mut groups: Vec<Group> =
        places.iter().map(|place| Group { label: place.clone(), bars: Vec::new() }).collect();
    let (mut legend, mut rows) = (Vec::new(), Vec::new());
    for layer in &figure.layers {
        let Layer::Bars { series } = layer else { continue };
        for (label, means) in series {
            let colour = legend.len();
            legend.push(label.clone());
            for ((group, place), mean) in groups.iter_mut().zip(places).zip(means) {
                let Some(mean) = mean else { continue };
                let whisker = mean.half.map(|_| mean.ends());
                group.bars.push(Bar {
                    label: label.clone(),
                    parts: vec![(colour, mean.value)],
                    whisker,
                    note: None,
                });
                let name = if label.is_empty() { place.clone() } else { format!("{place}, {label}") };
                rows.push(vec![json!(name), json!(place), json!(mean.value), json!(mean.half)]);
            }
        }
    }
    let picture =
        Bars { axis: figure.y.label.clone(), legend, groups, rule: None, told: figure.title.clone() };
    (bars(&picture), columns(figure), rows)
}

fn columns(figure: &Figure) -> Vec<String> {
    vec![
        "series".to_owned(),
        figure.x.label.clone(),
        figure.y.label.clone(),
        "half of the 95% interval".to_owned(),
    ]
}

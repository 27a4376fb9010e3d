//! The figures of every example as text: axes, series and captions, over results that are made up, so that nothing is run.
//!
//! `RAILYARD_RECORD=1 cargo test --bin railyard figures` writes tests/figures.txt anew.

use crate::subjects::subjects;
use blackboard::figure::{Axis, Figure, Layer, Scale};
use serde_json::json;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use study::experiment::{Merged, Plan, Point, Record, Shard, label, parse_experiment, point_line};
use study::layer::Verification;

/// Records whose numbers grow with the point, each column by its own factor.
fn made_up(plan: &Plan<'_>, point: Point) -> Vec<Record> {
    let record = |&backend| {
        let mut own = json!({});
        for (at, column) in plan.subject.columns().iter().enumerate() {
            let place = column.key.split('.').fold(&mut own, |inner, part| &mut inner[part]);
            *place = json!((point.index + 1) as f64 * (1.0 + at as f64));
        }
        Record::sound(backend, Verification::NothingRan, &own).expect("an object")
    };
    plan.resolve(&point).expect("can be run").backends.iter().map(record).collect()
}

fn merged(plan: &Plan<'_>) -> Merged {
    let line = |point: Point| point_line(point.clone(), "", made_up(plan, point));
    let lines = plan.points(Shard::ALL).map(line).collect();
    Merged { header: plan.header(Shard::ALL), lines, missing: Vec::new(), files: Vec::new() }
}

fn axis(axis: &Axis) -> String {
    match &axis.scale {
        Scale::Categories(names) => format!("{}: {}", axis.label, names.join(" | ")),
        scale => format!("{}: {scale:?}", axis.label),
    }
}

fn described(figure: &Figure) -> String {
    let mut text = format!("{}\n  x {}\n  y {}\n", figure.title, axis(&figure.x), axis(&figure.y));
    for layer in &figure.layers {
        let _ = match layer {
            Layer::Means { label, points } => writeln!(text, "  line of {} points: {label}", points.len()),
            Layer::Bars { series } => {
                let named = series
                    .iter()
                    .map(|(label, means)| format!("{label} ({})", means.iter().flatten().count()));
                writeln!(text, "  bars: {}", named.collect::<Vec<_>>().join(" on "))
            }
            Layer::Marks { label, points, .. } => writeln!(text, "  marks: {label} {points:?}"),
            other => writeln!(text, "  {other:?}"),
        };
    }
    text + "  " + &figure.caption + "\n"
}

fn examples() -> Vec<PathBuf> {
    let entries = fs::read_dir("examples").expect("the examples");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| {
        path.extension().is_some_and(|ending| ending == "toml") && !path.ends_with("two-h100-nodes.toml")
    });
    files.sort();
    files
}

#[test]
fn figures_of_all_examples_are_as_recorded() {
    let mut text = String::new();
    for path in examples() {
        let name = path.display().to_string();
        let (subject, experiment) =
            parse_experiment(&fs::read_to_string(&path).expect("text"), &name, &subjects()).expect(&name);
        let plan = Plan::new(subject, experiment, &[]).expect(&name);
        let merged = merged(&plan);
        for plot in &merged.header.plots {
            let figure = view::figure(&merged, subject, plot).expect(&name);
            let _ = writeln!(text, "{name}, {}: {}", plot.file, described(&figure));
        }
    }
    let recorded = Path::new("tests/figures.txt");
    if std::env::var_os("RAILYARD_RECORD").is_some() {
        fs::write(recorded, &text).expect("written");
    }
    let before = fs::read_to_string(recorded).expect("recorded");
    for (before, now) in before.lines().zip(text.lines()) {
        assert_eq!(before, now, "RAILYARD_RECORD=1 writes {} anew", recorded.display());
    }
    assert_eq!(before.lines().count(), text.lines().count());
}

#[test]
fn settings_and_columns_have_words() {
    for subject in subjects() {
        let columns = subject.columns().iter().map(|column| column.key.to_owned());
        let raw: Vec<String> = subject
            .keys()
            .into_iter()
            .chain(columns)
            .filter(|key| label(subject, key).0.contains('_'))
            .collect();
        assert!(raw.is_empty(), "{} has no words for {}", subject.name(), raw.join(", "));
    }
}

//! What is drawn are the results, each once, in series that differ along x alone.

use super::{Cell, Row, SERIES_MAX, Table, figure};
use blackboard::figure::{Figure, Layer, Mark, Mean, Scale};
use std::collections::BTreeMap;
use study::experiment::{PlotTable, Stated};

fn cell(word: &str) -> Cell {
    word.parse().map_or_else(|_| Cell::Word(word.to_owned()), Cell::Number)
}

/// A table of `keys`, a row of values for them and one of `time` each.
fn table(keys: &[&str], rows: &[(&[&str], f64)]) -> Table {
    let row = |(cells, value): &(&[&str], f64)| Row {
        settings: keys.iter().map(|key| (*key).to_owned()).zip(cells.iter().map(|word| cell(word))).collect(),
        values: BTreeMap::from([("time_us".to_owned(), Mean { value: *value, half: Some(value / 10.0) })]),
    };
    Table {
        name: "small".to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        columns: vec!["time_us".to_owned(), "speed".to_owned()],
        names: BTreeMap::from([
            ("time_us".to_owned(), ("time of a step".to_owned(), "us".to_owned())),
            ("pp".to_owned(), ("stages".to_owned(), String::new())),
        ]),
        rows: rows.iter().map(row).collect(),
        seeds: 3,
        notes: vec!["scheme flat".to_owned()],
    }
}

fn drawn(table: &Table, x: &str) -> Figure {
    figure(table, &PlotTable::of(x, "time_us")).expect("a figure")
}

/// Labels with (x, mean), of lines.
fn lines(figure: &Figure) -> Vec<(&str, Vec<(f64, f64)>)> {
    let mut lines = Vec::new();
    for layer in &figure.layers {
        let Layer::Means { label, points } = layer else { panic!("no line: {layer:?}") };
        lines.push((label.as_str(), points.iter().map(|(x, mean)| (*x, mean.value)).collect()));
    }
    lines
}

/// Label and means of a layer with one bar in each place.
fn bar(layer: &Layer) -> (&str, Vec<Option<f64>>) {
    let Layer::Bars { series } = layer else { panic!("no bars: {layer:?}") };
    let [(label, means)] = series.as_slice() else { panic!("no bar alone: {series:?}") };
    (label, means.iter().map(|mean| mean.map(|mean| mean.value)).collect())
}

#[test]
fn points_that_share_an_x_are_series_of_their_own() {
    let rows: [(&[&str], f64); 4] =
        [(&["1", "full"], 5.0), (&["1", "none"], 7.0), (&["2", "full"], 2.0), (&["2", "none"], 4.0)];
    let two = drawn(&table(&["users", "overlap"], &rows), "users");
    assert_eq!(
        lines(&two),
        [("overlap full", vec![(1.0, 5.0), (2.0, 2.0)]), ("overlap none", vec![(1.0, 7.0), (2.0, 4.0)])]
    );
    // A word that goes with x alone is no line either; a number that does is.
    let rows: [(&[&str], f64); 2] = [(&["1", "full", "4"], 5.0), (&["2", "none", "8"], 7.0)];
    let apart = drawn(&table(&["users", "overlap", "seats"], &rows), "users");
    assert_eq!(lines(&apart), [("overlap full", vec![(1.0, 5.0)]), ("overlap none", vec![(2.0, 7.0)])]);
}

#[test]
fn every_line_has_the_records_in_order_with_words_and_units() {
    let rows: [(&[&str], f64); 3] = [(&["8"], 80.0), (&["2"], 30.0), (&["1"], 10.0)];
    let one = drawn(&table(&["pp"], &rows), "pp");
    assert_eq!(lines(&one), [("", vec![(1.0, 10.0), (2.0, 30.0), (8.0, 80.0)])]);
    let Layer::Means { points, .. } = &one.layers[0] else { panic!("no line") };
    assert_eq!(points[0].1.half, Some(1.0));
    assert_eq!((one.x.label.as_str(), one.y.label.as_str()), ("stages", "time of a step, us"));
    assert_eq!((&one.x.scale, &one.y.scale), (&Scale::Log, &Scale::Linear));
    assert_eq!(one.title, "small: time of a step by stages");
    assert_eq!(
        one.caption,
        "means over 3 seeds, with 95% intervals; scheme flat; rates of links and compute are assumed"
    );
}

#[test]
fn names_are_bars_from_zero() {
    let rows: [(&[&str], f64); 3] = [(&["flat", "1"], 1.0), (&["flat", "2"], 100.0), (&["dedup", "2"], 3.0)];
    let bars = drawn(&table(&["scheme", "pp"], &rows), "scheme");
    let values: Vec<(&str, Vec<Option<f64>>)> = bars.layers.iter().map(bar).collect();
    assert_eq!(values, [("stages 1", vec![Some(1.0), None]), ("stages 2", vec![Some(100.0), Some(3.0)])]);
    assert_eq!(bars.x.scale, Scale::Categories(vec!["flat".to_owned(), "dedup".to_owned()]));
    assert_eq!(bars.y.scale, Scale::Linear);
}

#[test]
fn lines_that_coincide_are_one_with_all_their_names() {
    let mut rows: Vec<(Vec<String>, f64)> = Vec::new();
    for (scheme, factor) in [("flat", 1.0), ("dedup", 1.0001), ("tree", 2.0)] {
        for pp in ["1", "2", "4"] {
            rows.push((vec![scheme.to_owned(), pp.to_owned()], factor * pp.parse::<f64>().unwrap()));
        }
    }
    let words: Vec<(Vec<&str>, f64)> =
        rows.iter().map(|(words, value)| (words.iter().map(String::as_str).collect(), *value)).collect();
    let rows: Vec<(&[&str], f64)> = words.iter().map(|(words, value)| (words.as_slice(), *value)).collect();
    let figure = drawn(&table(&["scheme", "pp"], &rows), "pp");
    let labels: Vec<&str> = lines(&figure).iter().map(|(label, _)| *label).collect();
    assert_eq!(labels, ["flat = dedup", "tree"]);
}

#[test]
fn a_result_along_x_is_joined_in_the_order_of_the_key_that_runs_along_the_line() {
    let mut curve = table(&["users"], &[(&["8"], 1.0), (&["1"], 2.0), (&["2"], 3.0)]);
    for (row, speed) in curve.rows.iter_mut().zip([5.0, 4.0, 6.0]) {
        row.values.insert("speed".to_owned(), Mean { value: speed, half: None });
    }
    let figure = drawn(&curve, "speed");
    assert_eq!(lines(&figure), [("", vec![(4.0, 2.0), (6.0, 3.0), (5.0, 1.0)])]);
    assert!(figure.caption.contains("along each line users from 1 to 8"), "{}", figure.caption);
}

#[test]
fn what_has_no_value_along_x_is_left_out_and_counted() {
    let mut gap = table(&["users"], &[(&["1"], 1.0), (&["2"], 2.0), (&["4"], 3.0)]);
    for (row, speed) in gap.rows.iter_mut().zip([5.0, 4.0]) {
        row.values.insert("speed".to_owned(), Mean { value: speed, half: None });
    }
    let figure = drawn(&gap, "speed");
    assert_eq!(lines(&figure), [("", vec![(5.0, 1.0), (4.0, 2.0)])]);
    assert!(figure.caption.contains("combinations without speed, left out: 1"), "{}", figure.caption);
}

#[test]
fn what_goes_up_and_down_along_a_result_is_a_series_and_what_only_rises_is_not() {
    // Users tell all points apart, stages rise with them, prompts are long and short in turns.
    let rows: [(&[&str], f64); 4] = [
        (&["1", "10", "64"], 1.0),
        (&["1", "15", "4096"], 2.0),
        (&["2", "20", "64"], 3.0),
        (&["2", "30", "4096"], 4.0),
    ];
    let mut mixed = table(&["pp", "users", "input_len"], &rows);
    for (row, speed) in mixed.rows.iter_mut().zip([8.0, 6.0, 4.0, 2.0]) {
        row.values.insert("speed".to_owned(), Mean { value: speed, half: None });
    }
    let figure = drawn(&mixed, "speed");
    let points: Vec<_> = lines(&figure).into_iter().map(|(_, points)| points).collect();
    assert_eq!(points, [vec![(8.0, 1.0), (4.0, 3.0)], vec![(6.0, 2.0), (2.0, 4.0)]]);
}

#[test]
fn what_can_not_be_drawn_is_said() {
    let many: Vec<[String; 2]> =
        (0..2 * (SERIES_MAX + 1)).map(|at| [(at % 2 + 1).to_string(), (at / 2).to_string()]).collect();
    let words: Vec<Vec<&str>> = many.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    let rows: Vec<(&[&str], f64)> = words.iter().map(|row| (row.as_slice(), 1.0)).collect();
    let crowd = table(&["pp", "users"], &rows);
    let said = |plot: &PlotTable| figure(&crowd, plot).expect_err("an error").to_string();
    let of = PlotTable::of;
    assert_eq!(
        said(&of("pp", "time_us")),
        "13 series, 12 can be told apart; fix one of users (13 values): give it one value in the file"
    );
    assert!(said(&of("gate", "time_us")).starts_with("`gate` is not swept here"));
    assert!(said(&of("pp", "x")).starts_with("no column `x`"));
    assert!(said(&of("pp", "speed")).starts_with("no record has speed"));
}

#[test]
fn stated_values_are_marks_and_zeros_are_counted() {
    let rows: [(&[&str], f64); 3] = [(&["1"], 0.0), (&["2"], 30.0), (&["8"], 800.0)];
    let stated = vec![Stated { x: 2.0, y: 25.0, text: "its paper".to_owned() }];
    let plot = PlotTable { log_y: true, stated, ..PlotTable::of("pp", "time_us") };
    let figure = figure(&table(&["pp"], &rows), &plot).expect("a figure");
    assert!(figure.caption.contains("1 values that are 0"), "{}", figure.caption);
    let Some(Layer::Marks { mark: Mark::Stated, points, .. }) = figure.layers.last() else {
        panic!("no marks")
    };
    assert_eq!(points, &[(2.0, 25.0, "its paper".to_owned())]);
}

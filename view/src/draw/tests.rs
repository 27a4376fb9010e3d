//! Every kind of layer is drawn with its texts, well-formed, and the same again.

use super::axes::{range, ticks};
use super::svg;
use super::text::{number, significant};
use crate::medium::Medium;
use blackboard::figure::{Axis, Figure, Layer, Mark, Scale};

fn figure(x: Axis, y: Axis, layers: Vec<Layer>) -> Figure {
    Figure {
        id: "id",
        chapter: "chapter",
        title: "Step time & batch".to_owned(),
        caption: "Inputs: 5 < 6, prices of $3 and $4 from the source, ".to_owned()
            + &"and a long tail of words ".repeat(9)
            + "up to lastword",
        x,
        y,
        layers,
    }
}

fn line(points: &[(f64, f64)]) -> Layer {
    Layer::Line { label: "<line>".to_owned(), points: points.to_vec(), dashed: true }
}

fn marks(mark: Mark, points: &[(f64, f64)]) -> Layer {
    let points = points.iter().map(|&(x, y)| (x, y, "R&D".to_owned())).collect();
    Layer::Marks { label: format!("{mark:?}"), mark, points }
}

/// One figure for each kind of layer, with what its picture has to tell.
fn figures() -> Vec<(Figure, Vec<&'static str>)> {
    let names = || ["dgx-h100", "vera-rubin-nvl72", "a < b"];
    let line = line(&[(1.0, 2.0), (10.0, 3e7)]);
    let marks = vec![marks(Mark::Stated, &[(0.0, 2.0)]), marks(Mark::Computed, &[(0.0, 2.1)])];
    let bars = [("dispatch", vec![1.0, 2.0, 0.0]), ("combine", vec![3.0, 1.5, 2.0])];
    let means = |values: Vec<f64>| values.into_iter().map(|value| Some(value.into())).collect();
    let bars = Layer::Bars { series: bars.map(|(name, values)| (name.to_owned(), means(values))).to_vec() };
    let span = |row, begin, end| (row, begin, end, "gate 0".to_owned());
    let spans = Layer::Spans { spans: vec![span(0, 0.0, 90.0), span(1, 90.0, 91.0), span(1, 91.0, 92.0)] };
    let values = vec![vec![0.0, 1.0, 2.0], vec![3.0, f64::NAN, 5.5]];
    let heat = Layer::Heat { label: "bytes, MiB".to_owned(), values };
    let x = || Axis::categories("platform", names());
    vec![
        (
            figure(Axis::log("size, bytes"), Axis::log("time, ms"), vec![line]),
            vec!["size, bytes", "time, ms", "&lt;line&gt;", "stroke-dasharray", ">10⁷<"],
        ),
        (
            figure(x(), Axis::linear("time, ms"), marks),
            vec!["platform", "time, ms", "Stated", "Computed", "R&amp;D"],
        ),
        (
            figure(x(), Axis::linear("time, ms"), vec![bars]),
            vec!["dispatch", "combine", "vera-rubin-nvl72", "a &lt; b"],
        ),
        (
            figure(Axis::linear("time, µs"), Axis::categories("rows", names()), vec![spans]),
            vec!["time, µs", "rows", ">gate 0<", ">gate<"],
        ),
        (
            figure(x(), Axis::categories("model", ["one", "two"]), vec![heat]),
            vec!["platform", "model", "bytes, MiB", "vera-rubin-nvl72", ">5.5<"],
        ),
    ]
}

/// Every element closed in order, every attribute quoted, every `&` the start of an entity.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some((text, tail)) = rest.split_once('<') {
        let (tag, tail) = tail.split_once('>').expect("an element ends");
        for entity in text.split('&').skip(1).chain(tag.split('&').skip(1)) {
            let known = ["amp;", "lt;", "gt;", "quot;", "apos;"];
            assert!(known.iter().any(|known| entity.starts_with(known)), "&{entity}");
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') && !tag.starts_with('!') {
            open.push(tag.split(' ').next().unwrap_or_default());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        rest = tail;
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(svg.starts_with("<svg ") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn each_layer_is_drawn_with_all_its_texts() {
    for (figure, texts) in figures() {
        let svg = svg(&figure, Medium::Screen);
        assert_well_formed(&svg);
        for text in
            texts.into_iter().chain(["Step time &amp; batch", "5 &lt; 6", "of $3 and $4 from", "lastword"])
        {
            assert!(svg.contains(text), "{text} is missing in {svg}");
        }
    }
}

#[test]
fn the_same_figure_gives_the_same_bytes() {
    for (figure, _) in figures() {
        assert_eq!(svg(&figure, Medium::Screen), svg(&figure, Medium::Screen));
        let column = svg(&figure, Medium::Column);
        assert_well_formed(&column);
        assert!(column.contains("width=\"85mm\""), "{}", &column[..200]);
    }
}

#[test]
fn nothing_to_draw_is_drawn() {
    let empty = || {
        let (label, none) = (String::new(), Vec::new());
        vec![
            line(&[]),
            marks(Mark::Stated, &[]),
            Layer::Bars { series: vec![] },
            Layer::Bars { series: vec![(label.clone(), vec![])] },
            Layer::Spans { spans: vec![] },
            Layer::Heat { label: label.clone(), values: none },
            Layer::Heat { label, values: vec![vec![]] },
        ]
    };
    let axes =
        || [Axis::linear("l"), Axis::log("g"), Axis::categories("c", [""; 0]), Axis::categories("d", ["a"])];
    for x in axes() {
        for y in axes() {
            for points in
                [&[][..], &[(0.0, 0.0)], &[(3.0, -7.0), (3.0, -7.0)], &[(5e-8, f64::NAN), (1e12, 5e-8)]]
            {
                let mut layers = empty();
                layers.extend([line(points), marks(Mark::Computed, points)]);
                assert_well_formed(&svg(&figure(x.clone(), y.clone(), layers), Medium::Screen));
            }
        }
    }
}

#[test]
fn numbers_are_short() {
    let cases =
        [(0.0, "0"), (0.25, "0.25"), (1200.0, "1200"), (-3e-7, "-3·10⁻⁷"), (1e6, "10⁶"), (0.001, "0.001")];
    for (value, text) in cases {
        assert_eq!(number(value), text);
    }
    assert_eq!(significant(1.23456, 3), "1.23");
    assert_eq!(significant(12345.0, 3), "12345");
}

#[test]
fn ranges_hold_their_values() {
    let of = |axis: &Axis, values: &[f64]| range(axis, || values.iter().copied());
    assert_eq!(of(&Axis::log(""), &[21.0, 480.0]), (10.0, 1000.0));
    assert_eq!(of(&Axis::log(""), &[0.0, f64::NAN]), (0.5, 20.0));
    assert_eq!(of(&Axis::log(""), &[4.0]), (2.0, 6.0));
    assert_eq!(of(&Axis::linear(""), &[10.0, 100.0]), (0.0, 105.0));
    assert_eq!(of(&Axis::linear(""), &[]), (0.0, 1.05));
    assert_eq!(of(&Axis::linear(""), &[6.0]), (3.0, 9.0));
    assert_eq!(of(&Axis::categories("", ["a", "b"]), &[7.0]), (0.5, 2.5));
    for (low, high) in [(3e-5, 4e-5), (3e-5, 2e-4), (7.0, 7e9), (-3.0, 8.0), (-8.0, -7.9), (9e9, 9.1e9)] {
        for axis in [Axis::log(""), Axis::linear("")] {
            let (from, to) = of(&axis, &[low, high]);
            assert!(axis.scale == Scale::Log && low <= 0.0 || from <= low && high <= to, "{from} {to}");
            assert!(axis.scale == Scale::Linear || from > 0.0, "{from} {to}");
            assert!(ticks(&axis, (from, to)).len() >= 2, "{from} {to}");
        }
    }
}

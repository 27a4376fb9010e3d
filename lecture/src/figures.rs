//! The plots of every chapter, as data: each shows a claim over its inputs, with what was stated beside what is computed.

mod overtraining;
mod pipelines;
mod prices;
mod racks;
mod reversibility;
mod roofline;

use crate::claims::Chapter;
use blackboard::figure::{Figure, Layer, Mark};

/// All figures, chapter by chapter.
#[must_use]
pub fn all() -> Vec<Figure> {
    Chapter::ALL.into_iter().flat_map(of).collect()
}

/// The figures of a chapter.
#[must_use]
pub fn of(chapter: Chapter) -> Vec<Figure> {
    match chapter {
        Chapter::Roofline => roofline::figures(),
        Chapter::ScaleUp => racks::figures(),
        Chapter::Pipeline => pipelines::figures(),
        Chapter::Overtraining => overtraining::figures(),
        Chapter::Prices => prices::figures(),
        Chapter::Reversible => reversibility::figures(),
    }
}

/// `steps` + 1 values from `from` to `to`, each the same factor from the last.
fn geometric(from: f64, to: f64, steps: u32) -> impl Iterator<Item = f64> {
    let factor = (to / from).powf(1.0 / f64::from(steps));
    (0..=steps).map(move |step| from * factor.powf(f64::from(step)))
}

/// `steps` + 1 values from `from` to `to`, equally far from each other.
fn even(from: f64, to: f64, steps: u32) -> impl Iterator<Item = f64> {
    (0..=steps).map(move |step| from + (to - from) * f64::from(step) / f64::from(steps))
}

fn line(label: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Layer {
    Layer::Line { label: label.into(), points: points.into_iter().collect(), dashed: false }
}

fn dashed(label: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Layer {
    Layer::Line { label: label.into(), points: points.into_iter().collect(), dashed: true }
}

/// Bars on top of each other in each place.
fn bars<const N: usize>(series: [(&str, &[f64]); N]) -> Layer {
    let means = |values: &[f64]| values.iter().map(|&value| Some(value.into())).collect();
    Layer::Bars { series: series.map(|(label, values)| (label.to_owned(), means(values))).to_vec() }
}

/// A value that holds for all of so many places.
fn level(label: impl Into<String>, value: f64, places: usize) -> Layer {
    dashed(label, [(-0.5, value), (places as f64 - 0.5, value)])
}

fn stated(points: &[(f64, f64, &str)]) -> Layer {
    marks("stated", Mark::Stated, points)
}

fn computed(points: &[(f64, f64, &str)]) -> Layer {
    marks("computed", Mark::Computed, points)
}

fn marks(label: &str, mark: Mark, points: &[(f64, f64, &str)]) -> Layer {
    let points = points.iter().map(|&(x, y, text)| (x, y, text.to_owned())).collect();
    Layer::Marks { label: label.to_owned(), mark, points }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blackboard::figure::{Axis, Scale};

    fn places(axis: &Axis) -> Option<usize> {
        if let Scale::Categories(names) = &axis.scale { Some(names.len()) } else { None }
    }

    #[test]
    fn every_figure_can_be_drawn_and_says_its_inputs() {
        let figures = all();
        let mut ids = std::collections::BTreeSet::new();
        for figure in &figures {
            let id = figure.id;
            assert!(ids.insert(id), "{id} twice");
            assert!(
                !figure.layers.is_empty() && !figure.caption.is_empty() && !figure.title.is_empty(),
                "{id}"
            );
            assert!(Chapter::ALL.iter().any(|chapter| chapter.name() == figure.chapter), "{id}");
            let sound = |x: f64, y: f64| {
                let fits = |axis: &Axis, value: f64| axis.scale != Scale::Log || value > 0.0;
                x.is_finite() && y.is_finite() && fits(&figure.x, x) && fits(&figure.y, y)
            };
            for layer in &figure.layers {
                match layer {
                    Layer::Line { points, label, .. } => {
                        assert!(points.iter().all(|&(x, y)| sound(x, y)), "{id}: {label}");
                        let level = points.windows(2).all(|pair| pair[0].1 == pair[1].1);
                        assert!(level || places(&figure.x).is_none(), "{id}: {label} joins names");
                    }
                    Layer::Marks { points, .. } => {
                        assert!(points.iter().all(|(x, y, _)| sound(*x, *y)), "{id}")
                    }
                    Layer::Means { points, label } => {
                        assert!(points.iter().all(|&(x, y)| sound(x, y.value)), "{id}: {label}");
                    }
                    Layer::Bars { series } => {
                        for (name, values) in series {
                            assert_eq!(Some(values.len()), places(&figure.x), "{id}: {name}");
                        }
                    }
                    Layer::Spans { spans } => {
                        let rows = places(&figure.y).expect("rows");
                        assert!(spans.iter().all(|(row, begin, end, _)| *row < rows && begin <= end), "{id}");
                    }
                    Layer::Heat { values, .. } => {
                        assert_eq!(Some(values.len()), places(&figure.y), "{id}");
                        assert!(values.iter().all(|row| Some(row.len()) == places(&figure.x)), "{id}");
                    }
                }
            }
        }
        for chapter in Chapter::ALL {
            assert!(!of(chapter).is_empty());
        }
    }
}

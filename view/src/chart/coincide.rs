//! Lines that can't be told apart become one, with all their names.

use super::axis::part;
use super::series::Series;
use blackboard::figure::Axis;
use study::scenario::distinct;

/// The part of an axis below which two points are at one place: about a pixel.
const RESOLUTION: f64 = 0.003;

/// `drawn` with each line once.
pub(super) fn merged(drawn: Vec<Series>, x: &Axis, y: &Axis) -> Vec<Series> {
    let all = || drawn.iter().flat_map(|series| &series.points);
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ranges = (ends(&mut all().map(|point| point.x)), ends(&mut all().map(|point| point.mean.value)));
    let close = |axis: &Axis, range: (f64, f64), left: f64, right: f64| {
        left == right || (part(axis, range, left) - part(axis, range, right)).abs() < RESOLUTION
    };
    let one = |left: &Series, right: &Series| {
        left.points.len() == right.points.len()
            && left.points.iter().zip(&right.points).all(|(left, right)| {
                let half = |mean: blackboard::figure::Mean| mean.value + mean.half.unwrap_or(0.0);
                close(x, ranges.0, left.x, right.x)
                    && close(y, ranges.1, left.mean.value, right.mean.value)
                    && close(y, ranges.1, half(left.mean), half(right.mean))
            })
    };
    let mut groups: Vec<Vec<Series>> = Vec::new();
    for series in &drawn {
        match groups.iter_mut().find(|group| one(&group[0], series)) {
            Some(group) => group.push(series.clone()),
            None => groups.push(vec![series.clone()]),
        }
    }
    groups.into_iter().map(named).collect()
}

/// The first of `group` with the names of all: `sim, flat = dedup` where the names are all combinations of their parts, what is
/// the same first; else name = name.
fn named(mut group: Vec<Series>) -> Series {
    if group.len() > 1 {
        let words = |at: usize| distinct(group.iter().map(|series| series.parts[at].as_str()));
        let parts: Vec<Vec<&str>> = (0..group[0].parts.len()).map(words).collect();
        let label = if parts.iter().map(Vec::len).product::<usize>() == group.len() {
            let (one, several): (Vec<_>, Vec<_>) = parts.iter().partition(|words| words.len() == 1);
            let parts = one.into_iter().chain(several).map(|words| words.join(" = "));
            parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
        } else {
            group.iter().map(|series| series.label.as_str()).collect::<Vec<_>>().join(" = ")
        };
        group[0].label = label;
    }
    group.swap_remove(0)
}

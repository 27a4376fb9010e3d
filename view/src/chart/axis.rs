//! Equal steps or equal factors: as the values are spaced.

use super::series::Series;
use blackboard::figure::{Axis, Scale};

/// The longest y axis of equal steps: ends that are further apart get equal factors.
const LINEAR_RATIO_MAX: f64 = 10.0;
/// The shortest x axis of equal factors.
const LOG_RATIO_MIN: f64 = 4.0;

/// The axis of swept numbers: equal factors if they are spaced more evenly so.
pub(super) fn of_x(label: &str, values: impl Iterator<Item = f64>, log: bool) -> Axis {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let (Some(&low), Some(&high)) = (values.first(), values.last()) else { return Axis::linear(label) };
    if low <= 0.0 {
        return Axis::linear(label);
    }
    // The widest gap as a part of the whole.
    let widest = |of: fn(f64) -> f64| {
        let gaps = values.windows(2).map(|pair| of(pair[1]) - of(pair[0]));
        gaps.fold(0.0, f64::max) / (of(high) - of(low))
    };
    let spaced = high >= LOG_RATIO_MIN * low && widest(f64::ln) < widest(|value| value);
    if log || spaced { Axis::log(label) } else { Axis::linear(label) }
}

/// The axis of results: equal factors if some are many times others, and none is 0.
pub(super) fn of_y(label: &str, values: impl Iterator<Item = f64>, log: bool) -> Axis {
    let (least, most) =
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    let far = least > 0.0 && most / least >= LINEAR_RATIO_MAX;
    if most > 0.0 && (log || far) { Axis::log(label) } else { Axis::linear(label) }
}

/// Takes out the points that have no place on the axes, and counts them.
pub(super) fn left_out(drawn: &mut [Series], x: &Axis, y: &Axis) -> usize {
    let fits = |axis: &Axis, value: f64| axis.scale != Scale::Log || value > 0.0;
    let mut count = 0;
    for series in drawn {
        let before = series.points.len();
        series.points.retain(|point| fits(x, point.x) && fits(y, point.mean.value));
        count += before - series.points.len();
    }
    count
}

/// Where a value is on an axis of a given range, from 0 to 1.
pub(super) fn part(axis: &Axis, (low, high): (f64, f64), value: f64) -> f64 {
    match axis.scale {
        Scale::Log => (value / low).ln() / (high / low).ln(),
        _ => (value - low) / (high - low),
    }
}

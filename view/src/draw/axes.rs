//! Ranges, ticks and margins.

use super::text::{number, plain, width};
use super::{SIZE, TICKS};
use blackboard::figure::{Axis, Figure, Layer, Mean, Scale};
use kuva::render::layout::{ComputedLayout, Layout, TickFormat};
use kuva::render::render_utils::{
    auto_nice_range_capped, compute_tick_step, generate_ticks, generate_ticks_log,
};
use std::sync::Arc;

/// Ranges, margins and the texts around the axes.
pub(super) fn layout(figure: &Figure, wide: f64) -> Layout {
    let values: Vec<_> = figure.layers.iter().map(values).collect();
    let x = range(&figure.x, || values.iter().flat_map(|(x, _)| x.iter().copied()));
    let y = range(&figure.y, || values.iter().flat_map(|(_, y)| y.iter().copied()));
    let heat = figure.layers.iter().any(|layer| matches!(layer, Layer::Heat { .. }));
    let rows = places(&figure.y) as f64;
    let height = match &figure.y.scale {
        Scale::Categories(_) if heat => {
            (rows * (340.0 / places(&figure.x) as f64).clamp(20.0, 32.0)).clamp(160.0, 640.0)
        }
        Scale::Categories(_) => 34.0 * rows.max(3.0),
        _ => (wide * 4.0 / 7.0).max(240.0),
    };
    let mut layout = Layout::new(x, y)
        .with_width(wide)
        .with_title(plain(&figure.title))
        .with_title_size(15)
        .with_label_size(SIZE)
        .with_tick_size(SIZE)
        .with_title_wrap((wide / 10.0) as usize)
        .with_x_label(plain(&figure.x.label))
        .with_x_label_wrap((wide / 10.37) as usize)
        .with_y_label(plain(&figure.y.label))
        .with_y_label_wrap((height / 8.5) as usize)
        .with_ticks(TICKS)
        .with_show_grid(false)
        .with_tick_format(TickFormat::Custom(Arc::new(number)))
        .with_x_axis_min(x.0)
        .with_x_axis_max(x.1)
        .with_y_axis_min(y.0)
        .with_y_axis_max(y.1);
    layout.force_margin_right = Some(if heat { 110.0 } else { 30.0 });
    layout.log_x = figure.x.scale == Scale::Log;
    layout.log_y = figure.y.scale == Scale::Log;
    layout.x_tick_step = short_steps(&figure.x, x);
    layout.y_tick_step = short_steps(&figure.y, y);
    if let Scale::Categories(names) = &figure.y.scale {
        layout.y_categories = Some(names.iter().rev().map(|name| plain(name)).collect());
    }
    if let Scale::Categories(names) = &figure.x.scale {
        let step = ComputedLayout::from_layout(&layout).plot_width() / places(&figure.x) as f64;
        let fits = names.iter().all(|name| width(name, SIZE) + 8.0 <= step);
        layout.x_categories = Some(names.iter().map(|name| plain(name)).collect());
        layout.x_tick_rotate = (!fits).then_some(-40.0);
    }
    let place = ComputedLayout::from_layout(&layout);
    // kuva takes the ticks of a logarithmic axis for wider or narrower than they are.
    let widest = match &figure.y.scale {
        Scale::Categories(_) => place.y_tick_label_px,
        _ => ticks(&figure.y, y).iter().map(|(tick, _)| width(&number(*tick), SIZE)).fold(0.0, f64::max),
    };
    layout.y_label_offset.0 = place.y_tick_label_px - widest;
    layout.force_margin_left = Some(place.margin_left - layout.y_label_offset.0 + 6.0);
    layout.with_height(place.margin_top + height + place.margin_bottom)
}

/// All x and all y that an axis must hold.
pub(super) fn values(layer: &Layer) -> (Vec<f64>, Vec<f64>) {
    match layer {
        Layer::Line { points, .. } => points.iter().copied().unzip(),
        Layer::Means { points, .. } => {
            let ends = points.iter().flat_map(|(_, mean)| <[f64; 2]>::from(mean.ends()));
            (points.iter().map(|(x, _)| *x).collect(), ends.collect())
        }
        Layer::Marks { points, .. } => points.iter().map(|(x, y, _)| (*x, *y)).unzip(),
        Layer::Bars { series } => {
            let halves =
                series.iter().flat_map(|(_, means)| means.iter().map(|mean| mean.and_then(|mean| mean.half)));
            let pieces = stacked(series).into_iter().flatten().zip(halves);
            let ends = pieces
                .flat_map(|((from, to), half)| [from, to - half.unwrap_or(0.0), to + half.unwrap_or(0.0)]);
            (Vec::new(), ends.collect())
        }
        Layer::Spans { spans } => (spans.iter().flat_map(|span| [span.1, span.2]).collect(), Vec::new()),
        Layer::Heat { .. } => (Vec::new(), Vec::new()),
    }
}

/// For each series and place, from where to where its bar goes.
pub(super) fn stacked(series: &[(String, Vec<Option<Mean>>)]) -> Vec<Vec<(f64, f64)>> {
    let mut tops = vec![0.0; series.iter().map(|(_, means)| means.len()).max().unwrap_or(0)];
    let mut piece = |(top, mean): (&mut f64, &Option<Mean>)| {
        let from = *top;
        *top += mean.map_or(0.0, |mean| mean.value);
        (from, *top)
    };
    series.iter().map(|(_, means)| tops.iter_mut().zip(means).map(&mut piece).collect()).collect()
}

pub(super) fn range<T: Iterator<Item = f64>>(axis: &Axis, values: impl Fn() -> T) -> (f64, f64) {
    match &axis.scale {
        Scale::Categories(_) => (0.5, places(axis) as f64 + 0.5),
        Scale::Linear => even(bounds(values()).unwrap_or((0.0, 1.0)), 0.4),
        Scale::Log => {
            let (low, high) = bounds(values().filter(|value| *value > 0.0)).unwrap_or((1.0, 10.0));
            if high <= 3.0 * low {
                return even((low, high), 0.0);
            }
            let (low, high) = (low.log10(), high.log10());
            let pad = (0.04 * (high - low)).max(0.02);
            let (low, high) = (low - pad, high + pad);
            let ends = (10_f64.powf(low), 10_f64.powf(high));
            if high.ceil() - low.floor() > 3.0 {
                return ends;
            }
            // Ticks are at 1, 2 and 5: end at one, so that there are at least two.
            let ticks = generate_ticks_log(10_f64.powf(low.floor()), 10_f64.powf(high.ceil()));
            let below = ticks.iter().rfind(|tick| **tick <= ends.0);
            let above = ticks.iter().find(|tick| **tick >= ends.1);
            (*below.unwrap_or(&ends.0), *above.unwrap_or(&ends.1))
        }
    }
}

/// A range for equal steps; it begins at zero when the values begin nearer to it than this part of the highest.
pub(super) fn even((low, high): (f64, f64), near: f64) -> (f64, f64) {
    if low == high {
        let around = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
        return (low - around, high + around);
    }
    let pad = 0.03 * (high - low);
    let (low, padded) = if (0.0..=near * high).contains(&low) { (0.0, 0.0) } else { (low, low - pad) };
    auto_nice_range_capped(padded, high + pad, low, high, TICKS)
}

/// The equal steps between the ticks of a logarithmic axis that is too short for ticks at 1, 2 and 5.
pub(super) fn short_steps(axis: &Axis, (low, high): (f64, f64)) -> Option<f64> {
    (axis.scale == Scale::Log && high <= 5.01 * low).then(|| compute_tick_step(low, high, TICKS))
}

/// Where grid lines are, with their colours; the faint ones first.
pub(super) fn ticks(axis: &Axis, (low, high): (f64, f64)) -> Vec<(f64, &'static str)> {
    let with = |colour| move |tick: f64| (tick, colour);
    match &axis.scale {
        Scale::Categories(_) => Vec::new(),
        Scale::Log if short_steps(axis, (low, high)).is_none() => {
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let minor =
                decades.flat_map(|decade| (2..10).map(move |step| f64::from(step) * 10_f64.powi(decade)));
            let minor = minor.filter(|tick| (low..=high).contains(tick)).map(with("#efefef"));
            minor.chain(generate_ticks_log(low, high).into_iter().map(with("#d4d4d4"))).collect()
        }
        _ => generate_ticks(low, high, TICKS).into_iter().map(with("#d4d4d4")).collect(),
    }
}

/// A value as kuva's axis wants it, which counts the places of names from 1.
pub(super) fn on_axis(axis: &Axis, value: f64) -> Option<f64> {
    match &axis.scale {
        Scale::Categories(_) => (-0.5..=places(axis) as f64 - 0.5).contains(&value).then_some(value + 1.0),
        Scale::Linear => Some(value),
        Scale::Log => (value > 0.0).then_some(value),
    }
}

/// How many names an axis has; 1 where it has none.
pub(super) fn places(axis: &Axis) -> usize {
    if let Scale::Categories(names) = &axis.scale { names.len().max(1) } else { 1 }
}

/// The least and the greatest of the finite values.
pub(super) fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |bounds, value| {
        let (low, high) = bounds.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

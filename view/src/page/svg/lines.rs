//! Curves over numbers along x, with points, bands of intervals and single marks with a text.

use super::{Anchor, COLOURS, Canvas, Key, LINE, Legend, WIDTH, at, fill, short, ticks};
use std::fmt::Write;

/// Points joined in their order.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// For the legend.
    pub label: String,
    /// (x, y, half the width of its interval).
    pub points: Vec<(f64, f64, f64)>,
    /// Lowest and highest value at each point, of which a band is drawn; none for none.
    pub band: Vec<(f64, f64)>,
    /// The series whose colour it has, where that is not its own place.
    pub colour: Option<usize>,
    /// A bound or a reference.
    pub dashed: bool,
    /// Whether each point has a mark.
    pub marked: bool,
}

/// A picture of curves.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// What is along x, with the unit.
    pub x: String,
    /// What is along y, with the unit.
    pub y: String,
    /// Whether each has equal factors instead of equal steps.
    pub log: (bool, bool),
    /// From back to front.
    pub curves: Vec<Curve>,
    /// (x, y, text).
    pub marks: Vec<(f64, f64, String)>,
    /// What it says to those who don't see it.
    pub told: String,
}

const LEFT: f64 = 74.0;
const RIGHT: f64 = WIDTH - 20.0;
const BODY: f64 = 270.0;

/// An axis: its ends, and where its numbers stand.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<f64>,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, log: bool, from_zero: bool) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite() && (!log || *value > 0.0))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if !low.is_finite() {
            return Self { low: 0.0, high: 1.0, log: false, ticks: vec![0.0, 1.0] };
        }
        if log {
            let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
            let steps: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let all = (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
            let all: Vec<f64> = all.collect();
            let low = all.iter().copied().filter(|tick| *tick <= low).fold(low, f64::max).min(low);
            let ticks = all.into_iter().filter(|tick| (low..=high * 1.0001).contains(tick)).collect();
            return Self { low, high: if high > low { high } else { low * 10.0 }, log, ticks };
        }
        let low = if from_zero { low.min(0.0) } else { low };
        let high = if high > low { high } else { low + 1.0 };
        let ticks = ticks(low, high);
        Self { low: low.min(ticks[0]), high: high.max(ticks[ticks.len() - 1]), log, ticks }
    }

    /// From 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let part = match self.log {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        if part.is_finite() { part.clamp(-0.02, 1.02) } else { 0.0 }
    }
}

/// Draws `lines`.
#[must_use]
pub fn lines(lines: &Lines) -> String {
    let points = || lines.curves.iter().flat_map(|curve| &curve.points);
    let xs = points().map(|point| point.0).chain(lines.marks.iter().map(|mark| mark.0));
    let bands = lines.curves.iter().flat_map(|curve| &curve.band).flat_map(|&(low, high)| [low, high]);
    let ys = bands.chain(
        points().flat_map(|&(_, y, half)| [y - half, y + half]).chain(lines.marks.iter().map(|mark| mark.1)),
    );
    let (across, up) = (Axis::of(xs, lines.log.0, false), Axis::of(ys, lines.log.1, true));
    let key = |(series, curve): (usize, &Curve)| match style(series, curve) {
        (colour, true) if !curve.marked => Key::Dashes(colour),
        (colour, _) if curve.marked => Key::Mark(colour),
        (colour, _) => Key::Colour(colour),
    };
    let curves = lines.curves.iter().enumerate();
    let legend = Legend::new(curves.map(|(series, curve)| (&curve.label, key((series, curve)))));
    let top = legend.height.max(12.0);
    let mut canvas = Canvas::new(top + BODY + 2.0 * LINE + 8.0);
    canvas.legend(&legend);
    let x = |value: f64| LEFT + (RIGHT - LEFT) * across.part(value);
    let y = |value: f64| top + BODY * (1.0 - up.part(value));
    for &tick in &across.ticks {
        canvas.line("axis", (x(tick), top), (x(tick), top + BODY));
        canvas.text("soft", Anchor::Middle, (x(tick), top + BODY + LINE - 2.0), &short(tick));
    }
    for &tick in &up.ticks {
        canvas.line("axis", (LEFT, y(tick)), (RIGHT, y(tick)));
        canvas.text("soft", Anchor::End, (LEFT - 6.0, y(tick) + 4.0), &short(tick));
    }
    canvas.text("soft", Anchor::Middle, ((LEFT + RIGHT) / 2.0, top + BODY + 2.0 * LINE), &lines.x);
    canvas.upright((16.0, top + BODY / 2.0), &lines.y);
    for (series, curve) in lines.curves.iter().enumerate() {
        draw(&mut canvas, series, curve, &x, &y);
    }
    for (along, height, text) in &lines.marks {
        canvas.circle("stated", (x(*along), y(*height)), text);
        canvas.text("small", Anchor::Start, (x(*along) + 6.0, y(*height) - 5.0), text);
    }
    canvas.finish(&lines.told)
}

/// Which colour a curve has, and whether its line is dashed.
fn style(series: usize, curve: &Curve) -> (usize, bool) {
    (curve.colour.unwrap_or(series), curve.dashed || series >= 4)
}

fn draw(canvas: &mut Canvas, series: usize, curve: &Curve, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
    let (colour, dashed) = style(series, curve);
    if curve.points.iter().any(|&(.., half)| half > 0.0) {
        let above = curve.points.iter().map(|&(along, height, half)| (along, height + half));
        let below = curve.points.iter().rev().map(|&(along, height, half)| (along, height - half));
        let band = joined(above.chain(below), x, y) + "Z";
        canvas.path(&format!("band {}", fill(colour)), &band);
    }
    if !curve.band.is_empty() {
        let of = |pick: fn(&(f64, f64)) -> f64| {
            curve.points.iter().zip(&curve.band).map(move |(point, ends)| (point.0, pick(ends)))
        };
        let (above, below) = (of(|ends| ends.1), of(|ends| ends.0).rev());
        canvas.path(&format!("band {}", fill(colour)), &(joined(above.chain(below), x, y) + "Z"));
    }
    let path = joined(curve.points.iter().map(|&(along, height, _)| (along, height)), x, y);
    let dashed = if dashed { " dashed" } else { "" };
    canvas.path(&format!("l{}{dashed}", colour % COLOURS), &path);
    if curve.marked {
        for &(along, height, _) in &curve.points {
            let told = format!("{} {}: {}", curve.label, short(along), short(height));
            canvas.mark(&fill(colour), colour, (x(along), y(height)), &told);
        }
    }
}

fn joined(
    points: impl Iterator<Item = (f64, f64)>,
    x: &dyn Fn(f64) -> f64,
    y: &dyn Fn(f64) -> f64,
) -> String {
    let mut path = String::new();
    for (along, height) in points {
        let letter = if path.is_empty() { 'M' } else { 'L' };
        write!(path, "{letter}{} {}", at(x(along)), at(y(height))).expect("a String takes all");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_inside_and_a_number() {
        let curve = Curve {
            label: "flat".to_owned(),
            points: vec![(1.0, 2.0, 0.5), (10.0, 20.0, 0.0), (100.0, 0.0, 0.0)],
            marked: true,
            ..Curve::default()
        };
        for log in [(false, false), (true, true)] {
            let picture = Lines { curves: vec![curve.clone()], log, ..Lines::default() };
            let svg = lines(&picture);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            // And the legend's.
            assert_eq!(svg.matches("<circle").count(), 3 + 1);
        }
        assert!(!lines(&Lines::default()).contains("NaN"));
    }
}

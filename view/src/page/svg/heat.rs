//! A matrix as shades of one colour, with lines where groups of its rows and columns end.

use super::{Anchor, Canvas, LINE, WIDTH, short};
use std::fmt::Write;

/// Shades; nothing at all has none.
pub const SHADES: usize = 10;

/// A picture of a square matrix.
#[derive(Clone, Debug, Default)]
pub struct Heat {
    /// What the colour means, with the unit.
    pub label: String,
    /// The same shade's meaning otherwise, and the factor to it.
    pub also: Vec<(String, f64)>,
    /// What is down and what is across: `from rank`, `to rank`.
    pub names: (String, String),
    /// `[row][column]`; 0 is nothing.
    pub values: Vec<Vec<f64>>,
    /// Where shades begin: no more than what any cell has that has something.
    pub from: f64,
    /// Rows and columns before which a line is drawn.
    pub borders: Vec<usize>,
    /// What it says to those who don't see it.
    pub told: String,
}

const LEFT: f64 = 52.0;
const TOP: f64 = 40.0;
const SIDE: f64 = 440.0;

/// Draws `heat`.
#[must_use]
pub fn heat(heat: &Heat) -> String {
    let count = heat.values.len().max(1);
    let cell = SIDE / count as f64;
    let most = heat.values.iter().flatten().copied().fold(0.0, f64::max);
    let mut canvas = Canvas::new(TOP + SIDE + 16.0);
    canvas.rect("frame", (LEFT, TOP), (SIDE, SIDE), "");
    // A path a shade: a rectangle a cell would make pages of many ranks large.
    let mut paths = vec![String::new(); SHADES];
    for (row, values) in heat.values.iter().enumerate() {
        let mut column = 0;
        while column < values.len() {
            let of = |value: f64| shade(value, (heat.from, most));
            let Some(own) = of(values[column]) else {
                column += 1;
                continue;
            };
            let alike = values[column..].iter().take_while(|value| of(**value) == Some(own)).count();
            // In cells: the path's own scale is the transform below.
            write!(paths[own], "M{column} {row}h{alike}v1h-{alike}z").expect("a String takes all");
            column += alike;
        }
    }
    canvas.put(format_args!("<g transform=\"translate({LEFT} {TOP}) scale({cell})\">"));
    for (own, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        canvas.path(&format!("h{own}"), path);
    }
    canvas.put(format_args!("</g>"));
    for &border in &heat.borders {
        let at = border as f64 * cell;
        canvas.line("border", (LEFT + at, TOP), (LEFT + at, TOP + SIDE));
        canvas.line("border", (LEFT, TOP + at), (LEFT + SIDE, TOP + at));
    }
    let step = count.div_ceil(8);
    for tick in (0..count).step_by(step) {
        let middle = (tick as f64 + 0.5) * cell;
        canvas.text("soft", Anchor::Middle, (LEFT + middle, TOP - 6.0), &tick.to_string());
        canvas.text("soft", Anchor::End, (LEFT - 6.0, TOP + middle + 4.0), &tick.to_string());
    }
    canvas.text("soft", Anchor::Middle, (LEFT + SIDE / 2.0, 14.0), &heat.names.1);
    canvas.upright((14.0, TOP + SIDE / 2.0), &heat.names.0);
    scale(&mut canvas, heat, most);
    canvas.finish(&heat.told)
}

/// The shade of a value between the ends of the scale; `None` where there is nothing.
fn shade(value: f64, (from, most): (f64, f64)) -> Option<usize> {
    let part = if most > from { (value - from) / (most - from) } else { 1.0 };
    (value > 0.0 && most > 0.0).then(|| ((part * SHADES as f64).ceil() as usize).clamp(1, SHADES) - 1)
}

/// What the shades mean.
fn scale(canvas: &mut Canvas, heat: &Heat, most: f64) {
    let x = LEFT + SIDE + 20.0;
    for (at, line) in (0u32..).zip(super::broken(&heat.label, 18)) {
        canvas.text("small", Anchor::Start, (x, 14.0 + f64::from(at) * LINE), &line);
    }
    let top = TOP + 30.0;
    for own in 0..SHADES {
        let y = top + (SHADES - 1 - own) as f64 * 20.0;
        canvas.rect(&format!("h{own}"), (x, y), (22.0, 20.0), "");
        let value = heat.from + (most - heat.from) * (own + 1) as f64 / SHADES as f64;
        canvas.text("small", Anchor::Start, (x + 28.0, y + 5.0), &short(value));
    }
    let mut y = top + SHADES as f64 * 20.0 + LINE + 4.0;
    canvas.text("small", Anchor::Start, (x, y), "fullest shade:");
    for (unit, factor) in &heat.also {
        for line in super::broken(&format!("{} {unit}", short(most * factor)), 18) {
            y += LINE;
            canvas.text("small", Anchor::Start, (x, y), &line);
        }
    }
    debug_assert!(x < WIDTH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_go_with_values_and_nothing_has_none() {
        assert_eq!(shade(0.0, (0.0, 10.0)), None);
        assert_eq!(shade(0.1, (0.0, 10.0)), Some(0));
        assert_eq!(shade(10.0, (0.0, 10.0)), Some(9));
        assert_eq!([9.0, 9.5, 10.0].map(|value| shade(value, (9.0, 10.0))), [Some(0), Some(4), Some(9)]);
        assert_eq!([0.0, 3.0].map(|value| shade(value, (3.0, 3.0))), [None, Some(9)]);
        let picture =
            Heat { values: vec![vec![0.0, 1.0], vec![10.0, 10.0]], borders: vec![1], ..Heat::default() };
        let svg = heat(&picture);
        assert!(svg.contains("<path class=\"h0\" d=\"M1 0h1v1h-1z\"/>"), "{svg}");
        assert!(svg.contains("<path class=\"h9\" d=\"M0 1h2v1h-2z\"/>"), "{svg}");
    }
}

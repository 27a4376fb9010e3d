//! Pictures for pages: SVG as text whose colours are the page's, so that they are light or dark as it is.
//!
//! Marks have classes (`k0` to `k5` fill, `l0` to `l5` lines, `h0` to `h9` the shades of a heat map), and `assets/report.css` gives them
//! colours. [`bars`], [`lines`], [`heat`] and [`stretches`] take numbers and words alone; whose they are is the caller's.

mod bars;
mod heat;
mod lines;
mod stretches;

pub use bars::{Bar, Bars, Group, bars};
pub use heat::{Heat, SHADES, heat};
pub use lines::{Curve, Lines, lines};
pub use stretches::{Stretch, Stretches, stretches};

use super::escaped;
use std::fmt::Write;

/// Width of every picture in its own units; pages scale it.
pub const WIDTH: f64 = 640.0;
/// Height of a line of text.
pub(crate) const LINE: f64 = 17.0;
/// Different colours of marks.
pub const COLOURS: usize = 6;

/// A picture that is being drawn.
struct Canvas {
    height: f64,
    body: String,
}

/// Where a text stands at its point.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    fn new(height: f64) -> Self {
        Self { height, body: String::new() }
    }

    fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), told: &str) {
        let told = if told.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(told)) };
        let (x, y, width, height) = (at(x), at(y), at(width.max(0.0)), at(height.max(0.0)));
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\">{told}</rect>"
        ));
    }

    fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let (x1, y1, x2, y2) = (at(x1), at(y1), at(x2), at(y2));
        self.put(format_args!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"));
    }

    fn path(&mut self, class: &str, path: &str) {
        self.put(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    fn circle(&mut self, class: &str, (x, y): (f64, f64), told: &str) {
        let (x, y, told) = (at(x), at(y), escaped(told));
        self.put(format_args!(
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"3.5\"><title>{told}</title></circle>"
        ));
    }

    fn text(&mut self, class: &str, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y, text) = (at(x), at(y), escaped(text));
        self.put(format_args!(
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x}\" y=\"{y}\">{text}</text>"
        ));
    }

    /// A text that runs upwards, its middle at a point.
    fn upright(&mut self, (x, y): (f64, f64), text: &str) {
        let (x, y, text) = (at(x), at(y), escaped(text));
        self.put(format_args!(
            "<text class=\"soft\" text-anchor=\"middle\" transform=\"translate({x} {y}) rotate(-90)\">{text}</text>"
        ));
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        self.body.write_fmt(what).expect("a String takes all that is written to it");
    }

    /// Names of series with their colours, from `y` on; returns where they end.
    fn legend(&mut self, names: &[String], y: f64) -> f64 {
        let keys: Vec<(usize, bool)> = (0..names.len()).map(|series| (series, false)).collect();
        self.legend_of(names, &keys, y)
    }

    /// The same, with each series' colour and whether it is a dashed line.
    fn legend_of(&mut self, names: &[String], keys: &[(usize, bool)], y: f64) -> f64 {
        let (mut x, mut y) = (8.0, y);
        for (name, &(series, dashed)) in names.iter().zip(keys).filter(|(name, _)| !name.is_empty()) {
            let width = 24.0 + width_of(name);
            if x + width > WIDTH && x > 8.0 {
                (x, y) = (8.0, y + LINE);
            }
            match dashed {
                true => {
                    self.line(
                        &format!("l{} dashed", series % COLOURS),
                        (x - 4.0, y + 7.5),
                        (x + 13.0, y + 7.5),
                    );
                }
                false => self.rect(&fill(series), (x, y + 2.0), (11.0, 11.0), ""),
            }
            self.text("", Anchor::Start, (x + 16.0, y + 12.0), name);
            x += width;
        }
        y + LINE + 4.0
    }

    /// The whole picture, which says `told` to those who don't see it.
    fn finish(self, told: &str) -> String {
        let (height, told) = (at(self.height), escaped(told));
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{told}\" font-size=\"13\">{}</svg>",
            self.body
        )
    }
}

/// The class of a mark's colour.
fn fill(series: usize) -> String {
    format!("k{}", series % COLOURS)
}

/// A coordinate, to a tenth.
fn at(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// About how wide a text is.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 6.6 + 8.0
}

/// `text` in lines of at most so many characters where it has places to break.
fn broken(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= most {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    for line in &mut lines {
        if line.chars().count() > most {
            *line = line.chars().take(most.saturating_sub(3)).collect::<String>() + "...";
        }
    }
    lines
}

/// Round numbers from 0 (or `low`) to at least `high`, some six of them.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = (high - low).max(f64::MIN_POSITIVE);
    let power = 10f64.powf((span / 6.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|by| by * power).find(|step| span / step <= 6.0);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).floor();
    (0..=12).map(|at| (first + f64::from(at)) * step).take_while(|tick| *tick < high + step * 0.999).collect()
}

/// A number for people: three or four digits, with the letters of thousands, millions and billions.
#[must_use]
pub fn short(value: f64) -> String {
    let size = value.abs();
    let (value, letter) = match size {
        _ if size >= 1e12 => (value / 1e12, "T"),
        _ if size >= 1e9 => (value / 1e9, "G"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ticks_are_round() {
        let told = [0.0, 0.0123, 1.5, 28.84, 117.46, 9_999.0, 12_345.0, 7.5e6, 900e9].map(short);
        assert_eq!(told, ["0", "0.0123", "1.5", "28.8", "117", "9999", "12.3k", "7.5M", "900G"]);
        assert_eq!(ticks(0.0, 4.4), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(ticks(0.0, 0.0).len(), 1);
        assert!(ticks(0.0, 1e-9).len() > 3);
    }

    #[test]
    fn a_long_text_is_broken_and_at_last_cut() {
        assert_eq!(
            broken("2 racks: hierarchical, gate <= 1 rack", 24),
            ["2 racks: hierarchical,", "gate <= 1 rack"]
        );
        assert_eq!(broken("abcdefghij", 6), ["abc..."]);
    }

    #[test]
    fn what_others_wrote_stays_text() {
        let mut canvas = Canvas::new(10.0);
        canvas.text("", Anchor::Start, (0.0, 0.0), "</text><script>");
        let svg = canvas.finish("\"><script>");
        assert!(!svg.contains("<script>"), "{svg}");
        assert!(svg.contains("role=\"img\""));
    }
}

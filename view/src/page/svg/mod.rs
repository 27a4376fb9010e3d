//! Pictures for pages: SVG as text whose colours are the page's, so that they are light or dark as it is.
//!
//! Marks have classes (`k0` to `k6` fill, `l0` to `l6` lines, `h0` to `h9` the shades of a heat map), and `assets/report.css` gives them
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
pub const COLOURS: usize = 7;
/// Width of a letter, some more than most need.
const LETTER: f64 = 7.4;

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

    /// A mark of a series: five shapes, so that those of one colour differ.
    fn mark(&mut self, class: &str, series: usize, (x, y): (f64, f64), told: &str) {
        let corners: &[(f64, f64)] = match series % 5 {
            0 => return self.circle(class, (x, y), told),
            1 => &[(-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)],
            2 => &[(0.0, -4.2), (4.0, 3.2), (-4.0, 3.2)],
            3 => &[(0.0, -4.6), (4.6, 0.0), (0.0, 4.6), (-4.6, 0.0)],
            _ => &[(0.0, 4.2), (4.0, -3.2), (-4.0, -3.2)],
        };
        let corners: Vec<String> =
            corners.iter().map(|(right, down)| format!("{},{}", at(x + right), at(y + down))).collect();
        let (corners, told) = (corners.join(" "), escaped(told));
        self.put(format_args!(
            "<polygon class=\"{class}\" points=\"{corners}\"><title>{told}</title></polygon>"
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

    /// Names of series with their keys.
    fn legend(&mut self, legend: &Legend) {
        for Entry { at: (x, y), key, lines } in &legend.entries {
            match *key {
                Key::Colour(series) => self.rect(&fill(series), (*x, y + 2.0), (11.0, 11.0), ""),
                Key::Mark(series) => self.mark(&fill(series), series, (x + 5.5, y + 7.5), ""),
                Key::Dashes(series) => {
                    let class = format!("l{} dashed", series % COLOURS);
                    self.line(&class, (x - 4.0, y + 7.5), (x + 13.0, y + 7.5));
                }
            }
            for (number, line) in (0u32..).zip(lines) {
                self.text("", Anchor::Start, (x + 16.0, y + 12.0 + f64::from(number) * LINE), line);
            }
        }
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

/// What stands before a name in a legend, with its series.
#[derive(Clone, Copy)]
enum Key {
    Colour(usize),
    Mark(usize),
    Dashes(usize),
}

/// A name in a legend, where it stands.
struct Entry {
    at: (f64, f64),
    key: Key,
    lines: Vec<String>,
}

/// A legend above a picture, laid out once.
struct Legend {
    entries: Vec<Entry>,
    /// Of the whole legend, what parts it from the picture included; 0 where it has no names.
    height: f64,
}

impl Legend {
    /// Of names that aren't empty, each with its key: side by side as long as there is room.
    fn new<'a>(names: impl Iterator<Item = (&'a String, Key)>) -> Self {
        let most = ((WIDTH - 36.0) / LETTER) as usize;
        let (mut entries, mut x, mut y, mut tall) = (Vec::new(), 8.0, 2.0, 0.0);
        for (name, key) in names.filter(|(name, _)| !name.is_empty()) {
            let lines = broken(name, most);
            let width = lines.iter().map(|line| 24.0 + width_of(line)).fold(0.0, f64::max);
            if x + width > WIDTH && x > 8.0 {
                (x, y, tall) = (8.0, y + tall, 0.0);
            }
            tall = f64::max(tall, lines.len() as f64 * LINE);
            entries.push(Entry { at: (x, y), key, lines });
            x += width;
        }
        let height = if entries.is_empty() { 0.0 } else { y + tall + 10.0 };
        Self { entries, height }
    }
}

/// The class of a mark's colour; the second time round it is paler.
fn fill(series: usize) -> String {
    format!("k{}{}", series % COLOURS, if series < COLOURS { "" } else { " again" })
}

/// A coordinate, to a tenth.
fn at(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// About how wide a text is.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER + 8.0
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
    fn names_of_a_legend_stand_apart_and_below_each_other_where_they_must() {
        let names: Vec<String> = [
            "flat",
            "",
            "deepseek-v3, memoised, a rank with very many sequences",
            "hierarchical",
            &"long ".repeat(30),
        ]
        .map(str::to_owned)
        .to_vec();
        let legend = Legend::new(names.iter().zip((0..).map(Key::Colour)));
        assert_eq!(legend.entries.len(), 4);
        for (one, next) in legend.entries.iter().zip(&legend.entries[1..]) {
            let width = one.lines.iter().map(|line| 24.0 + width_of(line)).fold(0.0, f64::max);
            assert!(one.at.0 + width <= WIDTH, "{:?}", one.lines);
            let under = one.at.1 + one.lines.len() as f64 * LINE <= next.at.1;
            assert!(under || one.at.0 + width <= next.at.0, "{:?}", next.lines);
        }
        let last = legend.entries.last().expect("four");
        assert_eq!(last.lines.len(), 2);
        assert!(last.at.1 + 2.0 * LINE <= legend.height);
        assert_eq!(Legend::new([].into_iter()).height, 0.0);
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

//! Bars along x, in groups with a name each; a bar may be of parts, one behind the other, and have a whisker.

use super::{Anchor, Canvas, Key, LINE, Legend, WIDTH, broken, fill, short, ticks};

/// One bar.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    /// What it is beside its group; may be empty.
    pub label: String,
    /// (colour, value), from the axis on.
    pub parts: Vec<(usize, f64)>,
    /// The ends of a whisker.
    pub whisker: Option<(f64, f64)>,
    /// What stands behind it, in place of its length.
    pub note: Option<String>,
}

/// Bars of one name.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The name.
    pub label: String,
    /// The bars.
    pub bars: Vec<Bar>,
}

/// A picture of bars.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// What lengths mean, with the unit.
    pub axis: String,
    /// Names of the colours.
    pub legend: Vec<String>,
    /// From top to bottom.
    pub groups: Vec<Group>,
    /// A line across, with its words: what bars are against.
    pub rule: Option<(f64, String)>,
    /// What it says to those who don't see it.
    pub told: String,
}

/// Where bars begin, and where they end at most: their lengths stand behind them.
const LEFT: f64 = 210.0;
const RIGHT: f64 = WIDTH - 64.0;
const BAR: f64 = 15.0;
const APART: f64 = 9.0;
/// Most characters of a line of a name.
const NAME_MAX: usize = 26;
/// Most characters of a line below the bars.
const AXIS_MAX: usize = 58;

/// Draws `bars`.
#[must_use]
pub fn bars(bars: &Bars) -> String {
    let most = |bar: &Bar| {
        let whole = bar.parts.iter().map(|(_, value)| value).sum::<f64>();
        bar.whisker.map_or(whole, |(_, end)| whole.max(end))
    };
    let longest = bars.groups.iter().flat_map(|group| &group.bars).map(most).fold(0.0, f64::max);
    let longest = bars.rule.as_ref().map_or(longest, |(rule, _)| longest.max(*rule));
    let marks = ticks(0.0, longest);
    let end = marks.last().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
    let x = |value: f64| LEFT + (RIGHT - LEFT) * value / end;
    let legend = Legend::new(bars.legend.iter().zip((0..).map(Key::Colour)));
    let top = legend.height.max(12.0);
    let names: Vec<Vec<String>> = bars.groups.iter().map(|group| broken(&group.label, NAME_MAX)).collect();
    let tall = |(group, name): (&Group, &Vec<String>)| {
        (group.bars.len() as f64 * BAR).max(name.len() as f64 * LINE) + APART
    };
    let body: f64 = bars.groups.iter().zip(&names).map(tall).sum();
    let foot = if bars.rule.is_some() { LINE } else { 0.0 };
    // Its middle is right of the picture's: what has no room beside the bars' names takes another line.
    let axis = broken(&bars.axis, AXIS_MAX);
    let under = top + body + (axis.len() as f64 + 1.0) * LINE;
    let mut canvas = Canvas::new(under + foot + 8.0);
    canvas.legend(&legend);
    for &mark in &marks {
        canvas.line("axis", (x(mark), top - 4.0), (x(mark), top + body));
        canvas.text("soft", Anchor::Middle, (x(mark), top + body + LINE - 2.0), &short(mark));
    }
    if let Some((rule, _)) = bars.rule {
        canvas.line("rule", (x(rule), top - 4.0), (x(rule), top + body));
    }
    let mut y = top;
    for (group, name) in bars.groups.iter().zip(&names) {
        for (at, line) in (1u32..).zip(name) {
            canvas.text("", Anchor::End, (LEFT - 8.0, y + f64::from(at) * LINE - 5.0), line);
        }
        let height = tall((group, name));
        for (at, bar) in (0u32..).zip(&group.bars) {
            draw(&mut canvas, group, bar, y + f64::from(at) * BAR, &x);
        }
        y += height;
    }
    for (at, line) in (2u32..).zip(&axis) {
        canvas.text("soft", Anchor::Middle, (x(end / 2.0), top + body + f64::from(at) * LINE), line);
    }
    if let Some((_, words)) = &bars.rule {
        canvas.text("soft", Anchor::Start, (8.0, under + LINE), &format!("dashed line: {words}"));
    }
    canvas.finish(&bars.told)
}

fn draw(canvas: &mut Canvas, group: &Group, bar: &Bar, y: f64, x: &dyn Fn(f64) -> f64) {
    let mut from = 0.0;
    for &(series, value) in &bar.parts {
        let told = format!("{} {}: {}", group.label, bar.label, short(value));
        canvas.rect(&fill(series), (x(from), y), (x(from + value) - x(from), BAR - 3.0), &told);
        from += value;
    }
    let mut behind = from;
    if let Some((low, high)) = bar.whisker {
        let middle = y + BAR / 2.0 - 1.5;
        canvas.line("whisker", (x(low), middle), (x(high), middle));
        for end in [low, high] {
            canvas.line("whisker", (x(end), middle - 3.0), (x(end), middle + 3.0));
        }
        behind = behind.max(high);
    }
    let note = bar.note.clone().unwrap_or_else(|| short(from));
    canvas.text("small", Anchor::Start, (x(behind) + 4.0, y + BAR - 4.5), &note);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar = |parts: &[(usize, f64)]| Bar { parts: parts.to_vec(), ..Bar::default() };
        let groups =
            vec![Group { label: "one".to_owned(), bars: vec![bar(&[(0, 2.0)]), bar(&[(0, 1.0), (1, 4.0)])] }];
        let svg = bars(&Bars { groups, axis: "us".to_owned(), ..Bars::default() });
        let widths: Vec<f64> = svg
            .split("<rect")
            .skip(1)
            .map(|rect| {
                let from = rect.find("width=\"").expect("a width") + 7;
                rect[from..].split('"').next().and_then(|width| width.parse().ok()).expect("a number")
            })
            .collect();
        assert_eq!(widths.len(), 3);
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01, "{widths:?}");
        assert!((widths[2] / widths[1] - 4.0).abs() < 0.01, "{widths:?}");
    }

    #[test]
    fn nothing_but_zeros_is_drawn_too() {
        let bar = Bar { parts: vec![(0, 0.0)], ..Bar::default() };
        let svg =
            bars(&Bars { groups: vec![Group { label: String::new(), bars: vec![bar] }], ..Bars::default() });
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

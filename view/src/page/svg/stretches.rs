//! Stretches of time along x, in rows with a name each.

use super::{Anchor, Canvas, LINE, WIDTH, fill, short, ticks, width_of};

/// Something that took from one time to another.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    /// Its row.
    pub row: usize,
    /// From when.
    pub begin: f64,
    /// Until when.
    pub end: f64,
    /// Its colour.
    pub colour: usize,
    /// What it is; stands in it where there is room.
    pub text: String,
}

/// A picture of stretches.
#[derive(Clone, Debug, Default)]
pub struct Stretches {
    /// What is along x, with the unit.
    pub axis: String,
    /// Names of the rows, from top to bottom.
    pub rows: Vec<String>,
    /// In any order.
    pub stretches: Vec<Stretch>,
    /// What it says to those who don't see it.
    pub told: String,
}

const LEFT: f64 = 80.0;
const RIGHT: f64 = WIDTH - 24.0;
const ROW: f64 = 24.0;

/// Draws `all`.
#[must_use]
pub fn stretches(all: &Stretches) -> String {
    let longest = all.stretches.iter().map(|stretch| stretch.end).fold(0.0, f64::max);
    let marks = ticks(0.0, longest);
    let end = marks.last().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
    let x = |value: f64| LEFT + (RIGHT - LEFT) * value / end;
    let (top, body) = (8.0, all.rows.len() as f64 * ROW);
    let mut canvas = Canvas::new(top + body + 2.0 * LINE + 8.0);
    for &mark in &marks {
        canvas.line("axis", (x(mark), top), (x(mark), top + body));
        canvas.text("soft", Anchor::Middle, (x(mark), top + body + LINE - 2.0), &short(mark));
    }
    for (row, name) in (0u32..).zip(&all.rows) {
        canvas.text("", Anchor::End, (LEFT - 8.0, top + f64::from(row) * ROW + 15.0), name);
    }
    for stretch in all.stretches.iter().filter(|stretch| stretch.row < all.rows.len()) {
        let (y, width) = (top + stretch.row as f64 * ROW, x(stretch.end) - x(stretch.begin));
        let told = format!(
            "{} {}: {} to {}",
            all.rows[stretch.row],
            stretch.text,
            short(stretch.begin),
            short(stretch.end)
        );
        canvas.rect(&fill(stretch.colour), (x(stretch.begin), y + 1.0), (width - 0.5, ROW - 4.0), &told);
        if width > width_of(&stretch.text) {
            canvas.text("within", Anchor::Middle, (x(stretch.begin) + width / 2.0, y + 15.0), &stretch.text);
        }
    }
    canvas.text("soft", Anchor::Middle, (x(end / 2.0), top + body + 2.0 * LINE), &all.axis);
    canvas.finish(&all.told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_stands_in_its_row_and_one_without_is_left_out() {
        let stretch = |row| Stretch { row, begin: 1.0, end: 2.0, colour: 0, text: "7".to_owned() };
        let all = Stretches {
            rows: vec!["stage 0".to_owned()],
            stretches: vec![stretch(0), stretch(1)],
            ..Stretches::default()
        };
        let svg = stretches(&all);
        assert_eq!(svg.matches("<rect").count(), 1, "{svg}");
        assert!(!stretches(&Stretches::default()).contains("NaN"));
    }
}

//! Each kind of layer, drawn onto the sheet.

use super::axes::{bounds, places};
use super::text::{number, shade, significant, width};
use super::{INK, SIZE, SMALL, Sheet, Swatch, TICKS};
use blackboard::figure::Mark;
use kuva::render::render::{PathData, Primitive, TextAnchor};
use kuva::render::render_utils::generate_ticks;

impl<'a> Sheet<'a> {
    pub(super) fn line(&mut self, label: &'a str, points: &[(f64, f64)], dashed: bool) {
        let colour = self.entry(Swatch::Line { dashed }, label);
        let points: Vec<_> = points.iter().filter_map(|&(x, y)| self.at(x, y)).collect();
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let steps = ((x1 - x0).hypot(y1 - y0) / 5.0).ceil().clamp(1.0, 400.0);
            let along = (0..=steps as usize).map(|step| step as f64 / steps);
            self.trace.extend(along.map(|t| (x0 + (x1 - x0) * t, y0 + (y1 - y0) * t)));
        }
        if let [(x, y)] = points[..] {
            self.fill([x - 2.5, y - 2.5, x + 2.5, y + 2.5], colour, 1.0);
        }
        self.stroke(points, colour, if dashed { 1.7 } else { 2.2 }, dashed);
    }

    pub(super) fn marks(&mut self, label: &'a str, mark: Mark, points: &'a [(f64, f64, String)]) {
        let colour = self.entry(Swatch::Mark(mark), label);
        for (x, y, text) in points {
            if let Some((x, y)) = self.at(*x, *y) {
                self.marker(mark, (x, y), colour);
                self.taken.push([x - 6.0, y - 6.0, x + 6.0, y + 6.0]);
                if !text.is_empty() {
                    self.texts.push(((x, y), text));
                }
            }
        }
    }

    /// A disc for what is stated, an open diamond for what is computed.
    pub(super) fn marker(&mut self, mark: Mark, (x, y): (f64, f64), colour: &str) {
        self.scene.add(match mark {
            Mark::Stated => Primitive::Circle {
                cx: x,
                cy: y,
                r: 4.5,
                fill: colour.into(),
                fill_opacity: None,
                stroke: Some("white".into()),
                stroke_width: Some(1.0),
            },
            Mark::Computed => Primitive::Path(Box::new(PathData {
                d: format!("M {x:.2} {:.2} l 6.5 6.5 l -6.5 6.5 l -6.5 -6.5 Z", y - 6.5),
                fill: None,
                stroke: colour.into(),
                stroke_width: 2.0,
                opacity: None,
                stroke_dasharray: None,
            })),
        });
    }

    /// Spans whose texts differ in their numbers only have one colour; the legend names it when such a text finds no
    /// space in its span or beside it.
    pub(super) fn spans(&mut self, spans: &'a [(usize, f64, f64, String)]) {
        for (row, begin, end, text) in spans {
            let ends = (self.at(*begin, *row as f64), self.at(*end, *row as f64));
            let (Some((left, y)), Some((right, _))) = ends else { continue };
            let name = text.trim_end_matches(|c: char| !c.is_alphabetic());
            let name = if name.is_empty() { text } else { name };
            let colour = self.colour(name);
            let area = [left, y - 11.0, right.max(left + 1.5), y + 11.0];
            self.fill(area, colour, 0.35);
            let [left, top, right, bottom] = area;
            let edge = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
            self.stroke(edge, colour, 1.0, false);
            let next = spans.iter().filter(|next| next.0 == *row && next.1 >= *end).map(|next| next.1);
            let next = next.min_by(f64::total_cmp).and_then(|x| self.at(x, 0.0));
            let end = self.inside()[2];
            let free = next.map_or(end, |(x, _)| x) - right;
            let wide = width(text, SMALL) + 4.0;
            if wide <= right - left {
                let middle = (f64::midpoint(left, right), y + 4.0);
                self.write(middle, SMALL, TextAnchor::Middle, INK, text);
            } else if wide <= free {
                self.write((right + 3.0, y + 4.0), SMALL, TextAnchor::Start, INK, text);
            } else if !self.legend.iter().any(|(_, _, known)| *known == name) {
                self.entry(Swatch::Fill, name);
            }
        }
    }

    pub(super) fn heat(&mut self, label: &'a str, values: &[Vec<f64>]) {
        let [left, top, right, bottom] = self.inside();
        let (columns, rows) = (places(&self.figure.x), places(&self.figure.y));
        let step = ((right - left) / columns as f64, (bottom - top) / rows as f64);
        let (low, high) = bounds(values.iter().flatten().copied()).unwrap_or((0.0, 1.0));
        let (low, high) = if low < high { (low, high) } else { (low - 0.5, low + 0.5) };
        let shade = |value: f64| shade((value - low) / (high - low));
        let told = |value: f64| significant(value, 3);
        let fits = |value: &f64| width(&told(*value), SMALL) + 6.0 <= step.0 && step.1 >= 17.0;
        let tell = rows * columns <= 100 && values.iter().flatten().all(fits);
        for (row, values) in values.iter().enumerate().take(rows) {
            for (column, &value) in values.iter().enumerate().take(columns) {
                let (x, y) = (left + step.0 * column as f64, top + step.1 * row as f64);
                self.fill([x + 0.5, y + 0.5, x + step.0 - 0.5, y + step.1 - 0.5], shade(value), 1.0);
                if tell && value.is_finite() {
                    let colour = if value - low > 0.65 * (high - low) { INK } else { "white" };
                    let middle = (x + step.0 / 2.0, y + step.1 / 2.0 + 4.0);
                    self.write(middle, SMALL, TextAnchor::Middle, colour, &told(value));
                }
            }
        }
        let (x, slices) = (right + 22.0, 64);
        let up = |part: f64| bottom - (bottom - top) * part / f64::from(slices);
        for slice in (0..slices).map(f64::from) {
            // Each covers a bit of the one below, so that no gap shines through.
            let area = [x, up(slice + 1.0), x + 16.0, (up(slice) + 0.5).min(bottom)];
            self.fill(area, shade(low + (high - low) * (slice + 0.5) / f64::from(slices)), 1.0);
        }
        for tick in generate_ticks(low, high, TICKS) {
            let y = bottom - (bottom - top) * (tick - low) / (high - low);
            self.stroke(vec![(x + 16.0, y), (x + 20.0, y)], "black", 1.0, false);
            self.write((x + 23.0, y + 4.3), SIZE, TextAnchor::Start, "black", &number(tick));
        }
        if !label.is_empty() {
            self.legend.push((Swatch::Scale, INK, label));
        }
    }
}

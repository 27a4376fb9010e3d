//! What goes around the data: texts beside points, the legend, the caption.

use super::text::{overlap, shade, width};
use super::{Area, INK, PAD, SIZE, SMALL, Sheet, Swatch};
use kuva::render::render::TextAnchor;
use kuva::render::render_utils::wrap_text;

/// From one line of legend or caption to the next.
const LINE: f64 = 1.5 * SIZE as f64;

impl Sheet<'_> {
    /// Puts each text where it covers least: close to its point in one of eight directions, or farther off with a
    /// line to it.
    pub(super) fn place_texts(&mut self) {
        let [left, top, right, bottom] = self.inside();
        for ((x, y), text) in std::mem::take(&mut self.texts) {
            let (w, h) = (width(text, SMALL) + 4.0, 14.0);
            let aside = [(1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0)];
            let across = [(0.8, -0.8), (-0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)];
            let places = [8.0, 22.0, 38.0].into_iter().flat_map(|far| {
                aside.into_iter().chain(across).map(move |(dx, dy): (f64, f64)| {
                    let left = x + dx * far + w * (dx.signum() * f64::from(dx != 0.0) - 1.0) / 2.0;
                    let top = y + dy * far + h * (dy.signum() * f64::from(dy != 0.0) - 1.0) / 2.0;
                    (far, [left, top, left + w, top + h])
                })
            });
            let cost = |far: f64, area: &Area| {
                let room = [left + 2.0, top - 8.0, right + 20.0, bottom - 2.0];
                let out = area[0] < room[0] || area[1] < room[1] || area[2] > room[2] || area[3] > room[3];
                let covered = self.taken.iter().filter(|taken| overlap(area, taken)).count();
                let crossed = self.trace.iter().filter(|&&(x, y)| overlap(area, &[x, y, x, y])).count();
                f64::from(u8::from(out)) * 1e6 + covered as f64 * 1e3 + crossed as f64 * 10.0 + far
            };
            let best = places.min_by(|a, b| cost(a.0, &a.1).total_cmp(&cost(b.0, &b.1)));
            let Some((far, area)) = best else { continue };
            if far > 8.0 {
                let end = (x.clamp(area[0], area[2]), y.clamp(area[1], area[3]));
                self.stroke(vec![(x, y), end], "#999999", 0.8, false);
            }
            self.fill(area, "white", 0.75);
            let (at, anchor) = match area[0] + w / 2.0 - x {
                aside if aside > 1.0 => (area[0] + 2.0, TextAnchor::Start),
                aside if aside < -1.0 => (area[2] - 2.0, TextAnchor::End),
                _ => (x, TextAnchor::Middle),
            };
            self.write((at, area[1] + 11.0), SMALL, anchor, INK, text);
            self.taken.push(area);
        }
    }

    /// Legend and caption, below all else; the picture grows by what they need.
    pub(super) fn below(&mut self) {
        let picture = self.place.width;
        let (mut x, mut y) = (PAD, self.place.height + 22.0);
        for (swatch, colour, label) in std::mem::take(&mut self.legend) {
            let room = picture - 2.0 * PAD - 36.0;
            let lines = lines(label, room);
            let wide = lines.iter().map(|line| width(line, SIZE)).fold(0.0, f64::max);
            if x > PAD && x + 36.0 + wide > picture - PAD {
                (x, y) = (PAD, y + LINE);
            }
            match swatch {
                Swatch::Line { dashed } => {
                    self.stroke(vec![(x, y - 4.0), (x + 29.0, y - 4.0)], colour, 2.2, dashed)
                }
                Swatch::Means(style) => {
                    self.dashed(vec![(x, y - 4.0), (x + 29.0, y - 4.0)], style.colour, 2.0, style.dashes);
                    self.shape(style, (x + 14.5, y - 4.0));
                }
                Swatch::Mark(mark) => self.marker(mark, (x + 21.0, y - 4.0), colour),
                Swatch::Scale => (0..29).map(f64::from).for_each(|part| {
                    let left = x + part;
                    self.fill([left, y - 10.0, left + 1.0, y + 2.0], shade(part / 28.0), 1.0);
                }),
                Swatch::Fill => self.fill([x + 15.0, y - 10.0, x + 29.0, y + 2.0], colour, 1.0),
                Swatch::Bar(index) => self.bar([x + 15.0, y - 10.0, x + 29.0, y + 2.0], index),
            }
            for (index, line) in lines.iter().enumerate() {
                y += if index > 0 { LINE } else { 0.0 };
                self.write((x + 36.0, y), SIZE, TextAnchor::Start, "black", line);
            }
            x += 36.0 + wide + 20.0;
        }
        y += if x > PAD { LINE + 8.0 } else { 0.0 };
        for line in lines(&self.figure.caption, picture - 2.0 * PAD) {
            self.write((PAD, y), SIZE, TextAnchor::Start, "#444444", &line);
            y += LINE;
        }
        self.scene.height = y.ceil();
    }
}

/// `text` in lines of at most `room` pixels.
fn lines(text: &str, room: f64) -> Vec<String> {
    let cut = |most: usize| wrap_text(text, most);
    let fit = |lines: &Vec<String>| lines.iter().all(|line| width(line, SIZE) <= room);
    (20..=140).rev().map(cut).find(fit).unwrap_or_else(|| cut(20))
}

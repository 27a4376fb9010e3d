//! Marked lines with bands, stacks of bars with whiskers.

use super::axes::stacked;
use super::style::{PALETTE, Shape, Style};
use super::text::{significant, width};
use super::{Area, INK, SMALL, Sheet, Swatch};
use blackboard::figure::{Figure, Layer, Mean};
use kuva::render::render::{PathData, Primitive, TextAnchor};
use std::fmt::Write;

/// Half the width of a whisker's end.
const CAP: f64 = 3.5;
/// Most bars with their numbers above them.
const TOLD_MAX: usize = 16;

impl<'a> Sheet<'a> {
    pub(super) fn means(&mut self, label: &'a str, points: &[(f64, Mean)]) {
        let style = Style::of(self.index(label));
        let at: Vec<_> = points.iter().filter_map(|(x, mean)| self.at(*x, mean.value)).collect();
        // What has no point on the axes has no place in the legend; the caption counts it.
        if !label.is_empty() && !at.is_empty() {
            self.legend.push((Swatch::Means(style), style.colour, label));
        }
        self.band(points, style.colour);
        for &(x, y) in &at {
            self.taken.push([x - 5.0, y - 5.0, x + 5.0, y + 5.0]);
        }
        self.dashed(at.clone(), style.colour, 2.0, style.dashes);
        for at in at {
            self.shape(style, at);
        }
    }

    /// From end to end of the intervals; a whisker where there is one point alone.
    fn band(&mut self, points: &[(f64, Mean)], colour: &str) {
        let ends: Vec<_> = points
            .iter()
            .filter(|(_, mean)| mean.half.is_some())
            .filter_map(|&(x, mean)| {
                let (low, high) = mean.ends();
                // An end at or below 0 has no place on an axis of equal factors: the band goes to the axis.
                let floor = self.at(x, mean.value).map(|(x, _)| (x, self.inside()[3]));
                Some((self.at(x, low).or(floor)?, self.at(x, high)?))
            })
            .collect();
        if let [(low, high)] = ends[..] {
            return self.whisker(low.0, low.1, high.1, colour);
        }
        let edge = ends.iter().map(|(low, _)| low).chain(ends.iter().rev().map(|(_, high)| high));
        let mut path = String::new();
        for (index, (x, y)) in edge.enumerate() {
            let _ = write!(path, "{} {x:.2} {y:.2} ", if index == 0 { "M" } else { "L" });
        }
        if !path.is_empty() {
            self.path(path + "Z", Some(colour), colour, (0.0, Some(0.2)));
        }
    }

    fn whisker(&mut self, x: f64, low: f64, high: f64, colour: &str) {
        self.stroke(vec![(x, low), (x, high)], colour, 1.3, false);
        for y in [low, high] {
            self.stroke(vec![(x - CAP, y), (x + CAP, y)], colour, 1.3, false);
        }
    }

    fn path(&mut self, d: String, fill: Option<&str>, stroke: &str, (width, opacity): (f64, Option<f64>)) {
        self.scene.add(Primitive::Path(Box::new(PathData {
            d,
            fill: fill.map(Into::into),
            stroke: stroke.into(),
            stroke_width: width,
            opacity,
            stroke_dasharray: None,
        })));
    }

    /// The mark of a series.
    pub(super) fn shape(&mut self, style: Style, (x, y): (f64, f64)) {
        let polygon = |corners: &[(f64, f64)]| {
            let mut path = String::new();
            for (index, (dx, dy)) in corners.iter().enumerate() {
                let _ = write!(path, "{} {:.2} {:.2} ", if index == 0 { "M" } else { "L" }, x + dx, y + dy);
            }
            path + "Z"
        };
        let path = match style.shape {
            Shape::Disc => {
                return self.scene.add(Primitive::Circle {
                    cx: x,
                    cy: y,
                    r: 4.2,
                    fill: style.colour.into(),
                    fill_opacity: None,
                    stroke: Some("white".into()),
                    stroke_width: Some(0.8),
                });
            }
            Shape::Square => polygon(&[(-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)]),
            Shape::Up => polygon(&[(0.0, -5.2), (4.8, 3.6), (-4.8, 3.6)]),
            Shape::Diamond => polygon(&[(0.0, -5.4), (5.0, 0.0), (0.0, 5.4), (-5.0, 0.0)]),
            Shape::Down => polygon(&[(0.0, 5.2), (4.8, -3.6), (-4.8, -3.6)]),
        };
        self.path(path, Some(style.colour), "white", (0.8, None));
    }

    /// The bar of a series; when all colours are taken, they come again as frames.
    pub(super) fn bar(&mut self, area: Area, index: usize) {
        let colour = Style::of(index).colour;
        let framed = index >= PALETTE.len();
        self.fill(area, colour, if framed { 0.35 } else { 1.0 });
        if framed {
            let [left, top, right, bottom] = area;
            let edge = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
            self.stroke(edge, colour, 1.2, false);
        }
    }

    /// Bars on top of each other in each place, with whiskers; a bar that is alone has its number above it.
    pub(super) fn bars(&mut self, series: &'a [(String, Vec<Option<Mean>>)], stacks: &mut Stacks) {
        let step = 0.8 / stacks.count as f64;
        for ((label, means), pieces) in series.iter().zip(stacked(series)) {
            let index = self.index(label);
            if !label.is_empty() {
                self.legend.push((Swatch::Bar(index), Style::of(index).colour, label));
            }
            for (place, (mean, (from, to))) in means.iter().zip(pieces).enumerate() {
                let Some(mean) = mean else { continue };
                let left = place as f64 - 0.4 + step * stacks.drawn as f64;
                let (Some((left, top)), Some((right, _))) = (self.at(left, to), self.at(left + step, to))
                else {
                    continue;
                };
                let bottom = self.at(place as f64, from).map_or_else(|| self.inside()[3], |(_, y)| y);
                self.bar([left + 0.8, top.min(bottom), right - 0.8, top.max(bottom)], index);
                let middle = f64::midpoint(left, right);
                let mut above = top.min(bottom);
                if let Some(half) = mean.half
                    && let (Some((_, low)), Some((_, high))) =
                        (self.at(place as f64, to - half), self.at(place as f64, to + half))
                {
                    self.whisker(middle, low, high, INK);
                    above = above.min(high);
                }
                let text = significant(mean.value, 3);
                if stacks.told && width(&text, SMALL) <= right - left {
                    self.write((middle, above - 4.0), SMALL, TextAnchor::Middle, INK, &text);
                }
            }
        }
        stacks.drawn += 1;
    }
}

/// The stacks of bars that stand side by side in each place.
pub(super) struct Stacks {
    drawn: usize,
    count: usize,
    /// Whether their numbers are told: few bars, each alone, and no marks that would cover them.
    told: bool,
}

impl Stacks {
    pub(super) fn of(figure: &Figure) -> Self {
        let stacks = figure.layers.iter().filter_map(|layer| match layer {
            Layer::Bars { series } => Some(series),
            _ => None,
        });
        let stacks: Vec<_> = stacks.collect();
        let bars =
            stacks.iter().flat_map(|series| series.iter()).flat_map(|(_, means)| means.iter().flatten());
        let alone = stacks.iter().all(|series| series.len() == 1);
        let marked = figure.layers.iter().any(|layer| matches!(layer, Layer::Marks { .. }));
        Self { drawn: 0, count: stacks.len(), told: bars.count() <= TOLD_MAX && alone && !marked }
    }
}

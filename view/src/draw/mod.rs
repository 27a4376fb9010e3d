//! Draws a [`Figure`] as SVG text; nothing else in the project knows the plotting crate.
//!
//! kuva lays out the margins and draws title, axes and ticks. Layers, legend and caption go into its scene from here:
//! kuva numbers its clip paths through the life of the process, so a figure that its own renderer draws has other
//! bytes each time; it has no caption; and its Gantt chart holds one span a row.

mod axes;
mod labels;
mod layers;
mod results;
mod style;
mod text;

use crate::medium::Medium;
use axes::{layout, on_axis, places, ticks};
use blackboard::figure::{Figure, Layer, Mark, Scale};
use kuva::backend::svg::SvgBackend;
use kuva::render::axis::{add_axes_and_grid, add_labels_and_title};
use kuva::render::color::Color;
use kuva::render::layout::ComputedLayout;
use kuva::render::render::{Primitive, Scene, TextAnchor};
use results::Stacks;
use style::{PALETTE, Style};
use text::plain;

/// Width of a picture, pixels; its height follows from what is in it. With letters of [`SIZE`] it can be read in a column of
/// 85 mm, where they are 5.6 points high.
const WIDTH: f64 = 560.0;
/// Width of one for the column of a paper: its letters, [`SIZE`] pixels, are 9 points high where it is [`COLUMN_MM`] wide.
const COLUMN_WIDTH: f64 = COLUMN_MM / 25.4 * 72.0 * SIZE as f64 / 9.0;
/// Width of a paper's column, millimetres.
const COLUMN_MM: f64 = 85.0;
/// Width of a PNG, pixels: 300 to the inch over a page, 600 over a column.
#[cfg(feature = "png")]
const PIXELS: f64 = 2100.0;
#[cfg(feature = "png")]
const COLUMN_PIXELS: f64 = COLUMN_MM / 25.4 * 600.0;
/// Free space at the left and right of legend and caption.
const PAD: f64 = 16.0;
/// About as many ticks on an axis of equal steps.
const TICKS: usize = 6;
/// Size of legend and caption.
const SIZE: u32 = 13;
/// Size of the texts among the data.
const SMALL: u32 = 12;
/// Colour of the texts among the data.
const INK: &str = "#1a1a1a";

/// `figure` as SVG; the same figure gives the same bytes.
pub(crate) fn svg(figure: &Figure, medium: Medium) -> String {
    let scene = scene(figure, medium);
    let (width, height) = (scene.width, scene.height);
    let view = format!("<svg viewBox=\"0 0 {width} {height}\" ");
    let svg = SvgBackend::new().with_pretty(true).render_scene(&scene).replacen("<svg ", &view, 1);
    match medium {
        Medium::Screen => svg,
        Medium::Column => {
            let size = format!("width=\"{COLUMN_MM}mm\" height=\"{:.3}mm\"", COLUMN_MM * height / width);
            svg.replacen(&format!("width=\"{width}\" height=\"{height}\""), &size, 1)
        }
    }
}

/// `figure` as PNG.
#[cfg(feature = "png")]
pub(crate) fn png(figure: &Figure, medium: Medium) -> anyhow::Result<Vec<u8>> {
    let scale = match medium {
        Medium::Screen => PIXELS / WIDTH,
        Medium::Column => COLUMN_PIXELS / COLUMN_WIDTH,
    };
    let backend = kuva::backend::png::PngBackend::new().with_scale(scale as f32);
    let mut scene = scene(figure, medium);
    // It scales all but the dashes of lines.
    for primitive in &mut scene.elements {
        if let Primitive::PolyLine { stroke_dasharray: Some(dashes), .. } = primitive {
            let lengths = dashes.split(' ').filter_map(|length| length.parse::<f64>().ok());
            *dashes = lengths.map(|length| format!("{:.1}", length * scale)).collect::<Vec<_>>().join(" ");
        }
    }
    backend.render_scene(&scene).map_err(|problem| anyhow::anyhow!("PNG: {problem}"))
}

fn scene(figure: &Figure, medium: Medium) -> Scene {
    let width = match medium {
        Medium::Screen => WIDTH,
        Medium::Column => COLUMN_WIDTH.floor(),
    };
    let layout = layout(figure, width);
    let place = ComputedLayout::from_layout(&layout);
    let mut scene = Scene::new(place.width, place.height);
    scene.font_family.clone_from(&place.font_family);
    let mut sheet = Sheet {
        figure,
        place,
        scene,
        names: Vec::new(),
        legend: Vec::new(),
        texts: Vec::new(),
        taken: Vec::new(),
        trace: Vec::new(),
    };
    sheet.grid();
    let mut stacks = Stacks::of(figure);
    for layer in &figure.layers {
        match layer {
            Layer::Line { label, points, dashed } => sheet.line(label, points, *dashed),
            Layer::Means { label, points } => sheet.means(label, points),
            Layer::Marks { label, mark, points } => sheet.marks(label, *mark, points),
            Layer::Bars { series } => sheet.bars(series, &mut stacks),
            Layer::Spans { spans } => sheet.spans(spans),
            Layer::Heat { label, values } => sheet.heat(label, values),
        }
    }
    sheet.place_texts();
    add_axes_and_grid(&mut sheet.scene, &sheet.place, &layout);
    add_labels_and_title(&mut sheet.scene, &sheet.place, &layout);
    sheet.below();
    sheet.scene
}

/// Left, top, right, bottom, pixels.
type Area = [f64; 4];

/// What stands before a name in the legend.
enum Swatch {
    Line { dashed: bool },
    Means(Style),
    Bar(usize),
    Mark(Mark),
    Fill,
    Scale,
}

/// A picture in the making.
struct Sheet<'a> {
    figure: &'a Figure,
    place: ComputedLayout,
    scene: Scene,
    /// The place of a name is the place of its colour.
    names: Vec<&'a str>,
    legend: Vec<(Swatch, &'static str, &'a str)>,
    /// Texts that go beside a point once all points are known.
    texts: Vec<((f64, f64), &'a str)>,
    /// What such a text must not cover.
    taken: Vec<Area>,
    /// What it should rather not cover: points along the lines.
    trace: Vec<(f64, f64)>,
}

impl<'a> Sheet<'a> {
    /// Where a value is, pixels; nowhere when it has no place on the axes.
    fn at(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let x = self.place.map_x(on_axis(&self.figure.x, x)?);
        let y = on_axis(&self.figure.y, y)?;
        let named = matches!(self.figure.y.scale, Scale::Categories(_));
        // The first name is on top.
        let y = self.place.map_y(if named { places(&self.figure.y) as f64 + 1.0 - y } else { y });
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }

    /// The area between the axes.
    fn inside(&self) -> Area {
        let place = &self.place;
        [
            place.margin_left,
            place.margin_top,
            place.width - place.margin_right,
            place.height - place.margin_bottom,
        ]
    }

    /// The place of a name among those of the figure, which says how it looks.
    fn index(&mut self, name: &'a str) -> usize {
        let known = self.names.iter().position(|known| *known == name);
        known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }

    fn colour(&mut self, name: &'a str) -> &'static str {
        PALETTE[self.index(name) % PALETTE.len()]
    }

    /// The colour of a name that goes into the legend.
    fn entry(&mut self, swatch: Swatch, name: &'a str) -> &'static str {
        let colour = self.colour(name);
        if !name.is_empty() {
            self.legend.push((swatch, colour, name));
        }
        colour
    }

    fn write(&mut self, (x, y): (f64, f64), size: u32, anchor: TextAnchor, colour: &str, text: &str) {
        let (content, color) = (plain(text), Some(Color::from(colour)));
        self.scene.add(Primitive::Text { x, y, content, size, anchor, rotate: None, bold: false, color });
    }

    fn stroke(&mut self, points: Vec<(f64, f64)>, colour: &str, stroke_width: f64, dashed: bool) {
        self.dashed(points, colour, stroke_width, dashed.then_some("7 5"));
    }

    fn dashed(&mut self, points: Vec<(f64, f64)>, colour: &str, stroke_width: f64, dashes: Option<&str>) {
        let stroke_dasharray = dashes.map(str::to_owned);
        self.scene.add(Primitive::PolyLine { points, stroke: colour.into(), stroke_width, stroke_dasharray });
    }

    fn fill(&mut self, [left, top, right, bottom]: Area, colour: impl Into<Color>, opacity: f64) {
        self.scene.add(Primitive::Rect {
            x: left,
            y: top,
            width: (right - left).max(0.0),
            height: (bottom - top).max(0.0),
            fill: colour.into(),
            stroke: None,
            stroke_width: None,
            opacity: (opacity < 1.0).then_some(opacity),
        });
    }

    fn grid(&mut self) {
        let [left, top, right, bottom] = self.inside();
        for (tick, colour) in ticks(&self.figure.x, self.place.x_range) {
            let x = self.place.map_x(tick);
            self.stroke(vec![(x, top), (x, bottom)], colour, 1.0, false);
        }
        for (tick, colour) in ticks(&self.figure.y, self.place.y_range) {
            let y = self.place.map_y(tick);
            self.stroke(vec![(left, y), (right, y)], colour, 1.0, false);
        }
    }
}

#[cfg(test)]
mod tests;

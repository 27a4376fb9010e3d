//! How series are told apart: by colour, by dashes and by the shape of their marks.

/// Okabe and Ito's colours, which the colour-blind tell apart, but for yellow, which is too pale on white.
pub(super) const PALETTE: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

const DASHES: [Option<&str>; 4] = [None, Some("8 4"), Some("2 3"), Some("9 3 2 3")];

/// The shape of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Disc,
    Square,
    Up,
    Diamond,
    Down,
}

const SHAPES: [Shape; 5] = [Shape::Disc, Shape::Square, Shape::Up, Shape::Diamond, Shape::Down];

/// How a line of results looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) colour: &'static str,
    pub(super) dashes: Option<&'static str>,
    pub(super) shape: Shape,
}

impl Style {
    /// That of the `index`-th line.
    pub(super) fn of(index: usize) -> Self {
        Self {
            colour: PALETTE[index % PALETTE.len()],
            dashes: DASHES[index % DASHES.len()],
            shape: SHAPES[index % SHAPES.len()],
        }
    }
}

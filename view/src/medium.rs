//! What a picture is for, which says how wide it is.

/// A screen, or paper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    /// A screen or a page, with its title and caption.
    #[default]
    Screen,
    /// The column of a paper, which says both itself: 85 mm wide, letters of 9 points.
    Column,
}

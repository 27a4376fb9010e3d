//! The parts of the lecture.

use serde::Serialize;
use std::fmt;

/// The parts of the lecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chapter {
    /// A: batch size, cost, speed.
    Roofline,
    /// B: experts in a rack and across racks.
    ScaleUp,
    /// C: pipelines.
    Pipeline,
    /// D: over-training.
    Overtraining,
    /// E: prices, long context, caches.
    Prices,
    /// F: reversibility.
    Reversible,
}

impl Chapter {
    /// Every chapter, in order.
    pub const ALL: [Self; 6] =
        [Self::Roofline, Self::ScaleUp, Self::Pipeline, Self::Overtraining, Self::Prices, Self::Reversible];

    /// The name on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Roofline => "roofline",
            Self::ScaleUp => "scale-up",
            Self::Pipeline => "pipeline",
            Self::Overtraining => "overtraining",
            Self::Prices => "prices",
            Self::Reversible => "reversible",
        }
    }

    /// The letter that its claims begin with.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Roofline => 'A',
            Self::ScaleUp => 'B',
            Self::Pipeline => 'C',
            Self::Overtraining => 'D',
            Self::Prices => 'E',
            Self::Reversible => 'F',
        }
    }

    /// Heading of the chapter, without its letter.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Roofline => "Batch size, cost and speed",
            Self::ScaleUp => "Experts in a rack and across racks",
            Self::Pipeline => "Pipelines",
            Self::Overtraining => "Over-training",
            Self::Prices => "Prices, long context and caches",
            Self::Reversible => "Reversibility",
        }
    }
}

impl fmt::Display for Chapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

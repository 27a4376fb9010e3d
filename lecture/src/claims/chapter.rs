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

    /// The name on the command line and in JSON, the letter that its claims begin with, and its heading.
    const fn words(self) -> (&'static str, char, &'static str) {
        match self {
            Self::Roofline => ("roofline", 'A', "Batch size, cost and speed"),
            Self::ScaleUp => ("scale-up", 'B', "Experts in a rack and across racks"),
            Self::Pipeline => ("pipeline", 'C', "Pipelines"),
            Self::Overtraining => ("overtraining", 'D', "Over-training"),
            Self::Prices => ("prices", 'E', "Prices, long context and caches"),
            Self::Reversible => ("reversible", 'F', "Reversibility"),
        }
    }

    /// The name on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.words().0
    }

    /// The letter that its claims begin with.
    #[must_use]
    pub const fn letter(self) -> char {
        self.words().1
    }

    /// Heading of the chapter, without its letter.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.words().2
    }
}

impl fmt::Display for Chapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

//! The name of a dispatch scheme, in files, on the command line and in tables.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use topology::named;

/// How a token's row reaches the experts that the gate picked, and how their outputs come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DispatchScheme {
    /// One copy per (token, expert).
    Flat,
    /// One copy per (token, destination rank).
    Dedup,
    /// One copy per (token, destination rack), forwarded inside the rack, reduced there before it crosses back.
    Hierarchical,
}

impl DispatchScheme {
    /// Every scheme, in the order of tables.
    pub const ALL: [Self; 3] = [Self::Flat, Self::Dedup, Self::Hierarchical];

    /// The scheme's name, as written and parsed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Dedup => "dedup",
            Self::Hierarchical => "hierarchical",
        }
    }
}

impl fmt::Display for DispatchScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DispatchScheme {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(|scheme| (scheme.name(), scheme));
        named(name, &known).map_err(|problem| format!("unknown dispatch scheme {problem}"))
    }
}

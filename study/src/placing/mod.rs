//! Where experts are to be, as a comparison or a serving run is told: what a word leads to.

mod change;
mod exec;
mod process;
mod request;

use moe::placement::{POLICIES, PlacementFile, PlacementPolicy, PlacementWord, RackAware};
use moe::registry::NameError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use topology::did_you_mean;

pub use change::{Change, StepPrice};
pub use exec::{Exec, Programs};
pub use request::{PlaceError, PlacementRequest};
pub(crate) use request::{Sample, sample};

/// Longest placement file, bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// A placement with all that it takes: files are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementChoice {
    /// A policy of [`POLICIES`], by its name; another name is refused where it is used.
    Policy(String),
    /// A file's.
    File(PlacementFile),
    /// A program's.
    Exec(Exec),
}

/// A word that leads to no placement.
#[derive(Debug, Error)]
#[error("{name}: {source}{hint}; give a policy ({known}), a file or exec:COMMAND")]
pub struct ReadError {
    name: String,
    hint: String,
    known: String,
    source: io::Error,
}

impl PlacementChoice {
    /// The policy of that name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::Policy(name.to_owned())
    }

    /// What `word` leads to: reads its file; a program is one of `programs`, and asked when experts are placed.
    ///
    /// # Errors
    /// [`ReadError`], with the policy that may have been meant.
    pub fn read(word: &PlacementWord, programs: &Arc<Programs>) -> Result<Self, ReadError> {
        match word {
            PlacementWord::Policy(name) => Ok(Self::named(name)),
            PlacementWord::Exec(command) => Ok(Self::Exec(Exec::new(command, programs))),
            PlacementWord::File(path) => {
                let origin = path.display().to_string();
                let text = text_of(path).map_err(|source| ReadError {
                    hint: did_you_mean(&origin, POLICIES.names()),
                    name: origin.clone(),
                    known: POLICIES.names().collect::<Vec<_>>().join(", "),
                    source,
                })?;
                Ok(Self::File(PlacementFile { origin, text }))
            }
        }
    }

    /// What places experts so.
    ///
    /// # Errors
    /// [`NameError`] if no policy has this name.
    pub fn policy(&self) -> Result<&dyn PlacementPolicy, NameError> {
        match self {
            Self::Policy(name) => POLICIES.named(name).map(|policy| policy as _),
            Self::File(file) => Ok(file),
            Self::Exec(exec) => Ok(exec),
        }
    }

    /// True if a program is asked when experts are placed.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(self, Self::Exec(exec) if exec.asks())
    }

    /// What takes its place where no program is to be asked: a policy that fills as many slots.
    #[must_use]
    pub fn unasked(&self) -> Self {
        if self.asks() { Self::named(RackAware::default().name()) } else { self.clone() }
    }

    /// As a place without these programs can use it, with what they have answered so far.
    #[must_use]
    pub fn finished(&self) -> Self {
        match self {
            Self::Exec(exec) => Self::Exec(exec.finished()),
            other => other.clone(),
        }
    }

    /// The name in tables and records.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Policy(name) => name,
            Self::File(file) => file.name(),
            Self::Exec(exec) => exec.name(),
        }
    }

    /// True if it is made for the demand that the routing is expected to have.
    #[must_use]
    pub fn is_for_demand(&self) -> bool {
        self.policy().is_ok_and(PlacementPolicy::is_for_demand)
    }
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

//! A placement as it is typed, the same everywhere: `NAME`, `FILE`, `file:FILE` or `exec:COMMAND`.

use super::POLICIES;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a placement is to come from, before a file is read or a program asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacementWord {
    /// A policy of [`POLICIES`], by its name.
    Policy(String),
    /// A file in one of the formats of [`Placement::from_file`](super::Placement::from_file).
    File(PathBuf),
    /// A program that is told the demand and answers with a placement.
    Exec(String),
}

impl PlacementWord {
    /// Reads a word by the `names` of policies; what is none of them, and has no prefix, is a file.
    ///
    /// # Errors
    /// An empty word, file or command.
    pub fn read<'a>(text: &str, mut names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let (prefix, rest) = text.split_once(':').unwrap_or(("", text));
        if rest.trim().is_empty() {
            return Err(format!("`{text}`: give a policy, a FILE, or exec:COMMAND"));
        }
        Ok(match prefix {
            "exec" => Self::Exec(rest.to_owned()),
            "file" => Self::File(rest.into()),
            _ if names.any(|name| name == text) => Self::Policy(text.to_owned()),
            _ => Self::File(text.into()),
        })
    }
}

impl FromStr for PlacementWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text, POLICIES.names())
    }
}

impl fmt::Display for PlacementWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => f.pad(name),
            Self::File(path) => {
                let path = path.display().to_string();
                // What would be read as something else.
                let plain = path.parse() == Ok(self.clone());
                f.pad(&if plain { path } else { format!("file:{path}") })
            }
            Self::Exec(command) => f.pad(&format!("exec:{command}")),
        }
    }
}

topology::serde_as_text!(PlacementWord);

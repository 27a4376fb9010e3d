//! A report as text for people or as JSON, and the directory that keeps both.

use super::{Report, sentences, tables};
use std::io;
use std::path::{Path, PathBuf};

/// Most results that one directory keeps.
const RESULTS_MAX: u32 = 999_999;

impl Report {
    /// Options, tables and sentences.
    #[must_use]
    pub fn to_text(&self) -> String {
        let sentences: String = sentences(self).iter().map(|sentence| format!("- {sentence}\n")).collect();
        format!("{}\n{}\n{sentences}", self.header, tables(self))
    }

    /// One JSON object, indented, with a line end.
    ///
    /// # Errors
    /// None are known: all keys are strings and all numbers finite.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Writes `compare-N.json` and `compare-N.txt` into `dir`, which is created if need be, N being the first free
    /// number; returns the path of the first.
    ///
    /// # Errors
    /// What the system said.
    pub fn save(&self, dir: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(dir)?;
        let path = |number: u32, kind: &str| dir.join(format!("compare-{number}.{kind}"));
        let free = (1..=RESULTS_MAX).find(|&number| !path(number, "json").exists());
        let number = free.ok_or_else(|| io::Error::other(format!("{} is full of results", dir.display())))?;
        std::fs::write(path(number, "txt"), self.to_text())?;
        std::fs::write(path(number, "json"), self.to_json()?)?;
        Ok(path(number, "json"))
    }
}

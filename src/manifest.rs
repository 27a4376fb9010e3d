//! `manifest.json` of a directory of results: which commands made what is there, when, by which program, on which machine.
//!
//! One object, `{"schema_version": 1, "runs": [...]}`, a run an entry, the newest last.

use crate::failure::Failure;
use crate::files;
use anyhow::anyhow;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Raised when a key changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;
/// Most runs that a directory remembers; the oldest go first.
const RUNS_MAX: usize = 1_000;
/// The file.
const NAME: &str = "manifest.json";

/// All runs of a directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    schema_version: u32,
    pub(crate) runs: Vec<Ran>,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ran {
    /// The program's version.
    railyard: String,
    /// Its commit, where the build knows it.
    commit: Option<String>,
    /// The command, word by word.
    argv: Vec<String>,
    host: Machine,
    /// UTC.
    started: String,
    ended: String,
    seeds: Vec<u64>,
    /// Experiment files that were read.
    experiments: Vec<String>,
    /// Files of this directory that it wrote.
    results: Vec<String>,
}

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Machine {
    cores: usize,
    os: String,
    cpu: Option<String>,
}

/// A run that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    started: String,
}

impl Begun {
    /// Now; refuses a directory whose manifest is another program's, before anything is run.
    pub(crate) fn now(dir: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(dir).map_err(|error| {
            Failure::Usage(anyhow!("--out {}: {error}; give a directory that can be written", dir.display()))
        })?;
        Manifest::read(dir).map_err(Failure::Usage)?;
        // What can't be kept is not measured.
        let probe = dir.join(format!(".railyard-{}", std::process::id()));
        let written = fs::OpenOptions::new().write(true).create_new(true).open(&probe);
        written.map_err(|error| {
            Failure::Usage(anyhow!("--out {}: {error}; give a directory that can be written", dir.display()))
        })?;
        let _ = fs::remove_file(&probe);
        Ok(Self { started: now() })
    }

    /// Adds the run to the manifest of `dir`.
    pub(crate) fn end(
        &self,
        dir: &Path,
        seeds: &[u64],
        experiments: &[String],
        results: &[String],
    ) -> anyhow::Result<()> {
        let version = env!("RAILYARD_VERSION");
        let (version, commit) = version.split_once(" (").map_or((version, None), |(version, commit)| {
            (version, Some(commit.trim_end_matches(')').to_owned()))
        });
        let mut manifest = Manifest::read(dir)?;
        manifest.runs.push(Ran {
            railyard: version.to_owned(),
            commit,
            argv: without_token(std::env::args_os().map(|word| word.to_string_lossy().into_owned())),
            host: Machine::this(),
            started: self.started.clone(),
            ended: now(),
            seeds: seeds.to_vec(),
            experiments: experiments.to_vec(),
            results: results.to_vec(),
        });
        let old = manifest.runs.len().saturating_sub(RUNS_MAX);
        manifest.runs.drain(..old);
        files::write_whole(&dir.join(NAME), &(serde_json::to_string_pretty(&manifest)? + "\n"))
    }
}

/// A command's words; what follows `--ui-token` is no one's to read.
fn without_token(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut hide = false;
    let hidden = |word: String| {
        let (shown, next) = match word.as_str() {
            _ if hide => ("...".to_owned(), false),
            "--ui-token" => (word, true),
            joined if joined.starts_with("--ui-token=") => ("--ui-token=...".to_owned(), false),
            _ => (word, false),
        };
        hide = next;
        shown
    };
    words.map(hidden).collect()
}

impl Manifest {
    /// The manifest of `dir`, which is empty where there is none.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(NAME);
        if !path.exists() {
            return Ok(Self { schema_version: SCHEMA_VERSION, runs: Vec::new() });
        }
        let text = files::read(&path)?;
        let read: Result<Self, _> = serde_json::from_str(&text);
        let problem = match read {
            Ok(manifest) if manifest.schema_version == SCHEMA_VERSION => return Ok(manifest),
            Ok(manifest) => format!("version {}, this program has {SCHEMA_VERSION}", manifest.schema_version),
            Err(error) => error.to_string(),
        };
        Err(anyhow!("{}: {problem}; move it away, or give another directory", path.display()))
    }
}

impl Ran {
    /// What a page says of it.
    pub(crate) fn told(&self) -> Vec<(String, String)> {
        let Machine { cores, os, cpu } = &self.host;
        let commit = self.commit.as_ref().map_or_else(String::new, |commit| format!(" ({commit})"));
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let words: Vec<String> = self.argv.iter().map(|word| study::scenario::quoted(word)).collect();
        [
            ("command", words.join(" ")),
            ("railyard", format!("{}{commit}", self.railyard)),
            ("host", format!("{cores} cores, {}, {os}", cpu.as_deref().unwrap_or("unknown CPU"))),
            ("time, UTC", format!("{} to {}", self.started, self.ended)),
            ("seeds", seeds.join(", ")),
            ("experiments", self.experiments.join(", ")),
            ("results", self.results.join(", ")),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(what, value)| (what.to_owned(), value))
        .collect()
    }
}

impl Machine {
    fn this() -> Self {
        let line = |path: &str| fs::read_to_string(path).ok();
        let release =
            line("/proc/sys/kernel/osrelease").map_or_else(String::new, |text| format!(" {}", text.trim()));
        let cpu = line("/proc/cpuinfo").and_then(|text| {
            let model = text.lines().find(|line| line.starts_with("model name"))?;
            model.split_once(':').map(|(_, name)| name.trim().to_owned())
        });
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            os: format!("{} {}{release}", std::env::consts::OS, std::env::consts::ARCH),
            cpu,
        }
    }
}

/// UTC, to the second.
fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use super::without_token;

    #[test]
    fn a_token_is_not_kept() {
        let words = ["compare", "--ui-token", "secret", "--ui-token=secret", "--out", "D"].map(str::to_owned);
        let kept = without_token(words.into_iter());
        assert_eq!(kept, ["compare", "--ui-token", "...", "--ui-token=...", "--out", "D"]);
    }
}

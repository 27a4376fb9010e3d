//! The files of an experiment's shards as one: nothing twice unless equal, what is missing by number.

use super::error::ExperimentError;
use super::results::{Header, PointLine, read_results, results_error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The finished points of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// Of the experiment as a whole: shard 1 of 1.
    pub header: Header,
    /// Finished points, in order.
    pub lines: Vec<PointLine>,
    /// Points that no file has, in order.
    pub missing: Vec<usize>,
}

/// Reads and merges files of results; a directory stands for all `.jsonl` files in it.
///
/// # Errors
/// [`ExperimentError`] for what can't be read, for files of several experiments, and for a point that differs between two.
pub fn merge(from: &[PathBuf]) -> Result<Merged, ExperimentError> {
    let mut files = Vec::new();
    for path in from {
        if path.is_dir() {
            files.extend(in_directory(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let mut whole: Option<(Header, PathBuf)> = None;
    let mut lines: BTreeMap<usize, (PointLine, String, PathBuf)> = BTreeMap::new();
    for path in files {
        let contents = read_results(&path)?;
        let Some(header) = contents.header else { continue };
        let header = Header { shard: 1, shards: 1, ..header };
        match &whole {
            None => whole = Some((header, path.clone())),
            Some((known, _)) if *known == header => {}
            Some((known, first)) => {
                let problem = format!(
                    "holds `{}` ({}), {} holds `{}` ({}); name the files of one experiment",
                    header.name,
                    header.experiment,
                    first.display(),
                    known.name,
                    known.experiment
                );
                return Err(results_error(&path, problem));
            }
        }
        for (line, text) in contents.lines {
            let point = line.point;
            match lines.get(&point) {
                None => drop(lines.insert(point, (line, text, path.clone()))),
                Some((_, known, _)) if *known == text => {}
                Some((.., other)) => {
                    let problem = format!(
                        "point {point} differs from that in {}; keep the file that is right",
                        other.display()
                    );
                    return Err(results_error(&path, problem));
                }
            }
        }
    }
    let Some((header, _)) = whole else {
        let path = from.first().cloned().unwrap_or_default();
        return Err(results_error(&path, "no results in it; `railyard run FILE` makes some".to_owned()));
    };
    let missing = (0..header.points).filter(|point| !lines.contains_key(point)).collect();
    Ok(Merged { header, lines: lines.into_values().map(|(line, ..)| line).collect(), missing })
}

fn in_directory(directory: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
    let io = |source| ExperimentError::Io { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

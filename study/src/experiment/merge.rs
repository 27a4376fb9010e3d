//! Files of results, of any experiments, put together: shards become one, nothing stands twice unless equal, what is missing is
//! named, and so are files that hold something else.

use super::error::ExperimentError;
use super::record::{Header, Merged, PointLine};
use super::results::{read_any, results_error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All experiments of some files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collection {
    /// By name, then by hash.
    pub experiments: Vec<Merged>,
    /// Files of directories that hold no results, and why not.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Reads and merges files of results; a directory stands for all `.jsonl` files in it, of which others than results are skipped.
///
/// # Errors
/// [`ExperimentError`] for a named file that can't be read, for no results at all, and for a point that differs between two files.
pub fn collect(from: &[PathBuf]) -> Result<Collection, ExperimentError> {
    let mut found = Collection::default();
    let mut experiments: Vec<Shards> = Vec::new();
    for path in from {
        let directory = path.is_dir();
        let files = if directory { in_directory(path)? } else { vec![path.clone()] };
        for file in files {
            match read_any(&file) {
                Ok(contents) => match contents.header {
                    Some(header) => add(&mut experiments, header, contents.lines, &file)?,
                    None => found.skipped.push((file, "nothing was finished in it".to_owned())),
                },
                Err(ExperimentError::Results { path, problem }) if directory => {
                    found.skipped.push((path, problem));
                }
                // A link to a file that has gone, or one that nobody may read.
                Err(ExperimentError::Io { path, source }) if directory => {
                    found.skipped.push((path, source.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
    }
    if experiments.is_empty() {
        let why = found.skipped.iter().map(|(path, problem)| format!("; {}: {problem}", path.display()));
        let path = from.first().cloned().unwrap_or_default();
        let problem = format!("no results in it; `railyard run FILE` makes some{}", why.collect::<String>());
        return Err(results_error(&path, problem));
    }
    found.experiments = experiments.into_iter().map(Shards::whole).collect();
    let key = |merged: &Merged| (merged.header.name.clone(), merged.header.experiment.clone());
    found.experiments.sort_by_key(key);
    Ok(found)
}

/// Points with their text and file, by number.
type Lines = BTreeMap<usize, (PointLine, String, PathBuf)>;

/// An experiment as far as its files are read.
struct Shards {
    header: Header,
    lines: Lines,
    files: Vec<PathBuf>,
}

impl Shards {
    fn whole(self) -> Merged {
        let missing = (0..self.header.points).filter(|point| !self.lines.contains_key(point)).collect();
        let lines = self.lines.into_values().map(|(line, ..)| line).collect();
        Merged { header: self.header, lines, missing, files: self.files }
    }
}

fn add(
    experiments: &mut Vec<Shards>,
    header: Header,
    lines: Vec<(PointLine, String)>,
    file: &Path,
) -> Result<(), ExperimentError> {
    let header = Header { shard: 1, shards: 1, ..header };
    let at = experiments.iter().position(|known| known.header.is_same(&header));
    let at = at.unwrap_or_else(|| {
        experiments.push(Shards { header, lines: BTreeMap::new(), files: Vec::new() });
        experiments.len() - 1
    });
    let known = &mut experiments[at];
    known.files.push(file.to_owned());
    for (line, text) in lines {
        match known.lines.get(&line.point) {
            None => drop(known.lines.insert(line.point, (line, text, file.to_owned()))),
            Some((_, known, _)) if *known == text => {}
            Some((.., other)) => {
                let problem = format!(
                    "point {} differs from that in {}; keep the file that is right",
                    line.point,
                    other.display()
                );
                return Err(results_error(file, problem));
            }
        }
    }
    Ok(())
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

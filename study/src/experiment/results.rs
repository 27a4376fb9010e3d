//! The file of results: a header that says of which experiment, then one line a finished point, each on disk before the next.
//!
//! A process that is killed leaves at most one torn line, the last, which is dropped when the file is opened again. Points
//! finish in any order; [`Results::finish`] puts the lines in theirs, in a new file that takes the place of the old one.

use super::error::ExperimentError;
use super::old;
use super::record::{Header, Merged, PointLine, RESULTS_VERSION};
use super::shard::Shard;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Longest file of results, bytes.
const RESULTS_BYTES_MAX: u64 = 2 << 30;

/// Results that are being made.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    /// `None` where they are for once.
    file: Option<File>,
    header: Header,
    /// The header as it stands in the file.
    first: String,
    /// The lines by point, without line ends.
    lines: BTreeMap<usize, String>,
    /// The points themselves where no file has them.
    made: BTreeMap<usize, PointLine>,
    in_order: bool,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    /// Its first line; `None` if the file ends before it does.
    pub header: Option<Header>,
    /// Points with their lines as they stand, in the order of the file.
    pub lines: Vec<(PointLine, String)>,
    /// Bytes up to the end of the last whole line.
    whole_bytes: u64,
}

/// Reads a file of results of this version or the one before; a torn last line is left out.
///
/// # Errors
/// [`ExperimentError::Io`], or [`ExperimentError::Results`] for what no killed run leaves. What it says of a file of something else is
/// why it is none of results.
pub(super) fn read_any(path: &Path) -> Result<Contents, ExperimentError> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let bytes = whole_lines(&file, path)?;
    if let Ok(text) = std::str::from_utf8(&bytes)
        && let Some(lines) = old::served(&text.lines().collect::<Vec<_>>())
    {
        let lines = lines.map_err(|problem| results_error(path, problem))?;
        let header = old::header(path, &lines);
        return Ok(Contents { header: Some(header), lines, whole_bytes: bytes.len() as u64 });
    }
    read(&bytes, path)
}

/// What the file has up to the end of its last whole line.
fn whole_lines(file: &File, path: &Path) -> Result<Vec<u8>, ExperimentError> {
    let mut bytes = Vec::new();
    file.take(RESULTS_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|source| io_error(path, source))?;
    if bytes.len() as u64 > RESULTS_BYTES_MAX {
        return Err(results_error(
            path,
            format!("longer than {RESULTS_BYTES_MAX} bytes; split the experiment into shards"),
        ));
    }
    bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1));
    Ok(bytes)
}

fn read(bytes: &[u8], path: &Path) -> Result<Contents, ExperimentError> {
    let mut contents = Contents { header: None, lines: Vec::new(), whole_bytes: bytes.len() as u64 };
    for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let fault = |problem: String| results_error(path, format!("line {}: {problem}", at + 1));
        let damaged =
            |error: &dyn std::fmt::Display| fault(format!("{error}; move the file away to begin anew"));
        let text = std::str::from_utf8(line).map_err(|error| damaged(&error))?;
        if contents.header.is_none() {
            let none = || fault("no results of `railyard run` or `railyard serve-bench`".to_owned());
            let version: Version = serde_json::from_str(text).map_err(|_| none())?;
            if ![old::LAYER_VERSION, RESULTS_VERSION].contains(&version.schema_version) {
                return Err(fault(format!(
                    "results of version {}, this program has {RESULTS_VERSION}; move the file away to begin anew",
                    version.schema_version
                )));
            }
            if version.schema_version == old::LAYER_VERSION && version.subject.is_some() {
                return Err(fault(format!(
                    "it says version {} and has a `subject`, as later ones do; move the file away to begin anew",
                    version.schema_version
                )));
            }
            contents.header = Some(serde_json::from_str(text).map_err(|_| none())?);
        } else {
            let point = serde_json::from_str(text).map_err(|error| damaged(&error))?;
            contents.lines.push((point, text.to_owned()));
        }
    }
    Ok(contents)
}

#[derive(Deserialize)]
struct Version {
    schema_version: u32,
    subject: Option<IgnoredAny>,
}

impl Results {
    /// Results that no file has.
    #[must_use]
    pub fn in_memory(header: Header) -> Self {
        let (path, first, lines, made) = (PathBuf::new(), String::new(), BTreeMap::new(), BTreeMap::new());
        Self { path, file: None, header, first, lines, made, in_order: true }
    }

    /// Opens or begins the results of `header`'s experiment.
    ///
    /// # Errors
    /// [`ExperimentError::Results`] if the file is another experiment's or in use, or [`ExperimentError::Io`].
    pub fn open(path: &Path, header: &Header) -> Result<Self, ExperimentError> {
        let io = |source| io_error(path, source);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|source| io_error(directory, source))?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(results_error(
                    path,
                    "another process writes to it; wait for it, or give another --out".to_owned(),
                ));
            }
            // A file system without locks, as some clusters have: two processes are then up to the user.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let contents = read(&whole_lines(&file, path)?, path)?;
        let text = serde_json::to_string(header).map_err(|error| results_error(path, error.to_string()))?;
        let mut lines = BTreeMap::new();
        let mut in_order = true;
        match &contents.header {
            // A claim or a plot that is told otherwise now.
            Some(known) if known.is_same(header) => in_order = known == header,
            Some(known) => return Err(results_error(path, different(known, header))),
            None => {
                file.set_len(0).map_err(io)?;
                file.rewind().map_err(io)?;
                file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
                sync_directory(path).map_err(io)?;
            }
        }
        if contents.header.is_some() {
            file.set_len(contents.whole_bytes).map_err(io)?;
            file.seek(SeekFrom::End(0)).map_err(io)?;
        }
        let shard = Shard { index: header.shard, count: header.shards };
        for (line, text) in contents.lines {
            in_order &= lines.last_key_value().is_none_or(|(&last, _)| last < line.point);
            if line.point >= header.points || !shard.has(line.point) {
                return Err(results_error(
                    path,
                    format!("point {} does not belong here; move the file away to begin anew", line.point),
                ));
            }
            if lines.insert(line.point, text.clone()).is_some_and(|known| known != text) {
                return Err(results_error(
                    path,
                    format!(
                        "point {} stands there twice and differs; move the file away to begin anew",
                        line.point
                    ),
                ));
            }
        }
        let (path, file, header) = (path.to_owned(), Some(file), header.clone());
        Ok(Self { path, file, header, first: text, lines, made: BTreeMap::new(), in_order })
    }

    /// True if the point is finished.
    #[must_use]
    pub fn has(&self, point: usize) -> bool {
        self.lines.contains_key(&point) || self.made.contains_key(&point)
    }

    /// How many are finished.
    #[must_use]
    pub fn done(&self) -> usize {
        self.lines.len()
    }

    /// Adds a finished point; it is on disk when this returns, if there is a file.
    ///
    /// # Errors
    /// [`ExperimentError::Io`].
    pub fn append(&mut self, line: &PointLine) -> Result<(), ExperimentError> {
        let Some(file) = &mut self.file else {
            self.made.insert(line.point, line.clone());
            return Ok(());
        };
        let text =
            serde_json::to_string(line).map_err(|error| results_error(&self.path, error.to_string()))?;
        let written = file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|source| io_error(&self.path, source))?;
        self.in_order &= self.lines.last_key_value().is_none_or(|(&last, _)| last < line.point);
        self.lines.insert(line.point, text);
        Ok(())
    }

    /// Puts the lines in the order of their points, and returns what was made; [`Merged::files`] has the file.
    ///
    /// # Errors
    /// [`ExperimentError::Io`].
    pub fn finish(self) -> Result<Merged, ExperimentError> {
        if !self.in_order && self.file.is_some() {
            let mut name = self.path.file_name().unwrap_or_default().to_owned();
            name.push(".new");
            let new = self.path.with_file_name(name);
            let write = || -> io::Result<()> {
                let mut file = io::BufWriter::new(File::create(&new)?);
                writeln!(file, "{}", self.first)?;
                for line in self.lines.values() {
                    writeln!(file, "{line}")?;
                }
                file.into_inner()?.sync_all()?;
                std::fs::rename(&new, &self.path)?;
                sync_directory(&self.path)
            };
            write().map_err(|source| io_error(&self.path, source))?;
        }
        let shard = Shard { index: self.header.shard, count: self.header.shards };
        let missing = (0..self.header.points).filter(|&point| shard.has(point) && !self.has(point)).collect();
        let lines = self.lines.values().map(|line| serde_json::from_str(line));
        let lines = lines.chain(self.made.into_values().map(Ok)).collect::<Result<_, _>>();
        let lines = lines.map_err(|error| results_error(&self.path, error.to_string()))?;
        let files = self.file.map(|_| self.path).into_iter().collect();
        Ok(Merged { header: self.header, lines, missing, files })
    }
}

/// Which difference between two headers to tell.
fn different(there: &Header, wanted: &Header) -> String {
    let what = if there.name != wanted.name {
        format!("it holds `{}`, not `{}`", there.name, wanted.name)
    } else if (there.shard, there.shards) != (wanted.shard, wanted.shards) {
        format!("it holds shard {}/{}, not {}/{}", there.shard, there.shards, wanted.shard, wanted.shards)
    } else if there.subject != wanted.subject {
        format!("it holds a {} experiment, not a {} one", there.subject, wanted.subject)
    } else if there.backends != wanted.backends {
        "it was run with other backends".to_owned()
    } else if there.schema_version != wanted.schema_version {
        format!(
            "it has results of version {}, this program has {}",
            there.schema_version, wanted.schema_version
        )
    } else if there.version != wanted.version {
        format!("it is of railyard {}, this is {}", there.version, wanted.version)
    } else {
        "the experiment has changed since: its file, a file that it names, or a preset".to_owned()
    };
    format!("{what}; move it away to begin anew, or give another --out")
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()
}

fn io_error(path: &Path, source: io::Error) -> ExperimentError {
    ExperimentError::Io { path: path.to_owned(), source }
}

pub(super) fn results_error(path: &Path, problem: String) -> ExperimentError {
    ExperimentError::Results { path: path.to_owned(), problem }
}

//! The page of results: gathers what files and directories hold, old and new, and writes `report.html`.

use crate::failure::Failure;
use crate::files;
use crate::manifest::{Begun, Manifest};
use crate::subjects::subjects;
use anyhow::{Context, anyhow};
use std::fs;
use std::path::{Path, PathBuf};
use study::experiment::{Collection, Merged, Subject, collect, find};
use study::layer::{Report, SCHEMA_VERSION};
use view::report::{Beside, Of, Source, page};

/// The page of a directory.
const NAME: &str = "report.html";
/// Longest report of a comparison that is read, bytes.
const REPORT_BYTES_MAX: u64 = 256 << 20;
/// Results of a directory, bytes, beyond which its page has only what was just made.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;
/// Runs of a directory that its page tells of.
const MADE_MAX: usize = 10;

/// Results as they were found.
#[derive(Default)]
struct Found {
    /// By the names of their files.
    comparisons: Vec<(String, Report)>,
    experiments: Vec<(String, Merged)>,
    beside: Beside,
}

/// Writes the page of files and directories of results to `to`.
pub(crate) fn write(from: &[PathBuf], to: &Path) -> Result<(), Failure> {
    let ending = to.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if ["json", "jsonl", "toml"].contains(&ending) {
        return Err(Failure::Usage(anyhow!(
            "--html {}: a page is no .{ending}; give a name such as report.html",
            to.display()
        )));
    }
    let mut found = Found::default();
    let (directories, files): (Vec<&PathBuf>, Vec<&PathBuf>) = from.iter().partition(|path| path.is_dir());
    for directory in directories {
        found.directory(directory, from.len() > 1)?;
    }
    let (reports, results): (Vec<&PathBuf>, Vec<&PathBuf>) =
        files.into_iter().partition(|path| path.extension().is_some_and(|ending| ending == "json"));
    for path in reports {
        found.comparisons.push((path.display().to_string(), read_report(path).map_err(Failure::Usage)?));
    }
    if !results.is_empty() {
        let results: Vec<PathBuf> = results.into_iter().cloned().collect();
        found.take(collect(&results)?, "");
    }
    if found.comparisons.is_empty() && found.experiments.is_empty() {
        let names: Vec<String> = from.iter().map(|path| path.display().to_string()).collect();
        return Err(Failure::Usage(anyhow!(
            "{}: no results; `railyard compare --out DIR` and `railyard run FILE --out DIR` make some",
            names.join(", ")
        )));
    }
    let html = found.html(None)?;
    files::write_whole(to, &html).map_err(Failure::Failed)
}

/// A report of a comparison among files and directories of results; the last of a directory.
pub(crate) fn a_comparison(from: &[PathBuf]) -> Option<PathBuf> {
    let last = |dir: &PathBuf| {
        listed(dir).ok()?.into_iter().max_by_key(|path| number(path)).filter(|path| number(path).is_some())
    };
    from.iter().find_map(|path| match path.is_dir() {
        true => last(path),
        false => number(path).map(|_| path.clone()),
    })
}

/// Keeps a comparison in `dir`, under the next free number, with the run's entry and the page of the directory.
pub(crate) fn keep_comparison(begun: &Begun, dir: &Path, report: &Report) -> Result<PathBuf, Failure> {
    let _lock = files::lock(dir);
    let told = |error: std::io::Error| Failure::Failed(anyhow!("cannot write to {}: {error}", dir.display()));
    let number = Report::free_number(dir).map_err(told)?;
    let path = report.save_as(dir, number).map_err(told)?;
    entered(begun, dir, &path, &report.seeds)
}

/// Adds a comparison that a coordinator has saved to the manifest and the page of its directory.
pub(crate) fn enter_saved(begun: &Begun, dir: &Path, path: &Path, seeds: &[u64]) -> Result<PathBuf, Failure> {
    let _lock = files::lock(dir);
    entered(begun, dir, path, seeds)
}

fn entered(begun: &Begun, dir: &Path, path: &Path, seeds: &[u64]) -> Result<PathBuf, Failure> {
    let name = file_name(path);
    begun.end(dir, seeds, &[], std::slice::from_ref(&name)).map_err(Failure::Failed)?;
    of_directory(dir, &name)
}

/// Adds what an experiment's run made to `dir`: the run's entry and the page.
pub(crate) fn keep_experiment(
    begun: &Begun,
    dir: &Path,
    file: &Path,
    merged: &Merged,
) -> Result<PathBuf, Failure> {
    let _lock = files::lock(dir);
    let results: Vec<String> = merged.files.iter().map(|path| file_name(path)).collect();
    let experiment = file.display().to_string();
    begun.end(dir, &merged.header.seeds, &[experiment], &results).map_err(Failure::Failed)?;
    of_directory(dir, results.first().map_or("", String::as_str))
}

/// Writes the page of `dir`, the results in `first` first.
fn of_directory(dir: &Path, first: &str) -> Result<PathBuf, Failure> {
    let mut found = Found::default();
    let bytes: u64 =
        listed(dir)?.iter().filter_map(|path| fs::metadata(path).ok()).map(|data| data.len()).sum();
    if bytes <= DIRECTORY_BYTES_MAX {
        found.directory(dir, false)?;
    } else {
        let own = dir.join(first);
        match own.extension().is_some_and(|ending| ending == "json") {
            true => found.comparisons.push((first.to_owned(), read_report(&own).map_err(Failure::Failed)?)),
            false => found.take(collect(&[own])?, ""),
        }
        found.tell(dir)?;
        found.beside.notes.push(format!(
            "Other results of this directory are left out, {} MB; railyard report --html FILE takes those that you name.",
            bytes / 1_000_000
        ));
    }
    let html = found.html(Some(first))?;
    let path = dir.join(NAME);
    files::write_whole(&path, &html).map_err(Failure::Failed)?;
    Ok(path)
}

impl Found {
    /// All results of a directory, comparisons first, the newest of them before older ones.
    fn directory(&mut self, dir: &Path, by_path: bool) -> Result<(), Failure> {
        let prefix = if by_path { format!("{}/", dir.display()) } else { String::new() };
        let files = listed(dir)?;
        let json = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "json");
        let mut reports: Vec<&PathBuf> = files.iter().filter(json).collect();
        reports.sort_by_key(|path| std::cmp::Reverse((number(path), (*path).clone())));
        for path in reports {
            match read_report(path) {
                Ok(report) => self.comparisons.push((prefix.clone() + &file_name(path), report)),
                // Any program may have written it.
                Err(problem) if number(path).is_some() => {
                    self.beside.notes.push(format!("Left out: {problem:#}"))
                }
                Err(_) => {}
            }
        }
        if files.iter().any(|path| !json(&path)) {
            match collect(&[dir.to_owned()]) {
                Ok(collection) => self.take(collection, &prefix),
                Err(problem) => self.beside.notes.push(format!("Left out: {problem}")),
            }
        }
        self.tell(dir)
    }

    fn take(&mut self, collection: Collection, prefix: &str) {
        let Collection { experiments, skipped } = collection;
        for merged in experiments {
            let missing = merged.missing.len();
            if missing > 0 {
                let points = merged.header.points;
                self.beside
                    .notes
                    .push(format!("{}: {missing} of {points} points are missing.", merged.header.name));
            }
            let file = merged.files.first();
            let name = match prefix {
                "" => file.map_or_else(|| merged.header.name.clone(), |path| file_name(path)),
                prefix => format!("{prefix}{}", merged.header.name),
            };
            self.experiments.push((name, merged));
        }
        let skipped =
            skipped.into_iter().map(|(path, problem)| format!("Left out: {}: {problem}", path.display()));
        self.beside.notes.extend(skipped);
    }

    /// What the manifest of a directory says, the newest run first.
    fn tell(&mut self, dir: &Path) -> Result<(), Failure> {
        let manifest = Manifest::read(dir).map_err(Failure::Usage)?;
        self.beside.made.extend(manifest.runs.iter().rev().take(MADE_MAX).map(crate::manifest::Ran::told));
        Ok(())
    }

    /// The page, with what is in the file `first` before everything else.
    fn html(&self, first: Option<&str>) -> Result<String, Failure> {
        let known = subjects();
        let comparisons = self.comparisons.iter().map(|(name, report)| {
            (first == Some(name), Source { name: name.clone(), of: Of::Comparison(report) })
        });
        let mut sources: Vec<(bool, Source<'_>)> = comparisons.collect();
        for (name, merged) in &self.experiments {
            let subject: &dyn Subject = find(&known, &merged.header.subject).ok_or_else(|| {
                Failure::Usage(anyhow!("{name}: this program knows no {} experiments", merged.header.subject))
            })?;
            let own = merged.files.iter().any(|path| first == Some(&file_name(path)));
            sources.push((own, Source { name: name.clone(), of: Of::Experiment(merged, subject) }));
        }
        sources.sort_by_key(|(own, _)| !own);
        let sources: Vec<Source<'_>> = sources.into_iter().map(|(_, source)| source).collect();
        Ok(page(&sources, &self.beside))
    }
}

/// Files of `dir` that may hold results, in order.
fn listed(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let told = |error: std::io::Error| Failure::Usage(anyhow!("{}: {error}", dir.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(told)? {
        let path = entry.map_err(told)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        // A pipe would be waited for, and a device has no end.
        let regular = fs::metadata(&path).is_ok_and(|data| data.is_file());
        if regular && ["json", "jsonl"].contains(&ending) && file_name(&path) != "manifest.json" {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The number of `compare-N.json`.
fn number(path: &Path) -> Option<u32> {
    let name = file_name(path);
    name.strip_prefix("compare-")?.strip_suffix(".json")?.parse().ok()
}

/// A comparison's report, as `compare --json` prints it.
fn read_report(path: &Path) -> anyhow::Result<Report> {
    let told = || format!("{}", path.display());
    let bytes = fs::metadata(path).with_context(told)?.len();
    if bytes > REPORT_BYTES_MAX {
        return Err(anyhow!("{}: {bytes} bytes, at most {REPORT_BYTES_MAX} are read", path.display()));
    }
    let text = fs::read_to_string(path).with_context(told)?;
    let report: Report = serde_json::from_str(&text).map_err(|error| {
        anyhow!("{}: no report of `railyard compare --out` or `--json`: {error}", path.display())
    })?;
    if report.schema_version != SCHEMA_VERSION {
        let version = report.schema_version;
        return Err(anyhow!(
            "{}: a report of version {version}, this program has {SCHEMA_VERSION}",
            path.display()
        ));
    }
    Ok(report)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

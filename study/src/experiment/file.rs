//! Reads an experiment file, the same language for every subject: what is fixed, what is swept, each fault with its line.
//!
//! A setting is told by its place: `tokens` stands in `[experiment]`, `parallel.pp` in `[parallel]`. Tables with settings follow from
//! the subject, and the subject, where the file doesn't say, from the tables.

use super::error::FileError;
use super::finding;
use super::points::{Axis, Experiment, POINTS_MAX};
use super::subject::{Subject, find, remedy};
use super::value::Value;
use crate::layer::BackendKind;
use crate::scenario::{SEEDS_MAX, Seeds};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest experiment file, bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// The keys of a file beside tables with settings.
const TOP: [&str; 7] = ["name", "claim", "finding", "subject", "experiment", "sweep", "plot"];

/// The setting that the tables `[[fault]]` make.
const FAULT: &str = "fault";

/// Reads `text`, an experiment about one of `subjects`, the first where nothing tells; `origin` is its name for messages.
///
/// # Errors
/// [`FileError`] with the line of the first fault found.
pub fn parse_experiment<'a>(
    text: &str,
    origin: &str,
    subjects: &[&'a dyn Subject],
) -> Result<(&'a dyn Subject, Experiment), FileError> {
    let place = Place { text, origin };
    if text.len() > FILE_BYTES_MAX {
        let problem = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
        return Err(place.fault(&(0..0), problem));
    }
    let table = DeTable::parse(text)
        .map_err(|error| place.fault(&error.span().unwrap_or(0..0), error.message().replace('\n', " ")))?;
    let subject = place.subject(table.get_ref(), subjects)?;
    let experiment = Reader { place, subject, keys: subject.keys() }.experiment(table.get_ref())?;
    Ok((subject, experiment))
}

/// A key's span, its place, its value.
pub(super) type Entry<'a> = (Range<usize>, String, &'a Spanned<DeValue<'a>>);

/// A file, to say where in it something is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    text: &'a str,
    origin: &'a str,
}

impl Place<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|&&byte| byte == b'\n').count()
    }

    pub(super) fn fault(&self, at: &Range<usize>, problem: impl Into<String>) -> FileError {
        FileError { origin: self.origin.to_owned(), line: self.line(at.start), problem: problem.into() }
    }

    /// What the file says that it is about, or what has a table that it has.
    fn subject<'a>(
        &self,
        file: &DeTable<'_>,
        subjects: &[&'a dyn Subject],
    ) -> Result<&'a dyn Subject, FileError> {
        let entries = in_file_order(file);
        if let Some((_, _, value)) = entries.iter().find(|(_, key, _)| key == "subject") {
            let names: Vec<&str> = subjects.iter().map(|subject| subject.name()).collect();
            let DeValue::String(name) = value.get_ref() else {
                return Err(self.fault(&value.span(), format!("subject: give {}", names.join(", "))));
            };
            return find(subjects, name).ok_or_else(|| {
                self.fault(&value.span(), format!("no subject `{name}`{}", remedy(name, &names)))
            });
        }
        let has = |subject: &&&dyn Subject| {
            let keys = subject.keys();
            entries.iter().any(|(_, key, _)| !TOP.contains(&key.as_str()) && opens(&keys, key))
        };
        let told = subjects.iter().find(has).or_else(|| subjects.first());
        told.copied().ok_or_else(|| self.fault(&(0..0), "no subject is known"))
    }
}

/// Whether `place` has settings below it.
fn opens(keys: &[String], place: &str) -> bool {
    keys.iter().any(|key| key.strip_prefix(place).is_some_and(|rest| rest.starts_with('.')))
}

/// The entries of a table as they stand in the file.
pub(super) fn in_file_order<'a>(table: &'a DeTable<'_>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> =
        table.iter().map(|(key, value)| (key.span(), key.get_ref().to_string(), value)).collect();
    entries.sort_by_key(|(at, ..)| at.start);
    entries
}

/// Reads a file about one subject.
pub(super) struct Reader<'a> {
    pub(super) place: Place<'a>,
    pub(super) subject: &'a dyn Subject,
    keys: Vec<String>,
}

impl Reader<'_> {
    fn experiment(&self, file: &DeTable<'_>) -> Result<Experiment, FileError> {
        let mut read = Experiment { origin: self.place.origin.to_owned(), ..Experiment::default() };
        let (mut name, mut seeds, mut sweep_at, mut findings) = (None, None, 0..0, Vec::new());
        let mut plots = None;
        for (at, key, value) in in_file_order(file) {
            match (key.as_str(), value.get_ref()) {
                ("name", _) => name = Some(self.name(&value.span(), self.text(&key, value)?)?),
                ("claim", _) => read.claim = Some(self.text(&key, value)?.to_owned()),
                ("finding", _) => findings = self.texts(&key, value)?,
                ("subject", _) => {}
                ("experiment", DeValue::Table(table)) => {
                    for (at, key, value) in in_file_order(table) {
                        match key.as_str() {
                            "backend" => read.backends = Some(self.backends(value)?),
                            "seeds" => self.seeds(&at, value, &mut seeds)?,
                            _ => self.fix(&mut read, (at, key, value))?,
                        }
                    }
                }
                ("sweep", DeValue::Table(table)) => sweep_at = self.sweep(table, &mut read, &mut seeds)?,
                ("plot", _) => plots = Some(value),
                (FAULT, _) if self.keys.iter().any(|known| known == FAULT) => {
                    read.lines.push((FAULT.to_owned(), self.place.line(at.start)));
                    let faults = self.faults(value)?;
                    self.check(&at, FAULT, &faults)?;
                    if read.fixed.get(FAULT).is_some() {
                        return Err(self.fault(&at, "`fault` is given twice; keep one of them"));
                    }
                    read.fixed.0.push((FAULT.to_owned(), faults));
                }
                ("experiment" | "sweep", _) => {
                    return Err(self.fault(&value.span(), format!("{key}: give a table, [{key}]")));
                }
                // It would be no setting, and so nothing of what it turns on.
                (_, DeValue::Table(table))
                    if opens(&self.keys, &key) && table.is_empty() && self.subject.turns_on(&key) =>
                {
                    return Err(self.fault(&at, format!("[{key}] has no keys; give one, or leave it out")));
                }
                (_, DeValue::Table(_)) if opens(&self.keys, &key) => {
                    self.fix(&mut read, (at, key, value))?;
                }
                _ => return Err(self.unknown(&at, &key, &self.top())),
            }
        }
        read.seeds = self.all_seeds(&read, seeds)?;
        if read.num_points_checked().is_none() {
            let product: Vec<String> = read.axes.iter().map(|axis| axis.rows.len().to_string()).collect();
            let problem = format!(
                "{} x {} seeds are more than {POINTS_MAX} points; give fewer values, or several files",
                product.join(" x "),
                read.seeds.len()
            );
            return Err(self.fault(&sweep_at, problem));
        }
        for (at, text) in findings {
            finding::check(&text, self.subject, &read)
                .map_err(|problem| self.fault(&at, format!("finding: {problem}")))?;
            read.findings.push(text);
        }
        if let Some(value) = plots {
            read.plots = self.plots(value, &read)?;
        }
        read.name = name.map_or_else(|| self.own_name(), Ok)?;
        Ok(read)
    }

    pub(super) fn fault(&self, at: &Range<usize>, problem: impl Into<String>) -> FileError {
        self.place.fault(at, problem)
    }

    /// Takes up the axes of a sweep; where the first of settings stands.
    fn sweep(
        &self,
        table: &DeTable<'_>,
        read: &mut Experiment,
        seeds: &mut Option<Vec<u64>>,
    ) -> Result<Range<usize>, FileError> {
        let mut first = 0..0;
        for (at, key, value) in in_file_order(table) {
            match key.as_str() {
                "seeds" => self.seeds(&at, value, seeds)?,
                "points" => self.add(read, &at, self.rows(value)?)?,
                _ => {
                    for (at, place, value) in self.leaves((at, key, value)) {
                        if read.axes.is_empty() {
                            first = at.clone();
                        }
                        let axis = self.axis(&at, &place, value)?;
                        self.add(read, &at, axis)?;
                    }
                }
            }
        }
        Ok(first)
    }

    pub(super) fn unknown(&self, at: &Range<usize>, key: &str, known: &[&str]) -> FileError {
        self.fault(at, format!("unknown key `{key}`{}", remedy(key, known)))
    }

    /// What may stand at the top of the file.
    fn top(&self) -> Vec<&str> {
        let tables = self.keys.iter().filter_map(|key| Some(key.split_once('.')?.0));
        let faults = self.keys.iter().any(|known| known == FAULT).then_some(FAULT);
        let mut top: Vec<&str> = TOP.into_iter().chain(faults).chain(tables).collect();
        top.dedup();
        top
    }

    /// The settings that an entry has: itself, or what stands below it.
    pub(super) fn leaves<'a>(&self, (at, place, value): Entry<'a>) -> Vec<Entry<'a>> {
        match value.get_ref() {
            DeValue::Table(table) if opens(&self.keys, &place) && !table.contains_key("from") => {
                let below = |(at, key, value)| self.leaves((at, format!("{place}.{key}"), value));
                in_file_order(table).into_iter().flat_map(below).collect()
            }
            _ => vec![(at, place, value)],
        }
    }

    /// Takes in settings with one value.
    fn fix(&self, read: &mut Experiment, entry: Entry<'_>) -> Result<(), FileError> {
        for (at, place, value) in self.leaves(entry) {
            self.check_key(&at, &place, &["backend", "seeds"])?;
            if matches!(value.get_ref(), DeValue::Table(table) if table.contains_key("from")) {
                return Err(self.fault(&at, format!("{place}: a range varies; put it under [sweep]")));
            }
            read.lines.push((place.clone(), self.place.line(at.start)));
            let value = self.value(&place, value)?;
            read.fixed.0.push((place, value));
        }
        Ok(())
    }

    /// Takes in an axis.
    fn add(&self, read: &mut Experiment, at: &Range<usize>, axis: Axis) -> Result<(), FileError> {
        for key in axis.keys() {
            if read.axes.iter().any(|axis| axis.keys().contains(&key)) {
                return Err(self.fault(at, format!("`{key}` is swept twice; keep one of them")));
            }
            read.lines.push((key.to_owned(), self.place.line(at.start)));
        }
        read.axes.push(axis);
        Ok(())
    }

    /// A name that a file can have.
    fn name(&self, at: &Range<usize>, text: &str) -> Result<String, FileError> {
        if !is_plain(text) {
            let problem = format!(
                "name = {text:?}: give up to 64 letters, digits, `-`, `_` and `.`: files are called by it"
            );
            return Err(self.fault(at, problem));
        }
        Ok(text.to_owned())
    }

    /// The file's own name, without its ending.
    fn own_name(&self) -> Result<String, FileError> {
        let stem = std::path::Path::new(self.place.origin).file_stem().and_then(|stem| stem.to_str());
        self.name(&(0..0), stem.unwrap_or_default()).map_err(|_| {
            self.fault(&(0..0), "no name; give name = \"...\", which files of results are called by")
        })
    }

    fn text<'v>(&self, key: &str, value: &'v Spanned<DeValue<'_>>) -> Result<&'v str, FileError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.fault(&value.span(), format!("{key}: give a text"))),
        }
    }

    /// A text, or a list of them.
    fn texts(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<(Range<usize>, String)>, FileError> {
        let one = |value| Ok((Spanned::span(value), self.text(key, value)?.to_owned()));
        match value.get_ref() {
            DeValue::Array(items) => items.iter().map(one).collect(),
            _ => Ok(vec![one(value)?]),
        }
    }

    pub(super) fn check_key(&self, at: &Range<usize>, key: &str, others: &[&str]) -> Result<(), FileError> {
        if self.keys.iter().any(|known| known == key) {
            return Ok(());
        }
        let known: Vec<&str> = self.keys.iter().map(String::as_str).chain(others.iter().copied()).collect();
        Err(self.unknown(at, key, &known))
    }

    /// A value of a setting.
    pub(super) fn value(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Value, FileError> {
        let read = Value::read(value.get_ref())
            .map_err(|problem| self.fault(&value.span(), format!("{key}: {problem}")))?;
        self.check(&value.span(), key, &read)?;
        Ok(read)
    }

    pub(super) fn check(&self, at: &Range<usize>, key: &str, value: &Value) -> Result<(), FileError> {
        if matches!(value, Value::List(items) if items.is_empty()) {
            return Err(self.fault(at, format!("{key}: an empty list; give at least one value")));
        }
        self.subject.check(key, value).map_err(|problem| {
            // A subject may name the word itself.
            let named = problem.starts_with(&format!("{key}: "));
            self.fault(at, if named { problem } else { format!("{key}: {problem}") })
        })
    }

    fn seeds(
        &self,
        at: &Range<usize>,
        value: &Spanned<DeValue<'_>>,
        seeds: &mut Option<Vec<u64>>,
    ) -> Result<(), FileError> {
        if seeds.is_some() {
            return Err(self.fault(at, "`seeds` is given twice; keep one of them"));
        }
        let fault = |problem: String| self.fault(&value.span(), format!("seeds: {problem}"));
        let read = Value::read(value.get_ref()).map_err(|problem| fault(problem.to_owned()))?;
        let given = read.to_string().parse::<Seeds>().map_err(|error| fault(error.to_string()))?.0;
        if given.len() > SEEDS_MAX {
            return Err(fault(format!("{} of them, at most {SEEDS_MAX}", given.len())));
        }
        *seeds = Some(given);
        Ok(())
    }

    /// The seeds that are given, by whatever name, else 1.
    fn all_seeds(&self, read: &Experiment, seeds: Option<Vec<u64>>) -> Result<Vec<u64>, FileError> {
        let Some(key) = self.subject.seed_key() else { return Ok(seeds.unwrap_or_else(|| vec![1])) };
        let line = read.lines.iter().find(|(place, _)| place == key).map(|(_, line)| *line);
        match (seeds, line) {
            (Some(_), Some(line)) => Err(FileError {
                origin: self.place.origin.to_owned(),
                line,
                problem: format!("`{key}` and `seeds` are one thing; keep one of them"),
            }),
            (Some(seeds), None) => Ok(seeds),
            (None, _) => Ok(vec![read.fixed.get(key).and_then(Value::seed).unwrap_or(1)]),
        }
    }

    fn backends(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<BackendKind>, FileError> {
        let read = Value::read(value.get_ref())
            .map_err(|problem| self.fault(&value.span(), format!("backend: {problem}")))?;
        let words = read.to_string();
        let asked: Vec<BackendKind> = words
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|error| self.fault(&value.span(), format!("backend: {error}")))?;
        Ok(BackendKind::ALL.into_iter().filter(|kind| asked.contains(kind)).collect())
    }
}

/// Whether a file can be called so, in any directory.
pub(super) fn is_plain(name: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(sound)
}

impl Value {
    /// The seed that it is, if it is one.
    pub(super) fn seed(&self) -> Option<u64> {
        if let Self::Integer(integer) = self { u64::try_from(*integer).ok() } else { None }
    }
}

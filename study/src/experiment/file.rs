//! Reads an experiment file: what is fixed, what is swept, each fault with its line.

use super::error::FileError;
use super::range::{self, Spacing};
use super::value::{Ordered, Settings, Value};
use crate::layer::{BackendKind, SEEDS_MAX, parse_seeds};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest experiment file, bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Most points of an experiment, seeds counted.
pub const POINTS_MAX: usize = 100_000;

/// The options of a comparison, to which an experiment's keys belong.
pub trait Options {
    /// The keys that a file may set, in the words of the file (`top_k`).
    fn keys(&self) -> Vec<String>;

    /// Checks one value of one of them, as far as it can be told alone.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    fn check(&self, key: &str, value: &Value) -> Result<(), String>;
}

/// Keys that vary together, and their values row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// One key, or several that go together.
    pub keys: Vec<String>,
    /// `[rows][keys]`.
    pub rows: Vec<Vec<Value>>,
}

/// What an experiment file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// What the results are called.
    pub name: String,
    /// Keys with one value, in file order.
    pub fixed: Settings,
    /// Backends, ascending; `None` where the file leaves them to the command.
    pub backends: Option<Vec<BackendKind>>,
    /// Keys with several, in file order.
    pub axes: Vec<Axis>,
    /// Seeds, each a point of its own.
    pub seeds: Vec<u64>,
}

/// Reads `text`; `origin` is its name for messages.
///
/// # Errors
/// [`FileError`] with the line of the first fault found.
pub fn parse_experiment(text: &str, origin: &str, options: &dyn Options) -> Result<Experiment, FileError> {
    let reader = Reader { text, origin, options, keys: options.keys() };
    if text.len() > FILE_BYTES_MAX {
        return Err(reader.fault(
            &(0..0),
            format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len()),
        ));
    }
    let table = DeTable::parse(text)
        .map_err(|error| reader.fault(&error.span().unwrap_or(0..0), error.message().to_owned()))?;
    reader.experiment(table.get_ref())
}

/// A key's place, its name, its value.
type Entry<'a> = (Range<usize>, &'a str, &'a Spanned<DeValue<'a>>);

struct Reader<'a> {
    text: &'a str,
    origin: &'a str,
    options: &'a dyn Options,
    keys: Vec<String>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|&&byte| byte == b'\n').count()
    }

    fn fault(&self, at: &Range<usize>, problem: impl Into<String>) -> FileError {
        FileError { origin: self.origin.to_owned(), line: self.line(at.start), problem: problem.into() }
    }

    fn experiment(&self, file: &DeTable<'_>) -> Result<Experiment, FileError> {
        let (mut name, mut fixed, mut axes) = (None, Settings::default(), Vec::new());
        let (mut backends, mut seeds) = (None, None);
        let mut fixed_at = Vec::new();
        for (at, key, value) in in_file_order(file) {
            match (key, value.get_ref()) {
                ("name", DeValue::String(text)) => name = Some(self.name(&value.span(), text)?),
                ("name", _) => return Err(self.fault(&value.span(), "name: give a text")),
                ("experiment", DeValue::Table(table)) => {
                    for (at, key, value) in in_file_order(table) {
                        match key {
                            "backend" => backends = Some(self.backends(value)?),
                            "seeds" => seeds = Some(self.seeds(&at, value, seeds.is_some())?),
                            _ => {
                                fixed.0.push((key.to_owned(), self.known(&at, key, value)?));
                                fixed_at.push(self.line(at.start));
                            }
                        }
                    }
                }
                ("sweep", DeValue::Table(table)) => {
                    for (at, key, value) in in_file_order(table) {
                        match key {
                            "seeds" => seeds = Some(self.seeds(&at, value, seeds.is_some())?),
                            "points" => axes.push((at, self.rows(value)?)),
                            _ => axes.push((at.clone(), self.axis(&at, key, value)?)),
                        }
                    }
                }
                ("experiment" | "sweep", _) => {
                    return Err(self.fault(&value.span(), format!("{key}: give a table, [{key}]")));
                }
                _ => return Err(self.unknown(&at, key, &["name", "experiment", "sweep"])),
            }
        }
        let mut swept: Vec<String> = Vec::new();
        for (at, axis) in &axes {
            for key in &axis.keys {
                if let Some(place) = fixed.0.iter().position(|(known, _)| known == key) {
                    let line = fixed_at[place];
                    return Err(self.fault(
                        at,
                        format!("`{key}` is fixed in line {line} and swept here; keep one of them"),
                    ));
                }
                if swept.contains(key) {
                    return Err(self.fault(at, format!("`{key}` is swept twice; keep one of them")));
                }
                swept.push(key.clone());
            }
        }
        let seeds = seeds.unwrap_or_else(|| vec![1]);
        let points = axes
            .iter()
            .try_fold(seeds.len(), |points, (_, axis)| points.checked_mul(axis.rows.len()))
            .filter(|&points| points <= POINTS_MAX);
        if points.is_none() {
            let product: Vec<String> = axes.iter().map(|(_, axis)| axis.rows.len().to_string()).collect();
            let at = axes.first().map_or(0..0, |(at, _)| at.clone());
            return Err(self.fault(
                &at,
                format!(
                    "{} x {} seeds are more than {POINTS_MAX} points; give fewer values, or several files",
                    product.join(" x "),
                    seeds.len()
                ),
            ));
        }
        let name = name.map_or_else(|| self.own_name(), Ok)?;
        Ok(Experiment {
            name,
            fixed,
            backends,
            axes: axes.into_iter().map(|(_, axis)| axis).collect(),
            seeds,
        })
    }

    /// A name that a file can have.
    fn name(&self, at: &Range<usize>, text: &str) -> Result<String, FileError> {
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > 64 || text.starts_with('.') || !text.chars().all(sound) {
            let problem = format!(
                "name = {text:?}: give up to 64 letters, digits, `-`, `_` and `.`: files are called by it"
            );
            return Err(self.fault(at, problem));
        }
        Ok(text.to_owned())
    }

    /// The file's own name, without its ending.
    fn own_name(&self) -> Result<String, FileError> {
        let stem = std::path::Path::new(self.origin).file_stem().and_then(|stem| stem.to_str());
        self.name(&(0..0), stem.unwrap_or_default()).map_err(|_| {
            self.fault(&(0..0), "no name; give name = \"...\", which files of results are called by")
        })
    }

    fn unknown(&self, at: &Range<usize>, key: &str, known: &[&str]) -> FileError {
        let nearest = known
            .iter()
            .map(|known| (strsim::jaro_winkler(&key.to_lowercase().replace('-', "_"), known), known))
            .max_by(|left, right| left.0.total_cmp(&right.0))
            .filter(|(similarity, _)| *similarity > 0.75);
        let remedy = nearest.map_or_else(
            || format!("known are {}", known.join(", ")),
            |(_, nearest)| format!("did you mean `{nearest}`?"),
        );
        self.fault(at, format!("unknown key `{key}`; {remedy}"))
    }

    fn check_key(&self, at: &Range<usize>, key: &str, others: &[&str]) -> Result<(), FileError> {
        if self.keys.iter().any(|known| known == key) {
            return Ok(());
        }
        let mut known: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        known.extend(others);
        Err(self.unknown(at, key, &known))
    }

    /// A value of an option.
    fn known(&self, at: &Range<usize>, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Value, FileError> {
        self.check_key(at, key, &["backend", "seeds"])?;
        if let DeValue::Table(_) = value.get_ref() {
            return Err(self.fault(at, format!("{key}: a range varies; put it under [sweep]")));
        }
        self.value(key, value)
    }

    fn value(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Value, FileError> {
        let read = Value::read(value.get_ref())
            .map_err(|problem| self.fault(&value.span(), format!("{key}: {problem}")))?;
        self.check(&value.span(), key, &read)?;
        Ok(read)
    }

    fn check(&self, at: &Range<usize>, key: &str, value: &Value) -> Result<(), FileError> {
        if matches!(value, Value::List(items) if items.is_empty()) {
            return Err(self.fault(at, format!("{key}: an empty list; give at least one value")));
        }
        self.options.check(key, value).map_err(|problem| self.fault(at, format!("{key}: {problem}")))
    }

    fn axis(&self, at: &Range<usize>, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Axis, FileError> {
        self.check_key(at, key, &["seeds", "points"])?;
        let values = match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().map(|item| self.value(key, item)).collect::<Result<Vec<_>, _>>()?
            }
            DeValue::Table(range) => {
                let values = self.range(&value.span(), key, range)?;
                values.iter().try_for_each(|one| self.check(&value.span(), key, one))?;
                values
            }
            _ => {
                let problem = format!(
                    "{key}: give a list of values or a range {{ from, to, steps }}; one value belongs under [experiment]"
                );
                return Err(self.fault(&value.span(), problem));
            }
        };
        if values.is_empty() {
            return Err(self.fault(&value.span(), format!("{key}: an empty list; give at least one value")));
        }
        for (place, one) in values.iter().enumerate() {
            if values[..place].contains(one) {
                return Err(self.fault(&value.span(), format!("{key}: {one} stands twice in the list")));
            }
        }
        Ok(Axis { keys: vec![key.to_owned()], rows: values.into_iter().map(|value| vec![value]).collect() })
    }

    fn range(&self, at: &Range<usize>, key: &str, table: &DeTable<'_>) -> Result<Vec<Value>, FileError> {
        let (mut from, mut to, mut step, mut steps, mut log) = (None, None, None, None, false);
        for (at, word, value) in in_file_order(table) {
            let read = Value::read(value.get_ref())
                .map_err(|problem| self.fault(&value.span(), format!("{key}: {word}: {problem}")))?;
            match (word, &read) {
                ("from", _) => from = Some(read),
                ("to", _) => to = Some(read),
                ("step", Value::Integer(_) | Value::Number(_)) => step = read.number(),
                ("steps", Value::Integer(count)) if *count > 0 => steps = usize::try_from(*count).ok(),
                ("scale", Value::Text(scale)) if scale == "log" => log = true,
                ("scale", Value::Text(scale)) if scale == "linear" => {}
                ("scale", _) => {
                    return Err(self.fault(&value.span(), format!("{key}: scale is \"linear\" or \"log\"")));
                }
                ("step" | "steps", _) => {
                    return Err(
                        self.fault(&value.span(), format!("{key}: {word} = {read}: give a number above 0"))
                    );
                }
                _ => return Err(self.unknown(&at, word, &["from", "to", "step", "steps", "scale"])),
            }
        }
        let spacing = match (step, steps) {
            (Some(step), None) if !log => Spacing::Step(step),
            (None, Some(steps)) if log => Spacing::Log(steps),
            (None, Some(steps)) => Spacing::Linear(steps),
            _ => return Err(self.fault(at, format!("{key}: a range is {{ from, to, step }} or {{ from, to, steps, scale = \"linear\"|\"log\" }}"))),
        };
        let (Some(from), Some(to)) = (from, to) else {
            return Err(self.fault(at, format!("{key}: a range needs `from` and `to`")));
        };
        range::values(&from, &to, spacing).map_err(|problem| self.fault(at, format!("{key}: {problem}")))
    }

    /// `[[sweep.points]]`: rows of keys that go together.
    fn rows(&self, value: &Spanned<DeValue<'_>>) -> Result<Axis, FileError> {
        let DeValue::Array(tables) = value.get_ref() else {
            return Err(self.fault(&value.span(), "points: give rows, [[sweep.points]]"));
        };
        let mut axis = Axis { keys: Vec::new(), rows: Vec::new() };
        for row in tables.iter() {
            let DeValue::Table(table) = row.get_ref() else {
                return Err(self.fault(&row.span(), "points: give rows, [[sweep.points]]"));
            };
            let mut entries = Vec::new();
            for (at, key, value) in in_file_order(table) {
                self.check_key(&at, key, &[])?;
                entries.push((key.to_owned(), self.value(key, value)?));
            }
            if axis.rows.is_empty() {
                axis.keys = entries.iter().map(|(key, _)| key.clone()).collect();
            }
            let entries = Ordered(entries);
            let values: Option<Vec<Value>> = axis.keys.iter().map(|key| entries.get(key).cloned()).collect();
            match values {
                Some(values) if !values.is_empty() && values.len() == entries.0.len() => {
                    if axis.rows.contains(&values) {
                        return Err(self.fault(&row.span(), "points: this row stands twice"));
                    }
                    axis.rows.push(values);
                }
                _ => {
                    return Err(self.fault(
                        &row.span(),
                        format!(
                            "points: every row has the same keys, at least one; the first has: {}",
                            axis.keys.join(", ")
                        ),
                    ));
                }
            }
        }
        if axis.rows.is_empty() {
            return Err(self.fault(&value.span(), "points: an empty list; give at least one row"));
        }
        Ok(axis)
    }

    fn seeds(
        &self,
        at: &Range<usize>,
        value: &Spanned<DeValue<'_>>,
        again: bool,
    ) -> Result<Vec<u64>, FileError> {
        if again {
            return Err(self.fault(at, "`seeds` is given twice; keep one of them"));
        }
        let read = Value::read(value.get_ref())
            .map_err(|problem| self.fault(&value.span(), format!("seeds: {problem}")))?;
        let seeds = parse_seeds(&read.to_string())
            .map_err(|error| self.fault(&value.span(), format!("seeds: {error}")))?;
        if seeds.len() > SEEDS_MAX {
            return Err(
                self.fault(&value.span(), format!("seeds: {} of them, at most {SEEDS_MAX}", seeds.len()))
            );
        }
        let mut sorted = seeds.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() < seeds.len() {
            return Err(self.fault(&value.span(), "seeds: one of them stands twice"));
        }
        Ok(seeds)
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

/// The entries of a table as they stand in the file.
fn in_file_order<'a>(table: &'a DeTable<'_>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> =
        table.iter().map(|(key, value)| (key.span(), key.get_ref().as_ref(), value)).collect();
    entries.sort_by_key(|(at, ..)| at.start);
    entries
}

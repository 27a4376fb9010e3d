//! What an experiment is about: a [`Subject`] says which settings there are, what a point of them runs, and which numbers come out.
//!
//! The engine reads files, makes points, runs them in shards, resumes, merges and averages; it knows no subject by name.

use super::record::{PlotTable, Record};
use super::value::{Settings, Value};
use crate::layer::{BackendKind, CompareSpec, Traced};
use crate::scenario::{command, distinct};
use crate::serving::{Packed, YardTrace};
use coordinator::LocalCluster;
use coordinator::pace::Host;
use std::fmt::Debug;
use std::pin::Pin;
use thiserror::Error;
use topology::did_you_mean;

/// A number of a subject's records, or one of its settings, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    /// The record's key, nested ones with dots, or the place of a setting.
    pub key: &'static str,
    /// What it is.
    pub words: &'static str,
    /// Its unit; empty for a pure number.
    pub unit: &'static str,
    /// Whether tables for people have it.
    pub shown: bool,
}

impl Column {
    /// One that tables have.
    #[must_use]
    pub const fn shown(key: &'static str, words: &'static str, unit: &'static str) -> Self {
        Self { key, words, unit, shown: true }
    }

    /// One that tables leave out.
    #[must_use]
    pub const fn kept(key: &'static str, words: &'static str, unit: &'static str) -> Self {
        Self { key, words, unit, shown: false }
    }
}

/// Why settings can't be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{problem}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
pub struct Fault {
    /// The place of the setting at fault; empty where it is none alone.
    pub key: String,
    /// What is wrong, and the remedy.
    pub problem: String,
}

impl Fault {
    /// A fault of `key`.
    #[must_use]
    pub fn of(key: &str, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), problem: problem.into() }
    }
}

impl From<String> for Fault {
    fn from(problem: String) -> Self {
        Self { key: String::new(), problem }
    }
}

/// Why a point came to no end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct Failed {
    /// True if its settings are at fault: the command then exits with 2.
    pub usage: bool,
    /// What is wrong, and the remedy.
    pub problem: String,
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Self {
        Self { usage: false, problem: error.to_string() }
    }
}

/// What is asked of a point.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// All settings, fixed ones first; of two for one place the last counts.
    pub settings: &'a Settings,
    /// The seed of what is drawn.
    pub seed: u64,
    /// Backends; none where the subject's settings tell.
    pub backends: &'a [BackendKind],
    /// The file.
    pub origin: &'a str,
    /// Those settings that tell the point from the file.
    pub own: &'a Settings,
}

impl Asked<'_> {
    /// The `railyard` command that repeats the point: `verb`, the file, and what is otherwise there.
    #[must_use]
    pub fn repeated(&self, verb: &str, seed_key: &str) -> String {
        let mut words = vec![verb.to_owned(), self.origin.to_owned()];
        let seed = Value::Integer(self.seed as i64);
        let own = self.own.0.iter().filter(|(key, _)| key != seed_key);
        for (key, value) in own.map(|(key, value)| (key.as_str(), value)).chain([(seed_key, &seed)]) {
            words.extend(["--set".to_owned(), format!("{key}={}", value.word())]);
        }
        if !self.backends.is_empty() {
            let names: Vec<&str> = self.backends.iter().map(|backend| backend.name()).collect();
            words.extend(["--backend".to_owned(), names.join(",")]);
        }
        command(&words)
    }
}

/// A point that can run.
#[derive(Debug)]
pub struct Resolved<'a> {
    /// Its backends, ascending.
    pub backends: Vec<BackendKind>,
    /// All that decides its records, contents of files included.
    pub identity: Vec<u8>,
    /// Memory that it takes in one process, bytes, estimated.
    pub memory_bytes: u64,
    /// Its ranks.
    pub ranks: u32,
    /// The command that has the same record.
    pub command: String,
    /// How it is run.
    pub work: Box<dyn Work + 'a>,
}

/// Records that are being measured.
pub type Measuring<'a> = Pin<Box<dyn Future<Output = Result<Vec<Record>, Failed>> + Send + 'a>>;

/// What a cluster that is running is asked for.
#[derive(Clone, Debug)]
pub enum Remote {
    /// One configuration of a comparison; the record is [`own_records`](crate::subjects::layer::own_records) of the report.
    Layer {
        /// The comparison.
        spec: Box<CompareSpec>,
        /// Whether the base comes before it.
        with_base: bool,
    },
    /// A serving run.
    Serving(Box<Packed>),
}

/// What a timeline of a point is made of.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A row of a comparison.
    Layer(&'a Traced<'a>),
    /// A serving run, and where its times are from: `computed` or `simulated`.
    Yard(&'a YardTrace, &'a str),
}

/// Told how far a point is.
pub type Note<'a> = &'a (dyn Fn(&str) + Sync);

/// Runs a point: a record a backend.
pub trait Work: Debug + Send + Sync {
    /// Computes and simulates.
    ///
    /// # Errors
    /// [`Failed`].
    fn run(&self, note: Note<'_>) -> Result<Vec<Record>, Failed>;

    /// Measures on the workers of `cluster`, which live on `host`, what only they can; nothing, where a subject doesn't say.
    fn measure<'a>(&'a self, _cluster: &'a mut LocalCluster, _host: Host, note: Note<'a>) -> Measuring<'a> {
        Box::pin(async move { self.run(note) })
    }

    /// Repeats the point on its virtual clock, and tells what a timeline of about `events` events is made of.
    ///
    /// # Errors
    /// [`Failed`], where there is none too.
    fn timeline(&self, _events: u64, _told: &mut dyn FnMut(Shown<'_>)) -> Result<(), Failed> {
        let problem =
            "nothing here has a timeline: experiments of layers and of serving have, on analytic or sim";
        Err(Failed { usage: true, problem: problem.to_owned() })
    }

    /// What a cluster that is running is asked for, if it can serve this.
    ///
    /// # Errors
    /// [`Fault`] for what can't be sent.
    fn remote(&self) -> Result<Remote, Fault> {
        Err("a running cluster serves no such point; leave --cluster out".to_owned().into())
    }
}

/// A kind of experiment.
pub trait Subject: Debug + Sync {
    /// Its word in files and results.
    fn name(&self) -> &'static str;

    /// The places of its settings: `tokens` stands in `[experiment]`, `parallel.pp` in `[parallel]`.
    fn keys(&self) -> Vec<String>;

    /// Whether a table of settings, `cache` of `[cache]`, turns on what is off without it: an empty one says nothing then.
    fn turns_on(&self, _table: &str) -> bool {
        false
    }

    /// Checks one value, as far as it can be told alone.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    fn check(&self, key: &str, value: &Value) -> Result<(), String>;

    /// Backends where neither file nor flags say; none if its settings tell.
    fn backends(&self) -> &'static [BackendKind];

    /// What a point runs.
    ///
    /// # Errors
    /// [`Fault`]: what is wrong, and the remedy.
    fn resolve<'a>(&'a self, asked: Asked<'_>) -> Result<Resolved<'a>, Fault>;

    /// The numbers of its records.
    fn columns(&self) -> &'static [Column];

    /// Words for its settings; those that are left out go by their keys.
    fn words(&self) -> &'static [Column] {
        &[]
    }

    /// The setting that is a seed by another name.
    fn seed_key(&self) -> Option<&'static str> {
        None
    }

    /// What one backend, asked for by a flag, makes of a setting's value; `None` leaves it as it is.
    fn on_backend(&self, _backend: BackendKind, _key: &str, _value: &Value) -> Option<Value> {
        None
    }
}

/// The last word of a place: `pp` of `parallel.pp`.
#[must_use]
pub fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// What remains to be said of a word that is not among `known`.
#[must_use]
pub fn remedy(word: &str, known: &[&str]) -> String {
    let meant = did_you_mean(word, known.iter().copied());
    match known.iter().find(|known| short(known) == word) {
        Some(place) => format!(", did you mean `{place}`?"),
        None if meant.is_empty() => format!("; known are {}", known.join(", ")),
        None => meant,
    }
}

/// Words and unit of a column or setting of `subject`; for what it has no words for, the last word of its place.
#[must_use]
pub fn label<'a>(subject: &dyn Subject, key: &'a str) -> (&'a str, &'static str) {
    let known = subject.columns().iter().chain(subject.words()).find(|column| column.key == key);
    known.map_or_else(|| (short(key), ""), |column| (column.words, column.unit))
}

/// The subject of a name.
#[must_use]
pub fn find<'a>(subjects: &[&'a dyn Subject], name: &str) -> Option<&'a dyn Subject> {
    subjects.iter().copied().find(|subject| subject.name() == name)
}

/// Columns of `plots` beside those that tables show anyway, then those; each key once.
#[must_use]
pub fn shown<'a>(subject: &dyn Subject, plots: &'a [PlotTable]) -> Vec<&'a str> {
    let of_plots = plots.iter().flat_map(|plot| plot.y.iter().map(String::as_str));
    let own = subject.columns().iter().filter(|column| column.shown).map(|column| column.key);
    distinct(of_plots.chain(own))
}

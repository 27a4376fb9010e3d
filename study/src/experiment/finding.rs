//! Findings: sentences of an experiment file in which the numbers are those of its results.
//!
//! `{a2a_us at scheme=flat, tokens=512}` stands for a column's mean at one combination of swept settings; `{a2a_us at scheme=dedup /
//! scheme=flat}` for the ratio of two. A setting goes by its place or the last word of it. Where several backends have
//! a combination and none is named (`backend=sim`), the last counts: what was measured before what was simulated.

use super::points::Experiment;
use super::record::Merged;
use super::subject::{Subject, remedy, short};
use super::summary::{SummaryRow, summarise};
use super::table::significant;
use super::value::{Settings, Value};

/// Digits of a number in a sentence.
const DIGITS: i32 = 3;
/// What is no setting and yet tells records apart.
const BACKEND: &str = "backend";

/// What stands in braces.
struct Slot<'a> {
    column: &'a str,
    /// One combination, or two for a ratio; each a list of settings with their values.
    at: Vec<Vec<(&'a str, &'a str)>>,
}

impl<'a> Slot<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let (column, at) = text.split_once(" at ").unwrap_or((text, ""));
        let setting = |word: &'a str| {
            let (key, value) = word.split_once('=').ok_or_else(|| {
                format!(
                    "{{{text}}}: `{word}` is no setting; give {{COLUMN at KEY=VALUE, ... / KEY=VALUE, ...}}"
                )
            })?;
            Ok((key.trim(), value.trim()))
        };
        let combination = |part: &'a str| {
            part.split(", ").map(str::trim).filter(|word| !word.is_empty()).map(setting).collect()
        };
        let at = at.split(" / ").map(combination).collect::<Result<Vec<_>, String>>()?;
        if at.len() > 2 {
            return Err(format!("{{{text}}}: a ratio is of two, with one ` / `"));
        }
        Ok(Self { column: column.trim(), at })
    }

    /// Its number, from the rows of the results.
    fn number(&self, rows: &[SummaryRow<'_>]) -> Result<f64, &'static str> {
        let row = |wanted: &Vec<(&str, &str)>| {
            let is = |row: &&SummaryRow<'_>| {
                let backend = row.backend.to_string();
                wanted.iter().all(|&(key, value)| match key {
                    BACKEND => value == backend,
                    _ => has(row.settings, key, value),
                })
            };
            rows.iter().rfind(is)
        };
        let used: Vec<_> = self.at.iter().filter_map(row).collect();
        if used.iter().any(|row| !(row.verified() && row.valid())) {
            return Err("a result that can't be trusted is behind");
        }
        let values: Option<Vec<f64>> =
            used.iter().map(|row| row.estimate(self.column).map(|estimate| estimate.mean)).collect();
        let number = match (values.as_deref(), self.at.len()) {
            (Some([one]), 1) => Some(*one),
            (Some([over, under]), 2) => Some(over / under).filter(|ratio| ratio.is_finite()),
            _ => None,
        };
        number.ok_or("these results have no")
    }
}

/// Whether the setting that goes by `key` is `value`.
fn has(settings: &Settings, key: &str, value: &str) -> bool {
    let same =
        |is: &Value| is.to_string() == value || is.number().is_some_and(|number| value.parse() == Ok(number));
    settings.0.iter().any(|(place, is)| (place == key || short(place) == key) && same(is))
}

/// The text between braces, and that around them, in turns; the first is around.
fn pieces(text: &str) -> Result<Vec<&str>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (slot, after) =
            after.split_once('}').ok_or_else(|| format!("`{{{after}`: the brace stays open"))?;
        pieces.extend([before, slot]);
        rest = after;
    }
    pieces.push(rest);
    Ok(pieces)
}

/// Checks that every number of a finding is a column of `subject` at exactly one combination of the experiment.
///
/// # Errors
/// What is wrong, and the remedy.
pub(super) fn check(text: &str, subject: &dyn Subject, experiment: &Experiment) -> Result<(), String> {
    let columns: Vec<&str> = subject.columns().iter().map(|column| column.key).collect();
    let seeds = experiment.seeds.len();
    let combinations = (0..experiment.num_points()).step_by(seeds);
    let all: Vec<Settings> =
        combinations.map(|index| experiment.point(index, subject.seed_key()).settings).collect();
    for slot in pieces(text)?.into_iter().skip(1).step_by(2) {
        let Slot { column, at } = Slot::read(slot)?;
        if !columns.contains(&column) {
            return Err(format!("{{{slot}}}: no column `{column}`{}", remedy(column, &columns)));
        }
        for wanted in at {
            let is = |settings: &&Settings| {
                let mut told = wanted.iter().filter(|(key, _)| *key != BACKEND);
                told.all(|&(key, value)| has(settings, key, value))
            };
            let found = all.iter().filter(is).count();
            if found != 1 {
                let words: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let remedy =
                    if found == 0 { "give values that are swept" } else { "name more of what is swept" };
                return Err(format!(
                    "{{{slot}}}: {found} combinations have {}; {remedy}: {}",
                    if words.is_empty() { "what is said".to_owned() } else { words.join(", ") },
                    experiment.swept().join(", ")
                ));
            }
        }
    }
    Ok(())
}

impl Merged {
    /// The findings of the file, with their numbers; `Err` says which of them the results don't have, or can't be trusted for.
    #[must_use]
    pub fn findings(&self) -> Vec<Result<String, String>> {
        let rows = summarise(self);
        self.header.findings.iter().map(|text| fill(text, &rows)).collect()
    }
}

fn fill(text: &str, rows: &[SummaryRow<'_>]) -> Result<String, String> {
    let mut told = String::new();
    for (at, piece) in pieces(text)?.into_iter().enumerate() {
        if at % 2 == 0 {
            told.push_str(piece);
            continue;
        }
        let number = Slot::read(piece)?.number(rows);
        let number = number.map_err(|problem| format!("{problem} {piece}"))?;
        told.push_str(&significant(number, DIGITS));
    }
    Ok(told)
}

//! `--set PLACE=VALUE`: a setting of a file otherwise.

use super::points::Experiment;
use super::subject::{Subject, remedy};
use super::value::Value;
use crate::scenario::Seeds;
use toml::de::{DeTable, DeValue};

impl Experiment {
    /// Puts a setting as `text` says, `parallel.pp=4`; a swept one has this value alone.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub fn set_as(&mut self, text: &str, subject: &dyn Subject) -> Result<(), String> {
        let Some((key, word)) = text.split_once('=') else {
            return Err(format!("--set {text}: give place=value, as in parallel.pp=4"));
        };
        let (key, keys) = (key.trim(), subject.keys());
        if key == "seeds" {
            self.seeds = word.parse::<Seeds>().map_err(|error| format!("--set {text}: {error}"))?.0;
            return Ok(());
        }
        if !keys.iter().any(|known| known == key) {
            let known: Vec<&str> = keys.iter().map(String::as_str).collect();
            return Err(format!("--set {text}: unknown key `{key}`{}", remedy(key, &known)));
        }
        // What is no TOML value is a word.
        let line = format!("value = {word}");
        let value = match DeTable::parse(&line).as_ref().map(|table| table.get_ref().get("value")) {
            Ok(Some(value)) if !matches!(value.get_ref(), DeValue::Datetime(_)) => {
                Value::read(value.get_ref()).map_err(|problem| format!("--set {text}: {problem}"))?
            }
            _ => Value::Text(word.to_owned()),
        };
        subject.check(key, &value).map_err(|problem| format!("--set {text}: {problem}"))?;
        if subject.seed_key() == Some(key) {
            self.seeds = vec![value.seed().ok_or_else(|| format!("--set {text}: give a whole number"))?];
        }
        self.set(key, &value);
        Ok(())
    }
}

//! `[[fault]]` of an experiment file: each table is a fault, and all of them one setting, as flags have it.

use super::error::FileError;
use super::file::{Reader, in_file_order};
use super::value::Value;
use toml::Spanned;
use toml::de::DeValue;
use topology::{FAULT_KEYS, Fault};

impl Reader<'_> {
    /// The faults of a file.
    pub(super) fn faults(&self, value: &Spanned<DeValue<'_>>) -> Result<Value, FileError> {
        let DeValue::Array(tables) = value.get_ref() else {
            return Err(self.fault(&value.span(), "fault: give tables, [[fault]]"));
        };
        let faults: Result<Vec<Value>, FileError> = tables.iter().map(|table| self.one(table)).collect();
        Ok(Value::List(faults?))
    }

    fn one(&self, table: &Spanned<DeValue<'_>>) -> Result<Value, FileError> {
        let DeValue::Table(entries) = table.get_ref() else {
            return Err(self.fault(&table.span(), "fault: give tables, [[fault]]"));
        };
        let entries = in_file_order(entries);
        if let Some((at, key, _)) = entries.iter().find(|(_, key, _)| !FAULT_KEYS.contains(&key.as_str())) {
            return Err(self.unknown(at, key, &FAULT_KEYS));
        }
        let mut texts = Vec::with_capacity(entries.len());
        for (_, key, value) in &entries {
            let read = Value::read(value.get_ref())
                .map_err(|problem| self.fault(&value.span(), format!("fault: {key}: {problem}")))?;
            texts.push((key.as_str(), read.to_string()));
        }
        let given: Vec<(&str, &str)> = texts.iter().map(|(key, text)| (*key, text.as_str())).collect();
        let fault = Fault::read(&given).map_err(|wrong| {
            let entry = entries.iter().find(|(_, key, _)| *key == wrong.key);
            let at = entry.map_or_else(|| table.span(), |(_, _, value)| value.span());
            self.fault(&at, format!("fault: {wrong}"))
        })?;
        Ok(Value::Text(fault.to_string()))
    }
}

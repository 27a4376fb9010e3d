//! Reads `[sweep]`: lists of values, ranges, and rows of keys that go together.

use super::error::FileError;
use super::file::{Reader, in_file_order};
use super::points::Axis;
use super::range::{Spacing, range};
use super::value::{Ordered, Value};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

impl Reader<'_> {
    /// The values of one key.
    pub(super) fn axis(
        &self,
        at: &Range<usize>,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Axis, FileError> {
        self.check_key(at, key, &["seeds", "points"])?;
        let values = match value.get_ref() {
            DeValue::Array(items) => {
                let values = items.iter().map(|item| self.value(key, item)).collect::<Result<Vec<_>, _>>()?;
                let twice = |(at, one)| values[..at].contains(one).then_some(one);
                if let Some(one) = values.iter().enumerate().find_map(twice) {
                    return Err(self.fault(&value.span(), format!("{key}: {one} stands twice")));
                }
                values
            }
            DeValue::Table(range) => {
                let values = self.range(&value.span(), key, range)?;
                values.iter().try_for_each(|one| self.check(&value.span(), key, one))?;
                values
            }
            _ => {
                let problem = format!(
                    "{key}: give a list of values or a range {{ from, to, steps }}; one value doesn't belong under [sweep]"
                );
                return Err(self.fault(&value.span(), problem));
            }
        };
        if values.is_empty() {
            return Err(self.fault(&value.span(), format!("{key}: an empty list; give at least one value")));
        }
        Ok(Axis::of(key, values))
    }

    fn range(&self, at: &Range<usize>, key: &str, table: &DeTable<'_>) -> Result<Vec<Value>, FileError> {
        let (mut from, mut to, mut step, mut factor, mut steps, mut log) =
            (None, None, None, None, None, false);
        for (at, word, value) in in_file_order(table) {
            let read = Value::read(value.get_ref())
                .map_err(|problem| self.fault(&value.span(), format!("{key}: {word}: {problem}")))?;
            match (word.as_str(), &read) {
                ("from", _) => from = Some(read),
                ("to", _) => to = Some(read),
                ("step", Value::Integer(_) | Value::Number(_)) => step = read.number(),
                ("factor", Value::Integer(_) | Value::Number(_)) => factor = read.number(),
                ("steps", Value::Integer(count)) if *count > 0 => steps = usize::try_from(*count).ok(),
                ("scale", Value::Text(scale)) if scale == "log" => log = true,
                ("scale", Value::Text(scale)) if scale == "linear" => {}
                ("scale", _) => {
                    return Err(self.fault(&value.span(), format!("{key}: scale is \"linear\" or \"log\"")));
                }
                ("step" | "steps" | "factor", _) => {
                    let problem = format!("{key}: {word} = {read}: give a number above 0");
                    return Err(self.fault(&value.span(), problem));
                }
                _ => {
                    return Err(self.unknown(
                        &at,
                        &word,
                        &["from", "to", "step", "factor", "steps", "scale"],
                    ));
                }
            }
        }
        let spacing = match (step, factor, steps) {
            (Some(step), None, None) if !log => Spacing::Step(step),
            (None, Some(factor), None) => Spacing::Factor(factor),
            (None, None, Some(steps)) if log => Spacing::Log(steps),
            (None, None, Some(steps)) => Spacing::Linear(steps),
            _ => return Err(self.fault(at, format!("{key}: a range is {{ from, to, step }}, {{ from, to, factor }} or {{ from, to, steps, scale = \"linear\"|\"log\" }}"))),
        };
        let (Some(from), Some(to)) = (from, to) else {
            return Err(self.fault(at, format!("{key}: a range needs `from` and `to`")));
        };
        range(&from, &to, spacing).map_err(|problem| self.fault(at, format!("{key}: {problem}")))
    }

    /// `[[sweep.points]]`: rows of keys that go together. A row that leaves a key out has the file's value.
    pub(super) fn rows(&self, value: &Spanned<DeValue<'_>>) -> Result<Axis, FileError> {
        let DeValue::Array(tables) = value.get_ref() else {
            return Err(self.fault(&value.span(), "points: give entries, [[sweep.points]]"));
        };
        let mut axis = Axis { rows: Vec::new() };
        for row in tables.iter() {
            let DeValue::Table(table) = row.get_ref() else {
                return Err(self.fault(&row.span(), "points: give entries, [[sweep.points]]"));
            };
            let mut settings = Vec::new();
            for (at, place, value) in in_file_order(table).into_iter().flat_map(|entry| self.leaves(entry)) {
                self.check_key(&at, &place, &[])?;
                let value = self.value(&place, value)?;
                settings.push((place, value));
            }
            let settings = Ordered(settings);
            if settings.0.is_empty() {
                return Err(self.fault(&row.span(), "points: an empty entry; give at least one key"));
            }
            if axis.rows.contains(&settings) {
                return Err(self.fault(&row.span(), "points: this entry stands twice"));
            }
            axis.rows.push(settings);
        }
        if axis.rows.is_empty() {
            return Err(self.fault(&value.span(), "points: an empty list; give at least one entry"));
        }
        Ok(axis)
    }
}

//! `[[plot]]` of an experiment file: read as a whole, so that no run ends in a picture that can't be drawn.

use super::error::FileError;
use super::file::{Reader, in_file_order, is_plain};
use super::points::{Axis, Experiment};
use super::record::PlotTable;
use super::subject::{label, remedy};
use super::value::Value;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

/// The keys of a plot.
const KEYS: [&str; 8] = ["title", "file", "x", "y", "series", "log_x", "log_y", "stated"];

impl Reader<'_> {
    /// The plots of a file whose other tables are read.
    pub(super) fn plots(
        &self,
        value: &Spanned<DeValue<'_>>,
        read: &Experiment,
    ) -> Result<Vec<PlotTable>, FileError> {
        let DeValue::Array(tables) = value.get_ref() else {
            return Err(self.fault(&value.span(), "plot: give tables, [[plot]]"));
        };
        let swept: Vec<&str> = read.axes.iter().flat_map(Axis::keys).collect();
        tables.iter().map(|table| self.plot(table, &swept)).collect()
    }

    fn plot(&self, table: &Spanned<DeValue<'_>>, swept: &[&str]) -> Result<PlotTable, FileError> {
        let fault = |at: &Range<usize>, problem: String| self.fault(at, format!("plot: {problem}"));
        let DeValue::Table(entries) = table.get_ref() else {
            return Err(fault(&table.span(), "give tables, [[plot]]".to_owned()));
        };
        let entries = in_file_order(entries);
        for (at, key, _) in &entries {
            if !KEYS.contains(&key.as_str()) {
                return Err(self.unknown(at, key, &KEYS));
            }
        }
        let value =
            Value::read(table.get_ref()).map_err(|problem| fault(&table.span(), problem.to_owned()))?;
        let plot = serde_json::to_value(value).and_then(serde_json::from_value);
        let plot: PlotTable = plot.map_err(|error| fault(&table.span(), error.to_string()))?;
        let at = |name: &str| {
            let entry = entries.iter().find(|(_, key, _)| key == name);
            entry.map_or_else(|| table.span(), |(at, ..)| at.clone())
        };
        if !is_plain(&plot.file) {
            let name = &plot.file;
            return Err(fault(&at("file"), format!("file = {name:?}: give a plain name without ending")));
        }
        if let Some(key) = plot.series.iter().find(|key| !swept.contains(&key.as_str()) && *key != "backend")
        {
            let swept = swept.join(", ");
            return Err(fault(&at("series"), format!("series: `{key}` is not swept; swept are {swept}")));
        }
        let columns: Vec<&str> = self.subject.columns().iter().map(|column| column.key).collect();
        let places = [swept, &["backend"], &columns].concat();
        if !places.contains(&plot.x.as_str()) {
            let remedy = remedy(&plot.x, &places);
            return Err(fault(&at("x"), format!("x: `{}` is neither swept nor a column{remedy}", plot.x)));
        }
        let Some(first) = plot.y.first() else {
            return Err(fault(&at("y"), "y: give a column at least".to_owned()));
        };
        let unit = |key| label(self.subject, key).1;
        for key in &plot.y {
            if !columns.contains(&key.as_str()) {
                let remedy = remedy(key, &columns);
                return Err(fault(&at("y"), format!("y: no column `{key}`{remedy}")));
            }
            if unit(key) != unit(first) {
                let (one, other) = (unit(first), unit(key));
                let units = format!("{first} has the unit {one:?}, {key} {other:?}");
                return Err(fault(&at("y"), format!("y: {units}; draw them in two plots")));
            }
        }
        Ok(plot)
    }
}

//! Results of an experiment, whatever it is about, as the table of a chart.

use crate::chart::{self, Cell, Row, Table};
use crate::words::{clock, spelt_out, unit};
use blackboard::figure::{Figure, Mean};
use study::experiment::{Merged, PlotTable, Subject, Value, label, summarise};

/// The figure of `plot` over the results.
///
/// # Errors
/// As [`chart::figure`].
pub fn figure(merged: &Merged, subject: &dyn Subject, plot: &PlotTable) -> anyhow::Result<Figure> {
    chart::figure(&table(merged, subject, plot), plot)
}

/// The results with the columns that `plot` asks for.
#[must_use]
pub fn table(merged: &Merged, subject: &dyn Subject, plot: &PlotTable) -> Table {
    let header = &merged.header;
    let seed_key = subject.seed_key();
    let swept = header.swept.iter().filter(|key| Some(key.as_str()) != seed_key);
    let keys: Vec<String> = swept.cloned().chain(["backend".to_owned()]).collect();
    let (trusted, others): (Vec<_>, Vec<_>) =
        summarise(merged).into_iter().partition(|row| row.verified() && row.valid());
    let rows = trusted.into_iter().map(|row| {
        let settings = keys.iter().filter_map(|key| Some((key.clone(), cell(row.settings.get(key)?))));
        let backend = ("backend".to_owned(), Cell::Word(row.backend.to_string()));
        let values = plot.y.iter().chain([&plot.x]).filter_map(|key| {
            let estimate = row.estimate(key)?;
            Some((key.clone(), Mean { value: estimate.mean, half: estimate.ci95 }))
        });
        Row { settings: settings.chain([backend]).collect(), values: values.collect() }
    });
    let rows: Vec<Row> = rows.collect();
    let columns: Vec<String> = subject.columns().iter().map(|column| column.key.to_owned()).collect();
    let fixed = header.fixed.0.iter().map(|(key, _)| key);
    let named = keys.iter().chain(&columns).chain(fixed).map(|key| {
        let (words, of) = label(subject, key);
        (key.clone(), (spelt_out(words), unit(of)))
    });
    let mut table = Table {
        name: header.name.clone(),
        names: named.collect(),
        keys,
        columns,
        rows,
        seeds: header.seeds.len(),
        notes: Vec::new(),
    };
    let fixed = header.fixed.0.iter().map(|(key, value)| table.told(key, &cell(value)));
    let fixed = fixed.collect::<Vec<_>>().join(", ");
    let clocks: Vec<&str> = header.backends.iter().map(|backend| clock(*backend)).collect();
    let backends = format!("times {}", clocks.join(" and "));
    let claim = header.claim.iter().map(|claim| format!("claim: {claim}"));
    let wrong = match others.len() {
        0 => String::new(),
        count => format!("combinations whose results can't be trusted, left out: {count}"),
    };
    table.notes = claim.chain([wrong, backends, fixed]).filter(|note| !note.is_empty()).collect();
    table
}

fn cell(value: &Value) -> Cell {
    value.number().map_or_else(|| Cell::Word(word(value)), Cell::Number)
}

/// A value without quotes, brackets and underscores, but for a file's: tiers by their names.
fn word(value: &Value) -> String {
    match value {
        Value::List(items) => items.iter().map(word).collect::<Vec<_>>().join("+"),
        Value::Table(entries) => entries.0.iter().map(|(_, value)| word(value)).collect::<Vec<_>>().join(" "),
        Value::Text(text) if !text.contains(['/', '.']) => text.replace('_', " "),
        other => other.to_string(),
    }
}

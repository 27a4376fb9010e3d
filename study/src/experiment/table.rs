//! Results as a table for people.

use super::record::Merged;
use super::subject::{Subject, label, short, shown};
use super::summary::{Estimate, SummaryRow};
use crate::layer::Verification;
use crate::text_table::{Column, TextTable};

/// The rows as an aligned table: swept keys first, then means with their 95% intervals, what is plotted before the rest. Where it is
/// wider than `width` seeds and numbers are left out, the last ones first.
#[must_use]
pub fn table(
    merged: &Merged,
    rows: &[SummaryRow<'_>],
    subject: &dyn Subject,
    width: Option<usize>,
) -> String {
    let columns = shown(subject, &merged.header.plots);
    let columns: Vec<&str> =
        columns.into_iter().filter(|key| rows.iter().any(|row| row.estimate(key).is_some())).collect();
    let swept = &merged.header.swept;
    // Two of one name, such as replicas of two pools, are called by their places.
    let same = |key: &str| swept.iter().filter(|other| short(other) == short(key)).count() > 1;
    let keys = swept.iter().map(|key| Column::left(if same(key) { key } else { short(key) }));
    let numbers = columns.iter().enumerate().map(|(at, key)| {
        let (words, unit) = label(subject, key);
        let column = Column::right(format!("{words} {unit}").trim_end());
        if at == 0 { column } else { column.extra() }
    });
    let keys = keys.chain([Column::left("backend")]);
    let last = [Column::right("seeds").extra(), Column::left("verified")];
    let mut table = TextTable::new(keys.chain(numbers).chain(last));
    for row in rows {
        let keys = swept.iter().map(|key| row.word(key));
        let cells = keys.chain([row.backend.to_string()]);
        let means = columns.iter().map(|key| row.estimate(key).map_or_else(|| "-".to_owned(), estimate));
        let last = [row.records.len().to_string(), verdict(row).to_owned()];
        table.row(cells.chain(means).chain(last));
    }
    table.fit(width)
}

/// Digits of a number in a table.
const DIGITS: i32 = 4;

/// Decimals of so many significant digits.
fn decimals(value: f64, digits: i32) -> usize {
    let decimals = digits - 1 - value.abs().log10().floor() as i32;
    usize::try_from(decimals.max(0)).unwrap_or(0)
}

/// Four significant digits.
#[must_use]
pub fn number(value: f64) -> String {
    significant(value, DIGITS)
}

/// So many significant digits.
pub(super) fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if (1e-4..1e7).contains(&value.abs()) {
        format!("{value:.*}", decimals(value, digits))
    } else {
        format!("{value:.3e}")
    }
}

/// The mean, and the interval with as many decimals.
fn estimate(estimate: Estimate) -> String {
    let Estimate { mean, ci95 } = estimate;
    match ci95 {
        Some(half) if half > 0.0 && (1e-4..1e7).contains(&mean.abs()) => {
            format!("{} ± {half:.*}", number(mean), decimals(mean, DIGITS))
        }
        Some(half) if half > 0.0 => format!("{} ± {half:.3e}", number(mean)),
        _ => number(mean),
    }
}

fn verdict(row: &SummaryRow<'_>) -> &'static str {
    match (row.verified(), row.valid(), row.verification) {
        (false, ..) => "NO",
        (true, false, _) => "INVALID",
        (.., Verification::OutputsAndTraffic) => "outputs, traffic",
        (.., Verification::Outputs) => "outputs",
        (.., Verification::Traffic) => "traffic",
        (.., Verification::NothingRan) => "-",
    }
}

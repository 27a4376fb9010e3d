//! Results as a table for people.

use super::merge::Merged;
use super::subject::{Subject, label, short, shown};
use super::summary::{Estimate, SummaryRow};
use crate::layer::Verification;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// Rules above and below, and under the heading.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// The rows as an aligned table: swept keys first, then means with their 95% intervals, what is plotted before the rest.
#[must_use]
pub fn table(merged: &Merged, rows: &[SummaryRow<'_>], subject: &dyn Subject) -> String {
    let columns = shown(subject, &merged.header.plots);
    let columns: Vec<&str> =
        columns.into_iter().filter(|key| rows.iter().any(|row| row.estimate(key).is_some())).collect();
    let swept = &merged.header.swept;
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    let heading = columns.iter().map(|key| {
        let (words, unit) = label(subject, key);
        format!("{words} {unit}").trim_end().to_owned()
    });
    let keys = swept.iter().map(|key| short(key)).chain(["backend", "seeds"]).map(str::to_owned);
    table.set_header(keys.chain(heading).chain(["verified".to_owned()]).collect::<Vec<_>>());
    for row in rows {
        let keys = swept.iter().map(|key| row.word(key));
        let cells = keys.chain([row.backend.to_string(), row.records.len().to_string()]);
        let means = columns.iter().map(|key| row.estimate(key).map_or_else(|| "-".to_owned(), estimate));
        table.add_row(cells.chain(means).chain([verdict(row).to_owned()]).collect::<Vec<_>>());
    }
    for at in 0..swept.len() + 2 + columns.len() + 1 {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 1));
            if (swept.len() + 1..swept.len() + 2 + columns.len()).contains(&at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt() + "\n"
}

/// Decimals of four significant digits.
fn decimals(value: f64) -> usize {
    let digits = 3 - value.abs().log10().floor() as i32;
    usize::try_from(digits.max(0)).unwrap_or(0)
}

/// Four significant digits.
#[must_use]
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if (1e-4..1e7).contains(&value.abs()) {
        format!("{value:.*}", decimals(value))
    } else {
        format!("{value:.3e}")
    }
}

/// The mean, and the interval with as many decimals.
fn estimate(estimate: Estimate) -> String {
    let Estimate { mean, ci95 } = estimate;
    match ci95 {
        Some(half) if half > 0.0 && (1e-4..1e7).contains(&mean.abs()) => {
            format!("{} ± {half:.*}", number(mean), decimals(mean))
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

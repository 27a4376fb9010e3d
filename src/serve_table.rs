//! The records of a serving experiment for people: one as a block, several as a table.

use crate::serve_plot::short;
use study::serving::{ServeFile, ServeRecord, block};

/// Columns of the table beside the swept keys and those of plots.
const COLUMNS: [&str; 6] =
    ["output_throughput", "mean_ttft_ms", "mean_tpot_ms", "usd_per_mtok_output", "mean_batch", "idle_share"];

/// One run as vLLM's block, several as a table.
pub(crate) fn shown(file: &ServeFile, records: &[ServeRecord]) -> String {
    let claim = file.claim.as_ref().map_or_else(String::new, |claim| format!("claim: {claim}\n"));
    if let [record] = records {
        return format!("{claim}{}", block(record));
    }
    let mut columns: Vec<&str> = Vec::new();
    let of_plots = file.plots.iter().flat_map(|plot| plot.y.iter().map(String::as_str));
    for column in of_plots.chain(COLUMNS) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let mut rows = vec![
        file.swept
            .iter()
            .map(|key| short(key).to_owned())
            .chain(columns.iter().map(|&c| c.to_owned()))
            .collect(),
    ];
    for record in records {
        let words = file.swept.iter().map(|key| match record.settings.get(key) {
            Some(toml::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        });
        let numbers =
            columns.iter().map(|column| record.column(column).map_or_else(|| "-".to_owned(), significant));
        rows.push(words.chain(numbers).collect());
    }
    let failed: u64 = records.iter().map(|record| record.failed).sum();
    let refused =
        if failed > 0 { format!("{failed} requests were refused; --json says why\n") } else { String::new() };
    let memo =
        records.iter().filter_map(|record| record.memo).map(|memo| memo.total_error.abs()).fold(None, max);
    let memo = memo.map_or_else(String::new, |error| {
        format!(
            "times simulated; remembered steps are off by {:.2}% at most, a point's checked steps together\n",
            error * 100.0
        )
    });
    format!("{claim}{}{memo}{refused}", aligned(&rows))
}

fn max(most: Option<f64>, value: f64) -> Option<f64> {
    Some(most.map_or(value, |most| most.max(value)))
}

/// Four significant digits.
fn significant(value: f64) -> String {
    if value == 0.0 || !(1e-4..1e7).contains(&value.abs()) {
        return if value == 0.0 { "0".to_owned() } else { format!("{value:.3e}") };
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    format!("{value:.*}", usize::try_from(digits.max(0)).unwrap_or(0))
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

//! Rows of results as pictures and tables take them: of a comparison by latency and configuration, of an experiment by their settings.

use study::experiment::{Merged, Subject, SummaryRow, short, shown};
use study::layer::{BackendKind, Record, Report};

/// Most rows of which a picture has a bar each.
pub(super) const BARS_MAX: usize = 40;

/// The latency and the backend that a comparison is told by: the first latency, the backend nearest to reality.
pub(super) fn told_by(report: &Report) -> (String, BackendKind) {
    let backend = report.backends().last().copied().unwrap_or(BackendKind::Analytic);
    let latency = report.latencies().first().copied().unwrap_or("zero").to_owned();
    (latency, backend)
}

/// What a row does, in words: `2 racks: hierarchical` is "hierarchical".
pub(super) fn way(record: &Record) -> String {
    record.title.split_once(": ").map_or(record.title.as_str(), |(_, way)| way).to_owned()
}

/// Records of one latency, a list for each configuration, backends ascending.
pub(super) fn configurations<'a>(report: &'a Report, latency: &str) -> Vec<Vec<&'a Record>> {
    let mut all: Vec<Vec<&Record>> = Vec::new();
    for record in report.rows.iter().filter(|record| record.latency == latency) {
        match all.last_mut().filter(|last| last[0].configuration == record.configuration) {
            Some(last) => last.push(record),
            None => all.push(vec![record]),
        }
    }
    all
}

/// What a latency is, in words.
pub(super) fn links(latency: &str) -> String {
    match latency {
        "zero" => "links without latency".to_owned(),
        "preset" => "links with the hardware's latency".to_owned(),
        given => format!("links with latency {given} us (in a rack, between racks)"),
    }
}

/// The last word of a key, or where another of `keys` ends in it the whole key.
pub(super) fn told_apart<'a>(key: &'a str, keys: impl Iterator<Item = &'a String>) -> &'a str {
    let alike = keys.filter(|other| short(other) == short(key)).count() > 1;
    if alike { key } else { short(key) }
}

/// Which row it is, in words.
pub(super) fn named(row: &SummaryRow<'_>) -> String {
    let words: Vec<String> = row
        .settings
        .0
        .iter()
        .map(|(key, value)| {
            format!(
                "{} {value}",
                told_apart(key, row.settings.0.iter().map(|(key, _)| key)).replace(['_', '.'], " ")
            )
        })
        .collect();
    if words.is_empty() { "all points".to_owned() } else { words.join(", ") }
}

/// Numbers that tables for people have and any row has.
pub(super) fn numbers<'a>(
    merged: &'a Merged,
    rows: &[SummaryRow<'_>],
    subject: &dyn Subject,
) -> Vec<&'a str> {
    let columns = shown(subject, &merged.header.plots);
    columns.into_iter().filter(|key| rows.iter().any(|row| row.estimate(key).is_some())).collect()
}

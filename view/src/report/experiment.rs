//! An experiment of any subject: its claim and findings, its table, its plots, and pictures of what its subject has.

use super::phases::{PHASES, Stack};
use super::rows::{BARS_MAX, named, numbers, told_apart};
use super::table::{Table, cell};
use super::trust::{self, Checked};
use super::{Section, phases, plots, serving};
use crate::page::escaped;
use study::experiment::{Merged, Subject, SummaryRow, label, summarise};
use study::layer::Verification;

/// The experiment as a section; its pictures' names begin with `id`.
pub(super) fn section(merged: &Merged, subject: &dyn Subject, id: &str) -> Section {
    let header = &merged.header;
    let rows = summarise(merged);
    let mut answers: Vec<String> = header.claim.iter().map(|claim| format!("Claim: {claim}")).collect();
    answers.extend(merged.findings().into_iter().map(|finding| match finding {
        Ok(text) => text,
        Err(problem) => format!("A finding is left out: {problem}"),
    }));
    let wrong = merged.records().filter(|flat| !flat.record.verified || !flat.record.valid);
    answers.extend(wrong.take(3).map(|flat| {
        let word = if flat.record.verified { "INVALID" } else { "NOT VERIFIED" };
        let problem = flat.record.problem.as_deref().unwrap_or("no reason was recorded");
        format!("{word}: point {} ({}): {problem}", flat.point, flat.settings)
    }));
    if !merged.missing.is_empty() {
        answers.insert(
            0,
            format!("INCOMPLETE: {} of {} points are missing.", merged.missing.len(), header.points),
        );
    }
    let checked = merged.records().map(|flat| Checked {
        backend: flat.record.backend,
        verification: flat.record.verification,
        verified: flat.record.verified,
        valid: flat.record.valid,
    });
    let checked: Vec<Checked> = checked.collect();
    let said =
        merged.records().filter_map(|flat| flat.record.value("trust.text")?.as_str().map(str::to_owned));
    let said = said.collect();
    let served = header.subject == "serving";
    let fixed = if header.fixed.0.is_empty() { String::new() } else { format!(": {}", header.fixed) };
    let mut pictures = plots::pictures(merged, subject, id);
    pictures.extend(phases_of(&rows, id));
    if served {
        pictures.extend(serving::pictures(rows.clone(), id));
    }
    Section {
        headline: headline(merged),
        subject: format!("{} ({}, {} points){fixed}", header.name, header.subject, header.points),
        answers,
        trust: trust::lines(&checked, "", served, &said),
        tables: format!("<h2>Table</h2>{}{}", table(merged, &rows, subject), commands(merged)),
        pictures,
    }
}

/// The first finding, as far as its first half goes, else the claim, else the name.
fn headline(merged: &Merged) -> String {
    let found = merged.findings().into_iter().flatten().next();
    let found = found.map(|found| match found.split_once("; ") {
        Some((first, _)) => first.to_owned(),
        None => found,
    });
    let claim = merged.header.claim.as_ref().map(|claim| format!("{}: {claim}", merged.header.name));
    let text = found.or(claim).unwrap_or_else(|| merged.header.name.clone());
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn table(merged: &Merged, rows: &[SummaryRow<'_>], subject: &dyn Subject) -> String {
    let swept = &merged.header.swept;
    let keys = numbers(merged, rows, subject);
    let heads = swept.iter().map(|key| told_apart(key, swept.iter()).to_owned());
    let numbers = keys.iter().map(|key| {
        let (words, unit) = label(subject, key);
        if unit.is_empty() { words.to_owned() } else { format!("{words}, {unit}") }
    });
    let columns = heads.chain(["backend".to_owned()]).chain(numbers);
    let columns = columns.chain(["seeds".to_owned(), "verified".to_owned()]).collect();
    let of_row = |row: &SummaryRow<'_>| {
        let words = swept.iter().map(|key| row.word(key)).chain([row.backend.to_string()]);
        let means = keys.iter().map(|key| {
            let Some(estimate) = row.estimate(key) else { return "-".to_owned() };
            let half = estimate.ci95.filter(|half| *half > 0.0);
            let half = half.map_or_else(String::new, |half| format!(" ± {}", cell(Some(half))));
            cell(Some(estimate.mean)) + &half
        });
        words.chain(means).chain([row.records.len().to_string(), verdict(row).to_owned()]).collect()
    };
    let caption = match merged.header.seeds.len() {
        1 => "Every combination of settings; emulated time".to_owned(),
        seeds => format!(
            "Every combination of settings; emulated time; means and 95% intervals over {seeds} seeds"
        ),
    };
    Table { caption, columns, names: swept.len() + 1, rows: rows.iter().map(of_row).collect() }.html()
}

fn verdict(row: &SummaryRow<'_>) -> &'static str {
    match (row.verified(), row.valid(), row.verification) {
        (false, ..) => "NO",
        (true, false, _) => "INVALID",
        (.., Verification::NothingRan) => "-",
        _ => "yes",
    }
}

/// The command of each point, the first ones.
fn commands(merged: &Merged) -> String {
    let lines: String =
        merged.lines.iter().take(BARS_MAX).map(|line| format!("{}\n", line.command)).collect();
    let lines = escaped(lines.trim());
    if lines.is_empty() {
        return lines;
    }
    let more = merged.lines.len().saturating_sub(BARS_MAX);
    let more = if more > 0 {
        format!("<p class=\"soft\">and {more} more, in the results</p>")
    } else {
        String::new()
    };
    format!("<details><summary>The command of each point</summary><pre>{lines}</pre>{more}</details>")
}

/// Where the time of each row's layer goes, if it is a layer's.
fn phases_of(rows: &[SummaryRow<'_>], id: &str) -> Option<crate::page::Picture> {
    let stack = |row: &SummaryRow<'_>| {
        let mut us = [0.0; 3];
        for (us, (_, key)) in us.iter_mut().zip(PHASES) {
            *us = row.estimate(key)?.mean;
        }
        Some(Stack { label: named(row), backend: row.backend, us })
    };
    let stacks: Option<Vec<Stack>> = rows.iter().map(stack).collect();
    let stacks = stacks.filter(|stacks| stacks.len() <= BARS_MAX)?;
    phases::picture(&format!("{id}-phases"), &stacks, "", "")
}

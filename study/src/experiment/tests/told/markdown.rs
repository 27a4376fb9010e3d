//! Results as a Markdown table: swept settings, backend, and the numbers that tables for people have.

use crate::experiment::{Merged, Subject, label, number, short, shown, summarise};

/// The table of `merged`, an experiment about `subject`; means over seeds.
#[must_use]
pub fn markdown(merged: &Merged, subject: &dyn Subject) -> String {
    let rows = summarise(merged);
    let settings: Vec<&str> = merged.header.swept.iter().map(String::as_str).chain(["backend"]).collect();
    let mut numbers = shown(subject, &merged.header.plots);
    numbers.retain(|key| rows.iter().any(|row| row.estimate(key).is_some()));
    let words = numbers.iter().map(|key| {
        let (words, unit) = label(subject, key);
        format!("{words} {unit}").trim_end().to_owned()
    });
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let heading: Vec<String> = settings.iter().map(|key| short(key).to_owned()).chain(words).collect();
    let rule = vec!["---".to_owned(); heading.len()];
    let mut text = line(heading) + &line(rule);
    for row in &rows {
        let mean = |key| row.estimate(key).map_or_else(|| "-".to_owned(), |estimate| number(estimate.mean));
        let means = numbers.iter().map(|key| mean(key));
        text += &line(settings.iter().map(|key| row.word(key)).chain(means).collect());
    }
    text
}

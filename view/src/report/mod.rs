//! The report: results as one page, the answer first, then how far to trust it, the table, and pictures of what the results have.
//!
//! It takes any mixture of comparisons and experiments. The first one's answer stands on the first screen; several of a kind are set side
//! by side with their differences.

mod beside;
mod comparison;
mod experiment;
mod faults;
mod frames;
mod phases;
mod plots;
mod ports;
mod ranks;
mod rows;
mod serving;
mod slowdown;
mod table;
#[cfg(test)]
mod tests;
mod traffic;
mod trust;

use crate::page::{Picture, data, document, escaped};
use std::fmt::Write;
use study::experiment::{Merged, Subject};
use study::layer::Report;

/// Style and script of reports, beside those of every page.
const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = include_str!("../../assets/report.js");

/// Most results of which one page has tables and pictures.
pub const SOURCES_MAX: usize = 40;

/// Results, and the name that they go by here: that of their file.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The name.
    pub name: String,
    /// What they are.
    pub of: Of<'a>,
}

/// What results are of.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    /// A comparison.
    Comparison(&'a Report),
    /// An experiment, with what it is about.
    Experiment(&'a Merged, &'a dyn Subject),
}

/// What a page says beside the results.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// What to know: files that were left out, points that are missing.
    pub notes: Vec<String>,
    /// How results were made, run by run: (what, value).
    pub made: Vec<Vec<(String, String)>>,
}

/// One source, as the page shows it.
struct Section {
    /// The answer in a line.
    headline: String,
    /// What was run.
    subject: String,
    /// The answer.
    answers: Vec<String>,
    /// How far to trust it: (word, what).
    trust: Vec<(String, String)>,
    /// Tables, as HTML.
    tables: String,
    pictures: Vec<Picture>,
}

/// The page of `sources`, the most important first.
#[must_use]
pub fn page(sources: &[Source<'_>], beside: &Beside) -> String {
    let shown = &sources[..sources.len().min(SOURCES_MAX)];
    let sections: Vec<Section> =
        (1..).zip(shown).map(|(number, source)| section(source, &format!("r{number}"))).collect();
    let title = sections.first().map_or_else(|| "no results".to_owned(), |section| section.headline.clone());
    let mut body = String::from("<main>\n");
    for (at, (source, section)) in shown.iter().zip(&sections).enumerate() {
        put(&mut body, at, source, section);
        if at == 0 {
            body.push_str(&contents(shown));
            body.push_str(&beside::tables(shown));
        }
        put_rest(&mut body, at, section);
    }
    if sources.len() > shown.len() {
        let left = sources.len() - shown.len();
        write!(body, "<p>{left} more results are left out: a page has {SOURCES_MAX}.</p>").expect("a String");
    }
    body.push_str(&made(beside));
    body.push_str("</main>\n");
    let pictures: Vec<Picture> = sections.into_iter().flat_map(|section| section.pictures).collect();
    document(&format!("{title} - Railyard"), STYLE, &format!("{body}{}", data(&pictures)), SCRIPT)
}

fn section(source: &Source<'_>, id: &str) -> Section {
    match source.of {
        Of::Comparison(report) => comparison::section(report, id),
        Of::Experiment(merged, subject) => experiment::section(merged, subject, id),
    }
}

/// Heading, answer and trust; the first one's are the page's.
fn put(body: &mut String, at: usize, source: &Source<'_>, section: &Section) {
    let Section { headline, subject, answers, trust, .. } = section;
    let (name, headline, subject) = (escaped(&source.name), escaped(headline), escaped(subject));
    let heading = match at {
        0 => format!("<h1>{headline}</h1><p class=\"soft asked\">{name}: {subject}</p>"),
        _ => format!("<h2 id=\"s{}\">{name}: {headline}</h2><p class=\"soft asked\">{subject}</p>", at + 1),
    };
    let answers: String = answers.iter().map(|answer| format!("<li>{}</li>", escaped(answer))).collect();
    let trust: String = trust
        .iter()
        .map(|(word, what)| {
            let class = if word.starts_with("NOT") { " class=\"bad\"" } else { "" };
            format!("<dt{class}>{}</dt><dd>{}</dd>", escaped(word), escaped(what))
        })
        .collect();
    let answers = match answers.is_empty() {
        true => String::from("<div></div>"),
        false => format!("<div class=\"answers\"><ul>{answers}</ul></div>"),
    };
    writeln!(
        body,
        "{heading}<div class=\"first\">{answers}<aside class=\"card trust\" aria-label=\"How far to trust it\">\
         <h2>How far to trust it</h2><dl>{trust}</dl></aside></div>"
    )
    .expect("a String takes all");
}

fn put_rest(body: &mut String, at: usize, section: &Section) {
    let number = at + 1;
    writeln!(body, "<section id=\"table{number}\" aria-label=\"Table\">{}</section>", section.tables)
        .expect("a String takes all");
    if !section.pictures.is_empty() {
        let pictures: String = section.pictures.iter().map(Picture::html).collect();
        writeln!(body, "<section id=\"pictures{number}\"><h2>Pictures</h2>{pictures}</section>")
            .expect("a String takes all");
    }
}

/// Where what stands.
fn contents(shown: &[Source<'_>]) -> String {
    let mut links =
        vec![("table1".to_owned(), "Table".to_owned()), ("pictures1".to_owned(), "Pictures".to_owned())];
    if shown.len() > 1 {
        links.insert(0, ("beside".to_owned(), "Side by side".to_owned()));
    }
    for (number, source) in (2..).zip(&shown[1..]) {
        links.push((format!("s{number}"), source.name.clone()));
    }
    links.push(("made".to_owned(), "How it was made".to_owned()));
    let links: String =
        links.iter().map(|(id, words)| format!("<a href=\"#{id}\">{}</a>", escaped(words))).collect();
    format!("<nav class=\"inside\" aria-label=\"On this page\">{links}</nav>\n")
}

/// How the results came about.
fn made(beside: &Beside) -> String {
    let notes: String = beside.notes.iter().map(|note| format!("<li>{}</li>", escaped(note))).collect();
    let notes = if notes.is_empty() { notes } else { format!("<ul>{notes}</ul>") };
    let runs: String = beside
        .made
        .iter()
        .map(|run| {
            let rows: String = run
                .iter()
                .map(|(what, value)| {
                    format!(
                        "<tr><th scope=\"row\">{}</th><td class=\"text\"><code>{}</code></td></tr>",
                        escaped(what),
                        escaped(value)
                    )
                })
                .collect();
            format!("<div class=\"scroll\" tabindex=\"0\"><table><caption>A run, as manifest.json has it</caption><tbody>{rows}</tbody></table></div>")
        })
        .collect();
    format!(
        "<section id=\"made\"><h2>How it was made</h2>{notes}{runs}<p class=\"soft\">Times are emulated microseconds where nothing else is said. \
         docs/outputs.md of Railyard has every number's formula, docs/pictures.md how to read each picture, docs/trust.md what the numbers prove.</p></section>\n"
    )
}

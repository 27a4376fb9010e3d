//! One claim: what is stated and computed, with what, why, its picture, and what runs it.

use crate::page::escaped;
use blackboard::text::number;
use lecture::claims::{Claim, Verdict};
use std::fmt::Write;

/// A number with its unit.
pub(super) fn told(value: f64, unit: &str) -> String {
    if unit.is_empty() { number(value) } else { format!("{} {unit}", number(value)) }
}

/// The class of a verdict's colour; its word says the same.
pub(super) const fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduces => "verdict good",
        Verdict::Contradicts | Verdict::WrongInput => "verdict bad",
        Verdict::OrderOfMagnitude | Verdict::Assumption => "verdict soft",
    }
}

/// The experiment file that a command names.
pub(super) fn example(run: &str) -> Option<&str> {
    run.split(' ').find(|word| word.starts_with("examples/"))
}

/// The anchor of an experiment file.
pub(super) fn anchor(path: &str) -> String {
    path.trim_end_matches(".toml").replace('/', "-")
}

/// What a claim shows as its picture.
pub(super) enum Picture {
    /// The figure itself.
    Drawn(String),
    /// A link to it, at another claim.
    Linked(String),
}

/// The claim, with its picture if it has one.
pub(super) fn article(claim: &Claim, picture: Option<&Picture>) -> String {
    let tolerance = if claim.tolerance > 0.0 {
        format!(" <span class=\"soft\">(within {}%)</span>", number(100.0 * claim.tolerance))
    } else {
        String::new()
    };
    let computed = claim.computed();
    let (id, label) = (claim.id, escaped(&computed.label));
    let (drawn, linked) = match picture {
        Some(Picture::Drawn(html)) => (html.as_str(), ""),
        Some(Picture::Linked(html)) => ("", html.as_str()),
        None => ("", ""),
    };
    let pictured = if drawn.is_empty() { "" } else { " pictured" };
    let mut html = format!(
        "<article id=\"{id}\" class=\"claim card{pictured}\" aria-labelledby=\"{id}-says\"><div>\n\
         <h3 id=\"{id}-says\"><a href=\"#{id}\">{id}</a> {}</h3>\n<p class=\"{}\" data-verdict>{}</p>\n\
         <dl><div><dt>Stated</dt><dd>{}{tolerance} <span class=\"soft\">{}</span></dd></div>\n\
         <div><dt>Computed</dt><dd><output data-at=\"0\">{}</output> <span class=\"soft\">{label}</span></dd></div>\n\
         <div><dt>Formula</dt><dd><code>{}</code></dd></div>\n<div><dt>Why</dt><dd>{}</dd></div></dl>\n",
        escaped(claim.claim),
        class(claim.verdict),
        claim.verdict,
        escaped(claim.stated.text()),
        escaped(claim.source),
        escaped(&told(computed.value, computed.unit)),
        escaped(claim.formula),
        escaped(claim.note),
    );
    html.push_str(&inputs(claim));
    html.push_str(&runs(claim));
    html.push_str(linked);
    html.push_str("</div>\n");
    html.push_str(drawn);
    html.push_str(&values(claim));
    html.push_str("</article>\n");
    html
}

/// The inputs, each with a slider and a field that the script shows.
fn inputs(claim: &Claim) -> String {
    if claim.inputs.is_empty() {
        return "<p class=\"soft\">No inputs, so no sliders.</p>\n".to_owned();
    }
    let mut html = String::from("<ul class=\"inputs\" aria-label=\"Inputs\">\n");
    for &(name, unit, value) in &claim.inputs {
        let id = format!("{}-{name}", claim.id);
        let comma = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        let _ = writeln!(
            html,
            "<li><label for=\"{id}\"><code>{name}</code></label> <output data-is=\"{name}\">{}</output>\
             <span class=\"move\" hidden><input type=\"range\" id=\"{id}\" data-move=\"{name}\">\
             <input type=\"number\" step=\"any\" data-type=\"{name}\" aria-label=\"{name}{comma}, as a number\"></span></li>",
            escaped(&told(value, unit))
        );
    }
    html + "</ul>\n"
}

/// The values beside the one that is compared.
fn values(claim: &Claim) -> String {
    if claim.values.len() < 2 {
        return String::new();
    }
    let mut html = String::from("<div class=\"values\"><p class=\"soft\">Computed as well</p><ul>\n");
    for (at, value) in claim.values.iter().enumerate().skip(1) {
        let _ = writeln!(
            html,
            "<li><span>{}</span> <output data-at=\"{at}\">{}</output></li>",
            escaped(&value.label),
            escaped(&told(value.value, value.unit))
        );
    }
    html + "</ul></div>\n"
}

/// The commands that try the claim, the one that computes it last.
fn runs(claim: &Claim) -> String {
    let mut html = String::from("<p class=\"runs\"><span class=\"soft\">Try it:</span>");
    for run in claim.runs {
        let command = escaped(run);
        let _ = match example(run) {
            Some(path) => write!(html, " <a href=\"#{}\"><code>{command}</code></a>", anchor(path)),
            None => write!(html, " <code>{command}</code>"),
        };
    }
    let _ = writeln!(html, " <code>railyard board {}</code></p>", claim.id);
    html
}

//! The lecture as one page: each sentence with its verdict, formula, numbers, picture and sliders; what is wrong comes first.
//!
//! All of it can be read without the script. The script (`assets/board.js`) computes anew what a slider moves, with the formulas
//! that [`lecture::claims::FORMULAS`] has, and finds claims by words and numbers.

mod claim;
mod first;

use self::claim::Picture;
use crate::page::{document, escaped, json_in_script};
use crate::picture::drawn;
use lecture::claims::{Chapter, Claim, FORMULAS, ORDER, reaches};
use lecture::figures;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const STYLE: &str = include_str!("../../assets/board.css");
const SCRIPT: &str = include_str!("../../assets/board.js");

/// What the page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Lecture<'a> {
    /// The claims, in order.
    pub claims: &'a [Claim],
    /// The same as `board --json` has them.
    pub record: &'a str,
    /// The command that has these inputs, to which the page appends what is moved.
    pub command: &'a str,
    /// Experiment files by path, for those who don't have them.
    pub examples: &'a [(&'a str, &'a str)],
}

/// The page.
#[must_use]
pub fn page(lecture: &Lecture<'_>) -> String {
    let claims = lecture.claims;
    let mut body = String::from("<a class=\"unseen skip\" href=\"#claims\">To the claims</a>\n");
    body.push_str(&first::head(claims));
    body.push_str(&tools(claims));
    body.push_str("<main id=\"claims\">\n");
    let pictures = pictures(claims);
    for chapter in Chapter::ALL {
        let of: Vec<&Claim> = claims.iter().filter(|claim| claim.chapter == chapter).collect();
        if of.is_empty() {
            continue;
        }
        let (letter, title) = (chapter.letter(), escaped(chapter.title()));
        let _ = writeln!(
            body,
            "<section class=\"chapter\" aria-labelledby=\"chapter-{letter}\"><h2 id=\"chapter-{letter}\">{letter}. {title}</h2>"
        );
        for claim in of {
            body.push_str(&claim::article(claim, pictures.get(claim.id)));
        }
        body.push_str("</section>\n");
    }
    body.push_str("</main>\n");
    body.push_str(&examples(lecture));
    body.push_str(&foot(lecture));
    body.push_str(&data(lecture));
    document("The lecture, sentence by sentence", STYLE, &body, &format!("{FORMULAS}\n{SCRIPT}"))
}

/// The picture of each claim that has one, by the claim's id: drawn where it comes first, a link where it comes again.
fn pictures(claims: &[Claim]) -> BTreeMap<&'static str, Picture> {
    let all = figures::all();
    let mut shown: BTreeMap<&str, &str> = BTreeMap::new();
    let mut pictures = BTreeMap::new();
    for claim in claims {
        let Some(figure) = all.iter().find(|figure| Some(figure.id) == claim.picture) else { continue };
        let title = escaped(&figure.title);
        let html = if let Some(first) = shown.get(figure.id) {
            Picture::Linked(format!(
                "<p class=\"soft\">Picture: <a href=\"#{}\">{title}</a>, at {first}.</p>\n",
                figure.id
            ))
        } else {
            let Some(svg) = drawn(figure) else { continue };
            shown.insert(figure.id, claim.id);
            Picture::Drawn(format!(
                "<figure id=\"{}\"><h4>{title}</h4><div class=\"scroll drawn\" tabindex=\"0\" role=\"group\" aria-label=\"{title}\">{svg}</div>\
                 <figcaption>{} Computed, with the lecture's inputs: sliders don't move it.</figcaption></figure>\n",
                figure.id,
                escaped(&figure.caption)
            ))
        };
        pictures.insert(claim.id, html);
    }
    pictures
}

/// What works with the script alone: the search, and what is said of inputs that were moved.
fn tools(claims: &[Claim]) -> String {
    let mut chapters: Vec<Chapter> = claims.iter().map(|claim| claim.chapter).collect();
    chapters.dedup();
    let links: String = chapters
        .iter()
        .map(|chapter| format!("<a href=\"#chapter-{}\">{}</a> ", chapter.letter(), escaped(chapter.title())))
        .collect();
    format!(
        "<search class=\"find\" hidden><label for=\"find\">Find a claim by words or numbers</label>\
         <input type=\"search\" id=\"find\" autocomplete=\"off\" spellcheck=\"false\" placeholder=\"8x, half, 1000x, 2400, cache\" aria-describedby=\"found\">\
         <p id=\"found\" class=\"soft\" role=\"status\"></p></search>\n\
         <nav class=\"inside\" aria-label=\"Chapters\">{links}</nav>\n\
         <aside id=\"moved\" aria-label=\"Moved inputs\" hidden><p id=\"said\" role=\"status\" aria-live=\"polite\"></p>\
         <p><code id=\"same\"></code> <button type=\"button\" id=\"back\">Back to what it was</button></p></aside>\n"
    )
}

/// The files that the claims' commands name.
fn examples(lecture: &Lecture<'_>) -> String {
    let named: BTreeSet<&str> =
        lecture.claims.iter().flat_map(|claim| claim.runs).filter_map(|run| claim::example(run)).collect();
    let known = lecture.examples.iter().filter(|(path, _)| named.contains(path));
    let mut html = String::new();
    for (path, text) in known {
        let finding = text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
        let (id, path, finding, text) = (claim::anchor(path), escaped(path), escaped(finding), escaped(text));
        let _ = writeln!(
            html,
            "<details id=\"{id}\"><summary><code>{path}</code> {finding}</summary><pre tabindex=\"0\">{text}</pre></details>"
        );
    }
    if html.is_empty() {
        return html;
    }
    format!(
        "<section aria-labelledby=\"examples\"><h2 id=\"examples\">The experiments that the claims name</h2>\n\
         <p>Each file says what was found with it. Save one under its name, or take it from the project.</p>\n{html}</section>\n"
    )
}

/// Who is quoted, how verdicts follow, and what made the page.
fn foot(lecture: &Lecture<'_>) -> String {
    let still: Vec<&str> =
        lecture.claims.iter().filter(|claim| claim.inputs.is_empty()).map(|claim| claim.id).collect();
    let still = if still.is_empty() {
        String::new()
    } else {
        format!("<p>Without sliders, as no input goes into them: {}.</p>\n", still.join(", "))
    };
    format!(
        "<footer><h2>How to read it</h2>\n<p>Sources: T, the lecture's transcript (Reiner Pope at Dwarkesh Patel's blackboard, April 2026); S1 and \
         S2, two articles on it; SB, <cite>How to Scale Your Model</cite>; V3, the DeepSeek-V3 report; ISCA, <cite>Insights into DeepSeek-V3</cite>; \
         INF, DeepSeek's overview of its inference system; PR, price pages of 2026.</p>\n\
         <p>A verdict follows from the numbers: <em>reproduces</em> within the tolerance, <em>order of magnitude</em> within a factor of {ORDER}, \
         <em>contradicts</em> beyond; <em>wrong input</em> where the arithmetic is right and what goes in is not; <em>assumption</em> where what is \
         stated can't be derived. Nothing is fitted. An input moves in every claim that has it.</p>\n{still}\
         <p class=\"soft\">Made by <code>{}</code>.</p></footer>\n",
        escaped(lecture.command)
    )
}

/// What the script needs: the record, how verdicts follow, and how far sliders go.
fn data(lecture: &Lecture<'_>) -> String {
    let rules: BTreeMap<&str, _> = lecture.claims.iter().map(|claim| (claim.id, claim.rule)).collect();
    let moves = json!({
        "command": lecture.command,
        "order": ORDER,
        "reaches": reaches(lecture.claims),
        "rules": rules,
    });
    format!(
        "<script type=\"application/json\" id=\"record\">{}</script>\n<script type=\"application/json\" id=\"moves\">{}</script>\n",
        json_in_script(lecture.record),
        json_in_script(&moves.to_string())
    )
}

#[cfg(test)]
mod tests;

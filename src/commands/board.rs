//! `railyard board`: every claim as an equation, with other inputs if wished, as text, JSON, plots or a page.

mod page;

use crate::cli::BoardArgs;
use crate::failure::Failure;
use crate::output;
use anyhow::Context;
use lecture::claims::{Board, Claim};
use lecture::{figures, text};
use serde_json::json;
use std::path::Path;

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

pub(crate) fn run(args: &BoardArgs) -> Result<(), Failure> {
    let board = Board::varied(args.preset, args.set.iter().map(String::as_str)).map_err(Failure::usage)?;
    let chosen = choose(&board, args.selection.as_deref())?;
    if let Some(dir) = &args.plots {
        return plots(dir, args.selection.is_some().then_some(&chosen));
    }
    let record = || json!({"schema_version": SCHEMA_VERSION, "claims": chosen});
    if let Some(file) = &args.html {
        return page::write(file, args, &chosen, &record().to_string());
    }
    if args.json {
        return output::print(&format!("{:#}\n", record()));
    }
    let mut shown = String::new();
    if board.is_varied() {
        let before = choose(&Board::new(args.preset), args.selection.as_deref())?;
        shown.push_str("what changes:\n");
        shown.push_str(&text::changes(&before, &chosen));
        if args.selection.is_none() {
            return output::print(&output::fitted(&shown, 7));
        }
        shown.push('\n');
    }
    output::print(&output::fitted(&(shown + &text::claims(&chosen)), 15))
}

fn choose(board: &Board, selection: Option<&str>) -> Result<Vec<Claim>, Failure> {
    selection.map_or_else(|| Ok(board.claims()), |wanted| board.select(wanted).map_err(Failure::usage))
}

/// Writes the figures of the claims' chapters, or all, to `dir` as SVG.
fn plots(dir: &Path, chosen: Option<&Vec<Claim>>) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .with_context(|| format!("cannot make {}; give a directory that can be written", dir.display()))
        .map_err(Failure::Failed)?;
    let wanted = |chapter: &str| {
        chosen.is_none_or(|claims| claims.iter().any(|claim| claim.chapter.name() == chapter))
    };
    let mut listed = String::new();
    for figure in figures::all().iter().filter(|figure| wanted(figure.chapter)) {
        let path = dir.join(figure.id).with_extension("svg");
        view::picture::check(&path).map_err(Failure::Usage)?;
        view::picture::write(figure, view::Medium::Screen, &path).map_err(Failure::Failed)?;
        listed.push_str(&format!("{}\n", path.display()));
    }
    output::print(&listed)
}

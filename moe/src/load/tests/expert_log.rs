//! A log of picks: JSON lines, one for each token and layer.

use serde::Deserialize;

use super::format::Format;
use super::lines::Lines;
use super::picks::{Gathered, PickedRow};
use super::{ExpertLoad, LoadError};

/// How it is told, and what reads it.
pub(super) const FORMAT: Format = Format {
    words: "a log of picks (JSON lines with `picked`)",
    keys: &["picked"],
    document: None,
    lines: Some(parse),
};

#[derive(Deserialize)]
struct Line {
    layer: u32,
    rank: Option<u32>,
    picked: Vec<i64>,
}

fn parse(mut lines: Lines<'_>) -> Result<ExpertLoad, LoadError> {
    let mut gathered = Gathered::default();
    while let Some(line) = lines.next::<Line>(r#"{"layer": 3, "picked": [expert, ...]}"#)? {
        let row = PickedRow { experts: &line.picked, rank: line.rank, ..PickedRow::default() };
        gathered.push((0, line.layer), &row).map_err(|problem| lines.wrong(problem))?;
    }
    gathered.finish(None, lines.origin)
}

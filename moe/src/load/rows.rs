//! Rows of layer, expert and count: a table with a header, or JSON lines.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use super::counts::Table;
use super::format::Format;
use super::lines::Lines;
use super::{ExpertLoad, LoadError, MAX_LOAD_BYTES, MAX_LOAD_LAYERS};
use crate::shape::MAX_EXPERTS;

/// How it is told, and what reads it.
pub(super) const FORMAT: Format = Format {
    words: "rows of `layer`, `expert` and `count` (CSV or JSON lines)",
    keys: &["expert", "expert_id", "expert_idx", "expert_index"],
    document: None,
    lines: Some(parse_lines),
};

/// Names of columns, but for case, blanks, `_` and `-`.
type Names = &'static [&'static str];

const LAYER: Names = &["layer", "layerid", "layeridx", "layerindex", "moelayer", "moelayerid"];
const EXPERT: Names = &["expert", "expertid", "expertidx", "expertindex", "logicalexpert", "logicalexpertid"];
const COUNT: Names = &[
    "count",
    "counts",
    "tokens",
    "tokencount",
    "numtokens",
    "load",
    "logicalcount",
    "expertcount",
    "value",
    "meancount",
];
const STEP: Names = &["step", "iteration", "iter", "batch", "batchid"];

/// Counts by step and layer, then expert; a pair that has no row counts nothing.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<(u64, u32), BTreeMap<u32, f64>>);

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The field with one of the names of `names`.
    pub(super) fn field<'a, T>(names: Names, fields: impl IntoIterator<Item = (&'a String, T)>) -> Option<T> {
        fields.into_iter().find(|(name, _)| is_called(name, names)).map(|(_, field)| field)
    }

    /// A row of which `field` tells the value by its names.
    pub(super) fn push_fields(
        &mut self,
        field: impl Fn(Names) -> Result<Option<f64>, String>,
    ) -> Result<(), String> {
        let whole = |names: Names, most: u32| match field(names)? {
            None => Err(format!("no `{}`", names[0])),
            Some(value) if value.fract() == 0.0 && (0.0..=most.into()).contains(&value) => Ok(value as u32),
            Some(value) => Err(format!("`{}` is {value}: give a whole number from 0 to {most}", names[0])),
        };
        let step = if field(STEP)?.is_some() { whole(STEP, u32::MAX)? } else { 0 };
        let (layer, expert) = (whole(LAYER, u32::MAX)?, whole(EXPERT, MAX_EXPERTS - 1)?);
        let count = field(COUNT)?.ok_or("no `count`")?;
        self.push(step.into(), layer, expert, count)
    }

    pub(super) fn push(&mut self, step: u64, layer: u32, expert: u32, count: f64) -> Result<(), String> {
        if expert >= MAX_EXPERTS {
            return Err(format!("expert {expert}; give ids below {MAX_EXPERTS}"));
        }
        let counted = self.0.entry((step, layer)).or_default().insert(expert, count);
        match counted {
            Some(_) => {
                Err(format!("layer {layer}, expert {expert} has a row already; give one for each step"))
            }
            None => Ok(()),
        }
    }

    /// As many experts as the largest id says; steps are numbered from 0, in their order.
    pub(super) fn finish(self) -> Result<Table, String> {
        let mut ids: Vec<u32> = self.0.keys().map(|&(_, layer)| layer).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut steps: Vec<u64> = self.0.keys().map(|&(step, _)| step).collect();
        steps.dedup();
        let experts =
            self.0.values().flat_map(BTreeMap::keys).max().map_or(0, |&largest| largest as usize + 1);
        let size = steps.len().saturating_mul(ids.len()).saturating_mul(experts);
        if ids.len() > MAX_LOAD_LAYERS || size > MAX_LOAD_BYTES / size_of::<f64>() {
            return Err(format!(
                "{} steps of {} layers of {experts} experts; give fewer",
                steps.len(),
                ids.len()
            ));
        }
        let layer = |step, layer| {
            let mut counts = vec![0.0; experts];
            for (&expert, &count) in self.0.get(&(step, layer)).into_iter().flatten() {
                counts[expert as usize] = count;
            }
            counts
        };
        if ids.is_empty() {
            return Err("no rows; give one for each layer and expert that has tokens".to_owned());
        }
        let by_step = steps.len() > 1;
        let steps = steps.iter().map(|&step| ids.iter().map(|&id| layer(step, id)).collect()).collect();
        Ok(Table { ids, by_step, ..Table::of_steps(steps) })
    }
}

/// Whether a column's name is one of `names` but for case, blanks, `_` and `-`.
fn is_called(name: &str, names: Names) -> bool {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    names.iter().any(|known| plain.eq_ignore_ascii_case(known))
}

/// Reads a table: a header, then a row a line, fields apart by commas, tabs or semicolons.
pub(super) fn parse(text: &str, origin: &str) -> Result<ExpertLoad, LoadError> {
    let wrong = |line, problem| LoadError::Line { origin: origin.to_owned(), line, problem };
    let (mut header, mut rows): (Option<(char, Vec<String>)>, _) = (None, Rows::default());
    for (line, text) in (1..).zip(text.split_inclusive('\n')) {
        let cut = if text.ends_with('\n') { "" } else { "; the file ends in this line: was it cut?" };
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let Some((delimiter, names)) = &header else {
            let delimiter =
                [',', '\t', ';'].into_iter().max_by_key(|&c| text.matches(c).count()).unwrap_or(',');
            header = Some((delimiter, columns(text, delimiter).map_err(|problem| wrong(line, problem))?));
            continue;
        };
        let fields = fields(text, *delimiter);
        let row = |rows: &mut Rows| {
            if fields.len() < names.len() || fields[names.len()..].iter().any(|field| !field.is_empty()) {
                return Err(format!("{} fields where the header has {}", fields.len(), names.len()));
            }
            rows.push_fields(|called| {
                let Some(field) = Rows::field(called, names.iter().zip(&fields)) else { return Ok(None) };
                field.parse().map(Some).map_err(|_| format!("`{}` is `{field}`: give a number", called[0]))
            })
        };
        row(&mut rows).map_err(|problem| wrong(line, problem + cut))?;
    }
    ExpertLoad::of_table(rows.finish().map_err(|problem| wrong(1, problem))?, origin)
}

/// The names of a header.
fn columns(header: &str, delimiter: char) -> Result<Vec<String>, String> {
    let names: Vec<String> = fields(header, delimiter).into_iter().map(str::to_owned).collect();
    for called in [LAYER, EXPERT, COUNT, STEP] {
        let found: Vec<&String> = names.iter().filter(|name| is_called(name, called)).collect();
        match found.as_slice() {
            [_] => {}
            [] if called == STEP => {}
            [] => {
                return Err(format!(
                    "not JSON, and no column `{}`; give a header layer,expert,count, or JSON",
                    called[0]
                ));
            }
            [one, other, ..] => {
                return Err(format!("two columns for `{}`, `{one}` and `{other}`: leave one out", called[0]));
            }
        }
    }
    Ok(names)
}

fn fields(text: &str, delimiter: char) -> Vec<&str> {
    text.split(delimiter).map(|field| field.trim().trim_matches('"').trim()).collect()
}

/// Reads JSON lines of which each is a row.
fn parse_lines(mut lines: Lines<'_>) -> Result<ExpertLoad, LoadError> {
    #[derive(Deserialize)]
    struct Row(BTreeMap<String, Value>);
    let mut rows = Rows::default();
    while let Some(Row(fields)) = lines.next(r#"{"layer": 3, "expert": 0, "count": 120}"#)? {
        let field = |called: Names| match Rows::field(called, &fields) {
            None => Ok(None),
            Some(value) => {
                value.as_f64().map(Some).ok_or_else(|| format!("`{}` is {value}: give a number", called[0]))
            }
        };
        rows.push_fields(field).map_err(|problem| lines.wrong(problem))?;
    }
    ExpertLoad::of_table(rows.finish().map_err(|problem| lines.wrong(problem))?, lines.origin)
}

//! Tables of text: a count a line under a header that names layer, expert and count, or a layer a line.

use super::rows::{COUNT, EXPERT, LAYER, Rows, STEP, is_called};
use super::wide::Wide;
use super::{ExpertLoad, LoadError};

/// What the lines of a table are.
enum Lines {
    /// A count each, under a header.
    Counts(Vec<String>),
    /// A layer each.
    Layers(Wide),
}

/// Reads a table: a count a line under a header of `layer,expert,count`, or a layer a line; fields apart by commas, tabs,
/// semicolons or blanks.
pub(super) fn parse(text: &str, origin: &str) -> Result<ExpertLoad, LoadError> {
    let wrong = |line, problem| LoadError::Line { origin: origin.to_owned(), line, problem };
    let (mut table, mut rows): (Option<(Option<char>, Lines)>, _) = (None, Rows::default());
    for (line, text) in (1..).zip(text.split_inclusive('\n')) {
        let cut = if text.ends_with('\n') { "" } else { "; the file ends in this line: was it cut?" };
        let text = text.trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        let delimiter = table.as_ref().map_or_else(|| delimiter(text), |(delimiter, _)| *delimiter);
        let fields = fields(text, delimiter);
        let pushed = match &mut table {
            None => Lines::of_first(&fields, &mut rows).map(|lines| table = Some((delimiter, lines))),
            Some((_, lines)) => lines.push(&fields, &mut rows),
        };
        pushed.map_err(|problem| wrong(line, problem + cut))?;
    }
    if let Some((_, Lines::Layers(wide))) = &table {
        wide.check().map_err(|problem| wrong(1, problem))?;
    }
    ExpertLoad::of_table(rows.finish().map_err(|problem| wrong(1, problem))?, origin)
}

impl Lines {
    /// Told from the first line, which is in `rows` if it is one.
    fn of_first(fields: &[&str], rows: &mut Rows) -> Result<Self, String> {
        let found = |names| fields.iter().filter(move |name| is_called(name, names)).collect::<Vec<_>>();
        if !found(EXPERT).is_empty() && !found(LAYER).is_empty() {
            for names in [LAYER, EXPERT, COUNT, STEP] {
                match found(names).as_slice() {
                    [_] => {}
                    [] if names == STEP => {}
                    [] => return Err(format!("no column `{}`; give a header layer,expert,count", names[0])),
                    [one, other, ..] => {
                        return Err(format!(
                            "two columns for `{}`, `{one}` and `{other}`: leave one out",
                            names[0]
                        ));
                    }
                }
            }
            return Ok(Self::Counts(fields.iter().map(|&name| name.to_owned()).collect()));
        }
        Wide::of_first(fields, rows).map(Self::Layers)
    }

    fn push(&mut self, fields: &[&str], rows: &mut Rows) -> Result<(), String> {
        let columns = match self {
            Self::Counts(names) => names.len(),
            Self::Layers(wide) => wide.columns,
        };
        if fields.len() < columns || fields[columns..].iter().any(|field| !field.is_empty()) {
            return Err(format!("{} fields where the first line has {columns}", fields.len()));
        }
        match self {
            Self::Counts(names) => rows.push_fields(|called| {
                let Some(field) = Rows::field(called, names.iter().zip(fields)) else { return Ok(None) };
                field.parse().map(Some).map_err(|_| format!("`{}` is `{field}`: give a number", called[0]))
            }),
            Self::Layers(wide) => wide.push(fields, rows),
        }
    }
}

/// What fields are apart by; `None` for blanks.
fn delimiter(text: &str) -> Option<char> {
    let most = [',', '\t', ';'].into_iter().max_by_key(|&c| text.matches(c).count())?;
    text.contains(most).then_some(most)
}

fn fields(text: &str, delimiter: Option<char>) -> Vec<&str> {
    let mut fields: Vec<&str> = match delimiter {
        Some(delimiter) => text.split(delimiter).collect(),
        None => text.split_whitespace().collect(),
    };
    fields.iter_mut().for_each(|field| *field = field.trim().trim_matches('"').trim());
    fields
}

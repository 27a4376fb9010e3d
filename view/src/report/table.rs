//! Tables of the page: a caption, a heading for each column, a name for each row.

use crate::page::escaped;
use study::experiment::number;

/// A table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// What it shows.
    pub(super) caption: String,
    /// Headings; those of `names` first columns are words, the others numbers.
    pub(super) columns: Vec<String>,
    /// How many columns name a row.
    pub(super) names: usize,
    /// Cells, as text.
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// As HTML, which scrolls where it is wider than the page.
    pub(super) fn html(&self) -> String {
        let class = |at: usize| if at < self.names { " class=\"text\"" } else { "" };
        let heads: String = (0..)
            .zip(&self.columns)
            .map(|(at, head)| format!("<th scope=\"col\"{}>{}</th>", class(at), escaped(head)))
            .collect();
        let row = |cells: &Vec<String>| {
            let cells: String = (0..)
                .zip(cells)
                .map(|(at, cell)| {
                    let bad = ["NO", "INVALID"].contains(&cell.as_str());
                    match at {
                        0 => format!("<th scope=\"row\" class=\"text\">{}</th>", escaped(cell)),
                        _ if bad => format!("<td class=\"bad\">{}</td>", escaped(cell)),
                        at => format!("<td{}>{}</td>", class(at), escaped(cell)),
                    }
                })
                .collect();
            format!("<tr>{cells}</tr>")
        };
        let rows: String = self.rows.iter().map(row).collect();
        format!(
            "<div class=\"scroll\" tabindex=\"0\"><table><caption>{}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>\n",
            escaped(&self.caption)
        )
    }
}

/// A number as a cell; nothing is a dash.
pub(super) fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// A ratio as a cell.
pub(super) fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

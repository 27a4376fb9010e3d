//! Tables as text: headings of several lines, rules above and below, and columns that are left out where they would not fit.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// Rules above and below, and under the heading.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Characters of a heading's line in a narrow table, where its cells are no wider.
const HEADING: usize = 8;
/// Characters of a word's line in a narrow table.
const WORD: usize = 12;

/// A column: its heading and where its cells stand.
#[derive(Clone, Debug)]
pub struct Column {
    heading: String,
    left: bool,
    extra: bool,
}

impl Column {
    /// A column of words.
    #[must_use]
    pub fn left(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), left: true, extra: false }
    }

    /// A column of numbers.
    #[must_use]
    pub fn right(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), left: false, extra: false }
    }

    /// Left out where the table would not fit otherwise, after those to its right.
    #[must_use]
    pub fn extra(self) -> Self {
        Self { extra: true, ..self }
    }
}

/// Columns and rows.
#[derive(Clone, Debug)]
pub struct TextTable {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row, a cell a column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table with a line end. Where it is wider than `width`, headings and long words are broken; where that is not enough, columns
    /// that are extra are left out, the last one first.
    #[must_use]
    pub fn fit(&self, width: Option<usize>) -> String {
        let fits =
            |table: &str| width.is_none_or(|width| table.lines().all(|line| line.chars().count() <= width));
        let mut columns: Vec<usize> = (0..self.columns.len()).collect();
        let mut table = self.render(&columns, false);
        if !fits(&table) {
            table = self.render(&columns, true);
        }
        while !fits(&table)
            && let Some(last) = columns.iter().rposition(|&at| self.columns[at].extra)
        {
            columns.remove(last);
            table = self.render(&columns, true);
        }
        table
    }

    fn render(&self, columns: &[usize], narrow: bool) -> String {
        let cell = |row: &[String], at: usize| {
            let text = row.get(at).map_or("", String::as_str);
            let marks = if text.contains(',') { &[','][..] } else { &[' ', '_'] };
            if narrow && self.columns[at].left { broken(text, WORD, marks) } else { text.to_owned() }
        };
        let heading = |at: usize| {
            let heading = self.columns[at].heading.as_str();
            let cells =
                self.rows.iter().map(|row| cell(row, at).lines().map(|line| line.chars().count()).max());
            let widest = cells.flatten().max().unwrap_or(0).max(HEADING);
            if narrow && !heading.contains('\n') {
                broken(heading, widest, &[' ', '_'])
            } else {
                heading.to_owned()
            }
        };
        let mut table = Table::new();
        table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|&at| heading(at)).collect::<Vec<_>>());
        for row in &self.rows {
            table.add_row(columns.iter().map(|&at| cell(row, at)).collect::<Vec<_>>());
        }
        for (shown, &at) in columns.iter().enumerate() {
            if let Some(column) = table.column_mut(shown) {
                column.set_padding((0, 1));
                if !self.columns[at].left {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table.trim_fmt() + "\n"
    }
}

/// `text` in lines of at most `width` characters where that can be: broken behind any of `marks`.
fn broken(text: &str, width: usize, marks: &[char]) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(marks) {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && (lines[last].clone() + word.trim_end()).chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// `text` in lines of at most `width` characters, those after the first behind as many spaces as `indent`; one line without a width.
#[must_use]
pub fn wrapped(text: &str, width: Option<usize>, indent: &str) -> String {
    match width {
        None => format!("{text}\n"),
        Some(width) => textwrap::fill(text, textwrap::Options::new(width).subsequent_indent(indent)) + "\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_columns_go_where_they_do_not_fit() {
        let mut table =
            TextTable::new([Column::left("name"), Column::right("much\nmore").extra(), Column::right("us")]);
        table.row(["a b".to_owned(), "1".to_owned(), "2.50".to_owned()]);
        let all = "─────────────────\nname  much    us\n      more\n─────────────────\na b      1  2.50\n─────────────────\n";
        assert_eq!(table.fit(None), all);
        assert_eq!(table.fit(Some(17)), all);
        let few = table.fit(Some(16));
        assert!(!few.contains("much") && few.contains("2.50"), "{few}");
        let mut table = TextTable::new([
            Column::left("tiers"),
            Column::right("price of output $/Mtok"),
            Column::right("us").extra(),
        ]);
        table.row(["preset hbm,preset ddr5,preset nvme".to_owned(), "1.25".to_owned(), "3".to_owned()]);
        let narrow = table.fit(Some(34));
        assert!(narrow.lines().all(|line| line.chars().count() <= 34), "{narrow}");
        assert!(
            narrow.contains("preset hbm,  ") && narrow.contains("$/Mtok") && narrow.contains("us"),
            "{narrow}"
        );
        assert_eq!(wrapped("one two three", Some(9), "  "), "one two\n  three\n");
        assert_eq!(wrapped("one two three", None, "  "), "one two three\n");
    }
}

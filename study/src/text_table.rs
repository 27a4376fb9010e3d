//! Tables as text: headings of several lines, rules above and below, and columns that are left out where they would not fit.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// Rules above and below, and under the heading.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

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

    /// Left out where the table would not fit otherwise.
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

    /// The table with a line end; where it is wider than `width`, without the columns that are extra.
    #[must_use]
    pub fn fit(&self, width: Option<usize>) -> String {
        let all = self.render(true);
        let fits = width.is_none_or(|width| all.lines().all(|line| line.chars().count() <= width));
        if fits { all } else { self.render(false) }
    }

    fn render(&self, extra: bool) -> String {
        let shown = |at: &usize| extra || !self.columns[*at].extra;
        let columns: Vec<usize> = (0..self.columns.len()).filter(shown).collect();
        let mut table = Table::new();
        table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|&at| self.columns[at].heading.as_str()).collect::<Vec<_>>());
        for row in &self.rows {
            table.add_row(
                columns.iter().map(|&at| row.get(at).map_or("", String::as_str)).collect::<Vec<_>>(),
            );
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
        assert_eq!(wrapped("one two three", Some(9), "  "), "one two\n  three\n");
        assert_eq!(wrapped("one two three", None, "  "), "one two three\n");
    }
}

//! Results as a chart reads them, whatever they are about, and what is asked of a chart.

use crate::words;
use blackboard::figure::Mean;
use std::collections::BTreeMap;
use std::fmt;
use study::scenario::distinct;

/// The value of a swept key.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A number: it has a place on an axis.
    Number(f64),
    /// Anything else.
    Word(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// The results of one combination of swept keys, seeds put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Swept keys with their values.
    pub settings: BTreeMap<String, Cell>,
    /// Columns with their means over seeds.
    pub values: BTreeMap<String, Mean>,
}

/// The results of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The experiment's name.
    pub name: String,
    /// Swept keys in the file's order, seeds left out.
    pub keys: Vec<String>,
    /// Names of all columns.
    pub columns: Vec<String>,
    /// Words and unit of keys and columns; others go by their own name.
    pub names: BTreeMap<String, (String, String)>,
    /// In the order of its points.
    pub rows: Vec<Row>,
    /// Seeds that means are over.
    pub seeds: usize,
    /// What else to know: what is fixed, where times are from, the claim.
    pub notes: Vec<String>,
}

impl Table {
    /// Where a row is along `x`.
    pub(super) fn at(&self, row: &Row, x: &str) -> Option<Cell> {
        match row.settings.get(x) {
            Some(cell) => Some(cell.clone()),
            None => row.values.get(x).map(|mean| Cell::Number(mean.value)),
        }
    }

    /// The values of a swept key, each once.
    pub(super) fn cells(&self, key: &str) -> Vec<Cell> {
        distinct(self.rows.iter().filter_map(|row| row.settings.get(key)).cloned())
    }

    /// Words and unit of `keys` together: the unit is the first one's.
    pub(super) fn common(&self, keys: &[&str]) -> (String, String) {
        let name =
            |key: &&str| self.names.get(*key).cloned().unwrap_or_else(|| ((*key).to_owned(), String::new()));
        words::common(&keys.iter().map(name).collect::<Vec<_>>())
    }

    /// `all-to-all, us`.
    pub(super) fn titled(&self, keys: &[&str]) -> String {
        let (words, unit) = self.common(keys);
        if unit.is_empty() { words } else { format!("{words}, {unit}") }
    }

    /// A key with its value, in a legend: `stages 8`; a word that tells by itself stands alone.
    pub(super) fn valued(&self, key: &str, cell: &Cell) -> String {
        match cell {
            Cell::Word(word) if words::tells(word) => word.clone(),
            cell => self.told(key, cell),
        }
    }

    /// A key with its value, in a caption: `scheme flat`.
    pub(crate) fn told(&self, key: &str, cell: &Cell) -> String {
        let (words, unit) = self.common(&[key]);
        format!("{words} {cell} {unit}").trim_end().to_owned()
    }
}

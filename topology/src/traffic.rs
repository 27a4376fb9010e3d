//! Who sends how many bytes to whom.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Cluster, LinkClass, RankId};

/// The largest matrix that is read from text or a file: 4096 ranks are 16.8 million cells.
pub const MAX_MATRIX_RANKS: usize = 4_096;

/// Text or data that is no square matrix of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrafficError {
    /// Nothing but blank lines and comments.
    #[error("no traffic matrix: give one line per sender with one number of bytes per receiver")]
    Empty,
    /// A cell isn't a whole number.
    #[error("line {line}, column {column}: `{cell}` is no whole number of bytes (0 to 2^64 - 1)")]
    Cell {
        /// Line of the text, from 1.
        line: usize,
        /// Number of the cell in its line, from 1.
        column: usize,
        /// Text of the cell that is no number of bytes.
        cell: String,
    },
    /// A row has more or fewer cells than there are rows.
    #[error("row {row} has {cells} cells, but the matrix has {rows} rows; it must be square")]
    NotSquare {
        /// Row, that is sender, from 0.
        row: usize,
        /// Cells in that row.
        cells: usize,
        /// Rows of the matrix.
        rows: usize,
    },
    /// More than [`MAX_MATRIX_RANKS`] rows or columns.
    #[error("a traffic matrix may have at most {MAX_MATRIX_RANKS} ranks")]
    TooManyRanks,
    /// All cells together exceed 64 bits.
    #[error("the cells sum to more than 2^64 bytes; scale them down")]
    TooManyBytes,
}

/// Bytes from every rank to every rank: `[n, n]`, a row per sender. Pairs without bytes take no memory.
///
/// The diagonal (a rank to itself) is kept but never leaves the rank: it counts in no link class.
/// Serialised as a list of rows, zeros included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u64>>", into = "Vec<Vec<u64>>")]
pub struct TrafficMatrix {
    /// By sender: the receivers of any bytes, ascending.
    rows: Vec<Vec<(RankId, u64)>>,
    /// Sum of all cells; held so that no sum over a part of them can overflow.
    total: u64,
}

impl TrafficMatrix {
    /// A matrix of zeros for `n` ranks.
    pub fn new(n: u32) -> Self {
        Self { rows: vec![Vec::new(); n as usize], total: 0 }
    }

    /// Adds `bytes` to what `from` sends to `to`.
    ///
    /// # Panics
    /// If a rank is not in the matrix, or all cells together exceed 2^64 bytes.
    pub fn add(&mut self, from: RankId, to: RankId, bytes: u64) {
        self.assert_has(from, to);
        self.total = self.total.checked_add(bytes).expect("a traffic matrix holds less than 2^64 bytes");
        let row = &mut self.rows[from.0 as usize];
        match find(row, to) {
            Ok(at) => row[at].1 += bytes,
            Err(at) if bytes > 0 => row.insert(at, (to, bytes)),
            Err(_) => {}
        }
    }

    /// Bytes that `from` sends to `to`.
    ///
    /// # Panics
    /// If a rank is not in the matrix.
    pub fn get(&self, from: RankId, to: RankId) -> u64 {
        self.assert_has(from, to);
        let row = &self.rows[from.0 as usize];
        find(row, to).map_or(0, |at| row[at].1)
    }

    /// Number of ranks, that is rows and columns.
    pub fn num_ranks(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Sum of all cells, the diagonal included.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What `from` sends to each rank that it sends any bytes, ascending by receiver.
    ///
    /// # Panics
    /// If the rank is not in the matrix.
    pub fn sent(&self, from: RankId) -> impl Iterator<Item = (RankId, u64)> + '_ {
        self.rows[from.0 as usize].iter().copied()
    }

    /// Bytes of all ranks on links of `class`.
    ///
    /// # Panics
    /// Like the other sums over a cluster, if the matrix has not one row per rank of `cluster`.
    pub fn class_bytes(&self, cluster: &Cluster, class: LinkClass) -> u64 {
        cluster.ranks().map(|rank| self.egress_bytes(cluster, rank, class)).sum()
    }

    /// Bytes that leave `rank` through its port of `class`.
    pub fn egress_bytes(&self, cluster: &Cluster, rank: RankId, class: LinkClass) -> u64 {
        self.assert_fits(cluster);
        let crosses = |to: RankId| to != rank && cluster.link_class(rank, to) == class;
        self.sent(rank).filter(|&(to, _)| crosses(to)).map(|(_, bytes)| bytes).sum()
    }

    /// Bytes that reach `rank` through its port of `class`.
    pub fn ingress_bytes(&self, cluster: &Cluster, rank: RankId, class: LinkClass) -> u64 {
        self.assert_fits(cluster);
        let peers = cluster.ranks().filter(|&from| from != rank && cluster.link_class(from, rank) == class);
        peers.map(|from| self.get(from, rank)).sum()
    }

    /// Reads a square matrix: one line per sender, numbers of bytes separated by white space. Blank lines and
    /// lines that start with `#` are skipped. `Display` writes what this reads.
    ///
    /// # Errors
    /// [`TrafficError`] names the line and cell.
    pub fn parse(text: &str) -> Result<Self, TrafficError> {
        let mut rows = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let mut row = Vec::new();
            for (column, cell) in (1..).zip(content.split_whitespace()) {
                if column > MAX_MATRIX_RANKS || rows.len() == MAX_MATRIX_RANKS {
                    return Err(TrafficError::TooManyRanks);
                }
                let bytes =
                    cell.parse().map_err(|_| TrafficError::Cell { line, column, cell: cell.to_owned() })?;
                row.push(bytes);
            }
            rows.push(row);
        }
        Self::try_from(rows)
    }

    /// Panics unless there is one row per rank: the caller mixed up two clusters.
    pub(crate) fn assert_fits(&self, cluster: &Cluster) {
        assert_eq!(self.num_ranks(), cluster.num_ranks(), "the matrix has one row per rank of the cluster");
    }

    fn assert_has(&self, from: RankId, to: RankId) {
        let n = self.num_ranks();
        assert!(from.0 < n && to.0 < n, "{from} or {to} is outside of {n}");
    }
}

/// Where `to` stands in a row, or would stand.
fn find(row: &[(RankId, u64)], to: RankId) -> Result<usize, usize> {
    // Receivers ascend, so that none stands behind its number. In a full row it stands there, or one before without the diagonal.
    let end = row.len().min(to.0 as usize + 1);
    let near = (end.saturating_sub(2)..end).rev().find(|&at| row[at].0 == to);
    near.map_or_else(|| row[..end].binary_search_by_key(&to, |(to, _)| *to), Ok)
}

impl TryFrom<Vec<Vec<u64>>> for TrafficMatrix {
    type Error = TrafficError;

    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self, TrafficError> {
        if rows.is_empty() {
            return Err(TrafficError::Empty);
        }
        if rows.len() > MAX_MATRIX_RANKS {
            return Err(TrafficError::TooManyRanks);
        }
        if let Some((row, cells)) = rows.iter().enumerate().find(|(_, cells)| cells.len() != rows.len()) {
            return Err(TrafficError::NotSquare { row, cells: cells.len(), rows: rows.len() });
        }
        let total = rows.iter().flatten().try_fold(0u64, |sum, &cell| sum.checked_add(cell));
        let sparse = |row: Vec<u64>| (0..).map(RankId).zip(row).filter(|(_, bytes)| *bytes > 0).collect();
        Ok(Self {
            rows: rows.into_iter().map(sparse).collect(),
            total: total.ok_or(TrafficError::TooManyBytes)?,
        })
    }
}

impl From<TrafficMatrix> for Vec<Vec<u64>> {
    fn from(matrix: TrafficMatrix) -> Self {
        let ranks = 0..matrix.num_ranks();
        let row = |from| ranks.clone().map(|to| matrix.get(RankId(from), RankId(to))).collect();
        ranks.clone().map(row).collect()
    }
}

impl fmt::Display for TrafficMatrix {
    /// One line per sender, cells separated by one space, as [`TrafficMatrix::parse`] reads them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in Vec::<Vec<u64>>::from(self.clone()) {
            let cells: Vec<String> = row.iter().map(u64::to_string).collect();
            writeln!(f, "{}", cells.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_matrix_is_read_and_written() {
        let matrix = TrafficMatrix::parse("# two ranks\n 0 5\n\n7\t1 \n").expect("valid");
        assert_eq!((matrix.num_ranks(), matrix.total(), matrix.get(RankId(1), RankId(0))), (2, 13, 7));
        assert_eq!(matrix.to_string(), "0 5\n7 1\n");
    }

    #[test]
    fn faults_in_the_text_are_located() {
        let check = |text: &str, message: &str| {
            let error = TrafficMatrix::parse(text).expect_err("faulty").to_string();
            assert!(error.starts_with(message), "{error}");
        };
        check("\n# none\n", "no traffic matrix");
        check("0 1\n2 x\n", "line 2, column 2: `x`");
        check("0 1\n2 -3\n", "line 2, column 2: `-3`");
        check("0 1\n2\n", "row 1 has 1 cells, but the matrix has 2 rows");
        check("0 1 2\n3 4 5\n", "row 0 has 3 cells");
        check(&"0 ".repeat(MAX_MATRIX_RANKS + 1), "a traffic matrix may have at most 4096 ranks");
        check(&format!("{} 1\n0 0", u64::MAX), "the cells sum to more");
    }

    #[test]
    fn the_diagonal_belongs_to_no_link() {
        let cluster = Cluster::new(&[2, 1]).expect("valid");
        let matrix = TrafficMatrix::parse("9 1 2\n3 9 4\n5 6 9").expect("valid");
        assert_eq!(matrix.egress_bytes(&cluster, RankId(0), LinkClass::ScaleUp), 1);
        assert_eq!(matrix.egress_bytes(&cluster, RankId(2), LinkClass::ScaleOut), 11);
        assert_eq!(matrix.ingress_bytes(&cluster, RankId(0), LinkClass::ScaleOut), 5);
        assert_eq!(matrix.class_bytes(&cluster, LinkClass::ScaleUp), 4);
        assert_eq!(matrix.class_bytes(&cluster, LinkClass::ScaleOut), 17);
    }

    proptest! {
        #[test]
        fn text_goes_round(n in 1usize..6, cells in prop::collection::vec(any::<u32>(), 25)) {
            let rows: Vec<Vec<u64>> =
                (0..n).map(|r| cells[r * n..(r + 1) * n].iter().map(|&c| u64::from(c)).collect()).collect();
            let matrix = TrafficMatrix::try_from(rows).expect("square");
            prop_assert_eq!(TrafficMatrix::parse(&matrix.to_string()), Ok(matrix));
        }

        #[test]
        fn what_leaves_arrives(
            sizes in prop::collection::vec(1u32..4, 1..4),
            sends in prop::collection::vec((0u32..9, 0u32..9, 0..1u64 << 40), 0..40),
        ) {
            let cluster = Cluster::new(&sizes).expect("small");
            let n = cluster.num_ranks();
            let mut matrix = TrafficMatrix::new(n);
            let mut local = 0;
            for (from, to, bytes) in sends {
                matrix.add(RankId(from % n), RankId(to % n), bytes);
                local += if from % n == to % n { bytes } else { 0 };
            }
            let mut carried = 0;
            for class in LinkClass::ALL {
                let egress: u64 = cluster.ranks().map(|r| matrix.egress_bytes(&cluster, r, class)).sum();
                let ingress: u64 = cluster.ranks().map(|r| matrix.ingress_bytes(&cluster, r, class)).sum();
                prop_assert_eq!(egress, ingress);
                prop_assert_eq!(egress, matrix.class_bytes(&cluster, class));
                carried += egress;
            }
            prop_assert_eq!(carried + local, matrix.total());
        }
    }
}

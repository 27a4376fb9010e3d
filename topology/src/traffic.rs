//! Who sends how many bytes to whom.

use crate::{Cluster, LinkClass, RankId};

/// Bytes from every rank to every rank: `[n, n]`, a row per sender. Pairs without bytes take no memory.
///
/// The diagonal (a rank to itself) is kept but never leaves the rank: it counts in no link class.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// Where `to` stands in the [row](Self::row) of `from`, or would stand.
    ///
    /// # Panics
    /// If `from` is not in the matrix.
    pub fn place(&self, from: RankId, to: RankId) -> usize {
        find(self.row(from), to).unwrap_or_else(|at| at)
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
        self.row(from).iter().copied()
    }

    /// The same as a slice.
    ///
    /// # Panics
    /// If the rank is not in the matrix.
    pub fn row(&self, from: RankId) -> &[(RankId, u64)] {
        &self.rows[from.0 as usize]
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
    // Who fills a row in order needs no search.
    if row.last().is_none_or(|(last, _)| *last < to) {
        return Err(row.len());
    }
    // Receivers ascend, so that none stands behind its number. In a full row it stands there, or one before without the diagonal.
    let end = row.len().min(to.0 as usize + 1);
    let near = (end.saturating_sub(2)..end).rev().find(|&at| row[at].0 == to);
    near.map_or_else(|| row[..end].binary_search_by_key(&to, |(to, _)| *to), Ok)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_diagonal_belongs_to_no_link() {
        let cluster = Cluster::new(&[2, 1]).expect("valid");
        let mut matrix = TrafficMatrix::new(3);
        for (cell, bytes) in (0..).zip([9, 1, 2, 3, 9, 4, 5, 6, 9]) {
            matrix.add(RankId(cell / 3), RankId(cell % 3), bytes);
        }
        assert_eq!(matrix.egress_bytes(&cluster, RankId(0), LinkClass::ScaleUp), 1);
        assert_eq!(matrix.egress_bytes(&cluster, RankId(2), LinkClass::ScaleOut), 11);
        assert_eq!(matrix.class_bytes(&cluster, LinkClass::ScaleUp), 4);
        assert_eq!(matrix.class_bytes(&cluster, LinkClass::ScaleOut), 17);
    }

    proptest! {
        #[test]
        fn every_byte_is_on_one_class_of_links_or_stays(
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
                prop_assert_eq!(egress, matrix.class_bytes(&cluster, class));
                carried += egress;
            }
            prop_assert_eq!(carried + local, matrix.total());
        }
    }
}

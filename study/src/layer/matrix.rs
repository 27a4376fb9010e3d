//! Matrices from rank to rank, or of very many ranks from rack to rack.

use serde::{Deserialize, Serialize};
use topology::{Cluster, RankId};

/// Most ranks that a matrix has one by one; of more it has racks, and of more racks nothing.
pub const MATRIX_SIDE_MAX: u32 = 1_024;
/// What the rows and columns of a matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatrixBy {
    /// Ranks, numbered rack by rack. Nothing is on the diagonal: what stays on a rank is not sent.
    Rank,
    /// Racks; the diagonal has what their ranks send each other. So where there are more than [`MATRIX_SIDE_MAX`] ranks.
    Rack,
}

/// Whether the cluster's matrices are by rank.
pub(super) fn by_rank(cluster: &Cluster) -> bool {
    cluster.num_ranks() <= MATRIX_SIDE_MAX
}

/// Rows, and columns, of a matrix; `None` where there are too many racks for one.
pub(super) fn side(cluster: &Cluster) -> Option<usize> {
    let side = if by_rank(cluster) { cluster.num_ranks() } else { cluster.num_racks() };
    (side <= MATRIX_SIDE_MAX).then_some(side as usize)
}

/// The row, and column, of a rank.
pub(super) fn place(cluster: &Cluster, rank: RankId) -> usize {
    match by_rank(cluster) {
        true => rank.0 as usize,
        false => cluster.rack_of(rank).0 as usize,
    }
}

//! Which experts tokens pick together: rows of every pair of experts of a layer.

use super::LayerPicks;

/// Rows that pick both experts of a pair, for all pairs: the upper triangle, 4 bytes a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coactivation {
    num_experts: u32,
    /// Row by row of the triangle above the diagonal: (0, 1), (0, 2), ..., (1, 2), ...
    pairs: Vec<u32>,
}

impl Coactivation {
    /// Counts the pairs of `picks`, whose experts are below `num_experts`.
    pub(super) fn of(picks: &LayerPicks, num_experts: u32) -> Self {
        let n = num_experts as usize;
        let mut counts = Self { num_experts, pairs: vec![0; n * (n - 1) / 2] };
        for experts in picks.rows() {
            for (at, &a) in experts.iter().enumerate() {
                for &b in &experts[at + 1..] {
                    let pair = counts.index(a, b);
                    counts.pairs[pair] += 1;
                }
            }
        }
        counts
    }

    /// Experts of the layer.
    #[must_use]
    pub fn num_experts(&self) -> u32 {
        self.num_experts
    }

    /// Rows that pick both `a` and `b`.
    ///
    /// # Panics
    /// If they are equal or not below [`Self::num_experts`].
    #[must_use]
    pub fn together(&self, a: u32, b: u32) -> u32 {
        assert!(a != b && a.max(b) < self.num_experts, "experts {a} and {b} are no pair");
        self.pairs[self.index(a, b)]
    }

    /// Every pair `(a, b, rows)` that occurs, `a < b`, in ascending order.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        let all = (0..self.num_experts).flat_map(|a| (a + 1..self.num_experts).map(move |b| (a, b)));
        all.zip(&self.pairs).filter(|&(_, &rows)| rows > 0).map(|((a, b), &rows)| (a, b, rows))
    }

    fn index(&self, a: u32, b: u32) -> usize {
        let (a, b, n) = (a.min(b) as usize, a.max(b) as usize, self.num_experts as usize);
        a * (2 * n - a - 1) / 2 + b - a - 1
    }
}

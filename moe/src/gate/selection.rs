//! How a gate takes experts by their scores: so many, from so many groups.

/// How many of the scored experts a token takes, and from how many groups of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SelectionRule {
    /// Experts that are scored.
    pub experts: u32,
    /// Experts beside these that are scored alike, and pass a token on as it is; then there are no groups.
    pub zero: u32,
    /// Experts that are taken.
    pub top_k: u32,
    /// Groups of experts, runs of equal length; 1 for none.
    pub groups: u32,
    /// Groups that a token may use.
    pub kept: u32,
    /// Best scores of a group that are summed to rank it, 1 or 2.
    pub summed: u32,
    /// As many experts of each group as of any other; then all groups are kept, and divide `top_k`.
    pub equal: bool,
}

impl SelectionRule {
    /// Any `top_k` of `experts` experts.
    #[must_use]
    pub const fn plain(experts: u32, top_k: u32) -> Self {
        Self { experts, zero: 0, top_k, groups: 1, kept: 1, summed: 1, equal: false }
    }

    /// The probability that a token goes to a given expert, all being alike.
    #[must_use]
    pub fn odds(&self) -> f64 {
        f64::from(self.top_k) / (f64::from(self.experts) + f64::from(self.zero))
    }

    /// Whether the best experts are taken, wherever they are.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.kept >= self.groups && !self.equal
    }

    /// Experts of a group.
    #[must_use]
    pub const fn group_size(&self) -> u32 {
        self.experts / self.groups
    }
}

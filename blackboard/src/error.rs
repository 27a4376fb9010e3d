//! Inputs for which an equation has no answer.

use thiserror::Error;
use topology::HardwareError;

/// Inputs for which an equation has no answer.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum BlackboardError {
    /// More experts a token than can be chosen from, or none.
    #[error("top_k = {top_k} of {experts} experts: choose at least 1 and at most as many as there are")]
    TopK {
        /// Experts that a token goes to.
        top_k: u32,
        /// Experts to choose from: all, or those of the chosen groups.
        experts: u32,
    },
    /// The placement was made for another cluster.
    #[error(
        "the placement is for {placement} ranks, the cluster has {cluster}; place the experts on this cluster"
    )]
    Placement {
        /// Ranks of the placement.
        placement: u32,
        /// Ranks of the cluster.
        cluster: u32,
    },
    /// Not one number of tokens for every rank.
    #[error("tokens are given for {given} ranks, the cluster has {ranks}; give one number per rank")]
    Tokens {
        /// Entries given.
        given: usize,
        /// Ranks of the cluster.
        ranks: u32,
    },
    /// No rank has a token, so that nothing is defined per token.
    #[error("no rank has a token; give at least one token to one rank")]
    NoTokens,
    /// A gate limit that doesn't fit the experts.
    #[error("gate limit: {0}")]
    Limit(String),
    /// More sets of groups than are summed one by one.
    #[error(
        "a limit of {limit} of {groups} groups makes more than {max} sets of groups; use fewer groups, or a \
         limit near 1 or near their number"
    )]
    GroupSets {
        /// Groups a token may use.
        limit: u32,
        /// Groups in all.
        groups: u32,
        /// The most that are summed.
        max: u64,
    },
    /// A sum of more terms than can be waited for.
    #[error("the expectation has more than {max} terms; use fewer ranks, replicas or groups")]
    Terms {
        /// The most terms that are summed.
        max: u64,
    },
    /// A number that can't be, or not together with the others.
    #[error("{name} = {value}: {must}")]
    Input {
        /// Name of the input, as formulas have it.
        name: &'static str,
        /// Its value, in the input's unit.
        value: f64,
        /// What to do about it.
        must: String,
    },
    /// The hardware has no answer.
    #[error(transparent)]
    Hardware(#[from] HardwareError),
}

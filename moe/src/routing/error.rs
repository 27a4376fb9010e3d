//! Why a router cannot be made: the shape, the source of routing and the limit don't fit each other.

use super::Workload;
use crate::error::ModelError;
use crate::ids::ExpertId;

/// Why a router or a gate limit cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoutingError {
    /// The layer's shape is impossible.
    #[error(transparent)]
    Shape(#[from] ModelError),
    /// A parameter of a distribution is out of range.
    #[error("routing {name} = {value} is not possible; give a number between {min} and {max}")]
    Parameter {
        /// Name of the distribution's parameter.
        name: &'static str,
        /// Its value as given.
        value: f64,
        /// Its smallest value.
        min: f64,
        /// Its largest value.
        max: f64,
    },
    /// The workload can't be made of so many experts and ranks.
    #[error("workload {workload}: {problem}; {remedy}")]
    Workload {
        /// W0 to W7.
        workload: Workload,
        /// What does not fit.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The gate limit does not describe the experts of the layer.
    #[error("gate limit: {field} = {value} is not possible; give {remedy}")]
    Limit {
        /// Name of the field at fault.
        field: &'static str,
        /// Its value, or what is wrong with it.
        value: String,
        /// Which values are possible.
        remedy: String,
    },
    /// The groups a token may use can hold fewer experts than it must go to.
    #[error(
        "gate limit: {limit} group(s) can hold as few as {available} experts, fewer than top_k = {top_k}; \
         raise the limit or place the experts more evenly"
    )]
    TooFewExperts {
        /// Groups that a token may use.
        limit: u32,
        /// Experts in that many of the smallest groups that have any.
        available: u32,
        /// Experts a token goes to.
        top_k: u32,
    },
    /// An expert has replicas in several racks, so that it belongs to no one group.
    #[error(
        "gate limit: {expert} has replicas in several racks; limit the gate only where each expert is in one rack"
    )]
    ReplicatedAcrossRacks {
        /// The expert that the model has not.
        expert: ExpertId,
    },
    /// Recorded loads are no popularity of the layer's experts.
    #[error("recorded loads of layer {layer}: {problem}; give loads of this model, or another routing")]
    Loads {
        /// The layer's number.
        layer: u32,
        /// What is wrong, or what its gate can't have.
        problem: String,
    },
    /// What routing there is knows nothing of experts that pass a token on.
    #[error(
        "experts that pass a token on as it is are picked as all others are, by no popularity, record or rack: \
         give routing model or uniform, and leave out the rack limit"
    )]
    ZeroExperts,
    /// A limit was given with a recorded trace.
    #[error(
        "a recorded trace can't be gated again: leave out the rack limit, or route by gate, uniform or zipf"
    )]
    LimitOnTrace,
    /// The recorded rows do not fit the layer or themselves.
    #[error("recorded routing: {problem}; {remedy}")]
    Recorded {
        /// What is wrong, with the row.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
}

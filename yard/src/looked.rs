//! What is read of a yard to be shown: the cluster, the jobs, what one has yielded.

use crate::problem::Problem;
use crate::state::Yard;
use axum::http::StatusCode;
use serde::Serialize;
use study::layer::Report;
use study::service::{JobId, JobView, StoreError};

/// The cluster as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct ClusterView {
    /// Version of the coordinator's program.
    pub(crate) version: String,
    /// Where nodes and clients find the coordinator.
    pub(crate) address: String,
    /// All nodes in the order of seating.
    pub(crate) nodes: Vec<NodeView>,
    /// Cores of all machines that nodes run on.
    pub(crate) cores: u32,
    /// Whether a node could go and the run under way still have its seats.
    pub(crate) spare: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct NodeView {
    pub(crate) name: String,
    /// Not heard for a while.
    pub(crate) silent: bool,
}

pub(crate) fn cluster(yard: &Yard) -> ClusterView {
    let roll = yard.cluster.roll();
    let nodes = roll.iter().map(|(name, silent)| NodeView { name: name.clone(), silent: *silent });
    ClusterView {
        version: yard.options.version.clone(),
        address: yard.cluster.address().to_string(),
        nodes: nodes.collect(),
        cores: yard.cluster.num_cores(),
        spare: yard.cluster.has_spare(),
    }
}

pub(crate) fn jobs(yard: &Yard) -> Result<Vec<JobView>, Problem> {
    yard.service.jobs().map_err(|error| stored(&error))
}

fn stored(error: &StoreError) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error)
}

/// What a job has yielded so far.
pub(crate) fn report_of(yard: &Yard, id: &str) -> Result<Report, Problem> {
    named(yard, id)?;
    let report = yard.service.report(job(id)?).map_err(|error| stored(&error))?;
    report.ok_or_else(|| Problem::missing(format!("run {id} has no rows yet, or is no comparison")))
}

pub(crate) fn job(id: &str) -> Result<JobId, Problem> {
    id.parse().map_err(Problem::missing)
}

pub(crate) fn named(yard: &Yard, id: &str) -> Result<JobView, Problem> {
    let wanted = job(id)?.to_string();
    let found = jobs(yard)?.into_iter().find(|job| job.id == wanted);
    found.ok_or_else(|| Problem::missing(format!("no run {wanted}; GET /v1/runs lists those that are kept")))
}

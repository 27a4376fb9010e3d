//! What the examples share: a mixture-of-experts layer without row values on the simulator, and its times.

use moe::{DispatchScheme, ExpertKind, LayerShape, Placement, RoutingSpec};
use node::control::PhaseReport;
use node::setup::RunSetup;
use node::sim::SimCluster;
use std::error::Error;
use std::sync::Arc;
use study::layer::chunk_rows;
use topology::{Cluster, Fabric, Hardware};

/// Dispatch and combine of one simulated layer, microseconds, the slowest rank's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) dispatch_us: f64,
    pub(crate) combine_us: f64,
}

/// Simulates one layer with uniform routing and experts spread evenly. Rows are lengths: only times come out.
pub(crate) fn simulate(
    cluster: &Cluster,
    fabric: Fabric,
    shape: LayerShape,
    scheme: DispatchScheme,
    tokens_per_rank: u32,
    seed: u64,
) -> Result<Times, Box<dyn Error>> {
    let setup = RunSetup {
        cluster_id: 0,
        run: 1,
        epoch: 0,
        cluster: cluster.clone(),
        fabric,
        // Only the expert phase depends on it, which is not looked at here.
        hardware: Hardware::preset("gb200")?,
        shape,
        placement: Placement::linear(cluster, shape.num_experts)?,
        scheme,
        routing: RoutingSpec::Uniform,
        gate_limit: None,
        tokens: vec![tokens_per_rank; cluster.num_ranks() as usize],
        seed,
        layer: 0,
        experts: ExpertKind::Modelled,
        chunk_rows: chunk_rows(tokens_per_rank),
        payload: false,
        first_step: 0,
        moves: Vec::new(),
    };
    let step = SimCluster::new(Arc::new(setup))?.step(0)?;
    let [dispatch, _, combine] = &step.phases;
    Ok(Times { dispatch_us: slowest_us(dispatch), combine_us: slowest_us(combine) })
}

/// A phase lasts until its slowest rank has its last row.
fn slowest_us(reports: &[PhaseReport]) -> f64 {
    PhaseReport::slowest(reports).as_micros_f64()
}

//! What the examples share: a mixture-of-experts layer without row values on the simulator, and its times.

use coordinator::{RunRequest, SimRunner};
use moe::{DispatchScheme, LayerShape, Placement};
use node::control::PhaseReport;
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::wire::Phase;
use std::error::Error;
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
    let placement = Placement::linear(cluster, shape.num_experts)?;
    let tokens = vec![tokens_per_rank; cluster.num_ranks() as usize];
    let layer = Program::Layer(LayerProgram::new(shape, placement, tokens));
    let setup = Setup {
        fabric,
        scheme,
        seed,
        chunk_rows: chunk_rows(tokens_per_rank),
        payload: false,
        // Of the hardware only the expert phase depends, which is not looked at here.
        ..Setup::new(cluster.clone(), Hardware::preset("gb200")?, layer)
    };
    let step = SimRunner::run_blocking(&RunRequest::new(setup), 1)?.remove(0);
    let [dispatch, combine] = [Phase::Dispatch, Phase::Combine].map(|phase| slowest_us(step.reports(phase)));
    Ok(Times { dispatch_us: dispatch, combine_us: combine })
}

/// A phase lasts until its slowest rank has its last row.
fn slowest_us(reports: &[PhaseReport]) -> f64 {
    PhaseReport::slowest(reports).as_micros_f64()
}

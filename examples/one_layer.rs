//! One mixture-of-experts layer on the simulator, with values: DeepSeek-V3's shape over two racks of 8 ranks.
//!
//! ```text
//! cargo run --release --example one_layer
//! ```
//!
//! For each dispatch scheme: how long dispatch, experts and combine take, what bounds the first and the last from below,
//! how many copies of a token travel, and whether the outputs are those of the one-process references.
#![expect(clippy::print_stdout, reason = "an example prints its results")]

use moe::reference::{FP8_TOLERANCE, float64, quantised, relative_rms_error};
use moe::{DispatchScheme, ExpertKind, Model, Placement, RoutingSpec, plan_traffic};
use node::control::PhaseReport;
use node::setup::RunSetup;
use node::sim::SimCluster;
use std::error::Error;
use std::sync::Arc;
use study::layer::chunk_rows;
use topology::{Cluster, Hardware, Rate, fluid_bound};

const TOKENS_PER_RANK: u32 = 32;
const SEED: u64 = 1;
const LAYER: u16 = 0;

fn main() -> Result<(), Box<dyn Error>> {
    // Where: two racks of 8, GB200's scale-up ports, scale-out ports 8 times slower, links without latency.
    let cluster = Cluster::uniform(2, 8)?;
    let hardware = Hardware::preset("gb200")?;
    let mut fabric = hardware.fabric().without_latency();
    fabric.scale_out.rate = Rate::new(fabric.scale_up.rate.bytes_per_s() / 8)?;
    // What: 256 experts of which a token goes to 8, 16 on each rank; FP8 rows out, BF16 rows back.
    let shape = Model::preset("deepseek-v3")?.layer();
    let placement = Placement::linear(&cluster, shape.num_experts)?;

    println!("{TOKENS_PER_RANK} tokens a rank, seed {SEED}; times in emulated us, bounds beside them");
    println!(
        "scheme        dispatch (bound)  experts  combine (bound)  copies in/between  outputs  rms error"
    );
    for scheme in DispatchScheme::ALL {
        let setup = Arc::new(RunSetup {
            cluster_id: 0,
            run: 1,
            epoch: 0,
            cluster: cluster.clone(),
            fabric,
            hardware: hardware.clone(),
            shape,
            placement: placement.clone(),
            scheme,
            routing: RoutingSpec::Uniform,
            gate_limit: None,
            tokens: vec![TOKENS_PER_RANK; cluster.num_ranks() as usize],
            seed: SEED,
            layer: LAYER,
            experts: ExpertKind::Modelled,
            chunk_rows: chunk_rows(TOKENS_PER_RANK),
            payload: true,
            first_step: 0,
            moves: Vec::new(),
        });
        let mut sim = SimCluster::new(Arc::clone(&setup))?;
        let step = sim.step(0)?;

        // What must have travelled, planned from the routing alone.
        let runner = sim.runner();
        let routings: Vec<_> = cluster.ranks().map(|rank| runner.route(0, rank)).collect();
        let plan = plan_traffic(scheme, &cluster, &placement, &routings, setup.row_bytes());
        let tokens = plan.tokens as f64;

        // What must have come out: the same arithmetic in one process, bit for bit, and float64 within a tolerance.
        let (experts, layer) = (runner.experts(), u32::from(LAYER));
        let expected = quantised(scheme, &cluster, &placement, experts, &shape, SEED, layer, &routings);
        let outputs: Vec<Vec<f32>> = step.outputs.iter().map(|tokens| tokens.concat()).collect();
        let error = relative_rms_error(&outputs, &float64(experts, &shape, SEED, layer, &routings));
        if outputs != expected || error > FP8_TOLERANCE {
            return Err(format!("{scheme}: the outputs are not those of the reference").into());
        }

        let [dispatch, compute, combine] = step.phases.each_ref().map(|reports| slowest_us(reports));
        let bound = |matrix| fluid_bound(matrix, &cluster, &fabric).as_micros_f64();
        println!(
            "{scheme:<12}  {dispatch:>8.2} ({:>5.2})  {compute:>7.2}  {combine:>7.2} ({:>5.2})  {:>8.3} / {:<6.3}  exact    {error:.4}",
            bound(&plan.dispatch),
            bound(&plan.combine),
            plan.copies.intra as f64 / tokens,
            plan.copies.inter as f64 / tokens,
        );
    }
    Ok(())
}

/// A phase lasts until its slowest rank is done.
fn slowest_us(reports: &[PhaseReport]) -> f64 {
    PhaseReport::slowest(reports).as_micros_f64()
}

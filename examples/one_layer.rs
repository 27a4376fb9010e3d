//! One mixture-of-experts layer on the simulator, with values: DeepSeek-V3's shape over two racks of 8 ranks.
//!
//! ```text
//! cargo run --release --example one_layer
//! ```
//!
//! For each dispatch scheme: how long dispatch, experts and combine take, what bounds the first and the last from below,
//! how many copies of a token travel, and whether the outputs are those of the one-process references.
#![expect(clippy::print_stdout, reason = "an example prints its results")]

use coordinator::{RunRequest, SimRunner};
use moe::reference::{FP8_TOLERANCE, float64, quantised, relative_rms_error};
use moe::{DispatchScheme, Model, Placement, plan_traffic};
use node::control::PhaseReport;
use node::digest::token_digest;
use node::job::JobRunner;
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::wire::Phase;
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
    let mut found = Vec::new();
    for scheme in DispatchScheme::ALL {
        let tokens = vec![TOKENS_PER_RANK; cluster.num_ranks() as usize];
        let layer = LayerProgram::new(shape, placement.clone(), tokens);
        let layer = Program::Layer(LayerProgram { layer: LAYER, ..layer });
        let setup = Setup {
            fabric,
            scheme,
            seed: SEED,
            chunk_rows: chunk_rows(TOKENS_PER_RANK),
            ..Setup::new(cluster.clone(), hardware.clone(), layer)
        };
        let step = SimRunner::run_blocking(&RunRequest::new(setup.clone()), 1)?.remove(0);

        // What must have travelled, planned from the routing alone.
        let runner = JobRunner::new(Arc::new(setup.clone()), 0)?;
        let routings: Vec<_> = cluster.ranks().map(|rank| runner.route(0, rank)).collect();
        let plan = plan_traffic(scheme, &cluster, &placement, &routings, setup.row_bytes());
        let tokens = plan.tokens as f64;

        // What must have come out: the same arithmetic in one process, bit for bit, and float64 within a tolerance.
        let (experts, layer, hidden) = (runner.experts(), u32::from(LAYER), shape.hidden as usize);
        let expected = quantised(scheme, &cluster, &placement, experts, &shape, SEED, layer, &routings);
        let digests_of = |values: &Vec<f32>| values.chunks_exact(hidden).map(token_digest).collect();
        let digests: Vec<Vec<u64>> = expected.iter().map(digests_of).collect();
        let error = relative_rms_error(&expected, &float64(experts, &shape, SEED, layer, &routings));
        if step.digests != digests || error > FP8_TOLERANCE {
            return Err(format!("{scheme}: the outputs are not those of the reference").into());
        }

        let [dispatch, compute, combine] = [Phase::Dispatch, Phase::Expert, Phase::Combine]
            .map(|phase| PhaseReport::slowest(step.reports(phase)).as_micros_f64());
        let bound = |matrix| fluid_bound(matrix, &cluster, &fabric).as_micros_f64();
        println!(
            "{scheme:<12}  {dispatch:>8.2} ({:>5.2})  {compute:>7.2}  {combine:>7.2} ({:>5.2})  {:>8.3} / {:<6.3}  exact    {error:.4}",
            bound(&plan.dispatch),
            bound(&plan.combine),
            plan.copies.intra as f64 / tokens,
            plan.copies.inter as f64 / tokens,
        );
        found.push((scheme, plan.copies.inter as f64 / tokens, dispatch + combine));
    }
    let ((first, copies, us), (last, fewer, sooner)) = (found[0], found[found.len() - 1]);
    println!(
        "\n{last} dispatch sends {fewer:.1} copies of a token across where {first} sends {copies:.1}; its all-to-all takes {:.2} of the time.",
        sooner / us
    );
    Ok(())
}

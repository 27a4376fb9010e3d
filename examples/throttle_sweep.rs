//! What a second rack costs, by closed form and by simulation: a sweep over the throttle and the batch.
//!
//! ```text
//! cargo run --release --example throttle_sweep
//! ```
//!
//! Slowdown of the all-to-all of two racks of 8 ranks against the same 16 ranks in one rack (flat against flat, the other
//! schemes against dedup), at zero latency, for DeepSeek-V3's layer. The closed form knows expected copies on mean ports;
//! the simulator has real ports, of which the fullest counts: the difference is the straggler share, which falls as the
//! batch grows.
#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod common;

use blackboard::CopiesPerToken;
use blackboard::scale_up::{a2a_time, break_even_throttle, expected_copies};
use blackboard::units::Tokens;
use common::simulate;
use moe::{DispatchScheme, LayerShape, Model, Placement, RowBytes};
use std::error::Error;
use topology::{Cluster, Fabric, Hardware, Rate};

const THROTTLES: [u64; 5] = [1, 2, 4, 8, 16];
const TOKENS_PER_RANK: [u32; 3] = [32, 128, 512];
/// A simulated time is the mean over these draws of the routing.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=2;

fn main() -> Result<(), Box<dyn Error>> {
    let shape = Model::preset("deepseek-v3")?.layer();
    let (one, two) = (Cluster::uniform(1, 16)?, Cluster::uniform(2, 8)?);
    let mut found = Vec::new();
    println!("scheme        throttle  closed form  simulated at 32, 128, 512 tokens a rank");
    for scheme in DispatchScheme::ALL {
        let base = if scheme == DispatchScheme::Flat { scheme } else { DispatchScheme::Dedup };
        // One rack has no scale-out traffic: its times don't depend on the throttle.
        let mut bases = Vec::new();
        for tokens in TOKENS_PER_RANK {
            bases.push(simulated_us(&one, throttled(1)?, shape, base, tokens)?);
        }
        for throttle in THROTTLES {
            let fabric = throttled(throttle)?;
            let closed =
                closed_form_us(&two, fabric, shape, scheme)? / closed_form_us(&one, fabric, shape, base)?;
            print!("{scheme:<12}  {throttle:>8}  {closed:>11.2}");
            for (tokens, base_us) in TOKENS_PER_RANK.into_iter().zip(&bases) {
                print!("  {:>6.2}", simulated_us(&two, fabric, shape, scheme, tokens)? / base_us);
            }
            println!();
        }
        let even = break_even_throttle(copies(&one, shape, base)?, copies(&two, shape, scheme)?);
        println!("{scheme:<12}  breaks even with one rack at a throttle of {even:.2}\n");
        found.push(format!("{scheme} {even:.2}"));
    }
    println!("A second rack costs nothing up to a throttle of: {}.", found.join(", "));
    Ok(())
}

/// GB200's scale-up ports and scale-out ports so many times slower, no latency.
fn throttled(throttle: u64) -> Result<Fabric, Box<dyn Error>> {
    let mut fabric = Hardware::preset("gb200")?.fabric().without_latency();
    fabric.scale_out.rate = Rate::new(fabric.scale_up.rate.bytes_per_s() / throttle)?;
    Ok(fabric)
}

/// All-to-all on the simulator.
fn simulated_us(
    cluster: &Cluster,
    fabric: Fabric,
    shape: LayerShape,
    scheme: DispatchScheme,
    tokens: u32,
) -> Result<f64, Box<dyn Error>> {
    let mut sum = 0.0;
    for seed in SEEDS {
        let times = simulate(cluster, fabric, shape, scheme, tokens, seed)?;
        sum += times.dispatch_us + times.combine_us;
    }
    Ok(sum / SEEDS.count() as f64)
}

/// All-to-all of one token a rank: the closed form at zero latency is linear in tokens.
fn closed_form_us(
    cluster: &Cluster,
    fabric: Fabric,
    shape: LayerShape,
    scheme: DispatchScheme,
) -> Result<f64, Box<dyn Error>> {
    let copies = copies(cluster, shape, scheme)?;
    Ok(a2a_time(scheme, copies, Tokens(1.0), RowBytes::new(shape.hidden), &fabric).total().as_micros())
}

/// Expected copies of a token for uniform routing, experts spread evenly.
fn copies(
    cluster: &Cluster,
    shape: LayerShape,
    scheme: DispatchScheme,
) -> Result<CopiesPerToken, Box<dyn Error>> {
    let placement = Placement::linear(cluster, shape.num_experts)?;
    let tokens = vec![1; cluster.num_ranks() as usize];
    Ok(expected_copies(scheme, cluster, &placement, shape.top_k, None, &tokens)?)
}

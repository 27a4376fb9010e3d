//! The published times of real all-to-all kernels on H100 nodes, 8 and 16 GPUs, beside this project's model of them.
//!
//! ```text
//! cargo run --release --example published_hardware
//! ```
//!
//! Measured: DeepEP's low-latency kernels on H100 SXM, 8 GPUs a node on NVLink (450 GB/s a direction), one 400 Gb/s card a
//! GPU (50 GB/s); 256 experts, top-8, hidden 7168, FP8 rows out (7,408 B), BF16 rows back (14,336 B), one copy per
//! (token, expert); tokens are those of one GPU, times averages. Source: the performance tables of the Apache-2.0
//! package aiconfigurator-core 0.12.0.
//!
//! Modelled: the same layer, flat dispatch, a node as a rack of 8, the `h100` preset's rates, without latency and with
//! the preset's. Nothing is fitted to the measurements. The last table fits a straight line (least relative squares) to each
//! measured column, to name what the model leaves out; no other number of this project depends on it.
#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod common;

use blackboard::scale_up::{a2a_time, expected_copies};
use blackboard::units::Tokens;
use common::{Times, simulate};
use moe::{DispatchScheme, LayerShape, Model, Placement, RowBytes};
use std::error::Error;
use topology::{Cluster, Fabric, Hardware};

/// Tokens a GPU, then microseconds: dispatch and combine on one node, dispatch and combine on two.
const MEASURED: [(u32, [f64; 4]); 13] = [
    (2, [15.4, 13.3, 22.6, 25.9]),
    (4, [15.8, 14.1, 21.9, 29.8]),
    (8, [16.1, 14.4, 23.6, 36.2]),
    (12, [16.8, 16.0, 26.4, 42.6]),
    (16, [17.6, 18.3, 30.1, 45.9]),
    (24, [19.5, 21.6, 35.4, 52.5]),
    (32, [20.5, 24.6, 40.1, 60.9]),
    (48, [24.8, 33.4, 48.9, 83.4]),
    (64, [27.8, 40.9, 58.1, 102.2]),
    (96, [33.4, 56.0, 81.2, 145.8]),
    (128, [39.8, 72.4, 102.1, 186.2]),
    (160, [47.2, 90.4, 122.9, 226.8]),
    (256, [67.0, 136.1, 183.0, 337.5]),
];
/// A simulated time is the mean over these.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=4;
/// Batches from which on the lines are fitted: smaller ones are all start-up.
const FIT_FROM_TOKENS: u32 = 32;

/// One phase of the layer.
struct Phase {
    name: &'static str,
    /// Its column on one node; on two nodes it is two further.
    column: usize,
    of: fn(Times) -> f64,
}

const PHASES: [Phase; 2] = [
    Phase { name: "dispatch", column: 0, of: |times| times.dispatch_us },
    Phase { name: "combine", column: 1, of: |times| times.combine_us },
];

fn main() -> Result<(), Box<dyn Error>> {
    let shape = Model::preset("deepseek-v3")?.layer();
    let with_latency = Hardware::preset("h100")?.fabric();
    let without_latency = with_latency.without_latency();
    let (node, nodes) = (Cluster::uniform(1, 8)?, Cluster::uniform(2, 8)?);
    for phase in &PHASES {
        println!(
            "{}, us             measured                 no latency              preset latency",
            phase.name
        );
        println!("tokens      8 GPUs    16  ratio      8 GPUs    16  ratio      8 GPUs    16  ratio");
        for (tokens, times) in MEASURED {
            print!("{tokens:>6}   {}", ratio(times[phase.column], times[phase.column + 2]));
            for fabric in [without_latency, with_latency] {
                let time = |cluster| simulated(cluster, fabric, shape, tokens, phase.of);
                print!("   {}", ratio(time(&node)?, time(&nodes)?));
            }
            println!();
        }
        let closed = |cluster| closed_form(cluster, without_latency, shape).map(phase.of);
        println!("closed form without latency, any batch: ratio {:.2}\n", closed(&nodes)? / closed(&node)?);
    }
    println!("line fitted to each measured column, {FIT_FROM_TOKENS} tokens and more");
    println!(
        "phase      GPUs  start-up us  us a token  worst error  copies that decide   GB/s a port  of nominal"
    );
    for phase in &PHASES {
        let mut slopes = Vec::new();
        for (cluster, column) in [(&node, phase.column), (&nodes, phase.column + 2)] {
            let (row, slope) = fitted(cluster, column, phase, with_latency, shape)?;
            println!("{:<9}  {row}", phase.name);
            slopes.push(slope);
        }
        println!("{:<9}  ratio of the slopes, 16 GPUs over 8: {:.2}", phase.name, slopes[1] / slopes[0]);
    }
    let (tokens, times) = MEASURED[MEASURED.len() - 1];
    let measured = (times[2] + times[3]) / (times[0] + times[1]);
    let all = |times: Times| times.dispatch_us + times.combine_us;
    let time = |cluster| simulated(cluster, with_latency, shape, tokens, all);
    let modelled = time(&nodes)? / time(&node)?;
    println!(
        "\nAt {tokens} tokens a second node makes the all-to-all {measured:.1} times as long on real kernels, {modelled:.1} times in the model."
    );
    Ok(())
}

fn ratio(one_us: f64, two_us: f64) -> String {
    format!("{one_us:>9.2} {two_us:>6.2} {:>6.2}", two_us / one_us)
}

fn simulated(
    cluster: &Cluster,
    fabric: Fabric,
    shape: LayerShape,
    tokens: u32,
    of: fn(Times) -> f64,
) -> Result<f64, Box<dyn Error>> {
    let mut sum = 0.0;
    for seed in SEEDS {
        sum += of(simulate(cluster, fabric, shape, DispatchScheme::Flat, tokens, seed)?);
    }
    Ok(sum / SEEDS.count() as f64)
}

/// Copies of a token's row that leave a GPU: in its node, and to other nodes.
fn copies(cluster: &Cluster, shape: LayerShape) -> Result<blackboard::CopiesPerToken, Box<dyn Error>> {
    let placement = Placement::linear(cluster, shape.num_experts)?;
    let tokens = vec![1; cluster.num_ranks() as usize];
    Ok(expected_copies(DispatchScheme::Flat, cluster, &placement, shape.top_k, None, &tokens)?)
}

/// One token a GPU on mean ports.
fn closed_form(cluster: &Cluster, fabric: Fabric, shape: LayerShape) -> Result<Times, Box<dyn Error>> {
    let (copies, bytes) = (copies(cluster, shape)?, RowBytes::new(shape.hidden));
    let time = a2a_time(DispatchScheme::Flat, copies, Tokens(1.0), bytes, &fabric);
    Ok(Times { dispatch_us: time.dispatch.as_micros(), combine_us: time.combine.as_micros() })
}

/// A row with start-up, slope and what rate the slope means for the port that decides; and the slope.
fn fitted(
    cluster: &Cluster,
    column: usize,
    phase: &Phase,
    fabric: Fabric,
    shape: LayerShape,
) -> Result<(String, f64), Box<dyn Error>> {
    let points: Vec<(f64, f64)> = MEASURED
        .iter()
        .filter(|(tokens, _)| *tokens >= FIT_FROM_TOKENS)
        .map(|(tokens, times)| (f64::from(*tokens), times[column]))
        .collect();
    let (start, slope) = line(&points);
    let worst = points.iter().map(|(x, y)| ((start + slope * x) / y - 1.0).abs()).fold(0.0, f64::max);
    let (copies, bytes) = (copies(cluster, shape)?, RowBytes::new(shape.hidden));
    let row_bytes = if phase.column == 0 { bytes.dispatch } else { bytes.combine };
    let (copies, link, what) = if cluster.num_racks() == 1 {
        (copies.intra, fabric.scale_up, "in the node")
    } else {
        (copies.inter, fabric.scale_out, "to the other")
    };
    let rate = copies * row_bytes as f64 / slope * 1e6;
    let share = rate / link.rate.bytes_per_s() as f64 * 100.0;
    let row = format!(
        "{:>4}  {start:>11.1}  {slope:>10.3}  {:>10.1}%  {copies:.0} {what:<15}  {:>11.1}  {share:>9.0}%",
        cluster.num_ranks(),
        worst * 100.0,
        rate / 1e9,
    );
    Ok((row, slope))
}

/// The line with the least squares of relative errors: (value at zero, slope).
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let weigh = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|&(x, y)| of(x, y) / (y * y)).sum::<f64>();
    let weights = weigh(&|_, _| 1.0);
    let (x, y) = (weigh(&|x, _| x) / weights, weigh(&|_, y| y) / weights);
    let slope = weigh(&|px, py| (px - x) * (py - y)) / weigh(&|px, _| (px - x).powi(2));
    (y - slope * x, slope)
}

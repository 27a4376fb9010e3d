//! When rebalancing pays: a layer whose load moves, with the first placement kept, and rebalanced at several intervals.
//!
//! ```text
//! cargo run --release --example rebalance
//! ```
//!
//! DeepSeek-V3's layer on two racks of 8 simulated GB200s, 288 expert slots, 128 tokens a rank, 64 steps. Three kinds of load: one that
//! stays, one that drifts and a hot spot that moves every step. For each interval: the mean balancedness, the time of all
//! steps, of all weight moves (tokens wait for them), and both against keeping the first placement. One layer's experts move here; a
//! model moves all its layers' and gains on all, so the ratio is the same. A move costs as much as many steps of a small
//! batch: whether it pays depends on how long the load stays. The last column says after how many steps it has.
#![expect(clippy::print_stdout, reason = "an example prints its results")]

use coordinator::{RunRequest, SimRunner};
use moe::Model;
use moe::placement::{Demand, PlacementPolicy, RackAware};
use moe::routing::{RoutingSpec, Workload};
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use std::error::Error;
use study::layer::chunk_rows;
use study::rebalance::{Rebalancing, Segment, rebalance};
use topology::{Cluster, Hardware};

const RANKS: u32 = 16;
const SLOTS: u32 = 288;
const TOKENS_PER_RANK: u32 = 128;
const STEPS: u32 = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{STEPS} steps of {TOKENS_PER_RANK} tokens on {RANKS} ranks, {SLOTS} slots, rack-aware; simulated ms"
    );
    println!(
        "load        interval  balancedness  steps   moves  moved GB  total  against keeping  pays after"
    );
    let loads = [
        ("stays", RoutingSpec::Workload { workload: Workload::W1, ranks: RANKS }),
        ("drifts", RoutingSpec::Drifting { exponent: 1.0, period: 16 }),
        ("rotates", RoutingSpec::Workload { workload: Workload::W6, ranks: RANKS }),
    ];
    let mut cheapest = (f64::MAX, String::new());
    for (name, routing) in loads {
        let kept = run(routing.clone(), None).await?;
        print(name, None, &kept, &kept);
        for interval in [8, 16, 32] {
            let moved = run(routing.clone(), Some(interval)).await?;
            print(name, Some(interval), &moved, &kept);
            let against = total_ms(&moved) / total_ms(&kept);
            if against < cheapest.0 {
                cheapest = (against, format!("every {interval} steps where the load {name}"));
            }
        }
    }
    let (against, what) = cheapest;
    let pays = if against < 1.0 { "pays" } else { "doesn't pay" };
    println!(
        "\nRebalancing {pays} in {STEPS} steps: at best, {what}, they take {against:.2} times as long as with what was there."
    );
    Ok(())
}

async fn run(routing: RoutingSpec, interval: Option<u32>) -> Result<Vec<Segment>, Box<dyn Error>> {
    let cluster = Cluster::uniform(2, RANKS / 2)?;
    let hardware = Hardware::preset("gb200")?;
    let shape = Model::preset("deepseek-v3")?.layer();
    // Nothing is known at first: every expert is expected to be as hot as any other.
    let even = Demand::new(vec![1; shape.num_experts as usize], shape.top_k);
    let placement = RackAware.place(&cluster, SLOTS, &even)?;
    let layer = Program::Layer(LayerProgram::new(shape, placement, vec![TOKENS_PER_RANK; RANKS as usize]));
    let setup = Setup {
        routing,
        seed: 1,
        chunk_rows: chunk_rows(TOKENS_PER_RANK),
        payload: false,
        ..Setup::new(cluster, hardware, layer)
    };
    let request = RunRequest::new(setup);
    let plan = Rebalancing { request, steps: STEPS, interval, window: 8 };
    Ok(rebalance(&mut SimRunner::default(), &plan, &RackAware).await?)
}

fn sum(segments: &[Segment], of: fn(&Segment) -> f64) -> f64 {
    segments.iter().map(of).sum()
}

fn steps_ms(segments: &[Segment]) -> f64 {
    sum(segments, |segment| segment.layer_us.iter().sum()) / 1e3
}

fn moves_ms(segments: &[Segment]) -> f64 {
    sum(segments, |segment| segment.moved.map_or(0.0, |moved| moved.time_us)) / 1e3
}

fn total_ms(segments: &[Segment]) -> f64 {
    steps_ms(segments) + moves_ms(segments)
}

fn print(name: &str, interval: Option<u32>, segments: &[Segment], kept: &[Segment]) {
    let balance = sum(segments, |segment| segment.balancedness.iter().sum()) / f64::from(STEPS);
    let gigabytes = sum(segments, |segment| segment.moved.map_or(0.0, |moved| moved.bytes as f64)) / 1e9;
    let interval = interval.map_or_else(|| "never".to_owned(), |steps| steps.to_string());
    println!(
        "{name:<10}  {interval:>8}  {balance:>12.3}  {:>5.2}  {:>6.2}  {gigabytes:>8.2}  {:>5.2}  {:>14.2}x  {:>10}",
        steps_ms(segments),
        moves_ms(segments),
        total_ms(segments),
        total_ms(segments) / steps_ms(kept),
        pays_after(segments, kept),
    );
}

/// Steps of the kind after the first move until what they gain is what that move took.
fn pays_after(segments: &[Segment], kept: &[Segment]) -> String {
    let Some(at) = segments.iter().position(|segment| segment.moved.is_some()) else { return "-".to_owned() };
    let moved = &segments[at];
    let kept: Vec<f64> = kept.iter().flat_map(|segment| segment.layer_us.iter().copied()).collect();
    let same_steps = &kept[moved.first_step as usize..][..moved.layer_us.len()];
    let gain_us =
        (same_steps.iter().sum::<f64>() - moved.layer_us.iter().sum::<f64>()) / moved.layer_us.len() as f64;
    let cost_us = moved.moved.map_or(0.0, |moved| moved.time_us);
    if gain_us <= 0.0 { "never".to_owned() } else { format!("{:.0} steps", cost_us / gain_us) }
}

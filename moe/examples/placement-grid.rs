//! Copies between racks and balancedness of the rack-aware policy's two ends and of EPLB's two variants, by sizes, loads and gate: the
//! tables of docs/placement.md.
//!
//!     cargo run --release -p railyard-moe --example placement-grid [RECORD OF 256 EXPERTS]

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use moe::Placement;
use moe::evaluation::Evaluation;
use moe::gate::SelectionRule;
use moe::load::read_loads;
use moe::placement::{Aim, Demand, Eplb, EplbGlobal, PlacementPolicy, RackAware};
use std::path::Path;
use topology::Cluster;

/// Ranks, racks, slots.
const SIZES: [[u32; 3]; 7] =
    [[32, 4, 256], [32, 4, 288], [64, 8, 256], [64, 8, 320], [72, 8, 288], [72, 2, 288], [144, 2, 288]];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let loads = match std::env::args().nth(1) {
        Some(path) => {
            let load = read_loads(Path::new(&path))?;
            let layer = Demand::measured(&Cluster::uniform(1, 1)?, &load, 0, 8)?;
            vec![("recorded", layer.load().to_vec())]
        }
        None => made_up(),
    };
    let gated =
        SelectionRule { experts: 256, zero: 0, top_k: 8, groups: 8, kept: 4, summed: 2, equal: false };
    let policies: [&dyn PlacementPolicy; 4] =
        [&Eplb, &EplbGlobal, &RackAware { aim: Aim::Even }, &RackAware { aim: Aim::FewestCopies }];
    for (gate, rule) in [("4 of 8 groups", gated), ("Independent picks", SelectionRule::plain(256, 8))] {
        println!("{gate}:\n");
        println!("| loads | ranks/racks/slots | `eplb` | `eplb-global` | `rack-aware` | fewest copies |");
        println!("| --- | --- | --- | --- | --- | --- |");
        for (name, load) in &loads {
            for [ranks, racks, slots] in SIZES {
                let cluster = Cluster::uniform(racks, ranks / racks)?;
                let demand = Demand::new(load.clone(), 8).under(&rule)?.in_groups(8);
                let mut cells = String::new();
                for policy in policies {
                    let placement = Placement::by(policy, &cluster, Some(slots), &demand)?;
                    let judged = Evaluation::new(&cluster, &placement, &demand)?;
                    cells += &format!(" {:.3} {:.3} |", judged.copies[2].inter, judged.balancedness);
                }
                println!("| {name} | {ranks}/{racks}/{slots} |{cells}");
            }
        }
        println!();
    }
    Ok(())
}

/// Uniform and Zipf loads, and log-normal ones in groups that differ too, as recorded ones do.
fn made_up() -> Vec<(&'static str, Vec<u64>)> {
    let shuffled = |expert: u32| (expert * 167 + 59) % 256;
    let zipf = |expert| (1e6 / f64::from(shuffled(expert) + 1).powf(0.8)) as u64;
    // Quantiles of a normal distribution, about.
    let normal = |at: f64| (at / (1.0 - at)).ln() / 1.702;
    let log_normal = |expert: u32| {
        let (group, own) = (f64::from(expert / 32 * 5 % 8), f64::from(shuffled(expert)));
        let of_group = 0.25 * normal((group + 0.5) / 8.0);
        (2e4 * (of_group + 0.5 * normal((own + 0.5) / 256.0)).exp()) as u64
    };
    vec![
        ("uniform", vec![1000; 256]),
        ("Zipf 0.8", (0..256).map(zipf).collect()),
        ("log-normal", (0..256).map(log_normal).collect()),
    ]
}

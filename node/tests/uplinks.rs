//! Oversubscribed uplinks on the virtual clock: worked numbers, the bound, and what is as without them.

mod common;

use common::{setup, shape, step};
use moe::plan::{DispatchScheme, plan_traffic};
use moe::stack::StepBatch;
use node::setup::Setup;
use node::sim::{SimCluster, exchange};
use proptest::prelude::*;
use std::sync::Arc;
use topology::{
    Cluster, Fabric, LinkSpec, Oversubscription, Picos, RankId, Rate, TrafficMatrix, fluid_bound,
};

/// Ports of 10 GB/s in a rack and 1 GB/s between racks, and so many microseconds on the way between racks.
fn fabric(ratio: f64, latency_us: f64) -> Fabric {
    let link =
        |rate, us| LinkSpec { rate: Rate::new(rate).unwrap(), latency: Picos::from_micros_f64(us).unwrap() };
    let oversubscription = Oversubscription::new(ratio).unwrap();
    Fabric { oversubscription, ..Fabric::new(link(10_000_000_000, 0.0), link(1_000_000_000, latency_us)) }
}

fn traffic(ranks: u32, sends: &[(u32, u32, u64)]) -> TrafficMatrix {
    let mut traffic = TrafficMatrix::new(ranks);
    sends.iter().for_each(|&(from, to, bytes)| traffic.add(RankId(from), RankId(to), bytes));
    traffic
}

fn uniform(cluster: &Cluster, bytes: u64) -> TrafficMatrix {
    let mut traffic = TrafficMatrix::new(cluster.num_ranks());
    for from in cluster.ranks() {
        cluster.ranks().filter(|&to| to != from).for_each(|to| traffic.add(from, to, bytes));
    }
    traffic
}

/// Two ranks of a rack send a kilobyte each to two of the other: their ports are through at 1 us, the uplink takes one after the other.
#[test]
fn frames_of_a_rack_leave_one_after_the_other() {
    let cluster = Cluster::uniform(2, 2).unwrap();
    let pairs = traffic(4, &[(0, 2, 1_000), (1, 3, 1_000)]);
    for (ratio, [first, second]) in [
        // No uplink: both at once.
        (1.0, [1.5, 1.5]),
        // 1 GB/s: the first is through as it comes, the second a microsecond later.
        (2.0, [1.5, 2.5]),
        // 0.5 GB/s: 2 us each; the other rack's uplink takes them as they come.
        (4.0, [2.5, 4.5]),
    ] {
        let done = exchange(&cluster, &fabric(ratio, 0.5), &pairs, 1_000).unwrap().done;
        assert_eq!(
            done[2..].iter().map(|done| done.as_micros_f64()).collect::<Vec<_>>(),
            [first, second],
            "{ratio}"
        );
        assert_eq!(done[3], fluid_bound(&pairs, &cluster, &fabric(ratio, 0.5)), "{ratio}");
    }
    // From two racks to one: it is that one's uplink which they share.
    let cluster = Cluster::uniform(3, 2).unwrap();
    let pairs = traffic(6, &[(0, 4, 1_000), (2, 5, 1_000)]);
    let done = exchange(&cluster, &fabric(2.0, 0.5), &pairs, 1_000).unwrap().done;
    assert_eq!([done[4], done[5]].map(Picos::as_micros_f64), [1.5, 2.5]);
}

#[test]
fn a_rank_alone_has_the_uplink_of_its_rack_for_itself() {
    let cluster = Cluster::uniform(2, 4).unwrap();
    let alone = traffic(8, &[(0, 4, 64_000)]);
    let end = |ratio| exchange(&cluster, &fabric(ratio, 0.5), &alone, 1_000).unwrap().end();
    assert_eq!(end(4.0), end(1.0), "4 ports of 1 GB/s over 4 are one port");
    assert_eq!(end(8.0).as_micros_f64(), 128.5, "half of one");
}

#[test]
fn a_uniform_all_to_all_takes_as_many_times_as_long() {
    for racks in [2, 4] {
        let cluster = Cluster::uniform(racks, 8).unwrap();
        let traffic = uniform(&cluster, 200_000);
        let mut before = Picos::ZERO;
        for ratio in [1.0, 1.5, 2.0, 4.0, 8.0] {
            let fabric = fabric(ratio, 0.0);
            let end = exchange(&cluster, &fabric, &traffic, 2_000).unwrap().end();
            let bound = fluid_bound(&traffic, &cluster, &fabric);
            assert!(
                bound <= end && end.0 as f64 <= 1.01 * bound.0 as f64,
                "{racks}, {ratio}: {end} over {bound}"
            );
            assert!(end > before, "{racks}, {ratio}");
            before = end;
        }
    }
}

/// Ends of dispatch and combine of a layer, and their bounds.
fn layer(setup: Setup) -> [(Picos, Picos); 2] {
    let setup = Arc::new(setup);
    let mut sim = SimCluster::new(Arc::clone(&setup)).unwrap();
    let step = step(&mut sim, 0, &StepBatch::default()).unwrap();
    let routings: Vec<_> = setup.cluster.ranks().map(|rank| sim.runner().route(0, rank)).collect();
    let placement = &setup.layer().unwrap().placement;
    let plan = plan_traffic(setup.scheme, &setup.cluster, placement, &routings, setup.row_bytes());
    let end = |phase: usize| step.phases[phase].1.iter().map(|report| report.stamped).max().unwrap();
    let bound = |matrix| fluid_bound(matrix, &setup.cluster, &setup.fabric);
    [(end(0), bound(&plan.dispatch)), (end(2), bound(&plan.combine))]
}

#[test]
fn a_layer_stays_near_its_bound() {
    for scheme in DispatchScheme::ALL {
        for racks in [&[8, 8][..], &[6, 4, 4]] {
            let mut setup = setup(racks, shape(7168, 256, 8, 2048), scheme, 128);
            setup.payload = false;
            setup.fabric.oversubscription = Oversubscription::new(4.0).unwrap();
            for (end, bound) in layer(setup) {
                let ratio = end.0 as f64 / bound.0 as f64;
                assert!((1.0..1.06).contains(&ratio), "{scheme} {racks:?}: {ratio:.3}");
            }
        }
    }
}

/// A path that is late for a while holds up what comes after it in the same flow, as without uplinks.
#[test]
fn what_is_late_keeps_its_flow_in_order() {
    for scheme in DispatchScheme::ALL {
        let mut setup = setup(&[2, 2], shape(512, 8, 4, 16), scheme, 64);
        setup.fabric.oversubscription = Oversubscription::new(2.0).unwrap();
        let healthy = layer(setup.clone());
        setup.faults.faults.push("delay from=0 to=2 by_us=30 at_us=0 for_us=5".parse().unwrap());
        for ((late, _), (end, _)) in layer(setup).into_iter().zip(healthy) {
            assert!(late > end, "{scheme}");
        }
    }
}

/// What a queue would silently undo.
#[test]
fn frames_out_of_order_are_refused() {
    let mut setup = setup(&[2, 2], shape(64, 8, 2, 16), DispatchScheme::Flat, 4);
    setup.faults.faults.push("reorder from=0 to=3".parse().unwrap());
    assert_eq!(setup.validate(), Ok(()));
    setup.fabric.oversubscription = Oversubscription::new(2.0).unwrap();
    let refused = setup.validate().unwrap_err().to_string();
    assert!(refused.contains("`reorder` through oversubscribed uplinks"), "{refused}");
}

proptest! {
    #[test]
    fn nothing_is_faster_than_ports_and_uplinks_allow(
        sizes in prop::collection::vec(1u32..5, 1..5), ratio in 1.0..16.0f64, latency in 0u32..3,
        sends in prop::collection::vec((0u32..16, 0u32..16, 1u64..40_000), 1..60), chunk in 100u32..5_000,
    ) {
        let cluster = Cluster::new(&sizes).unwrap();
        let n = cluster.num_ranks();
        let sends: Vec<_> = sends.into_iter().map(|(from, to, bytes)| (from % n, to % n, bytes)).collect();
        let traffic = traffic(n, &sends);
        let fabric = fabric(ratio, f64::from(latency));
        let there = exchange(&cluster, &fabric, &traffic, chunk).unwrap();
        prop_assert!(there.end() >= fluid_bound(&traffic, &cluster, &fabric));
        prop_assert_eq!(&there, &exchange(&cluster, &fabric, &traffic, chunk).unwrap());
        let free = exchange(&cluster, &Fabric::new(fabric.scale_up, fabric.scale_out), &traffic, chunk).unwrap();
        prop_assert_eq!(there.frames, free.frames);
        if sizes.len() == 1 || !fabric.oversubscription.blocks() {
            prop_assert_eq!(&there, &free);
        }
    }

    #[test]
    fn a_layer_of_any_scheme_arrives_whole(
        sizes in prop::collection::vec(1u32..4, 2..4), scheme in prop::sample::select(DispatchScheme::ALL.to_vec()),
        ratio in 1.0..16.0f64, tokens in 1u32..40, latency in 0u64..2, seed in any::<u64>(),
    ) {
        let mut setup = setup(&sizes, shape(64, 12, 3, 16), scheme, tokens);
        setup.fabric.scale_out.latency = Picos(latency * 3_700_000);
        setup.fabric.scale_up.latency = Picos(latency * 1_000_000);
        setup.seed = seed;
        setup.fabric.oversubscription = Oversubscription::new(ratio).unwrap();
        for (end, bound) in layer(setup) {
            prop_assert!(end >= bound);
        }
    }
}

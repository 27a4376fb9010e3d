//! Placements of comparisons: slots, bases, and demand that is not the run's own.

use super::testing::small_spec;
use super::{
    BackendKind, BaseChoice, CompareSpec, GateChoice, LatencyChoice, compare_offline, configurations,
};
use crate::placing::PlacementChoice;
use moe::RoutingSpec;
use moe::placement::{POLICIES, PlacementFile};
use moe::routing::Workload;

/// The policies that are made for the demand.
fn for_demand() -> impl Iterator<Item = PlacementChoice> {
    POLICIES.names().map(PlacementChoice::named).filter(PlacementChoice::is_for_demand)
}

fn placed(placement: PlacementChoice, slots: Option<u32>) -> CompareSpec {
    let routing = RoutingSpec::Workload { workload: Workload::W2, ranks: 8 };
    CompareSpec { placement, slots, routing, ..small_spec() }
}

fn problem(spec: &CompareSpec) -> String {
    configurations(spec, &mut Vec::new()).expect_err("refused").to_string()
}

/// Time of the experts on two racks, dedup, on the simulator: that of the fullest rank.
fn compute_us(spec: &CompareSpec) -> f64 {
    let spec = CompareSpec {
        backends: vec![BackendKind::Sim],
        latencies: vec![LatencyChoice::Zero],
        gates: Some(vec![GateChoice::Unlimited]),
        tokens: 256,
        payload: false,
        ..spec.clone()
    };
    let rows = configurations(&spec, &mut Vec::new()).expect("rows");
    let report = compare_offline(&spec, &rows).expect("a report");
    let own = report.rows.iter().find(|row| row.racks == 2 && row.placement == spec.placement.name());
    own.expect("a row").compute_us
}

#[test]
fn policies_fill_the_slots_asked_for_and_all_have_one_base() {
    for choice in for_demand() {
        for (slots, base) in
            [(None, BaseChoice::Ranks), (Some(24), BaseChoice::Ranks), (Some(32), BaseChoice::Rack)]
        {
            let spec = CompareSpec { base, ..placed(choice.clone(), slots) };
            let rows = configurations(&spec, &mut Vec::new()).expect("rows");
            let own = rows.iter().filter(|row| row.placement_name == choice.name());
            assert!(own.clone().count() >= 3, "{choice:?}: wide rows");
            let mut bases = rows.iter().filter(|row| row.cluster.num_racks() == 1);
            assert!(bases.all(|row| row.placement_name == "linear" && row.placement.num_slots() == 16));
            for row in own {
                assert_eq!(row.placement.num_slots(), slots.unwrap_or(16), "{choice:?}: {}", row.title);
                assert_eq!(row.placement.num_ranks(), row.cluster.num_ranks());
            }
        }
    }
}

#[test]
fn slots_are_refused_where_the_placement_has_its_own_number() {
    let message =
        "placement: 24 slots: linear has 16, neither more nor fewer: give that number, or another policy";
    assert_eq!(problem(&placed(PlacementChoice::named("linear"), Some(24))), message);
    assert!(configurations(&placed(PlacementChoice::named("linear"), Some(16)), &mut Vec::new()).is_ok());
    assert!(
        problem(&placed(PlacementChoice::named("rack-aware"), Some(15))).contains("15 slots for 16 experts")
    );
    assert!(
        problem(&placed(PlacementChoice::named("eplb"), Some(20)))
            .contains("the ranks must divide the slots")
    );
}

#[test]
fn several_seeds_have_no_common_demand_unless_the_routing_is_uniform() {
    let mut spec = CompareSpec { seeds: vec![1, 2], ..placed(PlacementChoice::named("eplb"), None) };
    assert!(problem(&spec).contains("one seed's demand"));
    spec.routing = RoutingSpec::Uniform;
    assert!(configurations(&spec, &mut Vec::new()).is_ok());
}

#[test]
fn demand_is_that_of_the_distribution() {
    let rows = |spec: &CompareSpec| configurations(spec, &mut Vec::new()).expect("rows");
    for choice in for_demand() {
        let spec = placed(choice.clone(), Some(24));
        // Whatever tokens the run has, the placement is the same.
        let more = CompareSpec { tokens: 99, ..spec.clone() };
        assert!(rows(&spec).iter().zip(&rows(&more)).all(|(a, b)| a.placement == b.placement));
        // And it evens out what linear leaves to one rank.
        let linear = compute_us(&placed(PlacementChoice::named("linear"), None));
        assert!(compute_us(&spec) < linear, "{choice:?}: {} of {linear}", compute_us(&spec));
    }
}

#[test]
fn replicas_of_a_file_are_all_used_in_one_rack() {
    // Every expert once in each rack of 4: on one rack, half of the tokens go to either.
    let map: Vec<u32> = (0..16).chain(0..16).collect();
    let text = format!("{{\"physical_to_logical_map\": {map:?}}}");
    let spec = CompareSpec {
        placement: PlacementChoice::File(PlacementFile { origin: "twice.json".to_owned(), text }),
        rack_sizes: vec![8],
        ..small_spec()
    };
    let rows = configurations(&spec, &mut Vec::new()).expect("rows");
    let base = rows.first().expect("a row");
    let tokens = super::expected::reachable_tokens(&spec, base);
    let halves = [&tokens[..16], &tokens[16..]].map(|half| half.iter().sum::<f64>());
    // Shares are rounded.
    assert!((halves[0] - halves[1]).abs() < 1.0, "{halves:?}");
}

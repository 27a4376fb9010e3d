//! The rack-aware policy against EPLB: as even, less that crosses racks, on demand of many kinds, seen and unseen.

mod data;

use data::{KINDS, demands};
use moe::evaluation::Evaluation;
use moe::gate::SelectionRule;
use moe::placement::{Aim, Demand, Eplb, EplbGlobal, PlacementPolicy, RackAware};
use moe::{ExpertId, Placement};
use proptest::prelude::*;
use topology::Cluster;

/// Copies are counted on a few thousand tokens: where two placements cross alike, one may come out this much ahead.
const NOISE: f64 = 0.02;

fn place(policy: &dyn PlacementPolicy, cluster: &Cluster, slots: u32, demand: &Demand) -> Placement {
    Placement::by(policy, cluster, Some(slots), demand).expect("placed")
}

#[test]
fn as_even_as_eplb_and_less_across_racks_on_every_kind_of_demand() {
    for (racks, size, experts, top_k) in [(2, 16, 128, 8), (4, 8, 128, 4), (8, 4, 128, 8), (2, 4, 32, 4)] {
        let cluster = Cluster::uniform(racks, size).expect("valid");
        for slots in [experts, experts + experts / 4] {
            for kind in KINDS {
                let [seen, unseen] = demands(kind, &cluster, experts as usize, top_k, 11, 4000);
                let by = |policy: &dyn PlacementPolicy| {
                    let placement = place(policy, &cluster, slots, &seen.clone().in_groups(racks));
                    [&seen, &unseen]
                        .map(|demand| Evaluation::new(&cluster, &placement, demand).expect("valid"))
                };
                let [global, _] = by(&EplbGlobal);
                let [_, nodes] = by(&Eplb);
                let [ours, later] = by(&RackAware::default());
                let case = format!("{} on {racks} racks of {size}, {slots} slots", kind.name);
                assert_eq!(ours.duplicates, 0, "{case}");
                assert!(
                    ours.balancedness >= global.balancedness - 0.01,
                    "{case}: {} {}",
                    ours.balancedness,
                    global.balancedness
                );
                let chosen = [ours.chosen_balancedness, global.chosen_balancedness];
                assert!(chosen[0] >= chosen[1] - 0.01, "{case}: {chosen:?}");
                let inter = |evaluation: &Evaluation| evaluation.copies.map(|copies| copies.inter);
                let ([flat, dedup, hierarchical], [flat_eplb, dedup_eplb, hierarchical_eplb]) =
                    (inter(&later), inter(&nodes));
                let crossing = format!("{case}: {:?} {:?}", inter(&later), inter(&nodes));
                if slots > experts || kind.local {
                    assert!(
                        flat < flat_eplb && dedup < dedup_eplb && hierarchical < hierarchical_eplb,
                        "{crossing}"
                    );
                } else {
                    // Every token crosses flat as often wherever experts are.
                    assert!((flat - flat_eplb).abs() < 1e-9, "{crossing}");
                    assert!(hierarchical < hierarchical_eplb * (1.0 + NOISE), "{crossing}");
                }
                if kind.topics && racks > 2 {
                    assert!(
                        later.copies[2].inter < 0.97 * nodes.copies[2].inter,
                        "{case}: topics keep together"
                    );
                }
            }
        }
    }
}

/// Loads of 256 experts in groups of 32: all alike, Zipf, and log-normal ones in groups that differ too.
fn loads_in_groups() -> [(&'static str, Vec<u64>); 3] {
    let shuffled = |expert: u64| (expert * 167 + 59) % 256;
    let zipf = |expert| (1e6 / (shuffled(expert) as f64 + 1.0).powf(0.6)) as u64;
    let own = |expert| ((shuffled(expert) as f64 + 0.5) / 128.0 - 1.0) * 1.2;
    let log_normal = |expert: u64| (2e4 * (own(expert) + (expert / 32 * 5 % 8) as f64 / 10.0).exp()) as u64;
    [
        ("uniform", vec![1000; 256]),
        ("zipf", (0..256).map(zipf).collect()),
        ("log-normal", (0..256).map(log_normal).collect()),
    ]
}

#[test]
fn no_more_copies_than_either_eplb_at_its_balancedness_and_fewer_than_the_global_one() {
    let gated =
        SelectionRule { experts: 256, zero: 0, top_k: 8, groups: 8, kept: 4, summed: 2, equal: false };
    for (rule, (name, load)) in [gated, SelectionRule::plain(256, 8)]
        .into_iter()
        .flat_map(|rule| loads_in_groups().map(|load| (rule, load)))
    {
        let demand = Demand::new(load, 8).under(&rule).expect("such loads can be").in_groups(8).one_of(8);
        for (racks, size, slots) in [(4, 8, 256), (8, 8, 320), (2, 36, 288)] {
            let cluster = Cluster::uniform(racks, size).expect("valid");
            let judged = |policy: &dyn PlacementPolicy| {
                let placement = place(policy, &cluster, slots, &demand);
                Evaluation::new(&cluster, &placement, &demand).expect("valid")
            };
            let [groups, global, even, fewest] = [
                judged(&Eplb),
                judged(&EplbGlobal),
                judged(&RackAware { aim: Aim::Even }),
                judged(&RackAware { aim: Aim::FewestCopies }),
            ];
            let copies = |evaluation: &Evaluation| evaluation.copies[2].inter;
            // Both are counted on the same tokens; two errors of one is more than chance makes of the difference.
            let chance = 2.0 * global.inter_errors[2];
            let better = if copies(&groups) <= copies(&global) { &groups } else { &global };
            let case = format!(
                "{name}, {} groups, {racks} racks of {size}, {slots} slots: {:?}",
                rule.groups,
                [&groups, &global, &even, &fewest].map(|of| (copies(of), of.balancedness))
            );
            assert!(copies(&fewest) <= copies(better) + chance, "{case}");
            assert!(fewest.balancedness >= better.balancedness - 1e-9, "{case}");
            assert!(even.balancedness >= global.balancedness - 0.01, "{case}");
            assert!(slots == 256 || copies(&even) < copies(&global) + chance, "{case}");
            assert!(slots == 256 || even.copies[0].inter < global.copies[0].inter + 1e-9, "{case}");
            assert_eq!(even.duplicates + fewest.duplicates, 0, "{case}");
        }
    }
}

/// Replicas that are as many as the load a replica asks for don't pack: two hot experts take half of the slots.
#[test]
fn counts_of_replicas_and_their_packing_are_found_together() {
    let cluster = Cluster::uniform(2, 4).expect("valid");
    let demand = Demand::new(vec![660, 600, 130, 126, 22, 14, 10, 8], 2);
    let fullest = |policy: &dyn PlacementPolicy| {
        let placement = place(policy, &cluster, 16, &demand);
        let evaluation = Evaluation::new(&cluster, &placement, &demand).expect("valid");
        evaluation.rank_load.iter().copied().fold(0.0, f64::max)
    };
    let [global, ours] = [fullest(&EplbGlobal), fullest(&RackAware::default())];
    // The hotter one in five parts, the next in three, each beside a part of another: 600 / 3 + 10.
    assert!(global > 250.0 && ours < 212.0, "{global} {ours}");
}

#[test]
fn the_same_demand_gives_the_same_placement() {
    let cluster = Cluster::new(&[5, 3, 4]).expect("valid");
    for kind in KINDS {
        let [demand, _] = demands(kind, &cluster, 32, 4, 3, 500);
        assert_eq!(
            place(&RackAware::default(), &cluster, 41, &demand),
            place(&RackAware::default(), &cluster, 41, &demand)
        );
    }
}

#[test]
fn what_can_not_be_placed_is_refused() {
    let cluster = Cluster::new(&[2, 1]).expect("valid");
    let demand = Demand::new(vec![1, 2, 3, 4], 2);
    for slots in [3, 13] {
        let error =
            Placement::by(&RackAware::default(), &cluster, Some(slots), &demand).expect_err("refused");
        let problem = format!("rack-aware placement: {slots} slots for 4 experts on 3 ranks: ");
        assert!(error.to_string().starts_with(&problem), "{error}");
    }
    let full = place(&RackAware::default(), &cluster, 12, &demand);
    assert!((0..4).all(|expert| full.replicas_of(ExpertId(expert)).len() == 3));
    let other = demand.from_racks(vec![vec![1; 4]; 3]).expect("valid");
    let error = Placement::by(&RackAware::default(), &cluster, Some(4), &other).expect_err("refused");
    assert_eq!(error.to_string(), "demand: tokens from 3 racks, the cluster has 2");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_experts_slots_and_racks_without_an_expert_twice_on_a_rank(
        racks in prop::collection::vec(1_u32..6, 1..5),
        load in prop::collection::vec(prop_oneof![Just(0), 0_u64..100, 0_u64..100_000], 1..40),
        extra in 0.0_f64..1.0,
        top_k in 1_u32..9,
    ) {
        let cluster = Cluster::new(&racks).expect("valid");
        let (experts, ranks) = (load.len() as u32, cluster.num_ranks());
        let slots = experts + (f64::from(experts * (ranks - 1)) * extra) as u32;
        let demand = Demand::new(load, top_k);
        let placement = place(&RackAware::default(), &cluster, slots, &demand);
        prop_assert_eq!(placement.num_slots(), slots);
        let evaluation = Evaluation::new(&cluster, &placement, &demand).expect("valid");
        prop_assert_eq!(evaluation.duplicates, 0);
        let counts: Vec<u32> = cluster.ranks().map(|rank| placement.slots_of(rank).len() as u32).collect();
        prop_assert!(counts.iter().all(|&count| count == slots / ranks || count == slots.div_ceil(ranks)));
        let all: u32 = (0..experts).map(|expert| placement.replicas_of(ExpertId(expert)).len() as u32).sum();
        prop_assert_eq!(all, slots);
        if slots.is_multiple_of(ranks) {
            let eplb = place(&EplbGlobal, &cluster, slots, &demand);
            let global = Evaluation::new(&cluster, &eplb, &demand).expect("valid");
            // Two replicas on a rank may come out evener than any placement without.
            prop_assert!(
                global.duplicates > 0 || evaluation.balancedness >= global.balancedness - 0.01,
                "{} {}", evaluation.balancedness, global.balancedness
            );
        }
    }

    /// Counted on the tokens that judge all three: EPLB's own placement stays unless another one sends fewer.
    #[test]
    fn fewest_copies_are_never_more_than_of_either_eplb_at_its_balancedness(
        racks in 1_u32..5,
        size in 1_u32..5,
        by_group in 2_u32..9,
        extra in 0_u32..3,
        kept in 1_u32..4,
        gated in any::<bool>(),
        load in prop::collection::vec(prop_oneof![Just(500_u64), 100_u64..1000], 32),
    ) {
        let cluster = Cluster::uniform(racks, size).expect("valid");
        let (groups, experts) = (2 * racks.max(2), 2 * racks.max(2) * by_group);
        let load: Vec<u64> = (0..experts as usize).map(|expert| load[expert % 32] + expert as u64).collect();
        let slots = (experts.div_ceil(cluster.num_ranks()) + extra) * cluster.num_ranks();
        prop_assume!(slots <= experts * cluster.num_ranks());
        let rule = SelectionRule { experts, zero: 0, top_k: 2, groups, kept: if gated { kept } else { groups }, summed: 1, equal: false };
        let Ok(demand) = Demand::new(load, 2).under(&rule) else { return Ok(()) };
        let demand = demand.in_groups(groups).one_of(32);
        let judged = |policy: &dyn PlacementPolicy| {
            Evaluation::new(&cluster, &place(policy, &cluster, slots, &demand), &demand).expect("valid")
        };
        let copies = |evaluation: &Evaluation| evaluation.copies[2].inter;
        let [global, in_groups] = [judged(&EplbGlobal), judged(&Eplb)];
        let better = if copies(&in_groups) < copies(&global) { in_groups } else { global };
        let fewest = judged(&RackAware { aim: Aim::FewestCopies });
        prop_assert_eq!(fewest.duplicates, 0);
        // What has an expert twice on a rank is no placement of ours.
        if better.duplicates == 0 {
            prop_assert!(copies(&fewest) <= copies(&better) + 1e-12, "{} {}", copies(&fewest), copies(&better));
            prop_assert!(fewest.balancedness >= better.balancedness - 1e-9);
        }
    }
}

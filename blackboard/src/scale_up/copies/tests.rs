//! The expectation against a count over every possible routing, and its named errors.

use moe::gate::{GateKind, GateSpec, Softmax};
use moe::{LayerShape, Router, Routing, RoutingSpec, RowBytes, plan_traffic};
use proptest::prelude::*;
use topology::{Dtype, RackId};

use super::*;
use crate::scale_up::uniform_copies;

/// Plans a token with every possible choice of experts on every source, and averages the copies.
fn by_enumeration(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    top_k: u32,
    limit: Option<&GateLimit>,
    tokens_per_rank: &[u32],
) -> CopiesPerToken {
    let pools = pools(placement.num_experts(), (top_k, 0), limit).expect("valid");
    let mut sum = CopiesPerToken::default();
    for pool in &pools {
        let choices = combinations(pool.len() as u32, top_k).expect("few");
        let mut topk_idx = Vec::new();
        for choice in &choices {
            topk_idx.extend(choice.iter().map(|&i| pool[i as usize].0));
        }
        let topk_weights = vec![1.0; topk_idx.len()];
        let every = Routing { top_k, topk_idx, topk_weights };
        let none = Routing { top_k, topk_idx: Vec::new(), topk_weights: Vec::new() };
        for (source, &tokens) in cluster.ranks().zip(tokens_per_rank) {
            let routings: Vec<Routing> = cluster
                .ranks()
                .map(|rank| if rank == source { every.clone() } else { none.clone() })
                .collect();
            for (share, hosts) in without_replicas(cluster, placement, source) {
                let plan =
                    plan_traffic(scheme, cluster, &hosts, &routings, RowBytes { dispatch: 1, combine: 1 });
                let weight = share * f64::from(tokens) / (choices.len() * pools.len()) as f64;
                sum.intra += weight * plan.copies.intra as f64;
                sum.inter += weight * plan.copies.inter as f64;
            }
        }
    }
    let tokens: f64 = tokens_per_rank.iter().map(|&tokens| f64::from(tokens)).sum();
    CopiesPerToken { intra: sum.intra / tokens, inter: sum.inter / tokens }
}

/// For each way in which `source` may choose replicas: its probability, and a placement of those alone.
fn without_replicas(cluster: &Cluster, placement: &Placement, source: RankId) -> Vec<(f64, Placement)> {
    let choices = placement.joint_choices(cluster.rack_of(source));
    let alone = choices.map(|(share, slots)| {
        let mut by_rank: Vec<(RankId, usize)> =
            slots.iter().enumerate().map(|(expert, &slot)| (placement.rank_of(slot), expert)).collect();
        by_rank.sort_unstable();
        let map: Vec<usize> = by_rank.iter().map(|&(_, expert)| expert).collect();
        let count = |rank| by_rank.iter().filter(|&&(host, _)| host == rank).count();
        let counts: Vec<usize> = cluster.ranks().map(count).collect();
        let json = format!(r#"{{"physical_to_logical_map": {map:?}, "slots_per_rank": {counts:?}}}"#);
        (share, Placement::from_json(&json, "test", cluster, placement.num_experts()).expect("valid"))
    });
    alone.collect()
}

fn placement(kind: u8, cluster: &Cluster, experts: u32) -> Placement {
    let placement = match kind {
        0 => Placement::linear(cluster, experts),
        1 => Placement::round_robin(cluster, experts),
        2 => Placement::replicated_per_rack(cluster, experts),
        _ => Placement::one_rack(cluster, experts, RackId(cluster.num_racks() - 1)),
    };
    placement.expect("valid")
}

fn close(a: CopiesPerToken, b: CopiesPerToken) -> bool {
    (a.intra - b.intra).abs() < 1e-9 && (a.inter - b.inter).abs() < 1e-9
}

proptest! {
    #[test]
    fn the_expectation_is_the_mean_over_every_routing(
        sizes in prop::collection::vec(1u32..4, 1..4),
        (experts, k) in (1u32..9, 1u32..5),
        kind in 0u8..4,
        tokens in prop::collection::vec(0u32..5, 9),
    ) {
        let cluster = Cluster::new(&sizes).expect("small");
        let (placement, k) = (placement(kind, &cluster, experts), k.min(experts));
        let mut tokens = tokens[..cluster.num_ranks() as usize].to_vec();
        tokens[0] += 1;
        for scheme in DispatchScheme::ALL {
            let expected = expected_copies(scheme, &cluster, &placement, k, None, &tokens).expect("valid");
            let counted = by_enumeration(scheme, &cluster, &placement, k, None, &tokens);
            prop_assert!(close(expected, counted), "{scheme}: {expected:?}, counted {counted:?}");
        }
    }

    #[test]
    fn the_limited_expectation_is_the_mean_over_every_routing(
        sizes in prop::collection::vec(1u32..4, 1..4),
        (groups, limit, k) in (1u32..5, 1u32..5, 1u32..3),
        by_group in 2u32..4,
        kind in 0u8..4,
    ) {
        let cluster = Cluster::new(&sizes).expect("small");
        let experts = groups * by_group;
        let placement = placement(kind, &cluster, experts);
        let group_of_expert = (0..experts).map(|expert| expert % groups).collect();
        let limit = GateLimit { group_of_expert, groups, limit: limit.min(groups) };
        let tokens = vec![3; cluster.num_ranks() as usize];
        for scheme in DispatchScheme::ALL {
            let gate = Some(&limit);
            let expected = expected_copies(scheme, &cluster, &placement, k, gate, &tokens).expect("valid");
            let counted = by_enumeration(scheme, &cluster, &placement, k, gate, &tokens);
            prop_assert!(close(expected, counted), "{scheme}: {expected:?}, counted {counted:?}");
        }
    }

    #[test]
    fn racks_that_are_alike_have_the_closed_form(
        (racks, size, by_rank) in (1u32..5, 1u32..6, 1u32..5), k in 1u32..9, limit in 1u32..5,
    ) {
        let cluster = Cluster::uniform(racks, size).expect("small");
        let experts = racks * size * by_rank;
        let placement = Placement::linear(&cluster, experts).expect("valid");
        let (limit, k) = (limit.min(racks), k.min(size * by_rank));
        let by_rack = size * by_rank;
        let group_of_expert = (0..experts).map(|expert| expert / by_rack).collect();
        let gate = GateLimit { group_of_expert, groups: racks, limit };
        let tokens = vec![1; cluster.num_ranks() as usize];
        let experts_by_rank = vec![by_rank; size as usize];
        for scheme in DispatchScheme::ALL {
            for (gate, limit) in [(None, None), (Some(&gate), Some(limit))] {
                let general = expected_copies(scheme, &cluster, &placement, k, gate, &tokens).expect("valid");
                let closed = uniform_copies(scheme, racks, &experts_by_rank, k, limit).expect("valid");
                prop_assert!(close(general, closed), "{scheme}: {general:?}, closed form {closed:?}");
            }
        }
    }

    #[test]
    fn one_rack_and_full_replicas_keep_everything_inside(
        (racks, size) in (1u32..4, 1u32..5), k in 1u32..5,
    ) {
        let cluster = Cluster::uniform(racks, size).expect("small");
        let tokens = vec![1; cluster.num_ranks() as usize];
        let replicated = Placement::replicated_per_rack(&cluster, 8).expect("valid");
        let single = Cluster::new(&[cluster.num_ranks()]).expect("small");
        let linear = Placement::linear(&single, 8).expect("valid");
        for scheme in DispatchScheme::ALL {
            for (cluster, placement) in [(&cluster, &replicated), (&single, &linear)] {
                let copies = expected_copies(scheme, cluster, placement, k, None, &tokens).expect("valid");
                prop_assert_eq!(copies.inter, 0.0);
            }
        }
    }
}

#[test]
fn choosing_every_expert_reaches_every_rank_that_has_some() {
    let cluster = Cluster::new(&[3, 2]).expect("valid");
    let placement = Placement::linear(&cluster, 10).expect("valid");
    let copies =
        expected_copies(DispatchScheme::Dedup, &cluster, &placement, 10, None, &[1; 5]).expect("valid");
    assert!(close(
        copies,
        CopiesPerToken { intra: (3.0 * 2.0 + 2.0) / 5.0, inter: (3.0 * 2.0 + 2.0 * 3.0) / 5.0 }
    ));
}

#[test]
fn too_many_sets_of_groups_are_refused() {
    let cluster = Cluster::new(&[2]).expect("valid");
    let placement = Placement::linear(&cluster, 200).expect("valid");
    let gate = GateLimit { group_of_expert: (0..200).collect(), groups: 200, limit: 100 };
    let error = expected_copies(DispatchScheme::Flat, &cluster, &placement, 2, Some(&gate), &[1; 2]);
    assert_eq!(error, Err(BlackboardError::GroupSets { limit: 100, groups: 200, max: MAX_GROUP_SETS }));
}

#[test]
fn groups_without_experts_are_left_out_and_a_limit_of_all_is_none() {
    let cluster = Cluster::new(&[2, 2]).expect("valid");
    let placement = Placement::linear(&cluster, 8).expect("valid");
    let copies = |limit: Option<&GateLimit>| {
        expected_copies(DispatchScheme::Hierarchical, &cluster, &placement, 2, limit, &[1; 4]).expect("valid")
    };
    let gate =
        |groups, limit| GateLimit { group_of_expert: (0..8).map(|e| e / 4 * 3).collect(), groups, limit };
    assert_eq!(copies(Some(&gate(4, 1))), copies(Some(&gate(9, 1))));
    assert_eq!(copies(Some(&gate(4, 2))), copies(None));
    assert_eq!(copies(Some(&gate(4, 7))), copies(None));
}

#[test]
fn the_router_routes_as_the_expectation_assumes() {
    let shape = LayerShape {
        hidden: 16,
        num_experts: 64,
        top_k: 4,
        expert_inter: 16,
        gate: GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true)),
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    };
    let cluster = Cluster::new(&[4, 3, 1]).expect("valid");
    let placement = Placement::linear(&cluster, 64).expect("valid");
    let limit = GateLimit::from_placement(&cluster, &placement, 2).expect("no replicas");
    for limit in [None, Some(&limit)] {
        let router = Router::new(&shape, &RoutingSpec::Uniform, limit, 7, 0).expect("valid");
        let routings: Vec<Routing> = cluster.ranks().map(|rank| router.route(0, rank, 4_000)).collect();
        for scheme in DispatchScheme::ALL {
            let expected =
                expected_copies(scheme, &cluster, &placement, 4, limit, &[4_000; 8]).expect("valid");
            let plan = plan_traffic(scheme, &cluster, &placement, &routings, RowBytes::new(16));
            let tokens = plan.tokens as f64;
            let (intra, inter) = (plan.copies.intra as f64 / tokens, plan.copies.inter as f64 / tokens);
            // 32,000 tokens with a spread of about one copy each: a standard error of 0.006.
            assert!((intra - expected.intra).abs() < 0.02, "{scheme}: {intra} for {expected:?}");
            assert!((inter - expected.inter).abs() < 0.02, "{scheme}: {inter} for {expected:?}");
        }
    }
}

#[test]
fn a_gate_with_groups_sends_what_it_is_expected_to() {
    let gate = GateSpec { n_group: 8, topk_group: 4, ..GateSpec::ungrouped(GateKind::of(&Softmax)) };
    let shape = LayerShape {
        hidden: 16,
        num_experts: 64,
        top_k: 6,
        expert_inter: 16,
        gate,
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    };
    let cluster = Cluster::new(&[4, 3, 1]).expect("valid");
    let spread: Vec<u32> = (0..64).map(|slot| slot * 13 % 64).collect();
    let spread = format!(r#"{{"physical_to_logical_map": {spread:?}}}"#);
    let placements = [
        Placement::linear(&cluster, 64),
        Placement::from_json(&spread, "test", &cluster, 64),
        Placement::replicated_per_rack(&cluster, 64),
    ];
    let router = Router::new(&shape, &RoutingSpec::Model, None, 7, 0).expect("valid");
    let routings: Vec<Routing> = cluster.ranks().map(|rank| router.route(0, rank, 4_000)).collect();
    for placement in placements.map(|placement| placement.expect("valid")) {
        for scheme in DispatchScheme::ALL {
            let expected =
                gate_copies(scheme, &cluster, &placement, &shape.selection(), &[4_000; 8]).expect("valid");
            let plan = plan_traffic(scheme, &cluster, &placement, &routings, RowBytes::new(16));
            let tokens = plan.tokens as f64;
            let (intra, inter) = (plan.copies.intra as f64 / tokens, plan.copies.inter as f64 / tokens);
            assert!((intra - expected.intra).abs() < 0.02, "{scheme}: {intra} for {expected:?}");
            assert!((inter - expected.inter).abs() < 0.02, "{scheme}: {inter} for {expected:?}");
        }
    }
}

#[test]
fn combinations_are_ascending_and_complete() {
    assert_eq!(combinations(3, 2), Some(vec![vec![0, 1], vec![0, 2], vec![1, 2]]));
    assert_eq!(combinations(8, 4).map(|sets| sets.len()), Some(70));
    assert_eq!(combinations(5, 5).map(|sets| sets.len()), Some(1));
    assert_eq!(combinations(10_000, 1).map(|sets| sets.len()), Some(10_000));
    assert_eq!(combinations(10_001, 10_000), None);
    assert_eq!(combinations(60_000, 30_000), None);
}

#[test]
fn impossible_inputs_are_named() {
    let cluster = Cluster::new(&[2, 2]).expect("valid");
    let placement = Placement::linear(&cluster, 8).expect("valid");
    let check = |top_k, limit: Option<&GateLimit>, tokens: &[u32], message: &str| {
        let error = expected_copies(DispatchScheme::Flat, &cluster, &placement, top_k, limit, tokens);
        let error = error.expect_err("impossible").to_string();
        assert!(error.starts_with(message), "{error}");
    };
    check(0, None, &[1; 4], "top_k = 0 of 8");
    check(9, None, &[1; 4], "top_k = 9 of 8");
    check(2, None, &[1; 3], "tokens are given for 3 ranks, the cluster has 4");
    check(2, None, &[0; 4], "no rank has a token");
    let gate = |groups, limit| GateLimit { group_of_expert: (0..8).map(|e| e % 4).collect(), groups, limit };
    check(2, Some(&gate(4, 0)), &[1; 4], "gate limit: limit = 0");
    check(2, Some(&gate(3, 1)), &[1; 4], "gate limit: group 3 is not below the 3 groups");
    check(3, Some(&gate(4, 1)), &[1; 4], "top_k = 3 of 2 experts");
    let short = GateLimit { group_of_expert: vec![0], groups: 1, limit: 1 };
    check(2, Some(&short), &[1; 4], "gate limit: groups are given for 1 of 8 experts");
    let other = Cluster::new(&[5]).expect("valid");
    let error = expected_copies(DispatchScheme::Flat, &other, &placement, 2, None, &[1; 5]);
    assert_eq!(error, Err(BlackboardError::Placement { placement: 4, cluster: 5 }));
}

#[test]
fn work_and_memory_are_bounded() {
    let cluster = Cluster::uniform(64, 64).expect("valid");
    let placement = Placement::replicated_per_rack(&cluster, 256).expect("valid");
    let tokens = vec![1; 4096];
    let scheme = DispatchScheme::Hierarchical;
    let pools = pools(256, (8, 0), None).expect("valid");
    let hits = || Hits::new(&cluster, 256, &pools, (8, 0));
    let within = |bounds| bounded(scheme, &cluster, &placement, hits(), &tokens, bounds);
    let copies = within(BOUNDS).expect("valid");
    assert!(close(copies, uniform_copies(scheme, 1, &[4; 64], 8, None).expect("valid")));
    assert_eq!(within(Bounds { kept: 0, ..BOUNDS }), Ok(copies));
    assert_eq!(within(Bounds { terms: 200_000, ..BOUNDS }), Err(BlackboardError::Terms { max: 200_000 }));
}

//! Tests of dispatch plans: conservation, exact bytes and hops, and copies against the closed forms.

use super::*;
use crate::testing::{shape, uniform_routings};
use proptest::prelude::*;
use std::collections::BTreeMap;
use topology::{LinkClass, RackId, TrafficMatrix};

const BYTES: RowBytes = RowBytes { dispatch: 10, combine: 21 };

fn routings(cluster: &Cluster, seed: u64, tokens: u32, top_k: u32, num_experts: u32) -> Vec<Routing> {
    uniform_routings(cluster, &shape(1, num_experts, top_k, 1), seed, tokens)
}

fn one_token(experts: &[u32]) -> Routing {
    Routing {
        top_k: experts.len() as u32,
        topk_idx: experts.to_vec(),
        topk_weights: experts.iter().map(|&expert| expert as f32 + 0.5).collect(),
    }
}

/// Non-zero cells as (from, to, bytes).
fn cells(matrix: &TrafficMatrix) -> Vec<(u32, u32, u64)> {
    let n = matrix.num_ranks();
    (0..n)
        .flat_map(|from| (0..n).map(move |to| (from, to)))
        .map(|(from, to)| (from, to, matrix.get(RankId(from), RankId(to))))
        .filter(|cell| cell.2 > 0)
        .collect()
}

#[test]
fn schemes_are_written_and_read_by_name() {
    for scheme in DispatchScheme::ALL {
        assert_eq!(scheme.to_string().parse(), Ok(scheme));
        assert_eq!(serde_json::to_string(&scheme).unwrap(), format!("\"{scheme}\""));
    }
    assert_eq!("Flat".parse(), Ok(DispatchScheme::Flat));
    let error = "ring".parse::<DispatchScheme>().unwrap_err();
    assert_eq!(error, "unknown dispatch scheme `ring`: give flat, dedup or hierarchical");
}

#[test]
fn one_token_by_hand() {
    // Racks {0, 1} and {2, 3, 4}; two experts a rank. Source 1 has index 1, so its gateway in rack 1 is rank 3.
    let cluster = Cluster::new(&[2, 3]).unwrap();
    let placement = Placement::linear(&cluster, 10).unwrap();
    let routing = one_token(&[8, 0, 3, 5, 4, 1]);
    let rows = |scheme| {
        dispatch_rows(scheme, &cluster, &placement, RankId(1), &routing)
            .into_iter()
            .map(|row| (row.to.0, row.targets.iter().map(|target| target.slot.0).collect::<Vec<_>>()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        rows(DispatchScheme::Flat),
        [(0, vec![0]), (0, vec![1]), (1, vec![3]), (2, vec![4]), (2, vec![5]), (4, vec![8])]
    );
    assert_eq!(rows(DispatchScheme::Dedup), [(0, vec![0, 1]), (1, vec![3]), (2, vec![4, 5]), (4, vec![8])]);
    assert_eq!(rows(DispatchScheme::Hierarchical), [(0, vec![0, 1]), (1, vec![3]), (3, vec![4, 5, 8])]);
    let mut all = vec![one_token(&[0]); 5];
    all.iter_mut()
        .for_each(|routing| *routing = Routing { top_k: 1, topk_idx: vec![], topk_weights: vec![] });
    all[1] = routing.clone();
    let plan = |scheme| plan_traffic(scheme, &cluster, &placement, &all, BYTES);

    let flat = plan(DispatchScheme::Flat);
    assert_eq!(cells(&flat.dispatch), [(1, 0, 20), (1, 2, 20), (1, 4, 10)]);
    assert_eq!(cells(&flat.combine), [(0, 1, 42), (2, 1, 42), (4, 1, 21)]);
    assert_eq!(flat.copies, Copies { intra: 2, inter: 3 });
    let dedup = plan(DispatchScheme::Dedup);
    assert_eq!(cells(&dedup.dispatch), [(1, 0, 10), (1, 2, 10), (1, 4, 10)]);
    assert_eq!(dedup.copies, Copies { intra: 1, inter: 2 });
    let hierarchical = plan(DispatchScheme::Hierarchical);
    assert_eq!(cells(&hierarchical.dispatch), [(1, 0, 10), (1, 3, 10), (3, 2, 10), (3, 4, 10)]);
    assert_eq!(cells(&hierarchical.combine), [(0, 1, 21), (2, 3, 21), (3, 1, 21), (4, 3, 21)]);
    assert_eq!(hierarchical.copies, Copies { intra: 3, inter: 1 });
    assert_eq!((flat.tokens, flat.tokens_crossing), (1, 1));
    assert_eq!(flat.rows_per_slot, [1, 1, 0, 1, 1, 1, 0, 0, 1, 0]);

    let combine = |scheme, host| combine_to(scheme, &cluster, RankId(host), RankId(1)).0;
    assert_eq!([0, 1, 2, 3, 4].map(|host| combine(DispatchScheme::Dedup, host)), [1; 5]);
    assert_eq!([0, 1, 2, 3, 4].map(|host| combine(DispatchScheme::Hierarchical, host)), [1, 1, 3, 3, 3]);
}

#[test]
fn a_row_splits_by_host_and_keeps_weights_with_their_slots() {
    let cluster = Cluster::new(&[1, 2]).unwrap();
    let placement = Placement::round_robin(&cluster, 6).unwrap();
    let rows = dispatch_rows(
        DispatchScheme::Hierarchical,
        &cluster,
        &placement,
        RankId(0),
        &one_token(&[5, 4, 2, 1]),
    );
    assert_eq!(rows.len(), 1);
    let experts = |targets: &[Target]| -> Vec<(u32, f32)> {
        targets.iter().map(|target| (placement.expert_of(target.slot).0, target.weight)).collect()
    };
    assert_eq!(experts(&rows[0].targets), [(1, 1.5), (2, 2.5), (4, 4.5), (5, 5.5)]);
    let split = split_targets(&placement, &rows[0].targets);
    let split: Vec<_> = split.iter().map(|(rank, targets)| (rank.0, experts(targets))).collect();
    assert_eq!(split, [(1, vec![(1, 1.5), (4, 4.5)]), (2, vec![(2, 2.5), (5, 5.5)])]);
}

#[test]
fn one_rank_and_zero_tokens_send_nothing() {
    let alone = Cluster::new(&[1]).unwrap();
    let placement = Placement::linear(&alone, 16).unwrap();
    let cluster = Cluster::new(&[2, 2]).unwrap();
    let spread = Placement::linear(&cluster, 16).unwrap();
    for scheme in DispatchScheme::ALL {
        let plan = plan_traffic(scheme, &alone, &placement, &routings(&alone, 1, 10, 4, 16), BYTES);
        assert_eq!((plan.dispatch.total(), plan.combine.total(), plan.copies), (0, 0, Copies::default()));
        assert_eq!((plan.tokens, plan.tokens_crossing, plan.rows_per_slot.iter().sum()), (10, 0, 40_u64));
        let idle = plan_traffic(scheme, &cluster, &spread, &routings(&cluster, 1, 0, 4, 16), BYTES);
        assert_eq!((idle.dispatch.total(), idle.combine.total(), idle.tokens), (0, 0, 0));
    }
}

/// Probability that a set of `m` of `experts` experts is hit by `k` distinct draws.
fn hit(m: f64, experts: f64, k: u32) -> f64 {
    1.0 - (0..k).map(f64::from).map(|j| (experts - m - j) / (experts - j)).product::<f64>()
}

#[test]
fn copies_of_uniform_routing_match_the_closed_forms() {
    // Per source token, G ranks in each of R racks, E experts spread evenly, k distinct: flat k(G-1)/(RG) inside and
    // k(R-1)/R across; dedup (G-1)q and (R-1)Gq; hierarchical R(G-1)q and (R-1)q(E/R), with q = q(E/(RG)).
    const TOKENS: u32 = 100_000;
    let (g, k, e) = (8.0, 8, 256.0);
    for racks in [1, 2] {
        let cluster = Cluster::uniform(racks, 8).unwrap();
        let placement = Placement::linear(&cluster, 256).unwrap();
        let routings = routings(&cluster, 3, TOKENS / cluster.num_ranks(), k, 256);
        let r = f64::from(racks);
        let (q, q_rack) = (hit(e / (r * g), e, k), hit(e / r, e, k));
        for (scheme, intra, inter) in [
            (DispatchScheme::Flat, f64::from(k) * (g - 1.0) / (r * g), f64::from(k) * (r - 1.0) / r),
            (DispatchScheme::Dedup, (g - 1.0) * q, (r - 1.0) * g * q),
            (DispatchScheme::Hierarchical, r * (g - 1.0) * q, (r - 1.0) * q_rack),
        ] {
            let plan = plan_traffic(scheme, &cluster, &placement, &routings, BYTES);
            let close = |copies: u64, expected: f64| {
                let mean = copies as f64 / plan.tokens as f64;
                assert!(
                    (mean - expected).abs() <= 0.01 * expected,
                    "{scheme} R={racks}: {mean} vs {expected}"
                );
            };
            close(plan.copies.intra, intra);
            close(plan.copies.inter, inter);
            close(plan.tokens_crossing, (r - 1.0) * q_rack);
            assert_eq!(plan.dispatch.class_bytes(&cluster, LinkClass::ScaleUp), plan.copies.intra * 10);
            assert_eq!(plan.combine.class_bytes(&cluster, LinkClass::ScaleOut), plan.copies.inter * 21);
        }
    }
}

#[test]
fn a_rack_may_hold_every_replica_or_every_expert() {
    let cluster = Cluster::new(&[72, 72]).unwrap();
    let routings = routings(&cluster, 5, 4, 8, 256);
    for scheme in DispatchScheme::ALL {
        let replicated = Placement::replicated_per_rack(&cluster, 256).unwrap();
        let plan = plan_traffic(scheme, &cluster, &replicated, &routings, BYTES);
        assert_eq!((plan.copies.inter, plan.tokens_crossing), (0, 0));
        let one_rack = Placement::one_rack(&cluster, 256, RackId(1)).unwrap();
        let plan = plan_traffic(scheme, &cluster, &one_rack, &routings, BYTES);
        assert_eq!(plan.tokens_crossing, 72 * 4);
        assert!(cells(&plan.dispatch).iter().all(|&(_, to, _)| to >= 72));
    }
}

/// Follows every planned row to its experts and back; hops as (from, to) with the number of dispatch and combine rows.
fn walk(
    scheme: DispatchScheme,
    cluster: &Cluster,
    placement: &Placement,
    routings: &[Routing],
) -> BTreeMap<(RankId, RankId), (u64, u64)> {
    let mut hops: BTreeMap<(RankId, RankId), (u64, u64)> = BTreeMap::new();
    for (source, routing) in cluster.ranks().zip(routings) {
        let mut reached: Vec<Vec<(u32, f32)>> = vec![Vec::new(); routing.tokens() as usize];
        // Per (token, gateway): how many hosts reduce there.
        let mut reduced: BTreeMap<(u32, RankId), u64> = BTreeMap::new();
        for row in dispatch_rows(scheme, cluster, placement, source, routing) {
            hops.entry((source, row.to)).or_default().0 += 1;
            for (host, targets) in split_targets(placement, &row.targets) {
                hops.entry((row.to, host)).or_default().0 += 1;
                for target in &targets {
                    assert_eq!(placement.rank_of(target.slot), host);
                    reached[row.token as usize].push((placement.expert_of(target.slot).0, target.weight));
                }
                let to = combine_to(scheme, cluster, host, source);
                hops.entry((host, to)).or_default().1 += 1;
                if to != source {
                    *reduced.entry((row.token, to)).or_default() += 1;
                }
            }
        }
        for &(_, gateway) in reduced.keys() {
            hops.entry((gateway, source)).or_default().1 += 1;
        }
        for (token, mut reached) in (0..).zip(reached) {
            let (experts, weights) = routing.token(token);
            let mut wanted: Vec<_> = experts.iter().copied().zip(weights.iter().copied()).collect();
            wanted.sort_by_key(|&(expert, _)| expert);
            reached.sort_by_key(|&(expert, _)| expert);
            assert_eq!(reached, wanted, "each (token, expert) once, with its weight");
        }
    }
    hops.retain(|(from, to), _| from != to);
    hops
}

proptest! {
    #[test]
    fn plans_conserve_rows_and_agree_with_the_rows_they_summarise(
        racks in prop::collection::vec(1_u32..5, 1..4),
        num_experts in 1_u32..24,
        top_k in 1_u32..6,
        tokens in 0_u32..6,
        replicated: bool,
        seed: u64,
    ) {
        let cluster = Cluster::new(&racks).unwrap();
        let top_k = top_k.min(num_experts);
        let placement = if replicated {
            Placement::replicated_per_rack(&cluster, num_experts).unwrap()
        } else {
            Placement::round_robin(&cluster, num_experts).unwrap()
        };
        let routings = routings(&cluster, seed, tokens, top_k, num_experts);
        let mut inter = Vec::new();
        for scheme in DispatchScheme::ALL {
            let plan = plan_traffic(scheme, &cluster, &placement, &routings, BYTES);
            let hops = walk(scheme, &cluster, &placement, &routings);
            let mut copies = Copies::default();
            for from in cluster.ranks() {
                for to in cluster.ranks() {
                    let (out, back) = hops.get(&(from, to)).copied().unwrap_or_default();
                    prop_assert_eq!(plan.dispatch.get(from, to), out * BYTES.dispatch, "{} {}->{}", scheme, from, to);
                    prop_assert_eq!(plan.combine.get(from, to), back * BYTES.combine);
                    let reverse = plan.combine.get(to, from) / BYTES.combine;
                    prop_assert_eq!(out, reverse, "a combine is the transpose of its dispatch");
                    if cluster.same_rack(from, to) { copies.intra += out } else { copies.inter += out }
                }
            }
            prop_assert_eq!(plan.copies, copies);
            prop_assert_eq!(plan.tokens, u64::from(tokens * cluster.num_ranks()));
            prop_assert_eq!(plan.rows_per_slot.iter().sum::<u64>(), plan.tokens * u64::from(top_k));
            inter.push((plan.copies.inter, plan.tokens_crossing));
        }
        prop_assert!(inter[0].0 >= inter[1].0 && inter[1].0 >= inter[2].0);
        prop_assert!(inter.iter().all(|x| x.1 == inter[0].1));
        if top_k == 1 {
            prop_assert!(inter.iter().all(|&x| x == inter[0]), "k = 1: one copy a token whatever the scheme");
        }
    }
}

fn any_placement(cluster: &Cluster, num_experts: u32, kind: u8) -> Placement {
    match kind {
        0 => Placement::linear(cluster, num_experts),
        1 => Placement::round_robin(cluster, num_experts),
        2 => Placement::replicated_per_rack(cluster, num_experts),
        _ => Placement::one_rack(cluster, num_experts, RackId(cluster.num_racks() - 1)),
    }
    .unwrap()
}

proptest! {
    #[test]
    fn both_ends_know_their_flows_and_every_row_has_one(
        racks in prop::collection::vec(1_u32..5, 1..4),
        num_experts in 1_u32..24,
        kind in 0_u8..4,
        seed: u64,
    ) {
        let cluster = Cluster::new(&racks).unwrap();
        let placement = any_placement(&cluster, num_experts, kind);
        let routings = routings(&cluster, seed, 4, num_experts.min(3), num_experts);
        for scheme in DispatchScheme::ALL {
            let flows = Flows::new(scheme, &cluster, &placement);
            let plan = plan_traffic(scheme, &cluster, &placement, &routings, BYTES);
            for from in cluster.ranks() {
                let downstream = flows.downstream(from);
                for to in cluster.ranks() {
                    prop_assert_eq!(downstream.contains(&to), flows.upstream(to).contains(&from));
                    prop_assert!(plan.dispatch.get(from, to) == 0 || downstream.contains(&to));
                    let crosses = !cluster.same_rack(from, to);
                    prop_assert!(!(kind == 2 && cluster.is_uniform() && crosses && downstream.contains(&to)), "replicas keep to their racks");
                }
                let hosted = |rank| !placement.slots_of(rank).is_empty();
                if scheme != DispatchScheme::Hierarchical && kind != 2 {
                    prop_assert!(cluster.ranks().all(|to| downstream.contains(&to) == (to != from && hosted(to))));
                }
            }
        }
    }
}

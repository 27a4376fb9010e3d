//! Routers of every source: distinct experts, limits, determinism, frequencies, and what is refused.

use super::*;
use crate::gate::{GateKind, GateSpec, Softmax};
use crate::ids::ExpertId;
use crate::model::Model;
use crate::placement::Placement;
use topology::{Cluster, Dtype};

fn shape(num_experts: u32, top_k: u32) -> LayerShape {
    LayerShape {
        hidden: 48,
        num_experts,
        top_k,
        expert_inter: 16,
        gate: GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true)),
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    }
}

fn router(shape: &LayerShape, spec: &RoutingSpec, limit: Option<&GateLimit>) -> Router {
    Router::new(shape, spec, limit, 7, 2).unwrap()
}

fn even_limit(num_experts: u32, groups: u32, limit: u32) -> GateLimit {
    GateLimit { group_of_expert: (0..num_experts).map(|e| e * groups / num_experts).collect(), groups, limit }
}

/// Share of `count` in the tokens of `routing`.
fn share(routing: &Routing, count: impl Fn(&[u32]) -> bool) -> f64 {
    let hits = (0..routing.tokens()).filter(|&t| count(routing.token(t).0)).count();
    hits as f64 / f64::from(routing.tokens())
}

#[test]
fn uniform_routing_hits_racks_as_often_as_the_closed_form() {
    // 256 experts, top-8, two racks: a token needs the other rack with q(128) = 0.9965.
    let routing = router(&shape(256, 8), &RoutingSpec::Uniform, None).route(0, RankId(0), 50_000);
    let crossing = share(&routing, |experts| experts.iter().any(|&e| e >= 128));
    assert!((crossing - 0.9965).abs() < 0.001, "{crossing}");
    let first = share(&routing, |experts| experts.contains(&0));
    assert!((first - 8.0 / 256.0).abs() < 0.003, "{first}");
    let limited = router(&shape(256, 8), &RoutingSpec::Uniform, Some(&even_limit(256, 2, 1)));
    let crossing = share(&limited.route(0, RankId(0), 50_000), |experts| experts.iter().any(|&e| e >= 128));
    assert!((crossing - 0.5).abs() < 0.01, "{crossing}");
}

#[test]
fn popularity_draws_in_proportion_without_replacement() {
    // Zipf of exponent 1 over 3 experts: 6/11, 3/11, 2/11. The least popular is first with 2/11 = 0.1818, and among
    // the first two with 2/11 + 6/11 * 2/5 + 3/11 * 2/8 = 0.4682.
    let routing =
        router(&shape(3, 2), &RoutingSpec::Zipf { exponent: 1.0 }, None).route(0, RankId(0), 50_000);
    let mut firsts: Vec<f64> = (0..3).map(|e| share(&routing, |experts| experts[0] == e)).collect();
    let least = (0..3).min_by(|&a, &b| firsts[a as usize].total_cmp(&firsts[b as usize])).unwrap();
    let any = share(&routing, |experts| experts.contains(&least));
    firsts.sort_by(f64::total_cmp);
    for (found, expected) in firsts.iter().chain([&any]).zip([2.0 / 11.0, 3.0 / 11.0, 6.0 / 11.0, 0.4682]) {
        assert!((found - expected).abs() < 0.01, "{found}, expected {expected}");
    }
}

#[test]
fn skew_zero_is_uniform_and_the_steepest_is_finite() {
    for spec in [RoutingSpec::Zipf { exponent: 0.0 }, RoutingSpec::LogNormal { sigma: 0.0 }] {
        let routing = router(&shape(16, 4), &spec, None).route(0, RankId(0), 20_000);
        for expert in 0..16 {
            let found = share(&routing, |experts| experts.contains(&expert));
            assert!((found - 0.25).abs() < 0.02, "{found}");
        }
    }
    for spec in [
        RoutingSpec::Zipf { exponent: MAX_ZIPF_EXPONENT },
        RoutingSpec::LogNormal { sigma: MAX_LOG_NORMAL_SIGMA },
    ] {
        let routing = router(&shape(4096, 8), &spec, None).route(0, RankId(0), 20);
        assert_eq!(routing.tokens(), 20);
        assert!(routing.topk_weights.iter().all(|w| w.is_finite()));
    }
}

#[test]
fn the_order_of_popularity_is_drawn_by_seed_and_layer() {
    let top = |seed, layer| {
        let router =
            Router::new(&shape(256, 1), &RoutingSpec::Zipf { exponent: 4.0 }, None, seed, layer).unwrap();
        let routing = router.route(0, RankId(0), 200);
        (0..256).max_by_key(|&e| routing.topk_idx.iter().filter(|&&x| x == e).count())
    };
    assert_eq!(top(1, 0), top(1, 0));
    assert!(top(1, 0) != top(1, 1) || top(1, 0) != top(2, 0));
}

#[test]
fn the_seeded_gate_of_deepseek_v3_keeps_to_four_groups_and_sums_to_its_scale() {
    let mut layer = Model::preset("deepseek-v3").unwrap().layer();
    layer.hidden = 256;
    let routing = router(&layer, &RoutingSpec::Gate, None).route(0, RankId(3), 100);
    for t in 0..routing.tokens() {
        let (experts, weights) = routing.token(t);
        let mut groups: Vec<u32> = experts.iter().map(|e| e / 32).collect();
        groups.sort_unstable();
        groups.dedup();
        assert!(groups.len() <= 4);
        assert!((weights.iter().sum::<f32>() - 2.5).abs() < 1e-4);
    }
    // The gate is balanced on the whole: no expert takes more than five times its share.
    let many = router(&layer, &RoutingSpec::Gate, None).route(0, RankId(0), 500);
    let most = (0..256).map(|e| many.topk_idx.iter().filter(|&&x| x == e).count()).max();
    assert!(most < Some(5 * 500 * 8 / 256), "{most:?}");
}

#[test]
fn given_states_route_as_the_seeded_ones() {
    let shape = shape(16, 4);
    let states = crate::hidden::hidden_states(7, 2, RankId(5), 37, shape.hidden);
    let router = router(&shape, &RoutingSpec::Gate, None);
    let tokens: Vec<TokenId> = (0..37).map(|position| TokenId { sequence: 0, position }).collect();
    assert_eq!(router.route_tokens(0, &tokens, &states), router.route(0, RankId(5), 37));
}

#[test]
fn recorded_rows_go_round_from_a_seeded_offset() {
    let rows = RecordedRows { top_k: 1, idx: (0..5).collect(), weights: vec![1.0; 5] };
    let router = router(&shape(5, 1), &RoutingSpec::Rows(rows), None);
    let first = router.route(0, RankId(0), 3).topk_idx;
    let second = router.route(0, RankId(1), 3).topk_idx;
    let all: Vec<u32> = first.iter().chain(&second).copied().collect();
    assert_eq!(all, (0..6).map(|t| (first[0] + t) % 5).collect::<Vec<_>>());
}

#[test]
fn a_rack_limit_comes_from_a_placement() {
    let cluster = Cluster::new(&[2, 1]).unwrap();
    let placement = Placement::linear(&cluster, 6).unwrap();
    let limit = GateLimit::from_placement(&cluster, &placement, 1).unwrap();
    assert_eq!(limit, GateLimit { group_of_expert: vec![0, 0, 0, 0, 1, 1], groups: 2, limit: 1 });
    let replicated = Placement::replicated_per_rack(&cluster, 6).unwrap();
    let error = GateLimit::from_placement(&cluster, &replicated, 1).unwrap_err();
    assert!(matches!(error, RoutingError::ReplicatedAcrossRacks { expert: ExpertId(0) }), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_with_a_remedy() {
    let rows = |top_k, idx: &[u32], weights: &[f32]| {
        RoutingSpec::Rows(RecordedRows { top_k, idx: idx.to_vec(), weights: weights.to_vec() })
    };
    let limit = |group_of_expert: &[u32], groups, limit| GateLimit {
        group_of_expert: group_of_expert.to_vec(),
        groups,
        limit,
    };
    let uniform = RoutingSpec::Uniform;
    let good = rows(2, &[0, 1], &[0.5, 0.5]);
    for (spec, limit, said) in [
        (&RoutingSpec::Zipf { exponent: -1.0 }, None, "zipf exponent = -1"),
        (&RoutingSpec::Zipf { exponent: f64::NAN }, None, "zipf exponent = NaN"),
        (&RoutingSpec::LogNormal { sigma: 17.0 }, None, "log-normal sigma = 17"),
        (&uniform, Some(limit(&[0, 0, 1], 2, 1)), "group_of_expert = a list of 3"),
        (&uniform, Some(limit(&[0, 0, 1, 2], 2, 1)), "group 2 for expert 3"),
        (&uniform, Some(limit(&[0, 0, 1, 1], 2, 0)), "limit = 0"),
        (&uniform, Some(limit(&[0, 0, 1, 1], 0, 1)), "groups = 0"),
        (&RoutingSpec::Gate, Some(limit(&[0, 0, 0, 1], 2, 1)), "as few as 1 experts, fewer than top_k = 2"),
        (&good, Some(limit(&[0, 0, 1, 1], 2, 1)), "a recorded trace can't be gated again"),
        (&rows(1, &[0], &[1.0]), None, "top_k = 1 in the trace, 2 in the layer"),
        (&rows(2, &[0, 4], &[0.5, 0.5]), None, "row 0 goes to expert 4, the layer has 4"),
        (&rows(2, &[0, 1, 2, 2], &[0.5; 4]), None, "row 1 goes to expert 2 twice"),
        (&rows(2, &[0, 1], &[0.5, f32::NAN]), None, "row 0 has weight NaN"),
        (&rows(2, &[0, 1, 2], &[0.5; 3]), None, "3 experts and 3 weights"),
        (&rows(2, &[0, 1], &[0.5]), None, "2 experts and 1 weights"),
        (&rows(2, &[], &[]), None, "0 rows"),
    ] {
        let message = Router::new(&shape(4, 2), spec, limit.as_ref(), 1, 0).unwrap_err().to_string();
        assert!(message.contains(said), "{message}\n  should contain: {said}");
    }
    let message = Router::new(&shape(4, 5), &uniform, None, 1, 0).unwrap_err().to_string();
    assert_eq!(message, "layer shape: top_k = 5 is not possible; give at most the 4 experts of the layer");
}

#[test]
fn a_limit_that_does_not_bind_changes_nothing() {
    let shape = shape(12, 3);
    for spec in [RoutingSpec::Gate, RoutingSpec::Uniform] {
        let free = router(&shape, &spec, None).route(0, RankId(0), 20);
        // Three of the five groups have no experts.
        let limit = GateLimit { group_of_expert: (0..12).map(|e| e % 2 * 4).collect(), groups: 5, limit: 2 };
        assert_eq!(router(&shape, &spec, Some(&limit)).route(0, RankId(0), 20), free);
    }
}

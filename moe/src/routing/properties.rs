//! What holds for every router: distinct experts, limits, and independence from the other tokens.

use super::*;
use crate::gate::{GateSpec, any_kind};
use proptest::prelude::*;
use topology::Dtype;

fn any_spec() -> impl Strategy<Value = RoutingSpec> {
    prop_oneof![
        Just(RoutingSpec::Gate),
        Just(RoutingSpec::Uniform),
        (0.0..3.0).prop_map(|exponent| RoutingSpec::Zipf { exponent }),
        (0.0..3.0).prop_map(|sigma| RoutingSpec::LogNormal { sigma }),
    ]
}

fn any_gate() -> impl Strategy<Value = GateSpec> {
    (any_kind(), prop_oneof![Just((1, 1)), Just((4, 2)), Just((8, 3))]).prop_map(
        |(kind, (n_group, topk_group))| GateSpec {
            kind,
            n_group,
            topk_group,
            equal_shares: false,
            routed_scaling_factor: 1.5,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_router_obeys_its_rules(
        spec in any_spec(),
        gate in any_gate(),
        top_k in 1_u32..=6,
        groups in prop::option::of((prop::collection::vec(0_u32..4, 32), 1_u32..=4)),
        seed: u64,
        tokens in 1_u32..40,
    ) {
        let shape =
            LayerShape { hidden: 48, num_experts: 32, top_k, expert_inter: 16, gate, dtype: Dtype::Fp8, zero_experts: 0, gated: true, weight_bits: None };
        let limit = groups.map(|(group_of_expert, limit)| GateLimit { group_of_expert, groups: 4, limit });
        let router = match Router::new(&shape, &spec, limit.as_ref(), seed, 1) {
            Ok(router) => router,
            Err(RoutingError::TooFewExperts { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let routing = router.route(0, RankId(3), tokens);
        prop_assert_eq!(routing.tokens(), tokens);
        for t in 0..tokens {
            let (experts, weights) = routing.token(t);
            let mut distinct = experts.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), top_k as usize);
            prop_assert!(distinct.iter().all(|&e| e < 32));
            prop_assert!(weights.iter().all(|w| w.is_finite() && *w > 0.0));
            if let Some(limit) = &limit {
                let mut used: Vec<u32> = experts.iter().map(|&e| limit.group_of_expert[e as usize]).collect();
                used.sort_unstable();
                used.dedup();
                prop_assert!(used.len() <= limit.limit as usize);
            } else if spec == RoutingSpec::Gate {
                let mut used: Vec<u32> = experts.iter().map(|&e| e / (32 / gate.n_group)).collect();
                used.sort_unstable();
                used.dedup();
                prop_assert!(used.len() <= gate.topk_group as usize);
            }
        }
        // A token's routing depends neither on the tokens after it nor on who made the router.
        let again = Router::new(&shape, &spec, limit.as_ref(), seed, 1).unwrap().route(0, RankId(3), tokens / 2);
        let half = (tokens / 2 * top_k) as usize;
        prop_assert_eq!(&again.topk_idx[..], &routing.topk_idx[..half]);
        prop_assert_eq!(&again.topk_weights[..], &routing.topk_weights[..half]);
    }
}

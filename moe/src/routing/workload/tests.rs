//! Each workload does what its name says, is seeded, and keeps its tokens.

use super::*;
use crate::gate::{GateKind, GateSpec, SoftmaxAfterTopk};
use crate::routing::{GateLimit, Router, RoutingSpec};
use crate::shape::LayerShape;
use proptest::prelude::*;
use topology::{Dtype, RankId};

const EXPERTS: u32 = 64;
const RANKS: u32 = 8;

fn shape(num_experts: u32, top_k: u32) -> LayerShape {
    LayerShape {
        hidden: 16,
        num_experts,
        top_k,
        expert_inter: 16,
        gate: GateSpec::ungrouped(GateKind::of(&SoftmaxAfterTopk)),
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    }
}

fn router(workload: Workload, seed: u64, layer: u32) -> Router {
    let spec = RoutingSpec::Workload { workload, ranks: RANKS };
    Router::new(&shape(EXPERTS, 1), &spec, None, seed, layer).unwrap()
}

/// Share of each expert in 20,000 top-1 tokens.
fn shares(workload: Workload, seed: u64, layer: u32, step: u32) -> Vec<f64> {
    let mut shares = vec![0.0; EXPERTS as usize];
    for expert in router(workload, seed, layer).route(step, RankId(0), 20_000).topk_idx {
        shares[expert as usize] += 1.0 / 20_000.0;
    }
    shares
}

fn rank_shares(shares: &[f64]) -> Vec<f64> {
    shares.chunks_exact((EXPERTS / RANKS) as usize).map(|rank| rank.iter().sum()).collect()
}

fn hottest(shares: &[f64]) -> usize {
    (0..shares.len()).max_by(|&a, &b| shares[a].total_cmp(&shares[b])).unwrap()
}

#[test]
fn balanced_ragged_and_burst_pick_all_alike() {
    for workload in [Workload::W0, Workload::W4, Workload::W7] {
        for share in rank_shares(&shares(workload, 1, 0, 0)) {
            assert!((share - 0.125).abs() < 0.01, "{workload}: {share}");
        }
    }
}

#[test]
fn a_sixteenth_of_the_experts_takes_half() {
    let hot = |layer| {
        let shares = shares(Workload::W1, 1, layer, 0);
        let hot: Vec<usize> = (0..shares.len()).filter(|&expert| shares[expert] > 0.06).collect();
        let sum: f64 = hot.iter().map(|&expert| shares[expert]).sum();
        assert!(hot.len() == 4 && (sum - HOT_SHARE).abs() < 0.02, "{hot:?} {sum}");
        hot
    };
    assert_ne!(hot(0), hot(1), "drawn by layer");
}

#[test]
fn one_rank_is_hot_in_every_layer_or_as_many_experts_are_spread() {
    let ranks = rank_shares(&shares(Workload::W2, 1, 0, 0));
    let hot = hottest(&ranks);
    assert!((ranks[hot] - HOT_SHARE).abs() < 0.02, "{ranks:?}");
    assert_eq!(hottest(&rank_shares(&shares(Workload::W2, 1, 5, 3))), hot, "in any layer and step");
    let spread = shares(Workload::W3, 1, 0, 0);
    for rank in spread.chunks_exact(8) {
        assert_eq!(rank.iter().filter(|&&share| share > 0.03).count(), 1, "one a rank: {rank:?}");
    }
    for share in rank_shares(&spread) {
        assert!((share - 0.125).abs() < 0.02, "{share}");
    }
}

#[test]
fn the_experts_of_one_rank_get_nothing() {
    let ranks = rank_shares(&shares(Workload::W5, 1, 0, 0));
    assert_eq!(ranks.iter().filter(|&&share| share == 0.0).count(), 1);
    // Nor with a limit to groups, one of them the rank's.
    let limit = GateLimit { group_of_expert: (0..EXPERTS).map(|e| e / 8).collect(), groups: 8, limit: 2 };
    let spec = RoutingSpec::Workload { workload: Workload::W5, ranks: RANKS };
    let router = Router::new(&shape(EXPERTS, 8), &spec, Some(&limit), 1, 0).unwrap();
    let cold = Workload::W5.excluded(EXPERTS, RANKS, 1);
    assert!(router.route(0, RankId(0), 1_000).topk_idx.iter().all(|expert| !cold.contains(expert)));
}

#[test]
fn the_hot_rank_moves_by_one_each_step() {
    let hot: Vec<usize> =
        (0..9).map(|step| hottest(&rank_shares(&shares(Workload::W6, 1, 0, step)))).collect();
    assert!(hot.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 8), "{hot:?}");
}

#[test]
fn a_burst_comes_every_four_steps() {
    let tokens: Vec<u32> = (0..12).map(|step| Workload::W7.tokens(3, 10, 1, step)[2]).collect();
    assert_eq!(tokens.iter().filter(|&&tokens| tokens == 40).count(), 3);
    assert_eq!(tokens[..4], tokens[4..8]);
    assert_eq!(Workload::W7.tokens(3, u32::MAX, 1, 0).len(), 3);
}

#[test]
fn picks_are_seeded_by_workload_seed_and_step() {
    let picks = |workload, seed, step| router(workload, seed, 0).route(step, RankId(0), 8).topk_idx;
    let first = picks(Workload::W0, 1, 0);
    assert_eq!(first, picks(Workload::W0, 1, 0));
    for other in [picks(Workload::W4, 1, 0), picks(Workload::W0, 2, 0), picks(Workload::W0, 1, 1)] {
        assert_ne!(first, other);
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let refused = |workload, ranks, top_k| {
        let spec = RoutingSpec::Workload { workload, ranks };
        Router::new(&shape(8, top_k), &spec, None, 1, 0).unwrap_err().to_string()
    };
    assert_eq!(refused(Workload::W2, 0, 1), "workload W2: 0 ranks; give 1 to 65536 ranks");
    assert_eq!(
        refused(Workload::W5, 2, 5),
        "workload W5: 4 experts are left of 8 on 2 ranks; give more ranks, or at most top-4"
    );
}

proptest! {
    #[test]
    fn ragged_tokens_keep_the_total_and_leave_some_ranks_idle(ranks in 2_u32..200, base in 0_u32..5_000, seed: u64) {
        let tokens = Workload::W4.tokens(ranks, base, seed, 3);
        prop_assert_eq!(&tokens, &Workload::W4.tokens(ranks, base, seed, 9));
        prop_assert_eq!(tokens.iter().map(|&t| u64::from(t)).sum::<u64>(), u64::from(base) * u64::from(ranks));
        prop_assert!(tokens.iter().filter(|&&t| t == 0).count() as u32 >= (ranks / IDLE_DIVISOR).max(1));
    }

    #[test]
    fn any_sizes_give_distinct_experts_whatever_the_number_of_tokens(
        workload in prop::sample::select(Workload::ALL.to_vec()),
        experts in 4_u32..40,
        ranks in 2_u32..50,
        seed: u64,
        step in 0_u32..100,
    ) {
        let spec = RoutingSpec::Workload { workload, ranks };
        let router = Router::new(&shape(experts, 2), &spec, None, seed, 1).unwrap();
        let all = router.route(step, RankId(1), 9);
        let few = router.route(step, RankId(1), 4);
        prop_assert_eq!(&all.topk_idx[..8], &few.topk_idx[..]);
        for pair in all.topk_idx.chunks_exact(2) {
            prop_assert!(pair[0] != pair[1] && pair.iter().all(|&expert| expert < experts));
        }
    }
}

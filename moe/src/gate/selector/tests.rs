//! Gates by hand: small cases computed on paper, and the rules of selection.

use super::*;
use crate::gate::{Sigmoid, Softmax, SoftmaxAfterTopk};
use proptest::prelude::*;

/// The logit whose sigmoid is `p`.
fn logit(p: f32) -> f32 {
    (p / (1.0 - p)).ln()
}

fn select(selector: &Selector, logits: &[f32]) -> (Vec<u32>, Vec<f32>) {
    let mut routing = Routing::with_capacity(selector.top_k as u32, 1);
    selector.select(&mut logits.to_vec(), &mut Scratch::default(), &mut routing);
    (routing.topk_idx, routing.topk_weights)
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 1e-5, "{found:?}, expected {expected:?}");
    }
}

fn v3(bias: Vec<f32>) -> Selector {
    let kind = GateKind::of(&Sigmoid).bias(true).norm_topk(true);
    let spec = GateSpec { kind, n_group: 4, topk_group: 2, equal_shares: false, routed_scaling_factor: 2.5 };
    Selector::new(&spec, 8, 3, bias, None)
}

/// Four groups of two: scores of the best pair decide, after the bias, so group 0 with the best single expert goes.
const V3_SCORES: [f32; 8] = [0.9, 0.1, 0.62, 0.58, 0.5, 0.55, 0.2, 0.2];
const V3_BIAS: [f32; 8] = [0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.0, 0.0];

#[test]
fn deepseek_v3_by_hand() {
    // Group scores 1.0, 1.2, 1.25, 0.4: groups 1 and 2 stay. Biased: 0.62, 0.58, 0.60, 0.65, so experts 5, 2, 4.
    // Weights from 0.55, 0.62, 0.50 (sum 1.67), times 2.5.
    let (experts, weights) = select(&v3(V3_BIAS.to_vec()), &V3_SCORES.map(logit));
    assert_eq!(experts, [5, 2, 4]);
    assert_near(&weights, &[2.5 * 0.55 / 1.67, 2.5 * 0.62 / 1.67, 2.5 * 0.50 / 1.67]);
}

#[test]
fn dropped_groups_stay_out_where_kept_scores_are_negative() {
    // A mask of 0.0 instead of minus infinity would prefer the dropped experts here.
    let lowered = V3_BIAS.iter().map(|b| b - 1.0).collect();
    let (experts, weights) = select(&v3(lowered), &V3_SCORES.map(logit));
    assert_eq!(experts, [5, 2, 4]);
    assert_near(&weights, &[2.5 * 0.55 / 1.67, 2.5 * 0.62 / 1.67, 2.5 * 0.50 / 1.67]);
}

#[test]
fn deepseek_v2_ranks_groups_by_their_best_expert_and_does_not_normalise() {
    let kind = GateKind::of(&Softmax);
    let spec = GateSpec { kind, n_group: 4, topk_group: 2, equal_shares: false, routed_scaling_factor: 16.0 };
    let selector = Selector::new(&spec, 8, 3, Vec::new(), None);
    let probabilities = [0.25_f32, 0.01, 0.18, 0.17, 0.15, 0.14, 0.05, 0.05];
    let (experts, weights) = select(&selector, &probabilities.map(f32::ln));
    assert_eq!(experts, [0, 2, 3]);
    assert_near(&weights, &[4.0, 2.88, 2.72]);
}

#[test]
fn softmax_gates_by_hand() {
    let probabilities = [0.1_f32, 0.4, 0.2, 0.3];
    let logits = probabilities.map(f32::ln);
    let weights_of = |kind| {
        let (experts, weights) =
            select(&Selector::new(&GateSpec::ungrouped(kind), 4, 2, Vec::new(), None), &logits);
        assert_eq!(experts, [1, 3]);
        weights
    };
    assert_near(&weights_of(GateKind::of(&Softmax)), &[0.4, 0.3]);
    assert_near(&weights_of(GateKind::of(&Softmax).norm_topk(true)), &[4.0 / 7.0, 3.0 / 7.0]);
    assert_near(&weights_of(GateKind::of(&SoftmaxAfterTopk)), &[4.0 / 7.0, 3.0 / 7.0]);
}

#[test]
fn sigmoid_without_bias_is_the_plain_score() {
    let spec = GateSpec::ungrouped(GateKind::of(&Sigmoid));
    let selector = Selector::new(&spec, 3, 1, vec![9.0, 0.0, 0.0], None);
    let (experts, weights) = select(&selector, &[0.2, 0.7, 0.5].map(logit));
    assert_eq!(experts, [1]);
    assert_near(&weights, &[0.7]);
}

#[test]
fn ties_go_to_the_lower_expert_and_the_lower_group() {
    let kind = GateKind::of(&Sigmoid).bias(true).norm_topk(true);
    let spec = GateSpec { kind, n_group: 4, topk_group: 2, equal_shares: false, routed_scaling_factor: 1.0 };
    let (experts, weights) = select(&Selector::new(&spec, 8, 3, vec![0.0; 8], None), &[0.0; 8]);
    assert_eq!(experts, [0, 1, 2]);
    assert_near(&weights, &[1.0 / 3.0; 3]);
}

#[test]
fn an_outer_limit_goes_first_and_the_groups_fill_up() {
    // The outer limit leaves experts 1, 3, 5, 7 (the better sum), one in each group: two groups hold two of three.
    let odd_and_even = vec![vec![0, 2, 4, 6], vec![1, 3, 5, 7]];
    let kind = GateKind::of(&Sigmoid);
    let spec = GateSpec { kind, n_group: 4, topk_group: 2, equal_shares: false, routed_scaling_factor: 1.0 };
    let outer = GroupLimiter::new(odd_and_even, 1, 3, 3);
    let selector = Selector::new(&spec, 8, 3, Vec::new(), Some(outer));
    let (experts, _) = select(&selector, &[0.9, 0.5, 0.1, 0.6, 0.1, 0.7, 0.1, 0.8].map(logit));
    assert_eq!(experts, [7, 5, 3]);
}

proptest! {
    #[test]
    fn the_largest_are_those_of_a_stable_sort(values in prop::collection::vec(0_u8..6, 1..40), n in 1_usize..10) {
        let candidates: Vec<(f32, u32)> = (0..).zip(&values).map(|(id, &v)| (f32::from(v), id)).collect();
        let mut best = Vec::new();
        largest(candidates.iter().copied(), n, &mut best);
        let mut sorted = candidates;
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        sorted.truncate(n);
        prop_assert_eq!(best, sorted);
    }
}

//! Tests of the references: the written arithmetic by hand, agreement of the two, independence from chunking.

use super::*;
use crate::experts::ExpertKind;
use crate::hidden::hidden_states;
use crate::rows::round_bf16;
use crate::testing::{shape, uniform_routings};

#[test]
fn one_token_by_hand() {
    // Racks {0, 1} and {2, 3, 4}, two experts a rank. Source 1's gateway in rack 1 is rank 3.
    let cluster = Cluster::new(&[2, 3]).unwrap();
    let placement = Placement::linear(&cluster, 10).unwrap();
    let shape = shape(140, 10, 6, 1);
    let experts = Experts::new(ExpertKind::Modelled, &shape, 5, 2);
    let empty = Routing { top_k: 6, topk_idx: vec![], topk_weights: vec![] };
    let idx = [8, 0, 3, 5, 4, 1];
    let weights = [0.1, 0.2, 0.3, 0.15, 0.05, 0.2];
    let token = Routing { top_k: 6, topk_idx: idx.to_vec(), topk_weights: weights.to_vec() };
    let routings = [empty.clone(), token, empty.clone(), empty.clone(), empty];

    let x = hidden_states(5, 2, RankId(1), 1, 140);
    let mut row = Vec::new();
    rows::quantise_fp8(&x, &mut row);
    let mut arrived = vec![0.0; 140];
    rows::dequantise_fp8(&row, 140, &mut arrived);
    let weighted = |expert: usize| -> (f32, Vec<f32>) {
        let mut y = vec![0.0; 140];
        experts.apply(ExpertId(idx[expert]), &arrived, &mut y);
        (weights[expert], y)
    };
    // Positions in `idx`, ascending by expert: 0, 1 on rank 0; 3 on rank 1; 4, 5 on rank 2; 8 on rank 4.
    let [e0, e1, e3, e4, e5, e8] = [1, 5, 2, 4, 3, 0].map(weighted);
    for i in 0..140 {
        let wy = |e: &(f32, Vec<f32>)| e.0 * e.1[i];
        let wc = |e: &(f32, Vec<f32>)| e.0 * round_bf16(e.1[i]);
        let flat = wc(&e0) + wc(&e1) + wc(&e3) + wc(&e4) + wc(&e5) + wc(&e8);
        let [p0, p1, p2, p4] = [wy(&e0) + wy(&e1), wy(&e3), wy(&e4) + wy(&e5), wy(&e8)].map(round_bf16);
        let dedup = p0 + p1 + p2 + p4;
        let hierarchical = p0 + p1 + round_bf16(p2 + p4);
        for (scheme, expected) in [
            (DispatchScheme::Flat, flat),
            (DispatchScheme::Dedup, dedup),
            (DispatchScheme::Hierarchical, hierarchical),
        ] {
            let out = quantised(scheme, &cluster, &placement, &experts, &shape, 5, 2, &routings);
            assert_eq!(out.iter().map(Vec::len).collect::<Vec<_>>(), [0, 140, 0, 0, 0]);
            assert_eq!(out[1][i].to_bits(), expected.to_bits(), "{scheme} element {i}");
        }
    }
}

#[test]
fn contributions_are_summed_by_rank_and_not_by_rack() {
    // The source sits in rack 1; the gateway of rack 0 is rank 0, so the remote sum comes first.
    let cluster = Cluster::new(&[2, 2]).unwrap();
    let y: Vec<Vec<f32>> = [1.0, 2.0, -3.0e38, 3.0e38].map(|x| vec![x]).into();
    let terms: Vec<Term<'_>> =
        (0..).map(RankId).zip(&y).map(|(host, y)| Term { host, weight: 1.0, y }).collect();
    let sum = |scheme| {
        let mut out = [f32::NAN];
        combine(scheme, &cluster, RankId(2), &terms, &mut out);
        out[0]
    };
    // ((1 + 2) - 3e38) + 3e38 loses the 3; any order with the large terms first would keep it.
    assert_eq!(DispatchScheme::ALL.map(sum), [0.0; 3]);
}

#[test]
fn quantised_outputs_stay_within_the_stated_tolerance_of_float64() {
    let cluster = Cluster::new(&[4, 3]).unwrap();
    for (kind, shape) in [
        (ExpertKind::Modelled, shape(1024, 32, 8, 1)),
        (ExpertKind::Modelled, shape(200, 4, 1, 1)),
        (ExpertKind::Gemm, shape(256, 16, 4, 128)),
        (ExpertKind::Gemm, shape(192, 8, 1, 96)),
    ] {
        let placement = Placement::linear(&cluster, shape.num_experts).unwrap();
        let experts = Experts::new(kind, &shape, 1, 0);
        let routings = uniform_routings(&cluster, &shape, 11, 12);
        let exact = float64(&experts, &shape, 1, 0, &routings);
        for scheme in DispatchScheme::ALL {
            let out = quantised(scheme, &cluster, &placement, &experts, &shape, 1, 0, &routings);
            let error = relative_rms_error(&out, &exact);
            // Not too small either: rows did go through FP8.
            assert!((0.02..=FP8_TOLERANCE).contains(&error), "{kind:?} {scheme}: {error}");
        }
    }
}

#[test]
fn the_tolerance_catches_a_lost_expert() {
    let cluster = Cluster::new(&[2]).unwrap();
    let shape = shape(512, 16, 8, 1);
    let placement = Placement::linear(&cluster, 16).unwrap();
    let experts = Experts::new(ExpertKind::Modelled, &shape, 1, 0);
    let routings = uniform_routings(&cluster, &shape, 11, 4);
    let exact = float64(&experts, &shape, 1, 0, &routings);
    let mut wrong = routings;
    for routing in &mut wrong {
        routing.topk_weights.iter_mut().step_by(8).for_each(|weight| *weight = 0.0);
    }
    let out = quantised(DispatchScheme::Flat, &cluster, &placement, &experts, &shape, 1, 0, &wrong);
    assert!(relative_rms_error(&out, &exact) > 2.0 * FP8_TOLERANCE);
}

#[test]
fn a_token_does_not_depend_on_the_tokens_worked_on_with_it() {
    // 2,300 tokens of hidden 1024 and top-8 exceed the working bytes once.
    let cluster = Cluster::new(&[1, 1]).unwrap();
    let shape = shape(1024, 8, 8, 1);
    let placement = Placement::linear(&cluster, 8).unwrap();
    let experts = Experts::new(ExpertKind::Modelled, &shape, 1, 0);
    let routings = uniform_routings(&cluster, &shape, 11, 1_150);
    assert!(at_a_time::<f32>(1024 * 8) < 2_300);
    let all =
        quantised(DispatchScheme::Hierarchical, &cluster, &placement, &experts, &shape, 1, 0, &routings);
    let first: Vec<Routing> = routings
        .iter()
        .map(|r| Routing {
            top_k: 8,
            topk_idx: r.topk_idx[..80].to_vec(),
            topk_weights: r.topk_weights[..80].to_vec(),
        })
        .collect();
    let few = quantised(DispatchScheme::Hierarchical, &cluster, &placement, &experts, &shape, 1, 0, &first);
    for (all, few) in all.iter().zip(&few) {
        assert_eq!(all[..few.len()], few[..]);
    }
}

#[test]
fn relative_error_is_that_of_the_whole() {
    assert_eq!(relative_rms_error(&[vec![3.0], vec![4.5]], &[vec![3.0], vec![4.0]]), 0.1);
    assert_eq!(relative_rms_error(&[vec![0.0]], &[vec![0.0]]), 0.0);
    assert_eq!(relative_rms_error(&[], &[]), 0.0);
    assert_eq!(relative_rms_error(&[vec![1.0]], &[vec![0.0]]), f64::INFINITY);
    assert!(relative_rms_error(&[vec![f32::NAN]], &[vec![1.0]]).is_nan());
}

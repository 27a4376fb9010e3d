//! Tests of both kinds of expert: batch invariance to the bit, the float64 twin, scale and identity.

use super::*;
use crate::hidden::hidden_states;
use crate::testing;
use topology::RankId;

fn shape(hidden: u32, num_experts: u32, expert_inter: u32) -> LayerShape {
    testing::shape(hidden, num_experts, 1, expert_inter)
}

fn apply(experts: &Experts, expert: u32, rows: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows.len()];
    experts.apply(ExpertId(expert), rows, &mut out);
    out
}

fn rms(x: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = x.fold((0.0, 0.0), |(sum, n), x| (sum + x * x, n + 1.0));
    f64::sqrt(sum / n)
}

#[test]
fn a_row_has_the_same_bits_in_any_batch_and_position() {
    // Shapes off and on the edges of the gemm kernels' tiles; 300 and 520 cross a block of the inner dimension.
    for (kind, hidden, inter) in [
        (ExpertKind::Modelled, 130, 1),
        (ExpertKind::Gemm, 64, 32),
        (ExpertKind::Gemm, 130, 300),
        (ExpertKind::Gemm, 520, 33),
    ] {
        let experts = Experts::new(kind, &shape(hidden, 2, inter), 1, 0);
        let h = hidden as usize;
        let rows = hidden_states(9, 0, RankId(0), 17, hidden);
        let alone: Vec<Vec<f32>> = rows.chunks(h).map(|row| apply(&experts, 1, row)).collect();
        for n in 1..=17 {
            for first in 0..17 {
                let order: Vec<usize> = (0..n).map(|i| (first + i) % 17).collect();
                let batch: Vec<f32> = order.iter().flat_map(|&i| &rows[i * h..][..h]).copied().collect();
                let out = apply(&experts, 1, &batch);
                for (&i, out) in order.iter().zip(out.chunks(h)) {
                    let same = out.iter().zip(&alone[i]).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{kind:?} hidden {hidden} inter {inter}: row {i} in a batch of {n}");
                }
            }
        }
    }
}

#[test]
fn large_batches_are_cut_without_a_trace() {
    // More rows and columns than one block of the gemm loops.
    let experts = Experts::new(ExpertKind::Gemm, &shape(96, 1, 1100), 1, 0);
    let rows = hidden_states(2, 0, RankId(0), 200, 96);
    let together = apply(&experts, 0, &rows);
    for (row, out) in rows.chunks(96).zip(together.chunks(96)) {
        assert_eq!(apply(&experts, 0, row), out);
    }
}

#[test]
fn float64_agrees_and_outputs_have_unit_variance() {
    for kind in [ExpertKind::Modelled, ExpertKind::Gemm] {
        let experts = Experts::new(kind, &shape(256, 3, 192), 4, 2);
        let rows = hidden_states(1, 2, RankId(0), 40, 256);
        for expert in 0..3 {
            let out = apply(&experts, expert, &rows);
            let wide: Vec<f64> = rows.iter().copied().map(f64::from).collect();
            let mut expected = vec![f64::NAN; wide.len()];
            experts.apply_f64(ExpertId(expert), &wide, &mut expected);
            let error = rms(out.iter().zip(&expected).map(|(&a, b)| f64::from(a) - b));
            assert!(error < 1e-6, "{kind:?}: {error}");
            let size = rms(expected.into_iter());
            assert!((0.8..1.25).contains(&size), "{kind:?}: {size}");
        }
    }
}

#[test]
fn experts_of_two_matrices_agree_with_float64_and_keep_unit_variance() {
    let two = LayerShape { gated: false, ..shape(256, 1, 192) };
    let experts = Experts::new(ExpertKind::Gemm, &two, 4, 2);
    let rows = hidden_states(1, 2, RankId(0), 40, 256);
    let wide: Vec<f64> = rows.iter().copied().map(f64::from).collect();
    let mut expected = vec![f64::NAN; wide.len()];
    experts.apply_f64(ExpertId(0), &wide, &mut expected);
    let out = apply(&experts, 0, &rows);
    let error = rms(out.iter().zip(&expected).map(|(&a, b)| f64::from(a) - b));
    let size = rms(expected.into_iter());
    assert!(error < 1e-6 && (0.8..1.25).contains(&size), "{error} {size}");
}

#[test]
fn experts_layers_and_seeds_differ_and_a_second_maker_agrees() {
    let rows = hidden_states(1, 0, RankId(0), 2, 64);
    for kind in [ExpertKind::Modelled, ExpertKind::Gemm] {
        let shape = shape(64, 40, 16);
        let make = |seed, layer| Experts::new(kind, &shape, seed, layer);
        let outputs: Vec<_> = (0..40).map(|expert| apply(&make(1, 0), expert, &rows)).collect();
        for a in 0..40 {
            for b in 0..a {
                // Far beyond rounding: any two experts disagree by a good part of the output itself.
                let apart = rms(outputs[a].iter().zip(&outputs[b]).map(|(a, b)| f64::from(a - b)));
                assert!(apart > 0.01, "{kind:?}: experts {a} and {b} differ by {apart} only");
            }
        }
        assert_eq!(apply(&make(1, 0), 7, &rows), outputs[7]);
        assert_ne!(apply(&make(2, 0), 7, &rows), outputs[7]);
        assert_ne!(apply(&make(1, 1), 7, &rows), outputs[7]);
    }
}

#[test]
fn modelled_experts_notice_a_shift_and_a_swap_inside_the_row() {
    let experts = Experts::new(ExpertKind::Modelled, &shape(256, 4, 1), 1, 0);
    let row = hidden_states(1, 0, RankId(0), 1, 256);
    let mut swapped = row.clone();
    swapped.swap(3, 200);
    let mut shifted = row.clone();
    shifted.rotate_left(1);
    let out = apply(&experts, 0, &row);
    assert!(apply(&experts, 0, &swapped) != out && apply(&experts, 0, &shifted) != out);
}

#[test]
fn the_weight_cache_changes_nothing_but_time() {
    let shape = shape(48, 6, 20);
    let kept = Experts::new(ExpertKind::Gemm, &shape, 3, 0);
    // Room for two experts of 3 * 48 * 20 f32 and a bit.
    let tight = Experts::new(ExpertKind::Gemm, &shape, 3, 0).with_cache_limit(2 * 11_520 + 100);
    let none = Experts::new(ExpertKind::Gemm, &shape, 3, 0).with_cache_limit(0);
    let rows = hidden_states(1, 0, RankId(0), 3, 48);
    for _ in 0..2 {
        for expert in 0..6 {
            let out = apply(&kept, expert, &rows);
            assert_eq!(apply(&tight, expert, &rows), out);
            assert_eq!(apply(&none, expert, &rows), out);
        }
    }
    let cached = |experts: &Experts| match &experts.body {
        Body::Gemm(gemm) => gemm.cached(),
        Body::Modelled(_) => 0,
    };
    assert_eq!([&kept, &tight, &none].map(cached), [6, 2, 0]);
}

#[test]
fn small_shapes_and_empty_batches_work() {
    for kind in [ExpertKind::Modelled, ExpertKind::Gemm] {
        let experts = Experts::new(kind, &shape(1, 1, 1), 1, 0);
        assert_eq!(apply(&experts, 0, &[]), [0.0_f32; 0]);
        assert!(apply(&experts, 0, &[1.0, -2.0]).iter().all(|y| y.is_finite()));
        assert_eq!(apply(&experts, 0, &[0.0]), [0.0]);
    }
}

#[test]
#[should_panic(expected = "expert 5 of a layer with 4 experts")]
fn an_unknown_expert_is_a_bug() {
    apply(&Experts::new(ExpertKind::Gemm, &shape(8, 4, 8), 1, 0), 5, &[0.0; 8]);
}

//! Inverses of any round function and layer, the drift of floats, and the trade of memory for arithmetic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Some function of a word and a round, neither injective nor smooth.
fn scramble(seed: u64, word: u64, round: u32) -> u64 {
    let mixed = (word ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(round % 64);
    (mixed ^ (mixed >> 29)) & seed.rotate_right(7)
}

fn scramble_all(seed: u64, layer: u32, x: &[i64], update: &mut [i64]) {
    // Each element sees all others, as in attention.
    let sum = x.iter().fold(0u64, |sum, element| sum.rotate_left(1) ^ element.cast_unsigned());
    for (place, update) in update.iter_mut().enumerate() {
        *update = scramble(seed, sum.wrapping_add(place as u64), layer).cast_signed();
    }
}

/// Shifts, scales and clips: `slope` is its Lipschitz constant, and it rounds once.
fn clip(slope: f64, layer: u32, x: &[f64], update: &mut [f64]) {
    for (place, update) in update.iter_mut().enumerate() {
        *update = (slope * x[(place + layer as usize) % x.len()]).clamp(-1e3, 1e3);
    }
}

#[test]
fn f1_a_feistel_round_keeps_one_half() {
    assert_eq!(feistel((3, 4), 1, |x, _| 10 * x), (34, 3));
    assert_eq!(feistel((3, u64::MAX), 1, |x, _| x), (2, 3));
    assert_eq!(feistel((3, 4), 0, |x, _| x), (3, 4));
}

#[test]
fn f2_a_third_more_arithmetic_for_a_layers_memory() {
    let per_layer = Bytes(1.0);
    let memory = Policy::ALL.map(|policy| format!("{:.1}", policy.activation_memory(61, per_layer).0));
    assert_eq!(memory, ["61.0", "15.6", "1.0"]);
    assert_eq!(Policy::ALL.map(Policy::compute_units), [3.0, 4.0, 4.0]);
    assert_eq!(Policy::ALL.map(Policy::compute_factor), [1.0, 4.0 / 3.0, 4.0 / 3.0]);
    assert_eq!(format!("{:.2}", Policy::Reversible.compute_factor()), "1.33");
    for policy in Policy::ALL {
        assert_eq!(policy.activation_memory(0, per_layer), Bytes(0.0));
    }
}

#[test]
fn f3_activations_and_caches_have_one_break_even() {
    let (forward, flops, capacity) = (Flop(2e11), FlopPerS(5e15), Bytes(186e9));
    // The talk's token with its cache for an activation: E8's number.
    assert_eq!(activation_break_even(forward, flops, capacity, Bytes(2048.0)).0.round(), 3633.0);
    assert_eq!(activation_break_even(forward, flops, capacity, Bytes(0.0)).0, f64::INFINITY);
    assert_eq!(activation_break_even(Flop(0.0), FlopPerS(0.0), capacity, Bytes(0.0)).0, 0.0);
}

#[test]
fn halves_have_one_length() {
    assert_eq!(Halves::new(vec![1], vec![]), None);
    let halves = Halves::new(vec![1], vec![2]).expect("one length");
    assert_eq!((halves.x(), halves.y()), (&[1][..], &[2][..]));
    let next = halves.forward(|x, update| update.copy_from_slice(x));
    assert_eq!((next.x(), next.y()), (&[3][..], &[1][..]));
}

#[test]
fn fixed_point_numbers_keep_to_their_range() {
    assert_eq!(from_fixed(to_fixed(-1.25)), -1.25);
    assert_eq!([f64::NAN, f64::INFINITY, -1e300].map(to_fixed), [0, i64::MAX, i64::MIN]);
}

#[test]
fn floats_drift_where_fixed_points_do_not() {
    let input = Halves::new(vec![0.1, 0.7], vec![0.2, 0.3]).expect("one length");
    let drift = float_drift(&input, 61, |layer, x, update| clip(0.5, layer, x, update));
    assert!(drift.largest > 0.0, "{drift:?}");
    let fixed = |values: &[f64]| values.iter().copied().map(to_fixed).collect::<Vec<_>>();
    let input = Halves::new(fixed(input.x()), fixed(input.y())).expect("one length");
    let layer = |layer: u32, x: &[i64], update: &mut [i64]| {
        let x: Vec<_> = x.iter().copied().map(from_fixed).collect();
        let mut in_floats = vec![0.0; x.len()];
        clip(0.5, layer, &x, &mut in_floats);
        update.copy_from_slice(&fixed(&in_floats));
    };
    let out = (0..61).fold(input.clone(), |state, l| state.forward(|x, update| layer(l, x, update)));
    let back = (0..61).rev().fold(out, |state, l| state.inverse(|x, update| layer(l, x, update)));
    assert_eq!(back, input);
}

#[test]
fn the_bound_grows_by_the_golden_ratio_and_overflows_to_infinity() {
    assert_eq!(drift_bound(0, 1.0, 1.0), 0.0);
    let ratio = drift_bound(61, 1.0, 1.0) / drift_bound(60, 1.0, 1.0);
    assert!((ratio - (1.0 + 5f64.sqrt()) / 2.0).abs() < 1e-9);
    assert_eq!(drift_bound(u32::MAX, 1.0, 1.0), f64::INFINITY);
}

proptest! {
    #[test]
    fn any_round_function_is_undone(block: (u64, u64), rounds in 0u32..200, seed: u64) {
        let f = |word, round| scramble(seed, word, round);
        prop_assert_eq!(feistel_inverse(feistel(block, rounds, f), rounds, f), block);
        prop_assert_eq!(feistel(feistel_inverse(block, rounds, f), rounds, f), block);
    }

    #[test]
    fn any_fixed_point_network_is_undone(
        pairs in vec(any::<(i64, i64)>(), 0..20), layers in 0u32..80, seed: u64,
    ) {
        let (x, y) = pairs.into_iter().unzip();
        let input = Halves::new(x, y).expect("one length");
        let out = (0..layers).fold(input.clone(), |state, layer| {
            state.forward(|x, update| scramble_all(seed, layer, x, update))
        });
        let back = (0..layers).rev().fold(out, |state, layer| {
            state.inverse(|x, update| scramble_all(seed, layer, x, update))
        });
        prop_assert_eq!(back, input);
    }

    #[test]
    fn the_drift_of_floats_is_bounded(
        pairs in vec((-1e3f64..1e3, -1e3f64..1e3), 1..10), layers in 0u32..40, slope in 0.0f64..1.5,
    ) {
        let (x, y) = pairs.into_iter().unzip();
        let input = Halves::new(x, y).expect("one length");
        let drift = float_drift(&input, layers, |layer, x, update| clip(slope, layer, x, update));
        let bound = drift_bound(layers, drift.magnitude, slope);
        prop_assert!(drift.largest <= bound, "{drift:?} over {bound}");
    }

    #[test]
    fn fixed_points_are_the_nearest(value in -2e9f64..2e9) {
        // Half a step, and the rounding of an f64 of that size.
        let bound = 0.5 / ONE + f64::EPSILON * value.abs();
        prop_assert!((from_fixed(to_fixed(value)) - value).abs() <= bound);
    }

    #[test]
    fn less_memory_never_takes_less_arithmetic(layers in 5u32..10_000, per_layer in 1.0f64..1e12) {
        for pair in Policy::ALL.windows(2) {
            let memory = |policy: Policy| policy.activation_memory(layers, Bytes(per_layer));
            prop_assert!(memory(pair[1]) < memory(pair[0]));
            prop_assert!(pair[1].compute_factor() >= pair[0].compute_factor());
        }
    }
}

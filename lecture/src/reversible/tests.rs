//! Inverses of any round function, and the trade of memory for arithmetic.

use proptest::prelude::*;

use super::*;

/// Some function of a word and a round, neither injective nor smooth.
fn scramble(seed: u64, word: u64, round: u32) -> u64 {
    let mixed = (word ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(round % 64);
    (mixed ^ (mixed >> 29)) & seed.rotate_right(7)
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
    assert_eq!(Policy::ALL.map(Policy::compute_factor), [1.0, 4.0 / 3.0, 4.0 / 3.0]);
    assert_eq!(format!("{:.2}", Policy::Reversible.compute_factor()), "1.33");
    for policy in Policy::ALL {
        assert_eq!(policy.activation_memory(0, per_layer), Bytes(0.0));
    }
}

proptest! {
    #[test]
    fn any_round_function_is_undone(block: (u64, u64), rounds in 0u32..200, seed: u64) {
        let f = |word, round| scramble(seed, word, round);
        prop_assert_eq!(feistel_inverse(feistel(block, rounds, f), rounds, f), block);
        prop_assert_eq!(feistel(feistel_inverse(block, rounds, f), rounds, f), block);
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

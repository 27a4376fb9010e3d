//! Draws without replacement: a shuffle that stops early, and can be undone.

use rand::RngExt;
use rand_pcg::Pcg64;

/// Fisher-Yates, stopped after `n` draws: `values[..n]` is a uniform draw without replacement. `swaps` says how to
/// undo it, so that the next token starts from the same order whatever came before.
pub(super) fn partial_shuffle(rng: &mut Pcg64, values: &mut [u32], n: u32, swaps: &mut Vec<u32>) {
    swaps.clear();
    let len = values.len() as u32;
    for i in 0..n {
        let j = rng.random_range(i..len);
        values.swap(i as usize, j as usize);
        swaps.push(j);
    }
}

/// Undoes [`partial_shuffle`].
pub(super) fn unshuffle(values: &mut [u32], swaps: &[u32]) {
    for (i, &j) in swaps.iter().enumerate().rev() {
        values.swap(i, j as usize);
    }
}

/// `n` of the numbers below `of`, every ordered choice equally likely.
pub(super) fn draw_distinct(rng: &mut Pcg64, of: u32, n: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..of).collect();
    partial_shuffle(rng, &mut order, n, &mut Vec::new());
    order.truncate(n as usize);
    order
}

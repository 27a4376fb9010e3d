//! Seeded hidden states: what enters an MoE layer, standard normal, each token on its own generator.

use rand::RngExt;
use rand_distr::StandardNormal;
use topology::RankId;

use crate::names::TokenShare;
use crate::seed::{Purpose, generator};

/// Hidden states of tokens `0..tokens` of `rank` at `layer`: `[tokens, hidden]` by rows, standard normal.
///
/// A token's values depend on (seed, layer, rank, token) alone, not on how many tokens are asked for.
pub fn hidden_states(seed: u64, layer: u32, rank: RankId, tokens: u32, hidden: u32) -> Vec<f32> {
    let mut states = vec![0.0; tokens as usize * hidden as usize];
    for (token, row) in states.chunks_exact_mut(hidden.max(1) as usize).enumerate() {
        fill_hidden_state(seed, layer, rank, token as u32, row);
    }
    states
}

/// Hidden states of tokens by their names, `[tokens, hidden]` by rows, as [`hidden_states`] gives them to whoever has those names.
#[must_use]
pub fn hidden_states_of(seed: u64, layer: u32, shares: &[TokenShare], hidden: u32) -> Vec<f32> {
    let mut states = Vec::new();
    for TokenShare { name, tokens, .. } in shares {
        let first = states.len();
        states.resize(first + tokens.len() * hidden as usize, 0.0);
        for (token, row) in tokens.clone().zip(states[first..].chunks_exact_mut(hidden.max(1) as usize)) {
            fill_hidden_state(seed, layer, *name, token, row);
        }
    }
    states
}

/// Fills `row` with the hidden state of one token, as [`hidden_states`] does.
pub fn fill_hidden_state(seed: u64, layer: u32, rank: RankId, token: u32, row: &mut [f32]) {
    let rng = generator(Purpose::Hidden, seed, [layer.into(), rank.0.into(), token.into()]);
    for (value, sample) in row.iter_mut().zip(rng.sample_iter::<f32, _>(StandardNormal)) {
        *value = sample;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_depend_on_the_others() {
        let many = hidden_states(1, 2, RankId(3), 5, 33);
        let few = hidden_states(1, 2, RankId(3), 2, 33);
        assert_eq!(many[..2 * 33], few);
        let mut third = vec![0.0; 33];
        fill_hidden_state(1, 2, RankId(3), 2, &mut third);
        assert_eq!(many[2 * 33..3 * 33], third);
    }

    #[test]
    fn a_token_has_its_state_wherever_it_is() {
        let share = |name, tokens| TokenShare { name: RankId(name), of: 5, tokens };
        let states = hidden_states_of(1, 2, &[share(7, 0..2), share(3, 1..5)], 33);
        assert_eq!(states[..2 * 33], hidden_states(1, 2, RankId(7), 2, 33));
        assert_eq!(states[2 * 33..], hidden_states(1, 2, RankId(3), 5, 33)[33..]);
    }

    #[test]
    fn coordinates_matter_and_moments_are_standard_normal() {
        let x = hidden_states(1, 0, RankId(0), 16, 1024);
        for other in [
            hidden_states(2, 0, RankId(0), 16, 1024),
            hidden_states(1, 1, RankId(0), 16, 1024),
            hidden_states(1, 0, RankId(1), 16, 1024),
        ] {
            assert_ne!(x, other);
        }
        let n = x.len() as f64;
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
    }

    #[test]
    fn zero_tokens_or_zero_width_are_empty() {
        assert!(hidden_states(1, 0, RankId(0), 0, 8).is_empty());
        assert!(hidden_states(1, 0, RankId(0), 8, 0).is_empty());
    }
}

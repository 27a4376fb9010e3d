//! Random generators named by what they are for: one independent `Pcg64` for every (purpose, seed, coordinates).
//!
//! Generators of one run must not depend on the order in which they are made, on the number of tokens, or on
//! each other; so each is seeded from its own coordinates through a mixing function, never split off another.

use rand::RngExt;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;

/// What a generator is for; different purposes never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Hidden states that enter an MoE layer.
    Hidden = 1,
    /// The weights and the correction bias of the seeded gate.
    Gate = 2,
    /// Uniform or popularity-weighted choice of experts.
    Routing = 3,
    /// The order of experts by popularity.
    Popularity = 4,
    /// The first row that is taken from a recorded trace.
    TraceOffset = 5,
    /// The constants or weights of one expert.
    Expert = 6,
    /// The order of experts by popularity in one period of drifting routing.
    Drift = 7,
    /// The seed of one step of drifting routing.
    DriftStep = 8,
    /// The seed of one step of a workload.
    WorkloadStep = 9,
    /// What is hot in a workload.
    WorkloadHot = 10,
    /// Tokens of each rank in a workload.
    WorkloadTokens = 11,
    /// The choice of experts where it depends on the step, by that step's seed.
    SteppedRouting = 12,
    /// What stands for an expert's weights on the wire.
    WeightBlock = 13,
    /// Tokens that stand for a demand when experts are placed.
    Demand = 20,
    /// Arrivals by which popularities are fitted to loads.
    Fit = 21,
    /// Counts of replicas that are tried when experts are placed.
    Placement = 22,
    /// Times between requests.
    Arrivals = 30,
    /// Lengths of prompts and answers.
    Lengths = 31,
    /// Which requests share the beginning of their prompts.
    Prefixes = 32,
    /// Which steps are computed twice to tell an error.
    Checks = 33,
    /// Which drafts of multi-token prediction hold.
    Drafts = 34,
    /// Clusters, models, batches and faults of a swarm.
    Swarm = 35,
    /// Which frames and ranks a fault strikes that strikes by chance.
    Fault = 36,
    /// States of tokens as they enter the first layer of a stack.
    Embedding = 40,
    /// The constants that stand for a layer's attention.
    Attention = 41,
    /// The seed of what stands for dense blocks and shared experts.
    CommonBlock = 42,
}

/// The generator of (`purpose`, `seed`, `coordinates`), for instance coordinates `[layer, rank, token]`.
#[must_use]
pub fn generator(purpose: Purpose, seed: u64, coordinates: [u64; 3]) -> Pcg64 {
    let mut state = mix(seed ^ mix(purpose as u64));
    for coordinate in coordinates {
        state = mix(state ^ mix(coordinate.wrapping_add(GOLDEN)));
    }
    let mut bytes = [0_u8; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(GOLDEN);
        chunk.copy_from_slice(&mix(state).to_le_bytes());
    }
    Pcg64::from_seed(bytes)
}

/// A seed of (`purpose`, `seed`, `coordinates`), for what has more coordinates than a generator takes.
#[must_use]
pub fn derived_seed(purpose: Purpose, seed: u64, coordinates: [u64; 3]) -> u64 {
    generator(purpose, seed, coordinates).random()
}

/// The increment of SplitMix64: 2^64 divided by the golden ratio, odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64 bits that avalanches.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn neighbouring_coordinates_give_distinct_streams() {
        let mut firsts = BTreeSet::new();
        for purpose in [Purpose::Hidden, Purpose::Gate, Purpose::Routing] {
            for seed in 0..4 {
                for a in 0..4 {
                    for b in 0..4 {
                        for c in 0..16 {
                            firsts.insert(generator(purpose, seed, [a, b, c]).random::<u64>());
                        }
                    }
                }
            }
        }
        assert_eq!(firsts.len(), 3 * 4 * 4 * 4 * 16);
    }

    #[test]
    fn the_first_number_of_a_stream_is_fixed_for_good() {
        // Recorded runs replay by seed: this value may never change.
        let first = generator(Purpose::Routing, 7, [0, 1, 2]).random::<u64>();
        assert_eq!(first, generator(Purpose::Routing, 7, [0, 1, 2]).random::<u64>());
        assert_eq!(first, FIRST_OF_ROUTING_7_0_1_2);
    }

    const FIRST_OF_ROUTING_7_0_1_2: u64 = 320_905_085_825_026_612;
}
